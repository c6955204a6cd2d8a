"""Plots of one experiment over its folds: training curves, and a point per test volume."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 130
_WIDTH, _HEIGHT = 7.2, 3.6  # inches
_MEAN = "#d1495b"


@dataclass(frozen=True)
class FoldCurve:
    """The training of a fold.

    Attributes:
        fold: its index.
        epochs: of its validations.
        train: training loss at each.
        validation: healthy validation loss at each.
    """

    fold: int
    epochs: Sequence[int]
    train: Sequence[float]
    validation: Sequence[float]


def training_plot(curves: Sequence[FoldCurve], title: str) -> bytes:
    """Losses by epoch, a colour per fold, as PNG.

    Args:
        curves: of the folds.
        title: of the picture.

    Raises:
        UserError: matplotlib is not installed, or there is nothing to draw.
    """
    figure = _figure(curves, "no fold has a training curve")
    axes = figure.subplots()
    for number, curve in enumerate(curves):
        colour = f"C{number % 10}"
        axes.plot(curve.epochs, curve.train, color=colour, linewidth=0.9, alpha=0.45)
        axes.plot(curve.epochs, curve.validation, color=colour, linewidth=1.4, label=f"fold {curve.fold}")
    lows = [min(part) for curve in curves for part in (curve.train, curve.validation) if len(part)]
    if lows and min(lows) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss (validation strong, training pale)")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7, frameon=False, ncols=2)
    return _png(figure)


def volumes_plot(values: Mapping[str, Sequence[Sequence[float]]], label: str, title: str) -> bytes:
    """A point per test volume, a strip per data set, with the mean over volumes, as PNG.

    Args:
        values: title of each data set to the scores of its volumes by fold, [folds][volumes].
        label: of the axis.
        title: of the picture.

    Raises:
        UserError: matplotlib is not installed, or there is nothing to draw.
    """
    figure = _figure(values, "no volume has a score")
    panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axes, (name, folds) in zip(panels, values.items(), strict=True):
        for number, scores in enumerate(folds):
            finite = np.array([score for score in scores if np.isfinite(score)])
            # The same shift for the same place in the list: nothing is drawn at random.
            shift = 0.5 * ((np.arange(len(finite)) * 0.618034) % 1 - 0.5)
            axes.plot(number + shift, finite, "o", markersize=2.6, color=f"C{number % 10}", alpha=0.55, linewidth=0)
            if len(finite):
                axes.plot([number - 0.35, number + 0.35], [finite.mean()] * 2, color=_MEAN, linewidth=1.6)
        axes.set_title(name, fontsize=8)
        axes.set_xticks(range(len(folds)), [str(number) for number in range(len(folds))])
        axes.set_xlabel("fold", fontsize=8)
    panels[0].set_ylabel(label)
    figure.suptitle(title, fontsize=9)
    return _png(figure)


def _figure(drawn: Sized, missing: str) -> Figure:
    """An empty figure for what is to be drawn; `missing` says what there is none of."""
    if not drawn:
        raise UserError(f"there is nothing to draw: {missing}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure as MatplotlibFigure
    except ImportError as error:
        raise UserError("matplotlib is not installed here; plots are drawn where it is") from error
    figure = MatplotlibFigure(figsize=(_WIDTH, _HEIGHT), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    for axes in figure.axes:
        axes.grid(True, color="0.93")
        axes.tick_params(labelsize=7)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.savefig(content, format="png", dpi=_DPI)
    return content.getvalue()
