"""Reconstruction, anomaly map and truth of the same volumes: what Figure 3 of the MAEDiff paper shows.

Maps of one kind of score share one scale per figure; slices are chosen by the truth, never by a score.
How slices are drawn is told in `drawing`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import UserError
from ...metrics import remove_small_components
from ..engine.samples import Sample
from .drawing import FOUND, TRUE, axes_grid, colour_bar, fill, grey, heat, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def reconstruction_figure(samples: Sequence[Sample], path: Path, min_voxels: int = 1) -> None:
    """Draw a row per volume: original, reconstruction, anomaly map, prediction at the threshold, ground truth.

    Args:
        samples: the volumes, from top to bottom; at least one.
        path: the PNG to write.
        min_voxels: components of fewer voxels are dropped from the prediction, as for the Dice score.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    heads = ("original", "reconstruction", "anomaly map", "prediction", "ground truth")
    names = [f"{sample.title}\nslice {sample.slice_index}" for sample in samples]
    figure, grid = axes_grid(names, len(heads), right=0.75)
    top = _map_top(samples)
    for axes, head in zip(grid[0], heads, strict=True):
        axes.set_title(head, fontsize=9)
    for row, sample in zip(grid, samples, strict=True):
        index = sample.slice_index
        grey(row[0], sample.original[index])
        grey(row[1], sample.reconstruction[index])
        heat(row[2], sample.score_map[index], top)
        _prediction(row[3], sample, index, min_voxels)
        _truth(row[4], sample, index)
    colour_bar(figure, top)
    save(figure, path)


@dataclass(frozen=True)
class MethodMaps:
    """What one method makes of the volumes of a comparison.

    Attributes:
        title: the method's.
        kind: what its anomaly score is, e.g. a residual or a grey value; maps of one kind share one scale.
        samples: the volumes; every method has the same ones in the same order.
    """

    title: str
    kind: str
    samples: tuple[Sample, ...]


def comparison_figure(methods: Sequence[MethodMaps], path: Path) -> None:
    """Draw methods side by side: under each its reconstruction and its anomaly map of the same volumes.

    Maps of one kind of score share one scale, which ends where the middle one of the methods does: a map that is louder
    is cut off there, and the faint ones can be read.

    Args:
        methods: what to draw, from left to right.
        path: the PNG to write.

    Raises:
        UserError: there is nothing to draw, the methods differ in their volumes, matplotlib is not installed, or the
            file cannot be written.
    """
    first = _same_volumes(methods)
    names = [(f"{sample.title.splitlines()[0]}\nslice {sample.slice_index}", "anomaly map") for sample in first]
    figure, grid = axes_grid([name for pair in names for name in pair], len(methods) + 1, right=0.75)
    tops = _tops(methods)
    for column, method in enumerate(methods):
        grid[0][column].set_title(method.title, fontsize=8.5)
        for number, sample in enumerate(method.samples):
            index = first[number].slice_index
            grey(grid[2 * number][column], sample.reconstruction[index])
            heat(grid[2 * number + 1][column], sample.score_map[index], tops[method.kind])
    grid[0][-1].set_title("original and truth", fontsize=8.5)
    for number, sample in enumerate(first):
        grey(grid[2 * number][-1], sample.original[sample.slice_index])
        _truth(grid[2 * number + 1][-1], sample, sample.slice_index)
    for place, (kind, top) in enumerate(tops.items()):
        colour_bar(figure, top, kind, place=place, places=len(tops))
    save(figure, path)


def _tops(methods: Sequence[MethodMaps]) -> dict[str, float]:
    """By kind of score, where its scale ends: at the (lower) middle one of its methods' own ends."""
    own: dict[str, list[float]] = {}
    for method in methods:
        own.setdefault(method.kind, []).append(_map_top(method.samples))
    return {kind: sorted(ends)[(len(ends) - 1) // 2] for kind, ends in own.items()}


def _prediction(axes: Axes, sample: Sample, index: int, min_voxels: int) -> None:
    grey(axes, sample.original[index])
    if sample.threshold is None:
        axes.set_xlabel("no threshold", fontsize=6.5, labelpad=1)
        return
    found = remove_small_components(sample.score_map > sample.threshold, min_voxels)
    fill(axes, found[index], FOUND)
    axes.text(2, 2, f"score > {sample.threshold:.3g}", color="white", fontsize=6, va="bottom")


def _truth(axes: Axes, sample: Sample, index: int) -> None:
    grey(axes, sample.original[index])
    if sample.truth is not None:
        fill(axes, sample.truth[index], TRUE)


def _map_top(samples: Sequence[Sample]) -> float:
    """Common upper end of the maps' scale: what one voxel in a thousand of the scores above zero exceeds."""
    values = [sample.score_map[sample.score_map > 0] for sample in samples]
    pooled = np.concatenate(values) if values else np.empty(0)
    return float(np.quantile(pooled, 0.999)) if pooled.size else 1.0


def _same_volumes(methods: Sequence[MethodMaps]) -> Sequence[Sample]:
    """The samples of the first method, after checking that all methods have the same volumes.

    Raises:
        UserError: they differ, or there is none.
    """
    if not methods:
        raise UserError("there is nothing to compare: no method has a finished run")
    first = methods[0].samples
    for method in methods:
        same = len(method.samples) == len(first) and all(
            np.array_equal(one.original, other.original) for one, other in zip(method.samples, first, strict=True)
        )
        if not same:
            raise UserError(
                f"{method.title} was run on other volumes than {methods[0].title}; compare runs on the same data"
            )
    return first
