"""Which scores there are: one decorator collects them, nobody edits a list.

Installed packages join by an entry point of the group `uadbench.scores`, whose value is a Score class or a module that
registers some when it is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ...registry import NAME_RULE, Kind, Registry, is_name, place_of
from .base import Score

ENTRY_POINTS = "uadbench.scores"

_ScoreT = TypeVar("_ScoreT", bound=type[Score])


class UnknownScoreError(LookupError):
    """No registered score has this name."""


class ScorePluginWarning(UserWarning):
    """A package offers scores that cannot be had."""


def _refuse(cls: type[Score], others: Sequence[type[Score]]) -> None:
    name = cls.info.name
    for other in others:
        if other.info.name == name:
            raise ValueError(f"two scores are called {name!r}: {other.__qualname__} and {cls.__qualname__}")
    if not is_name(name):  # it is part of a row's name behind a `+`
        raise ValueError(f"{cls.__qualname__}: a score cannot be called {name!r}; a name has {NAME_RULE}")


#: Every score; `scores` reads it.
REGISTRY: Registry[type[Score]] = Registry(
    Kind(
        plural="scores",
        one="a Score",
        group=ENTRY_POINTS,
        package="uadbench.metrics.scores",
        passed_over=frozenset({"base", "registry"}),
        warning=ScorePluginWarning,
        is_one=lambda found: isinstance(found, type) and issubclass(found, Score),
        name_of=lambda cls: cls.info.name,
        refuse=_refuse,
    )
)


def register_score(cls: _ScoreT) -> _ScoreT:
    """Class decorator: add a Score to the registry under `cls.info.name`.

    Raises:
        ValueError: another class has that name, or the name is none.
    """
    REGISTRY.add(cls, place_of(cls))
    return cls


def scores() -> dict[str, type[Score]]:
    """Every registered score by name, after importing each module of this package and each entry point."""
    return REGISTRY.items()


def distribution_of(name: str) -> str:
    """Name and version of the installed package that a score comes from; "" for this package's own."""
    return REGISTRY.distribution_of(name)


def score_named(name: str) -> type[Score]:
    """The score of this name.

    Raises:
        UnknownScoreError: there is none.
    """
    known = scores()
    if name not in known:
        raise UnknownScoreError(f"there is no score {name!r}; choose one of {', '.join(known)}")
    return known[name]
