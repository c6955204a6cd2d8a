"""A contact sheet of what the methods learn from and are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...datasets.cohort import Cohort, Data
from ..engine.samples import Mask
from .drawing import TRUE, axes_grid, grey, outline, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    figure.suptitle(f"{data.title}, {data.modality.upper()}", fontsize=11, y=0.995)
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
