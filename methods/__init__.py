"""The methods, one file each, behind one contract (`base.Detector`)."""

from .base import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan
from .registry import UnknownMethodError, methods, register, rows

__all__ = [
    "Batch",
    "Detector",
    "Frozen",
    "MethodInfo",
    "OptimizerSettings",
    "Row",
    "Scan",
    "UnknownMethodError",
    "methods",
    "register",
    "rows",
]
