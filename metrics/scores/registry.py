"""Which scores there are: one decorator collects them, nobody edits a list.

Installed packages join by an entry point of the group `uadbench.scores`, whose value is a Score class or a module that
registers some when it is imported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from ...registry import Kind, Registry, place_of
from .base import Score

ENTRY_POINTS = "uadbench.scores"

_ScoreT = TypeVar("_ScoreT", bound=type[Score])
#: A score's name is part of a row's name behind a `+`, and that of names of files.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


class UnknownScoreError(LookupError):
    """No registered score has this name."""


class ScorePluginWarning(UserWarning):
    """A package offers scores that cannot be had."""


def _refuse(cls: type[Score], others: Sequence[type[Score]]) -> None:
    name = cls.info.name
    for other in others:
        if other.info.name == name:
            raise ValueError(f"two scores are called {name!r}: {other.__qualname__} and {cls.__qualname__}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{cls.__qualname__}: a score cannot be called {name!r}; a name has 1 to 64 letters of a to z, digits, "
            "hyphens, underscores and dots, and begins with no dot"
        )


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
