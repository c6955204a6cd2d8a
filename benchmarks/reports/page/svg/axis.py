"""Axes: from a value to a place in a figure, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Steps between ticks, times a power of ten.
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
#: Of more than so many, only powers of ten have a tick.
_MOST_LOG_TICKS = 8


@dataclass(frozen=True)
class Axis:
    """One axis of a figure.

    Attributes:
        label: what is measured, with its unit.
        low: value at its beginning.
        high: value at its end.
        ticks: value and word of each tick.
        log: whether decades are evenly wide.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def share(self, values: ArrayLike) -> NDArray[np.float64]:
        """How far along the axis values lie, 0 to 1; what lies outside stands at its end, and NaN stays."""
        found = np.asarray(values, dtype=float)
        low, high = self.low, self.high
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                found, low, high = np.log10(found), math.log10(low), math.log10(high)
        shares: NDArray[np.float64] = np.clip((found - low) / (high - low), 0.0, 1.0)
        return shares


def linear(label: str, values: Iterable[float], *, zero: bool = True, most: int = 6) -> Axis:
    """An axis that shows these values and ends at round numbers.

    Args:
        label: what is measured.
        values: that it must show; NaN and infinite ones are passed over.
        zero: whether it begins at 0 where no value is negative.
        most: ticks at most.
    """
    there = [value for value in values if math.isfinite(value)]
    low, high = (min(there), max(there)) if there else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _round_step((high - low) / (most - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple((number * step, words(number * step)) for number in range(first, last + 1))
    return Axis(label, first * step, last * step, ticks)


def logarithmic(label: str, values: Iterable[float]) -> Axis:
    """An axis of evenly wide decades, from and to 1, 2 or 5 times a power of ten; what is not above 0 is left out."""
    there = [value for value in values if math.isfinite(value) and value > 0]
    low, high = (min(there), max(there)) if there else (1.0, 10.0)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    steps = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    first = max(step for step in steps if step <= low * (1 + 1e-9))
    last = min(step for step in steps if step >= high * (1 - 1e-9) and step > first)
    within = [step for step in steps if first <= step <= last]
    ticks = within if len(within) <= _MOST_LOG_TICKS else [step for step in within if _is_power(step)]
    return Axis(label, first, last, tuple((tick, words(tick)) for tick in ticks), log=True)


def _is_power(value: float) -> bool:
    return abs(math.log10(value) - round(math.log10(value))) < 1e-9


def words(value: float) -> str:
    """A tick's value, as short as it can be said."""
    if value == 0 or abs(value) < 1e-12:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-4:
        return f"{value:.0e}".replace("e+0", "e").replace("e-0", "e−").replace("e+", "e").replace("-", "−")
    return f"{value:.6g}".replace("-", "−")


def _round_step(least: float) -> float:
    """The smallest round step that is not below this one."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in _STEPS if step * power >= least * (1 - 1e-9))
