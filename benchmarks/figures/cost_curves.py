"""Cost against size on log axes, a panel a curve, with the line along which twice the size costs twice the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from ..speed.curves import Curve
from .drawing import save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _HEIGHT = 2.9, 2.7  # of a panel, inches
_PER_ROW = 3


def draw_curves(curves: Sequence[Curve], title: str, path: Path) -> None:
    """Draw curves and write the picture as PNG.

    Args:
        curves: a panel each.
        title: what was measured, and where.
        path: of the picture.

    Raises:
        UserError: matplotlib is not installed, there is nothing to draw, or the file cannot be written.
    """
    if not curves:
        raise UserError("there is nothing to draw: no size of this method could be timed")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("matplotlib is not installed here, and --figure needs it; leave it out") from error
    columns = min(_PER_ROW, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(columns * _WIDTH, rows * _HEIGHT + 0.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, curve in zip(grid, curves, strict=False):
        _panel(axes, curve)
    for axes in grid[len(curves) :]:
        axes.set_visible(False)
    figure.suptitle(title, fontsize=9)
    save(figure, path)


def _panel(axes: Axes, curve: Curve) -> None:
    from matplotlib.ticker import NullFormatter, NullLocator

    first, last = curve.sizes[0], curve.sizes[-1]
    whole = curve.seconds[-1]
    axes.loglog([first, last], [whole * first / last, whole], color="0.7", linestyle="--", linewidth=1, label="∝ size")
    label = f"measured, ∝ size^{curve.exponent:.2f}"
    axes.loglog(curve.sizes, curve.seconds, color="#1f5fa8", marker="o", markersize=4, linewidth=1.4, label=label)
    axes.set_title(curve.title, fontsize=9)
    axes.set_xlabel(curve.size, fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(curve.sizes, [f"{size:g}" for size in curve.sizes])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=7)
    axes.grid(True, which="major", color="0.92")
    axes.legend(fontsize=7, frameon=False, loc="lower right")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
