"""Reconstruction, anomaly map and truth of the same volumes: what Figure 3 of the MAEDiff paper shows.

All maps of a figure share one scale, so that a faint map looks faint; slices are chosen by the truth, never by a score.
How slices are drawn is told in `drawing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Draw a row a volume: original, reconstruction, anomaly map, prediction at the threshold, ground truth.

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


def comparison_figure(groups: Mapping[str, Sequence[Sample]], path: Path) -> None:
    """Draw methods side by side: under each its reconstruction and its anomaly map of the same volumes.

    Args:
        groups: title of a method to its samples; every method has the same volumes in the same order.
        path: the PNG to write.

    Raises:
        UserError: there is nothing to draw, the methods differ in their volumes, matplotlib is not installed, or the
            file cannot be written.
    """
    first = _same_volumes(groups)
    names = [(f"{sample.title.splitlines()[0]}\nslice {sample.slice_index}", "anomaly map") for sample in first]
    figure, grid = axes_grid([name for pair in names for name in pair], len(groups) + 1, right=0.75)
    tops = {title: _map_top(samples) for title, samples in groups.items()}
    common = _common_top(list(tops.values()))
    for column, (title, samples) in enumerate(groups.items()):
        own = tops[title] > common
        grid[0][column].set_title(f"{title}\n(maps: own scale, 0 to {tops[title]:.2g})" if own else title, fontsize=8.5)
        for number, sample in enumerate(samples):
            index = first[number].slice_index
            grey(grid[2 * number][column], sample.reconstruction[index])
            heat(grid[2 * number + 1][column], sample.score_map[index], tops[title] if own else common)
    grid[0][-1].set_title("original and truth", fontsize=8.5)
    for number, sample in enumerate(first):
        grey(grid[2 * number][-1], sample.original[sample.slice_index])
        _truth(grid[2 * number + 1][-1], sample, sample.slice_index)
    colour_bar(figure, common)
    save(figure, path)


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


def _common_top(tops: Sequence[float]) -> float:
    """The scale that methods share; one whose scores are of another kind (Thresh: intensities) is not squeezed in."""
    middle = sorted(tops)[(len(tops) - 1) // 2]
    return max(top for top in tops if top <= 3 * middle)


def _same_volumes(groups: Mapping[str, Sequence[Sample]]) -> Sequence[Sample]:
    """The samples of the first method, after checking that all methods have the same volumes.

    Raises:
        UserError: they differ, or there is none.
    """
    if not groups:
        raise UserError("there is nothing to compare: no method has a finished run")
    first = next(iter(groups.values()))
    for title, samples in groups.items():
        same = len(samples) == len(first) and all(
            np.array_equal(one.original, other.original) for one, other in zip(samples, first, strict=True)
        )
        if not same:
            raise UserError(
                f"{title} was run on other volumes than {next(iter(groups))}; compare runs on the same data"
            )
    return first
