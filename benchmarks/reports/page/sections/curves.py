"""Curves over thresholds: precision against recall, and Dice against the threshold, pooled over the voxels of a set.

They follow from the score histograms in the records, of the first fold of each row, without a network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .....metrics.curves.histogram import Curve, ap_of, curve_of
from ....records.detection_lines import unpack
from ...cells import CellHistograms
from ..html import Figure, Section
from ..study import SetOf, Study
from ..svg.axis import linear
from ..svg.legend import legend
from ..svg.marks import line, points
from ..svg.plot import Plot
from .volumes import best_rows

#: Rows with a colour of their own; the others are grey.
_COLOURED = 5
#: Points of a curve at most.
_POINTS = 160


@dataclass(frozen=True, eq=False)
class PooledCurve:
    """The curve of a row on a set, all voxels of its test scans pooled.

    Attributes:
        curve: at every edge of the histograms.
        threshold: the run's.
        average_precision: of the pooled voxels.
    """

    curve: Curve
    threshold: float
    average_precision: float


def pooled_curves(cell: CellHistograms) -> dict[str, PooledCurve]:
    """The curves of a cell, by key of the lesion set."""
    edges = cell.config.edges
    inside: dict[str, NDArray[np.int64]] = {}
    outside: dict[str, NDArray[np.int64]] = {}
    for volume in cell.lines:
        if volume.role in cell.config.thresholds:
            for pool, word in ((inside, volume.inside), (outside, volume.outside)):
                counts = unpack(word).astype(np.int64, copy=False)
                pool[volume.role] = pool[volume.role] + counts if volume.role in pool else counts
    return {
        key: PooledCurve(
            curve_of(inside[key], outside[key], edges),
            cell.config.thresholds[key].greedy,
            ap_of(inside[key], outside[key]),
        )
        for key in inside
        if inside[key].sum()
    }


def first_cells(study: Study) -> dict[str, int]:
    """The cell of each row's first fold, and the row's place."""
    return {str(row.cells["id"].iloc[0]): row.place for row in study.rows}


def curves_section(study: Study, histograms: Iterable[CellHistograms]) -> Section | None:
    """Two figures per lesion set; None where no cell has histograms.

    Args:
        study: the study.
        histograms: of the cells of `first_cells`.
    """
    places = first_cells(study)
    found = {places[cell.id]: pooled_curves(cell) for cell in histograms if cell.id in places}
    if not any(found.values()):
        return None
    figures = [figure for one in study.lesion_sets for figure in _figures(study, one, found)]
    return Section(
        "curves",
        "Over all thresholds",
        lead=(
            "All voxels of a set's test scans pooled, the first fold of each row: lesions of large scans weigh more "
            "than in the table, which averages scans. The dot is the run's threshold, chosen on validation scans; "
            "the highest point of a Dice curve is a ceiling that nobody can know, and no result.",
        ),
        figures=tuple(figures),
    )


def _figures(study: Study, one: SetOf, found: Mapping[int, Mapping[str, PooledCurve]]) -> list[Figure]:
    own = {place: curves[one.key] for place, curves in found.items() if one.key in curves}
    if not own:
        return []
    ranked = [place for place in best_rows(study, one, len(study.rows)) if place in own]
    coloured = ranked[:_COLOURED]
    names = legend([f"{study.rows[place].title} (AP {100 * own[place].average_precision:.1f} %)" for place in coloured])
    grey = "Grey: the other rows." if len(own) > len(coloured) else ""
    return [
        Figure(
            Markup("{}{}").format(_precision(one, own, coloured), names), grey, f"{one.title}: precision and recall"
        ),
        Figure(
            _dice(one, own, coloured),
            f"{grey} Colours as in the figure before.".strip(),
            f"{one.title}: Dice and threshold",
        ),
    ]


def _precision(one: SetOf, own: Mapping[int, PooledCurve], coloured: list[int]) -> Markup:
    plot = Plot(linear("recall (%)", (0, 100)), linear("precision (%)", (0, 100)), height=320)
    marks, dots = [], []
    for place in sorted(own, key=lambda place: _depth(place, coloured)):
        curve, style = own[place].curve, _style(place, coloured)
        recall, precision = 100 * curve.recall, 100 * curve.precision
        kept = _thinned(recall)
        marks.append(line(plot.across(recall[kept]), plot.up(precision[kept]), style))
        at = _at(own[place])
        dots.append(points(plot.across(recall[[at]]), plot.up(precision[[at]]), f"{style} knob"))
    return plot.svg([*marks, *dots], f"precision against recall of the voxels of {one.title}")


def _dice(one: SetOf, own: Mapping[int, PooledCurve], coloured: list[int]) -> Markup:
    top = max(100 * float(np.nanmax(pooled.curve.dice)) for pooled in own.values())
    plot = Plot(
        linear("threshold, as a multiple of the run's", (0, 3)), linear("pooled Dice (%)", (0, top)), height=320
    )
    marks, dots = [], []
    for place in sorted(own, key=lambda place: _depth(place, coloured)):
        pooled, style = own[place], _style(place, coloured)
        multiples = pooled.curve.thresholds / (pooled.threshold or 1.0)
        within = np.flatnonzero(multiples <= 3)
        kept = within[_thinned(multiples[within])]
        marks.append(line(plot.across(multiples[kept]), plot.up(100 * pooled.curve.dice[kept]), style))
        at = _at(pooled)
        dots.append(points(plot.across([1.0]), plot.up(100 * pooled.curve.dice[[at]]), f"{style} knob"))
    return plot.svg([*marks, *dots], f"pooled Dice against the threshold, {one.title}")


def _at(pooled: PooledCurve) -> int:
    """The edge that is the run's threshold."""
    return int(np.abs(pooled.curve.thresholds - pooled.threshold).argmin())


def _style(place: int, coloured: list[int]) -> str:
    return f"c{coloured.index(place)}" if place in coloured else "others"


def _depth(place: int, coloured: list[int]) -> int:
    """The best row lies on top."""
    return -coloured.index(place) if place in coloured else -len(coloured) - 1


def _thinned(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places of points that are spread evenly over the range of values, so that a curve keeps its shape."""
    if values.size <= _POINTS:
        return np.arange(values.size)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    bins = np.floor((values - low) / ((high - low) or 1.0) * _POINTS)
    changes = np.flatnonzero(np.diff(bins, prepend=-1.0))
    kept: NDArray[np.intp] = np.unique([0, *changes, values.size - 1])
    return kept
