"""What the figures are drawn with: axes without frames, slices, maps, outlines, one colour bar.

Axial slices are drawn with the front of the head up and the subject's left on the left, as the arrays lie. matplotlib
is imported inside the functions (a bare GPU node has none) and drawn on without a display.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...files import write_with

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Edge of a picture in inches.
INCH = 1.7
FOUND, TRUE = "#ff3b30", "#34d058"
_DPI = 130
_MAP = "inferno"


def axes_grid(
    names: Sequence[str], columns: int, *, right: float, gap: float = 0.04
) -> tuple[Figure, list[list[Axes]]]:
    """Axes without frames: a row per name, which stands at its left; `right` and `gap` in inches.

    Raises:
        UserError: matplotlib is not installed, or there is nothing to draw.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as MatplotlibFigure
    except ImportError as error:
        from ...out_of_memory import is_out_of_memory

        if is_out_of_memory(error):
            raise
        raise UserError(
            "matplotlib is not installed here; figures are drawn where it is, from the same runs"
        ) from error
    rows = len(names)
    if rows == 0 or columns == 0:
        raise UserError("there is nothing to draw: no volume was given")
    head, left = 0.45, 0.2 + 0.068 * max(len(line) for name in names for line in name.splitlines())
    width, height = left + columns * INCH + right, head + rows * (INCH + gap) + 0.15
    figure = MatplotlibFigure(figsize=(width, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    frame = {"left": left / width, "right": 1 - right / width, "top": 1 - head / height, "bottom": 0.15 / height}
    spec = figure.add_gridspec(rows, columns, **frame, wspace=0.03, hspace=gap / INCH)
    grid = [[figure.add_subplot(spec[row, column]) for column in range(columns)] for row in range(rows)]
    for axes in (axes for line in grid for axes in line):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_frame_on(False)
    for line, name in zip(grid, names, strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7.5, labelpad=6)
    return figure, grid


def grey(axes: Axes, image: NDArray[Any]) -> None:
    """A slice on the fixed scale of prepared intensities."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, origin="lower", interpolation="nearest")


def heat(axes: Axes, image: NDArray[Any], top: float) -> None:
    """An anomaly map from 0 to `top`."""
    axes.imshow(image, cmap=_MAP, vmin=0, vmax=top, origin="lower", interpolation="nearest")


def veil(axes: Axes, image: NDArray[Any], top: float) -> None:
    """An anomaly map over a slice: the higher the score, the less of the slice shines through."""
    opacity = np.clip(image / top, 0, 1) * 0.8
    axes.imshow(image, cmap=_MAP, vmin=0, vmax=top, alpha=opacity, origin="lower", interpolation="nearest")


def fill(axes: Axes, mask: NDArray[Any], colour: str) -> None:
    """A translucent mask with its outline."""
    from matplotlib.colors import to_rgb

    layer = np.zeros((*mask.shape, 4))
    layer[mask] = (*to_rgb(colour), 0.45)
    axes.imshow(layer, origin="lower", interpolation="nearest")
    outline(axes, mask, colour)


def outline(axes: Axes, mask: NDArray[Any], colour: str) -> None:
    """The outline of a mask, where it has one."""
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=0.6)


def colour_bar(
    figure: Figure, top: float, label: str = "anomaly score, one scale for all", *, place: int = 0, places: int = 1
) -> None:
    """A bar at the right edge for the maps that end at `top`; several stand below each other, the first one highest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    width, height = figure.get_size_inches()
    tall = min(0.8 / places, 2.2 / height)
    bottom = 1 - (place + 0.5) / places - tall / 2
    axes = figure.add_axes((1 - 0.7 / width, bottom, 0.12 / width, tall))
    bar = figure.colorbar(ScalarMappable(Normalize(0, top), _MAP), cax=axes, extend="max")
    bar.set_label(label, fontsize=7)
    bar.ax.tick_params(labelsize=6.5)


def save(figure: Figure, path: Path) -> None:
    """Write the figure as PNG, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    write_with(path, lambda partial: figure.savefig(partial, format="png", dpi=_DPI))
