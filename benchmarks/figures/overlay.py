"""The picture of a prediction: the scan as it was given, what the method makes of it, and what stands out.

A row a finding, the largest first; in each the slices through its centre. All is drawn in the scan's own world, turned
to the axes of the body and at 1 mm, so that a scan of thick or oblique slices looks as a reader expects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .drawing import axes_grid, colour_bar, grey, outline, save, veil

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEADS = ("scan", "reconstruction", "anomaly map, axial", "coronal", "sagittal")
_MOST_ROWS = 4
_OUTLINE = "#35e0ff"  # none of the map's colours comes near it


@dataclass(frozen=True)
class Place:
    """A finding to draw.

    Attributes:
        title: words at the left; may hold line breaks.
        voxel: its centre (z, y, x) in the arrays.
    """

    title: str
    voxel: tuple[int, int, int]


@dataclass(frozen=True)
class View:
    """A prediction at 1 mm in RAS order, all arrays [Z, Y, X].

    Attributes:
        scan: intensities scaled to [0, 1].
        reconstruction: the same of the reconstruction.
        score_map: anomaly score.
        found: score above the threshold, small components dropped.
        threshold: of the score.
        places: the findings, the largest first; empty if nothing was found.
    """

    scan: NDArray[np.float32]
    reconstruction: NDArray[np.float32]
    score_map: NDArray[np.float32]
    found: NDArray[np.bool_]
    threshold: float
    places: tuple[Place, ...]


def overlay_figure(view: View, path: Path, title: str, notice: str) -> None:
    """Draw the largest findings; the middle of the volume where there is none.

    Args:
        view: what to draw.
        path: the PNG to write.
        title: above the picture; may hold line breaks.
        notice: below it.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    z, y, x = (size // 2 for size in view.scan.shape)
    places = view.places[:_MOST_ROWS] or (Place("nothing above\nthe threshold", (z, y, x)),)
    figure, grid = axes_grid([place.title for place in places], len(_HEADS), right=0.85, gap=0.06)
    top = _top(view)
    for axes, head in zip(grid[0], _HEADS, strict=True):
        axes.set_title(head, fontsize=8.5)
    for row, place in zip(grid, places, strict=True):
        _draw_place(row, view, place, top)
    colour_bar(figure, top, f"anomaly score; outlined above {view.threshold:.3g}")
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.5)
    _squeeze(figure.axes, height, height + 0.5)
    figure.suptitle(title, fontsize=9, y=0.995)
    figure.text(0.5, 0.06 / (height + 0.5), notice, ha="center", va="bottom", fontsize=7, color="#555555")
    save(figure, path)


def _squeeze(axes: Sequence[Axes], before: float, after: float) -> None:
    """Keep the pictures' size in a taller figure, which leaves room above and below them."""
    for one in axes:
        box = one.get_position()
        one.set_position((box.x0, (box.y0 * before + 0.15) / after, box.width, box.height * before / after))


def _draw_place(row: Sequence[Axes], view: View, place: Place, top: float) -> None:
    z, y, x = place.voxel
    axial: tuple[slice | int, ...] = (z,)
    coronal, sagittal = (slice(None), y), (slice(None), slice(None), x)
    grey(row[0], view.scan[axial])
    grey(row[1], view.reconstruction[axial])
    for axes, cut in zip(row[2:], (axial, coronal, sagittal), strict=True):
        grey(axes, view.scan[cut])
        veil(axes, view.score_map[cut], top)
        outline(axes, view.found[cut], _OUTLINE)
    style: dict[str, Any] = {
        "color": "white",
        "fontsize": 6,
        "va": "center",
        "bbox": {"facecolor": "black", "pad": 0.6},
    }
    for axes in row:
        left, right = ("P", "A") if axes is row[-1] else ("L", "R")
        axes.text(0.02, 0.5, left, transform=axes.transAxes, ha="left", **style)
        axes.text(0.98, 0.5, right, transform=axes.transAxes, ha="right", **style)


def _top(view: View) -> float:
    """Upper end of the colours: what one scored voxel in a thousand exceeds, and at least one and a half thresholds."""
    positive = view.score_map[view.score_map > 0]
    high = float(np.quantile(positive, 0.999)) if positive.size else 0.0
    return max(high, 1.5 * view.threshold, 1e-6)
