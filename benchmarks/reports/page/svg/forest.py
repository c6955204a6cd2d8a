"""A forest of means: groups of rows, in each a mean with its interval per line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .axis import linear
from .marks import points, segments, text
from .plot import Plot

#: Heights of a group's name and of a line in it, and the gap below.
_HEAD, _STEP, _GAP = 18.0, 11.0, 8.0
#: Width of a letter of a flag, and its distance from the bar.
_LETTER, _APART = 6.0, 7.0


@dataclass(frozen=True)
class Mean:
    """A mean with its interval; NaN where there is none.

    Attributes:
        line: number of the line, from 0, which chooses colour and dash.
        mean: of it.
        low: lower end.
        high: upper end.
        marked: whether it is to be pointed out.
    """

    line: int
    mean: float
    low: float
    high: float
    marked: bool = False


@dataclass(frozen=True)
class Group:
    """The means of one stratum."""

    name: str
    said: str
    means: tuple[Mean, ...]


def forest_plot(groups: Sequence[Group], label: str, says: str, *, flag: str = "worse") -> Markup:
    """Groups below each other; those of one stratum share a heading.

    Args:
        groups: from top to bottom.
        label: of the axis.
        says: what the figure shows, for who cannot see it.
        flag: the word beside a mean that is marked.
    """
    values = [value for group in groups for mean in group.means for value in (mean.mean, mean.low, mean.high)]
    height = 52 + sum(_HEAD + _STEP * len(group.means) + _GAP for group in groups)
    plot = Plot(linear(label, values), None, height=height, left=12, right=18)
    marks, top = [], plot.top
    for group in groups:
        marks += [
            text(plot.left, top + 12, group.name, "row"),
            text(plot.end, top + 12, group.said, "said", anchor="end"),
        ]
        top += _HEAD
        for mean in group.means:
            marks += _mean(plot, mean, top + _STEP / 2, flag)
            top += _STEP
        top += _GAP
    zero = float(plot.across([0.0])[0])
    middle = [segments([(zero, plot.top, zero, plot.floor)], "zero")] if plot.x.low < 0 < plot.x.high else []
    return plot.svg([*middle, *marks], says)


def _mean(plot: Plot, mean: Mean, y: float, flag: str) -> list[Markup]:
    if math.isnan(mean.mean):
        return []
    at, low, high = (float(place) for place in plot.across([mean.mean, mean.low, mean.high]))
    bar = [] if math.isnan(low) or math.isnan(high) else [segments([(low, y, high, y)], f"c{mean.line}")]
    word = [_flag(plot, flag, at if math.isnan(low) else low, at if math.isnan(high) else high, y)]
    return [*bar, points([at], [y], f"c{mean.line} knob"), *(word if mean.marked else [])]


def _flag(plot: Plot, flag: str, low: float, high: float, y: float) -> Markup:
    """A word at the right of a bar, or at its left where the right has no room."""
    if high + _APART + _LETTER * len(flag) <= plot.width:
        return text(high + _APART, y + 4, flag, "said")
    return text(low - _APART, y + 4, flag, "said", anchor="end")
