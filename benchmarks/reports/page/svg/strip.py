"""A strip of points per row: every volume is a dot, so that a mean cannot hide who it was made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .axis import Axis, linear
from .marks import cloud, segments, text
from .plot import Plot

#: Height of a row: its name above its dots.
_PITCH, _SPREAD, _NAME = 40.0, 7.0, 15.0


@dataclass(frozen=True, eq=False)
class Strip:
    """One row of points.

    Attributes:
        name: of the row.
        values: one per volume; NaN where there is none.
        mean: of them; NaN where there is none.
        low: lower end of the mean's interval; NaN where there is none.
        high: its upper end.
        said: beside the name, e.g. the mean in words.
        faint: whether it does not compete.
    """

    name: str
    values: NDArray[np.float64]
    mean: float
    low: float
    high: float
    said: str = ""
    faint: bool = False


def strip_plot(strips: Sequence[Strip], label: str, says: str, *, name: str = "") -> Markup:
    """Rows of points below each other, with each mean and its interval.

    Args:
        strips: from top to bottom.
        label: of the axis.
        says: what the figure shows, for who cannot see it.
        name: by which a script finds it.
    """
    plot = Plot(_axis(strips, label), None, height=_PITCH * len(strips) + 52, left=12, right=18)
    marks = []
    for place, strip in enumerate(strips):
        middle = plot.top + _PITCH * (place + 0.5) + 8
        x = plot.across(strip.values)
        marks += [
            text(plot.left, middle - _NAME, strip.name, "row faint" if strip.faint else "row"),
            text(plot.end, middle - _NAME, strip.said, "said", anchor="end"),
            cloud(x, middle + _spread(strip.values), "volume faint" if strip.faint else "volume"),
            *_mean(plot, strip, middle),
        ]
    return plot.svg(marks, says, name=name)


def centres(rows: int) -> list[float]:
    """Where the rows of a strip plot lie, from the top."""
    return [10.0 + _PITCH * (place + 0.5) + 8 for place in range(rows)]


def _axis(strips: Sequence[Strip], label: str) -> Axis:
    return linear(label, np.concatenate([strip.values for strip in strips]) if strips else ())


def _mean(plot: Plot, strip: Strip, middle: float) -> list[Markup]:
    """A tick at the mean, and a bar from one end of its interval to the other."""
    if np.isnan(strip.mean):
        return []
    at, low, high = plot.across([strip.mean, strip.low, strip.high])
    bar = (
        []
        if np.isnan(low) or np.isnan(high)
        else [
            segments(
                [(low, middle, high, middle), *((end, middle - 4, end, middle + 4) for end in (low, high))], "interval"
            )
        ]
    )
    return [*bar, segments([(at, middle - 9, at, middle + 9)], "mean")]


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shifts up and down that part neighbours: by rank, along the golden ratio; the same every time."""
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
    shifts: NDArray[np.float64] = ((ranks * 0.6180339887498949) % 1.0 - 0.5) * 2 * _SPREAD
    return shifts
