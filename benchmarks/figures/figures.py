"""Pictures to look at before believing a number.

`reconstruction_figure` and `comparison_figure` show what Figure 3 of the MAEDiff paper shows: reconstruction, anomaly
map and truth of the same volumes. `cohort_sheet` shows what the methods learn from and are tested on. All maps of a
figure share one scale, so that a faint map looks faint; slices are chosen by the truth, never by a score.
How slices are drawn is told in `drawing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import Cohort, Data
from ...errors import UserError
from ...metrics import remove_small_components
from .drawing import FOUND, TRUE, axes_grid, colour_bar, fill, grey, heat, outline, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """One volume as a method saw it.

    Attributes:
        title: words at the left; may hold line breaks.
        original: intensities in [0, 1], [D, H, W].
        reconstruction: the healthy reference, [D, H, W].
        score_map: anomaly score after post-processing, [D, H, W].
        truth: lesion mask, [D, H, W]; None for a healthy volume.
        threshold: score above it is lesion; None where no threshold belongs to the volume.
    """

    title: str
    original: Volume
    reconstruction: Volume
    score_map: Volume
    truth: Mask | None
    threshold: float | None

    @property
    def slice_index(self) -> int:
        """The slice with the most lesion; the middle one of a healthy volume."""
        if self.truth is None or not self.truth.any():
            return int(self.original.shape[0] // 2)
        return int(np.argmax(self.truth.sum(axis=(1, 2))))


def reconstruction_figure(samples: Sequence[Sample], path: Path, *, min_voxels: int = 1) -> None:
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


def cohort_sheet(data: Data, path: Path, *, subjects: int = 6, slices: int = 3) -> None:
    """Draw a contact sheet: healthy subjects by site and age, then the lesion sets with their lesions outlined.

    Args:
        data: the data source.
        path: the PNG to write.
        subjects: how many of each set.
        slices: how many of each subject.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    cohorts = data.cohorts
    columns = min(3, subjects)
    blocks = [block for cohort in cohorts for block in _blocks(cohort, spread_subjects(cohort, subjects), columns)]
    names = [f"{block[0][0].title}\n({len(block[0][0].store.ids)} subjects)" for block in blocks]
    figure, grid = axes_grid(names, columns * slices, right=0.1, gap=0.2)
    for row, block in zip(grid, blocks, strict=True):
        for number, (cohort, subject) in enumerate(block):
            _draw_subject(row[number * slices : (number + 1) * slices], cohort, subject)
    figure.suptitle(data.title, fontsize=11, y=0.995)
    save(figure, path)


def spread_subjects(cohort: Cohort, count: int) -> list[str]:
    """Subjects that show the range of a set: by site and age where healthy, by lesion volume where not."""
    store = cohort.store
    if store.has_lesions:
        order = sorted(store.ids, key=lambda subject: (int(store.lesion_mask(subject).sum()), subject))
        return _evenly(order, count)
    sites: dict[str, list[tuple[float, str]]] = {}
    for subject in store.subjects:
        age = -1.0 if subject.age is None else subject.age
        sites.setdefault(subject.site or "", []).append((age, subject.id))
    shares = [count // len(sites) + (rank < count % len(sites)) for rank in range(len(sites))]
    chosen = []
    for (_, members), share in zip(sorted(sites.items()), shares, strict=True):
        chosen += _evenly([subject for _, subject in sorted(members)], share)
    return chosen


def _evenly(order: Sequence[str], count: int) -> list[str]:
    """Pick evenly, both ends included."""
    if count >= len(order):
        return list(order)
    places = np.linspace(0, len(order) - 1, count) if count > 1 else np.array([len(order) // 2] * count)
    return [order[round(float(place))] for place in places]


def _blocks(cohort: Cohort, subjects: Sequence[str], columns: int) -> list[list[tuple[Cohort, str]]]:
    """The subjects of one cohort, cut into rows of the sheet."""
    pairs = [(cohort, subject) for subject in subjects]
    return [pairs[start : start + columns] for start in range(0, len(pairs), columns)]


def _draw_subject(row: Sequence[Axes], cohort: Cohort, subject: str) -> None:
    """A few slices of one subject; where there are lesions, from the first to the last slice that holds one."""
    volume = cohort.store.volume(subject)
    lesion = cohort.store.lesion_mask(subject) if cohort.store.has_lesions else None
    depth = volume.shape[0]
    low, high = round(0.3 * depth), round(0.7 * depth)
    if lesion is not None and lesion.any():
        held = np.flatnonzero(lesion.any(axis=(1, 2)))
        low, high = int(held[len(held) // 5]), int(held[-1 - len(held) // 5])
    for axes, place in zip(row, np.linspace(low, high, len(row)), strict=True):
        index = round(float(place))
        grey(axes, volume[index])
        if lesion is not None:
            outline(axes, lesion[index], TRUE)
    row[0].set_title(_subject_title(cohort, subject, lesion), fontsize=6.5, loc="left", pad=2)


def _subject_title(cohort: Cohort, subject: str, lesion: Mask | None) -> str:
    person = next(known for known in cohort.store.subjects if known.id == subject)
    age = "" if person.age is None else f"{person.age:.0f} years"
    load = "" if lesion is None else f"{lesion.sum() * cohort.store.voxel_ml:.1f} ml"
    return ", ".join(word for word in (subject, person.site or "", age, load) if word)


# ---------------------------------------------------------------------------------------------------------------------
# Parts of the figures


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
