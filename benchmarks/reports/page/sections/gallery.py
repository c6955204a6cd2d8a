"""The gallery: the volumes on which the rows did best, middling and worst, as each row saw them.

Which volumes these are is a rule, so that nobody picks: by the median of the rows' Dice, the highest, the middle and
the lowest of each lesion set. Reconstructions come from where a run kept them; nothing is computed by a network here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from markupsafe import Markup

from .....datasets.cohort import Cohort, Data
from ..html import Section, json_of
from ..pictures import FOUND, TRUE, chosen_slices, grey_strip, map_strip, outline_strip, webp_of_png
from ..solid import Solid, lesions_file, map_file, middle_of, scan_file
from ..study import SetOf, Study
from .kept import Seen, readings_of_set

#: Rows of a case, and slices of a volume, which are halved until the pictures fit their share of the file.
_ROWS, _SLICES, _BUDGET = 8, 24, 9_000_000
#: What pictures and volumes in 3-D share; the anomaly maps in each volume are halved in number until they fit it.
_SHARED_BUDGET = 12_000_000
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
        rule: whose median of the rows' Dice it has: the highest, the middle or the lowest.
        set_title: of its set.
        subject: the scan.
        said: its median Dice.
        ml: its lesion volume.
        slices: which slices are shown, by number within the slices that took part.
        first: place among them of the slice with the most lesion.
        scan: a strip.
        truth: a strip of outlines.
        tiles: row by row.
        solid: the volume in 3-D; None where no viewer was given.
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
    solid: Solid | None = None

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        strips = [word for tile in self.tiles for word in (tile.reconstruction, tile.heat, tile.found)]
        return sum(map(len, (self.scan, self.truth, *strips)))

    @property
    def solid_data(self) -> Markup:
        """The volume in 3-D as the page's script reads it."""
        return Markup() if self.solid is None else json_of(asdict(self.solid))


@dataclass(frozen=True)
class Drawn:
    """A figure that lies in a record."""

    title: str
    picture: str


def gallery_section(study: Study, data: Data | None, why_not: str, *, in_3d: bool = False) -> Section:
    """The gallery, or the figures that lie in the records.

    Args:
        study: the study.
        data: its data, where they can be opened.
        why_not: a sentence that says why they cannot.
        in_3d: whether volumes are to be shown in 3-D, too.
    """
    cases = () if data is None else _cases_that_fit(study, data, in_3d=in_3d)
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


def _cases_that_fit(study: Study, data: Data, *, in_3d: bool) -> tuple[Case, ...]:
    """The cases with as many slices as fit, and with as many maps in 3-D."""
    readings = {
        one.key: readings_of_set(study, one, data, [subject for _, subject, _ in chosen_volumes(study, one)], _ROWS)
        for one in study.lesion_sets
        if one.key in data.lesions
    }
    slices = _SLICES
    while True:
        cases = tuple(_cases(study, data, readings, slices, in_3d=in_3d))
        if slices == 1 or sum(case.size for case in cases) <= _BUDGET:
            return _with_maps_that_fit(cases)
        slices //= 2


def _with_maps_that_fit(cases: Sequence[Case]) -> tuple[Case, ...]:
    """The cases, each with the anomaly maps in 3-D of as many rows as fit, the best first; of one at least."""
    most, room = _ROWS, _SHARED_BUDGET - sum(case.size for case in cases)
    while True:
        fewer = tuple(
            case if case.solid is None else replace(case, solid=replace(case.solid, maps=case.solid.maps[:most]))
            for case in cases
        )
        if most == 1 or sum(case.solid.size for case in fewer if case.solid) <= room:
            return fewer
        most //= 2


def _cases(
    study: Study, data: Data, readings: Mapping[str, Mapping[str, list[Seen]]], slices: int, *, in_3d: bool
) -> Iterator[Case]:
    for one in study.lesion_sets:
        sizes = study.lesion_ml(one.key)
        for rule, subject, median in chosen_volumes(study, one):
            seen = readings.get(one.key, {}).get(subject, [])
            if seen:
                words = (f"{rule} median", one.title, subject, f"Median Dice of the rows {100 * median:.1f} %")
                yield _case(words, f"{sizes[subject]:.1f}", data.lesions[one.key], seen, slices, in_3d=in_3d)


def _case(
    words: tuple[str, str, str, str], ml: str, cohort: Cohort, seen: Sequence[Seen], most: int, *, in_3d: bool
) -> Case:
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
        _solid(seen, truth, cohort.store.voxel_mm) if in_3d else None,
    )


def _solid(seen: Sequence[Seen], lesions: np.ndarray, voxel_mm: float) -> Solid:
    maps = tuple((one.row.title, map_file(one.reading.score_map, one.threshold, voxel_mm)) for one in seen)
    scan = scan_file(seen[0].reading.original, voxel_mm)
    return Solid(scan, lesions_file(lesions, voxel_mm), maps, middle_of(lesions))


def _figures_of_records(study: Study) -> Iterator[Drawn]:
    """The figure of one cell of each row, where it has one."""
    for row in study.rows:
        figure = next((record.figure for record in row.records if record.figure.is_file()), None)
        if figure is not None:
            yield Drawn(row.title, webp_of_png(figure.read_bytes(), _FIGURE_WIDTH))
