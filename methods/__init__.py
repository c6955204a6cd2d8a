"""The methods, one file each, behind one contract (`base.Detector`).

What needs PyTorch is imported when it is first used: a list, a table and a misspelt name need `cards` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cards import MethodCard, card_of, card_rows, cards
from .identity import Frozen, MethodInfo, OptimizerSettings, Row
from .registry import UnknownMethodError, methods, register, rows

if TYPE_CHECKING:
    from .base import Batch, Detector, Scan

__all__ = [
    "Batch",
    "Detector",
    "Frozen",
    "MethodCard",
    "MethodInfo",
    "OptimizerSettings",
    "Row",
    "Scan",
    "UnknownMethodError",
    "card_of",
    "card_rows",
    "cards",
    "methods",
    "register",
    "rows",
]

_OF_PYTORCH = frozenset({"Batch", "Detector", "Scan"})


def __getattr__(name: str) -> object:
    """Import a name that needs PyTorch; Python calls this for names that the module does not hold."""
    if name not in _OF_PYTORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import base

    return getattr(base, name)
