"""Training curves: whether the networks had learnt what they could."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from ....records.record import RunRecord
from ....records.record_files import Epoch, RecordError
from ..html import Figure, Section
from ..study import Study, StudyRow
from ..svg.axis import Axis, linear, logarithmic
from ..svg.marks import line
from ..svg.plot import Plot

#: Points of a curve at most.
_POINTS = 120
#: A loss that falls by more than this is drawn on a scale of decades.
_STEEP = 8.0


def training_section(study: Study) -> Section:
    """A small figure per trained row: the validation loss of every fold, and behind it the training loss."""
    figures = tuple(figure for row in study.rows if (figure := _figure(row)) is not None)
    lead = (
        "Loss on healthy validation scans by epoch, a line per fold, and behind it, fainter, the loss in training. The "
        "weights of the lowest validation loss are those that were scored. Losses of different methods do not compare."
        if figures
        else "No row of this study keeps a training history."
    )
    return Section("training", "Training", lead=(lead,), figures=figures, content={"small": True})


def _figure(row: StudyRow) -> Figure | None:
    histories = [history for record in row.records if (history := _history(record))]
    if not histories:
        return None
    losses = [value for history in histories for epoch in history for value in (epoch.val_loss, epoch.train_loss)]
    epochs = [epoch.epoch + 1 for history in histories for epoch in history]
    plot = Plot(linear("epoch", epochs, most=5), _loss_axis(losses), height=170, width=300, left=52)
    marks = [
        *(_curve(plot, history, "train_loss", "others") for history in histories),
        *(_curve(plot, history, "val_loss", "c0 thin") for history in histories),
    ]
    best = [min(epoch.val_loss for epoch in history) for history in histories]
    said = f"{len(histories)} folds; lowest validation loss {min(best):.3g} to {max(best):.3g}"
    return Figure(plot.svg(marks, f"training of {row.title}: loss by epoch, {said}"), said, row.title)


def _history(record: RunRecord) -> tuple[Epoch, ...]:
    """The history of a cell; none where it is damaged."""
    try:
        return record.history()
    except RecordError:
        return ()


def _loss_axis(losses: Sequence[float]) -> Axis:
    there = [loss for loss in losses if math.isfinite(loss)]
    if there and min(there) > 0 and max(there) / min(there) > _STEEP:
        return logarithmic("loss", there)
    return linear("loss", there, zero=False, most=4)


def _curve(plot: Plot, history: Sequence[Epoch], what: str, style: str) -> Markup:
    kept = np.unique(np.linspace(0, len(history) - 1, min(_POINTS, len(history))).round().astype(int))
    x = [history[place].epoch + 1 for place in kept]
    y = [getattr(history[place], what) for place in kept]
    return line(plot.across(x), plot.up(y), style)
