"""Which data sets there are: a module of this package that holds one offers it, nobody edits a list.

Installed packages join by an entry point of the group `uadbench.data_sets`, whose value is a `DataSet` or a module
whose top level holds some. A file of the user's own is known to the process that was given it (`register_file`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ..errors import UserError
from ..own_files import FileKind, OwnFile, shown
from ..registry import Kind, Registry
from .base import DataSet
from .cohort import HEALTHY

ENTRY_POINTS = "uadbench.data_sets"
_FILE = FileKind("--data-set", "data set", "so that whoever gets it has all of it", ENTRY_POINTS)
_PASSED_OVER = frozenset(
    {
        "base",
        "cohort",
        "findings",
        "found",
        "layout",
        "load",
        "modality",
        "outliers",
        "participants",
        "registry",
        "rows",
    }
)


class UnknownDataSetError(UserError):
    """No registered data set has this name."""


class DataSetPluginWarning(UserWarning):
    """A package offers data sets that cannot be had."""


def _refuse(data_set: DataSet, others: Sequence[DataSet]) -> None:
    """See that nothing by which sets are told apart belongs to another one.

    Raises:
        ValueError: it does.
    """
    for other in others:
        for attribute, words in (
            ("name", "are called"),
            ("folder", "lie in the folder"),
            ("csv_prefix", "have split files called"),
            ("key", "have the key"),
        ):
            value = getattr(data_set, attribute)
            if value == getattr(other, attribute) and (attribute, value) != ("key", HEALTHY):
                raise ValueError(f"two data sets {words} {value!r}: {other.title} and {data_set.title}")


def _gather(module: ModuleType) -> None:
    for name, item in vars(module).items():
        if isinstance(item, DataSet):
            REGISTRY.add(item, f"{module.__name__}.{name}")


#: Every data set; `data_sets` reads it.
REGISTRY: Registry[DataSet] = Registry(
    Kind(
        plural="data sets",
        one="a DataSet",
        group=ENTRY_POINTS,
        package="uadbench.datasets",
        passed_over=_PASSED_OVER,
        warning=DataSetPluginWarning,
        is_one=lambda found: isinstance(found, DataSet),
        name_of=lambda data_set: data_set.name,
        refuse=_refuse,
    ),
    _gather,
)


def register(data_set: DataSet, place: str = "") -> DataSet:
    """Make a set known to this process, and return it.

    Args:
        data_set: the set.
        place: where it is defined; a set that was registered from there is replaced. By default its own name.

    Raises:
        ValueError: another set has its name, its folder, its split files or its key.
    """
    data_sets()  # those of this package come first
    return REGISTRY.add(data_set, place or f"<registered>.{data_set.name}")


def register_file(path: Path) -> tuple[DataSet, ...]:
    """Make the sets of a user's own file known to this process, and return them.

    Raises:
        UserError: no such file, it cannot be imported, or it holds no set or one that clashes with another.
    """
    file = OwnFile.read(path, _FILE)
    module = file.load()
    found = {name: item for name, item in vars(module).items() if isinstance(item, DataSet)}
    if not found:
        raise UserError(f"--data-set {shown(file.path)} holds no DataSet; give it `DATA_SET = DataSet(...)`")
    try:
        return tuple(register(data_set, f"{module.__name__}.{name}") for name, data_set in found.items())
    except ValueError as error:
        raise UserError(f"--data-set {shown(file.path)}: {error}") from error


def data_sets() -> dict[str, DataSet]:
    """Every registered set by name, the healthy ones first; this package's, then plug-ins' and the user's own."""
    found = REGISTRY.items()
    return dict(sorted(found.items(), key=lambda pair: not pair[1].is_healthy))


def data_set_named(name: str) -> DataSet:
    """The set of a name.

    Raises:
        UnknownDataSetError: there is none.
    """
    known = data_sets()
    if name not in known:
        raise UnknownDataSetError(
            f"there is no data set {name!r}; choose one of {', '.join(known)}, or give your own by --data-set FILE.py"
        )
    return known[name]


def distribution_of(name: str) -> str:
    """Name and version of the installed package that a set comes from; "" for this package's own."""
    return REGISTRY.distribution_of(name)
