"""Which methods there are: one decorator collects them, nobody edits a list.

Installed packages join by an entry point of the group `uadbench.methods`, whose value is a Detector class or a module
that registers some when it is imported:

    [project.entry-points."uadbench.methods"]
    mine = "my_package.my_module"
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import TypeVar

from .base import Detector, MethodInfo, Row

ENTRY_POINTS = "uadbench.methods"

_DetectorT = TypeVar("_DetectorT", bound=type[Detector])
_METHODS: dict[str, type[Detector]] = {}
#: Name and version of the distribution that a plug-in's method comes from, by the method's name.
_DISTRIBUTIONS: dict[str, str] = {}
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
#: What names of methods, rows and presets are made of: they become names of files, of folders and of MLflow's runs.
NAME_RULE = "1 to 64 letters of a to z, digits, hyphens, underscores and dots, and begins with no dot"
_NOT_METHODS = frozenset({"base", "registry", "parts"})


class UnknownMethodError(LookupError):
    """No registered method or table row has this name."""


class PluginWarning(UserWarning):
    """A package offers methods that cannot be had."""


def is_name(word: object) -> bool:
    """Whether a word may be the name of a method, a row or a preset, see `NAME_RULE`."""
    return isinstance(word, str) and _NAME.fullmatch(word) is not None


def wrong_name(info: MethodInfo) -> str:
    """A sentence about the first name of a method or one of its rows that is none; "" where there is no such name."""
    for kind, name in (("method", info.name), *(("row", row.name) for row in info.rows)):
        if not is_name(name):
            return f"the {kind} cannot be called {name!r}: a name has {NAME_RULE}"
    return ""


def register(cls: _DetectorT) -> _DetectorT:
    """Class decorator: add a Detector to the registry under `cls.info.name`.

    Raises:
        ValueError: a name is none, another class has that name, or makes a row of that name.
    """
    name = cls.info.name
    if wrong := wrong_name(cls.info):
        raise ValueError(f"{_shown(cls)}: {wrong}")
    others = [other for other in _METHODS.values() if _identity(other) != _identity(cls)]
    for other in others:
        if other.info.name == name:
            raise ValueError(f"two methods are called {name!r}: {_shown(other)} and {_shown(cls)}")
        shared = {row.name for row in other.info.rows} & {row.name for row in cls.info.rows}
        if shared:
            raise ValueError(f"two methods make a row {sorted(shared)[0]!r}: {_shown(other)} and {_shown(cls)}")
    _METHODS[name] = cls
    return cls


def _identity(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def _shown(cls: type) -> str:
    return ".".join(_identity(cls))


def methods() -> dict[str, type[Detector]]:
    """Every registered method by name, after importing each module of this package and every plug-in."""
    package = importlib.import_module(__package__ or "uadbench.methods")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _NOT_METHODS:
            importlib.import_module(f".{module.name}", package.__name__)
    _load_plugins()
    return dict(sorted(_METHODS.items()))


def rows() -> dict[str, tuple[type[Detector], Row]]:
    """Every table row by name, with the class that makes it."""
    return {row.name: (cls, row) for cls in methods().values() for row in cls.info.rows}


def distribution_of(cls: type[Detector]) -> str:
    """Name and version of the installed package that a registered class comes from; "" for this package's own."""
    known = methods().get(cls.info.name)
    return _DISTRIBUTIONS.get(cls.info.name, "") if known is cls else ""


@cache
def _load_plugins() -> None:
    """Load every plug-in, once a process; one that fails costs a warning and nothing else."""
    for entry in entry_points(group=ENTRY_POINTS):
        before = set(_METHODS)
        try:
            _load_plugin(entry)
        except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001  (whatever it is, it is the package's, not ours)
            words = " ".join(f"{type(error).__name__}: {error}".split())
            text = f"the methods of the package {_package(entry)} are left out, it cannot be loaded ({words})"
            warnings.warn(text, PluginWarning, stacklevel=3)
        _DISTRIBUTIONS.update(dict.fromkeys((set(_METHODS) - before) | _registered_by(entry), _package(entry)))


def _load_plugin(entry: EntryPoint) -> None:
    found = entry.load()
    if isinstance(found, type) and issubclass(found, Detector):
        register(found)
    elif not isinstance(found, ModuleType):
        raise TypeError(f"its entry point {entry.name} = {entry.value} is neither a Detector nor a module")


def _registered_by(entry: EntryPoint) -> set[str]:
    """The methods of the entry point's package that were there before it was loaded, as something else imported it."""
    root = entry.module.partition(".")[0]
    modules = {name: cls.__module__ for name, cls in _METHODS.items()}
    own = f"{__package__}."
    return {name for name, module in modules.items() if module.split(".")[0] == root and not module.startswith(own)}


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
