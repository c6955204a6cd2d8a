"""What can be plugged in: one registry for methods, for scores and for data sets; nobody edits a list.

A registry holds what the modules of its package offer, what installed packages offer by an entry point, and what a
file of the user's own offers. Something that is registered again from the place it came from takes its own place; from
another place it is a clash of names, which the registry's `refuse` says.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
#: What names of what is plugged in are made of: they become names of files, of folders and of MLflow's runs.
NAME_RULE = "1 to 64 letters of a to z, digits, hyphens, underscores and dots, and begins with no dot"


def is_name(word: object) -> bool:
    """Whether a word may be the name of a method, a row, a score or a preset, see `NAME_RULE`."""
    return isinstance(word, str) and _NAME.fullmatch(word) is not None


@dataclass(frozen=True)
class Kind(Generic[ItemT]):
    """What a registry holds, and the words it has for it.

    Attributes:
        plural: "methods", for sentences.
        one: what an entry point must give beside a module: "a Detector".
        group: of the entry points.
        package: whose modules are imported, "uadbench.methods".
        passed_over: names of modules of that package that hold none.
        warning: of a package that cannot be loaded.
        is_one: whether an object is one of them.
        name_of: the name of one.
        refuse: raises ValueError for one that cannot stand beside these others.
    """

    plural: str
    one: str
    group: str
    package: str
    passed_over: frozenset[str]
    warning: type[Warning]
    is_one: Callable[[object], bool]
    name_of: Callable[[ItemT], str]
    refuse: Callable[[ItemT, Sequence[ItemT]], None]


@dataclass(frozen=True)
class _Entry(Generic[ItemT]):
    """An item, where it is defined ("module.name"), and the distribution that brought it ("" for none)."""

    item: ItemT
    place: str
    distribution: str = ""


class Registry(Generic[ItemT]):
    """Items of one kind by name.

    Args:
        kind: what they are.
        gather: registers what a module holds that does not register itself when it is imported.
    """

    def __init__(self, kind: Kind[ItemT], gather: Callable[[ModuleType], None] | None = None) -> None:
        self._kind = kind
        self._gather = gather or (lambda _module: None)
        self._entries: dict[str, _Entry[ItemT]] = {}
        self._are_plugins_loaded = False

    def add(self, item: ItemT, place: str) -> ItemT:
        """Register an item and return it.

        Args:
            item: the item.
            place: where it is defined, "module.name"; one from there is replaced, others must get on with it.

        Raises:
            ValueError: `refuse` says why.
        """
        if any(entry.item is item for entry in self._entries.values()):
            return item  # some other module imports it
        others = [entry.item for entry in self._entries.values() if entry.place != place]
        self._kind.refuse(item, others)
        earlier = [name for name, entry in self._entries.items() if entry.place == place]
        for name in earlier:
            del self._entries[name]
        self._entries[self._kind.name_of(item)] = _Entry(item, place)
        return item

    def items(self) -> dict[str, ItemT]:
        """Every item by name, in order of name, after importing the package's modules and every plug-in."""
        self._import_own()
        if not self._are_plugins_loaded:
            self._are_plugins_loaded = True
            self._load_plugins()
        return {name: entry.item for name, entry in sorted(self._entries.items())}

    def distribution_of(self, name: str) -> str:
        """Name and version of the installed package that an item comes from; "" for this package's own."""
        entry = self._entries.get(name)
        return "" if entry is None else entry.distribution

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Look for plug-ins anew within the block, and forget after it what was registered there."""
        self._import_own()  # what registers itself does so once, and must not be forgotten
        kept, were_loaded = dict(self._entries), self._are_plugins_loaded
        self._are_plugins_loaded = False
        try:
            yield
        finally:
            self._entries, self._are_plugins_loaded = kept, were_loaded

    def _import_own(self) -> None:
        """Import the package's modules, which register what they hold."""
        package = importlib.import_module(self._kind.package)
        for module in pkgutil.iter_modules(package.__path__):
            if module.name not in self._kind.passed_over and not module.ispkg:
                self._gather(importlib.import_module(f"{package.__name__}.{module.name}"))

    def _load_plugins(self) -> None:
        """Load every plug-in; one that fails costs a warning and nothing else."""
        for entry in entry_points(group=self._kind.group):
            package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
            before = set(self._entries)
            try:
                self._load(entry)
            except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001  (whatever it is, it is the package's, not ours)
                words = " ".join(f"{type(error).__name__}: {error}".split())
                text = f"the {self._kind.plural} of the package {package} are left out, it cannot be loaded ({words})"
                warnings.warn(text, self._kind.warning, stacklevel=4)
            self._credit((set(self._entries) - before) | self._registered_by(entry), package)

    def _load(self, entry: EntryPoint) -> None:
        found = entry.load()
        if self._kind.is_one(found):
            self.add(found, place_of(found) or entry.value.replace(":", "."))
        elif isinstance(found, ModuleType):
            self._gather(found)
        else:
            raise TypeError(f"its entry point {entry.name} = {entry.value} is neither {self._kind.one} nor a module")

    def _registered_by(self, entry: EntryPoint) -> set[str]:
        """What the entry point's package registered before it was loaded, as something else imported it."""
        root, own = entry.value.split(":")[0].split(".")[0], f"{self._kind.package}."
        places = {name: known.place for name, known in self._entries.items()}
        return {name for name, place in places.items() if place.split(".")[0] == root and not place.startswith(own)}

    def _credit(self, names: set[str], package: str) -> None:
        for name in names:
            entry = self._entries[name]
            self._entries[name] = _Entry(entry.item, entry.place, package)


def place_of(item: object) -> str:
    """Where a class is defined, "module.name"; "" of what is no class."""
    return f"{item.__module__}.{item.__qualname__}" if isinstance(item, type) else ""
