"""FROC: the lesions of a set that are found, against the false components that this costs per scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .....metrics.lesions import Froc
from ....judgement.froc import averaged, froc_curves
from ..html import Figure
from ..study import SetOf, Study
from ..svg.axis import linear, logarithmic
from ..svg.legend import legend
from ..svg.marks import line, points
from ..svg.plot import Plot
from .volumes import best_rows

if TYPE_CHECKING:
    import pandas as pd

#: Rows with a colour of their own, as in the curves over voxels; the others are grey.
_COLOURED = 5
#: Where the axis begins, as LUNA16's does, and where it ends at the latest: nobody looks through more marks per scan.
_LEAST, _MOST = 0.125, 100.0
#: The number in the legend, and the places of a curve.
_SAID_AT, _PLACES = 1.0, 60


@dataclass(frozen=True, eq=False)
class RowFroc:
    """The curve of a row on a set, and its own threshold.

    Attributes:
        folds: the curve of each fold.
        sensitivity: at the run's threshold, mean over these folds; NaN where it is not known.
        false_per_scan: likewise.
    """

    folds: tuple[Froc, ...]
    sensitivity: float
    false_per_scan: float

    @property
    def most(self) -> float:
        """False components per scan at the end of the curve, of the fold that has the most."""
        return max(float(fold.false_per_scan[fold.end]) for fold in self.folds)

    @property
    def tail(self) -> Froc:
        """From the end of the curve to the lowest threshold, folds averaged threshold by threshold."""
        steps = min(fold.false_per_scan.size for fold in self.folds)
        false = np.mean([fold.false_per_scan[:steps] for fold in self.folds], axis=0)
        found = np.mean([fold.sensitivity[:steps] for fold in self.folds], axis=0)
        end = Froc(found, false).end
        return Froc(found[end:], false[end:])

    def at(self, false_per_scan: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean sensitivity of the folds at numbers of false components per scan."""
        return averaged(self.folds, false_per_scan)


def row_frocs(study: Study, one: SetOf, points_: pd.DataFrame, cells: pd.DataFrame) -> dict[int, RowFroc]:
    """The curve of each row on a set, by its place; rows without one are not there.

    Args:
        study: the study.
        one: the set.
        points_: see `judgement.froc.froc_points`.
        cells: the frame of cells with the numbers of `judgement.detection`.
    """
    curves = {cell: curve for cell, key, curve in froc_curves(points_) if key == one.key}
    curves = {cell: curve for cell, curve in curves.items() if not np.isnan(curve.sensitivity).any()}
    found = {}
    for row in study.rows:
        own = [str(cell) for cell in row.cells["id"] if str(cell) in curves]
        if not own:
            continue
        numbers = cells[cells["id"].isin(own)]
        recall, false = (numbers[f"{one.key}/{name}"].mean() for name in ("lesion_recall", "false_per_scan"))
        found[row.place] = RowFroc(tuple(curves[cell] for cell in own), float(recall), float(false))
    return found


def froc_figure(study: Study, one: SetOf, found: Mapping[int, RowFroc]) -> Figure | None:
    """The curves of all rows on a set, the dot of each at its run's threshold; None where there is none."""
    if not found:
        return None
    ranked = [place for place in best_rows(study, one, len(study.rows)) if place in found]
    coloured = ranked[:_COLOURED]
    said = {place: 100 * float(found[place].at(np.array([_SAID_AT]))[0]) for place in coloured}
    names = legend([f"{study.rows[place].title} ({said[place]:.1f} % at 1)" for place in coloured])
    grey = "Grey: the other rows. " if len(found) > len(coloured) else ""
    return Figure(
        Markup("{}{}").format(_picture(one, found, coloured), names),
        f"{grey}Up and to the left is better. In brackets: found with one false component per scan. The dot is the "
        "run's threshold. A line ends where false components are the most; at lower thresholds (thin) they grow "
        "together, and fewer of them are no better.",
        f"{one.title}: lesions found and false components (FROC)",
    )


def _picture(one: SetOf, found: Mapping[int, RowFroc], coloured: list[int]) -> Markup:
    ends = [end for row in found.values() for end in (row.most, row.false_per_scan)]
    most = min(_MOST, max(1.0, *(end for end in ends if np.isfinite(end))))
    across = np.geomspace(_LEAST, most, _PLACES)
    tails = {place: found[place].tail for place in coloured}
    tops = [float(row.at(np.array([most]))[0]) for row in found.values()]
    tops += [float(tail.sensitivity.max()) for tail in tails.values()]
    plot = Plot(
        logarithmic("false components per scan", across),
        linear("lesions found (%)", [100 * share for share in (*tops, *(row.sensitivity for row in found.values()))]),
        height=320,
    )
    marks, knobs = [], []
    for place in sorted(found, key=lambda place: _depth(place, coloured)):
        row, style = found[place], f"c{coloured.index(place)}" if place in coloured else "others"
        ending = np.append(across[across < row.most], min(max(row.most, _LEAST), most))  # beyond, it would go on level
        marks.append(line(plot.across(ending), plot.up(100 * row.at(ending)), style))
        if place in tails:
            tail = tails[place]
            marks.append(line(plot.across(tail.false_per_scan), plot.up(100 * tail.sensitivity), f"{style} tail"))
        dot = plot.across([row.false_per_scan]), plot.up([100 * row.sensitivity])
        knobs.append(points(*dot, f"{style} knob"))
    return plot.svg([*marks, *knobs], f"lesions found against false components per scan, {one.title}")


def _depth(place: int, coloured: list[int]) -> int:
    """The best row lies on top."""
    return -coloured.index(place) if place in coloured else -len(coloured) - 1
