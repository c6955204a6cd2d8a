"""Which methods there are: one decorator collects them, nobody edits a list."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TypeVar

from .base import Detector, Row

_DetectorT = TypeVar("_DetectorT", bound=type[Detector])
_METHODS: dict[str, type[Detector]] = {}
_NOT_METHODS = frozenset({"base", "registry", "parts"})


class UnknownMethodError(LookupError):
    """No registered method or table row has this name."""


def register(cls: _DetectorT) -> _DetectorT:
    """Class decorator: add a Detector to the registry under `cls.info.name`.

    Raises:
        ValueError: another class has that name, or a row of that name exists.
    """
    name = cls.info.name
    known = _METHODS.get(name)
    if known is not None and known.__qualname__ != cls.__qualname__:
        raise ValueError(f"two methods are called {name!r}: {known.__qualname__} and {cls.__qualname__}")
    _METHODS[name] = cls
    return cls


def methods() -> dict[str, type[Detector]]:
    """Every registered method by name, after importing each module of this package."""
    package = importlib.import_module(__package__ or "uadbench.methods")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name not in _NOT_METHODS:
            importlib.import_module(f".{module.name}", package.__name__)
    return dict(sorted(_METHODS.items()))


def rows() -> dict[str, tuple[type[Detector], Row]]:
    """Every table row by name, with the class that makes it."""
    return {row.name: (cls, row) for cls in methods().values() for row in cls.info.rows}
