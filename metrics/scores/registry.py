"""Which scores there are: one decorator collects them, nobody edits a list.

Installed packages join by an entry point of the group `uadbench.scores`, whose value is a Score class or a module that
registers some when it is imported.
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

from .base import Score

ENTRY_POINTS = "uadbench.scores"

_ScoreT = TypeVar("_ScoreT", bound=type[Score])
_SCORES: dict[str, type[Score]] = {}
#: Name and version of the distribution that a plug-in's score comes from, by the score's name.
_DISTRIBUTIONS: dict[str, str] = {}
#: A score's name is part of a row's name behind a `+`, and that of names of files.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_NOT_SCORES = frozenset({"base", "registry"})


class UnknownScoreError(LookupError):
    """No registered score has this name."""


class ScorePluginWarning(UserWarning):
    """A package offers scores that cannot be had."""


def register_score(cls: _ScoreT) -> _ScoreT:
    """Class decorator: add a Score to the registry under `cls.info.name`.

    Raises:
        ValueError: another class has that name, or the name is none.
    """
    name = cls.info.name
    known = _SCORES.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"two scores are called {name!r}: {known.__qualname__} and {cls.__qualname__}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{cls.__qualname__}: a score cannot be called {name!r}; a name has 1 to 64 letters of a to z, digits, "
            "hyphens, underscores and dots, and begins with no dot"
        )
    _SCORES[name] = cls
    return cls


def scores() -> dict[str, type[Score]]:
    """Every registered score by name, after importing each module of this package and each entry point."""
    package = importlib.import_module(__package__ or "uadbench.metrics.scores")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _NOT_SCORES:
            importlib.import_module(f".{module.name}", package.__name__)
    _load_plugins()
    return dict(sorted(_SCORES.items()))


def distribution_of(name: str) -> str:
    """Name and version of the installed package that a score comes from; "" for this package's own."""
    return _DISTRIBUTIONS.get(name, "")


@cache
def _load_plugins() -> None:
    """Load every plug-in, once a process; one that fails costs a warning and nothing else."""
    for entry in entry_points(group=ENTRY_POINTS):
        package = f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value
        before = set(_SCORES)
        try:
            _load_plugin(entry)
        except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001  (whatever it is, it is the package's, not ours)
            words = " ".join(f"{type(error).__name__}: {error}".split())
            text = f"the scores of the package {package} are left out, it cannot be loaded ({words})"
            warnings.warn(text, ScorePluginWarning, stacklevel=3)
        _DISTRIBUTIONS.update(dict.fromkeys(set(_SCORES) - before, package))


def _load_plugin(entry: EntryPoint) -> None:
    found = entry.load()
    if isinstance(found, type) and issubclass(found, Score):
        register_score(found)
    elif not isinstance(found, ModuleType):
        raise TypeError(f"its entry point {entry.name} = {entry.value} is neither a Score nor a module")


def score_named(name: str) -> type[Score]:
    """The score of this name.

    Raises:
        UnknownScoreError: there is none.
    """
    known = scores()
    if name not in known:
        raise UnknownScoreError(f"there is no score {name!r}; choose one of {', '.join(known)}")
    return known[name]
