"""Which methods there are: one decorator collects them, nobody edits a list.

Installed packages join by an entry point of the group `uadbench.methods`, whose value is a Detector class or a module
that registers some when it is imported:

    [project.entry-points."uadbench.methods"]
    mine = "my_package.my_module"
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from ..registry import NAME_RULE, Kind, Registry, is_name, place_of
from .identity import MethodInfo, Row

if TYPE_CHECKING:
    from .base import Detector

ENTRY_POINTS = "uadbench.methods"

_DetectorT = TypeVar("_DetectorT", bound="type[Detector]")


class UnknownMethodError(LookupError):
    """No registered method or table row has this name."""


class PluginWarning(UserWarning):
    """A package offers methods that cannot be had."""


def wrong_name(info: MethodInfo) -> str:
    """A sentence about the first name of a method or one of its rows that is none; "" where there is no such name."""
    for kind, name in (("method", info.name), *(("row", row.name) for row in info.rows)):
        if not is_name(name):
            return f"the {kind} cannot be called {name!r}: a name has {NAME_RULE}"
    return ""


def _refuse(cls: type[Detector], others: Sequence[type[Detector]]) -> None:
    if wrong := wrong_name(cls.info):
        raise ValueError(f"{place_of(cls)}: {wrong}")
    for other in others:
        if other.info.name == cls.info.name:
            raise ValueError(f"two methods are called {cls.info.name!r}: {place_of(other)} and {place_of(cls)}")
        shared = {row.name for row in other.info.rows} & {row.name for row in cls.info.rows}
        if shared:
            raise ValueError(f"two methods make a row {sorted(shared)[0]!r}: {place_of(other)} and {place_of(cls)}")


def _is_detector(found: object) -> bool:
    from .base import Detector

    return isinstance(found, type) and issubclass(found, Detector)


#: Every method; `methods` reads it.
REGISTRY: Registry[type[Detector]] = Registry(
    Kind(
        plural="methods",
        one="a Detector",
        group=ENTRY_POINTS,
        package="uadbench.methods",
        passed_over=frozenset({"base", "cards", "identity", "kept_answers", "registry"}),
        warning=PluginWarning,
        is_one=_is_detector,
        name_of=lambda cls: cls.info.name,
        refuse=_refuse,
    )
)


def register(cls: _DetectorT) -> _DetectorT:
    """Class decorator: add a Detector to the registry under `cls.info.name`.

    Raises:
        ValueError: a name is none, another class has that name, or makes a row of that name.
    """
    REGISTRY.add(cls, place_of(cls))
    return cls


def methods() -> dict[str, type[Detector]]:
    """Every registered method by name, after importing each module of this package and every plug-in."""
    return REGISTRY.items()


def rows() -> dict[str, tuple[type[Detector], Row]]:
    """Every table row by name, with the class that makes it."""
    return {row.name: (cls, row) for cls in methods().values() for row in cls.info.rows}


def distribution_of(cls: type[Detector]) -> str:
    """Name and version of the installed package that a registered class comes from; "" for this package's own."""
    known = methods().get(cls.info.name)
    return REGISTRY.distribution_of(cls.info.name) if known is cls else ""
