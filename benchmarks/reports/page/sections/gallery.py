"""The gallery: the volumes on which the rows did best, middling and worst, as each row saw them.

Which volumes these are is a rule, so that nobody picks: by the median of the rows' Dice, the highest, the middle and
the lowest of each lesion set. Reconstructions come from where a run kept them; nothing is computed by a network here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .....datasets.cohort import Cohort, Data
from .....errors import UserError
from ....records.record import RunRecord
from ..html import Section
from ..pictures import FOUND, TRUE, chosen_slices, grey_strip, map_strip, outline_strip, webp_of_png
from ..study import SetOf, Study, StudyRow
from .volumes import best_rows

if TYPE_CHECKING:
    from ....engine.reading import Reader
    from ....engine.scoring import Reading

#: Rows of a case, and slices of a volume; halved until the pictures fit their share of the file.
_ROWS, _SLICES, _BUDGET = 8, 24, 9_000_000
_FIGURE_WIDTH = 760


@dataclass(frozen=True)
class Tile:
    """What a row made of a volume.

    Attributes:
        title: the row's.
        said: its Dice on the volume in this fold.
        reconstruction: a strip.
        heat: a strip of the anomaly map; its middle grey is the threshold.
        found: a strip of outlines.
    """

    title: str
    said: str
    reconstruction: str
    heat: str
    found: str


@dataclass(frozen=True)
class Case:
    """A volume of the gallery.

    Attributes:
        rule: best, median or worst.
        set_title: of its set.
        subject: the scan.
        said: its median Dice.
        ml: its lesion volume.
        slices: which slices are shown, by number within the slices that took part.
        first: place among them of the slice with the most lesion.
        scan: a strip.
        truth: a strip of outlines.
        tiles: row by row.
    """

    rule: str
    set_title: str
    subject: str
    said: str
    ml: str
    slices: tuple[int, ...]
    first: int
    scan: str
    truth: str
    tiles: tuple[Tile, ...]

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        strips = [word for tile in self.tiles for word in (tile.reconstruction, tile.heat, tile.found)]
        return sum(map(len, (self.scan, self.truth, *strips)))


@dataclass(frozen=True)
class Drawn:
    """A figure that lies in a record."""

    title: str
    picture: str


def gallery_section(study: Study, data: Data | None, why_not: str) -> Section:
    """The gallery, or the figures that lie in the records.

    Args:
        study: the study.
        data: its data, where they can be opened.
        why_not: a sentence that says why they cannot.
    """
    cases = () if data is None else _cases_that_fit(study, data)
    drawn = () if cases else tuple(_figures_of_records(study))
    missing = why_not if data is None else _NOT_KEPT
    lead = (
        _LEAD
        if cases
        else f"{missing} {'Shown: the figures that the runs drew, of one fold of each row.' if drawn else ''}"
    )
    return Section(
        "gallery",
        "Volumes as the methods saw them",
        "gallery.html.j2",
        lead=(lead.strip(),),
        content={"cases": cases, "drawn": drawn},
    )


_LEAD = (
    "Of each lesion set the volume with the highest, the middle and the lowest median of the rows' Dice: chosen by "
    "this rule, not by hand. Shown are the rows with the highest mean Dice on the set, eight at most, and of each "
    "the first fold. In a map the run's threshold is the middle grey."
)
_NOT_KEPT = (
    "No reconstruction of these volumes is kept, so they cannot be shown without a network; run with --set "
    "score.keep=reconstructions to have them here."
)


def chosen_volumes(study: Study, one: SetOf) -> list[tuple[str, str, float]]:
    """Rule, scan and median Dice of the volumes that the gallery shows of a set; it may have fewer than three."""
    frame = study.by_volume(one.key, "dice")
    competing = [row.place for row in study.rows if row.competes] or [row.place for row in study.rows]
    medians = frame[competing].median(axis=1).dropna().sort_values(kind="stable")
    if not len(medians):
        return []
    chosen = {0: "lowest", (len(medians) - 1) // 2: "middle", len(medians) - 1: "highest"}
    return [
        (chosen[place], str(medians.index[place]), float(medians.iloc[place])) for place in sorted(chosen, reverse=True)
    ]


def _cases_that_fit(study: Study, data: Data) -> tuple[Case, ...]:
    """The cases with as many slices as fit."""
    readings = {one.key: _readings_of_set(study, one, data) for one in study.lesion_sets if one.key in data.lesions}
    slices = _SLICES
    while True:
        cases = tuple(_cases(study, data, readings, slices))
        if slices == 1 or sum(case.size for case in cases) <= _BUDGET:
            return cases
        slices //= 2


@dataclass(frozen=True, eq=False)
class _Seen:
    """A volume as a row saw it."""

    row: StudyRow
    reading: Reading
    found: np.ndarray
    threshold: float
    dice: float


def _readings_of_set(study: Study, one: SetOf, data: Data) -> dict[str, list[_Seen]]:
    """By scan, what the rows made of the chosen volumes of a set; rows that kept nothing are left out."""
    subjects = [subject for _, subject, _ in chosen_volumes(study, one)]
    seen: dict[str, list[_Seen]] = {subject: [] for subject in subjects}
    shown = 0
    for place in best_rows(study, one, len(study.rows)):
        row = study.rows[place]
        found = list(_seen_by(study, row, data, data.lesions[one.key], subjects)) if row.records else []
        for subject, sight in found:
            seen[subject].append(sight)
        shown += bool(found)
        if shown == _ROWS:
            break
    return seen


def _seen_by(
    study: Study, row: StudyRow, data: Data, cohort: Cohort, subjects: Sequence[str]
) -> Iterator[tuple[str, _Seen]]:
    from ....engine.scoring import binarise

    record = row.records[0]
    reader = _reader(study, row, record, data)
    threshold = record.thresholds.get(cohort.key)
    if reader is None or reader.kept is None or threshold is None:
        return
    _, height, width = cohort.store.shape
    count = 1 if reader.score is None else reader.score.reconstructions
    scores = {(score.role, score.subject): score.dice for score in record.scores()}
    for subject in subjects:
        if reader.kept.read(cohort, subject, (count, reader.slab.stop - reader.slab.start, height, width)) is None:
            continue
        reading = reader.read(cohort, subject)
        found = binarise(reading.score_map, threshold.greedy, reader.settings)
        dice = scores.get((cohort.key, subject))
        yield subject, _Seen(row, reading, found, threshold.greedy, float("nan") if dice is None else dice)


def _reader(study: Study, row: StudyRow, record: RunRecord, data: Data) -> Reader | None:
    """A reader of what a cell kept; None where it kept nothing, or where weights are gone that its map needs."""
    from dataclasses import replace

    from ....engine.job import Job
    from ....engine.reading import reader_of
    from ....plan.plan import plan_for
    from ....records.kept import FOLDER
    from ....records.reuse import kept_reconstructions

    if not any((other.folder / FOLDER).is_dir() for other in row.records[:1]) and not row.entry.score:
        return None
    preset = study.question.preset
    plan = plan_for(preset, row.entry.card, row.entry.row, row.entry.score)
    job = Job(row.entry, preset.label, plan, data, record.config.fold, study.question.seed)
    try:
        kept = kept_reconstructions(record.folder.parent, job.cell)
        return None if kept is None else replace(reader_of(job, record, "cpu"), kept=kept)
    except UserError:
        return None


def _cases(study: Study, data: Data, readings: Mapping[str, Mapping[str, list[_Seen]]], slices: int) -> Iterator[Case]:
    for one in study.lesion_sets:
        sizes = study.lesion_ml(one.key)
        for rule, subject, median in chosen_volumes(study, one):
            seen = readings.get(one.key, {}).get(subject, [])
            if seen:
                words = (f"{rule} median", one.title, subject, f"Median Dice of the rows {100 * median:.1f} %")
                yield _case(words, f"{sizes[subject]:.1f}", data.lesions[one.key], seen, slices)


def _case(words: tuple[str, str, str, str], ml: str, cohort: Cohort, seen: Sequence[_Seen], most: int) -> Case:
    """A case of so many slices at most; `words` are rule, set, subject and median Dice."""
    from ....engine.scoring import lesion_mask
    from ....engine.slices import Slab

    first = seen[0].reading
    depth = first.original.shape[0]
    truth = lesion_mask(cohort, words[2], Slab.central(cohort.store.shape[0], depth))
    slices = chosen_slices(truth, depth, most)
    tiles = tuple(
        Tile(
            one.row.title,
            "no lesion in view" if np.isnan(one.dice) else f"Dice {100 * one.dice:.1f} %",
            grey_strip(one.reading.reconstruction, slices),
            map_strip(one.reading.score_map, slices, one.threshold),
            outline_strip(one.found, slices, FOUND),
        )
        for one in seen
    )
    return Case(
        *words,
        ml,
        tuple(slices),
        int(np.argmax(truth[slices].sum(axis=(1, 2)))),
        grey_strip(first.original, slices),
        outline_strip(truth, slices, TRUE),
        tiles,
    )


def _figures_of_records(study: Study) -> Iterator[Drawn]:
    """The figure of one cell of each row, where it has one."""
    for row in study.rows:
        figure = next((record.figure for record in row.records if record.figure.is_file()), None)
        if figure is not None:
            yield Drawn(row.title, webp_of_png(figure.read_bytes(), _FIGURE_WIDTH))
