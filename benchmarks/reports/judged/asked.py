"""`bench compare A B`: the cells that are meant, and what comes of comparing them.

Cells are found by what their numbers were made of (the recipe), not by the name of their row: the U-Net of Table 2 is
pDDPM (s16) of Table 1, whichever of them was run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....datasets.modality import Modality
from ....errors import UserError
from ...judgement.by_volume import sets_of
from ...judgement.comparison import compare
from ...judgement.measures import USUAL, scans_of
from ...judgement.scan_numbers import measured, needs_detection, with_scan_numbers
from ...judgement.sentences import sentence_of, sentence_of_seeds
from ...plan.preset import Preset
from ...plan.request import requested_rows
from ...plan.suite import SuiteRow
from ...records.record import RunRecord
from ..cells import (
    cells_of_records,
    cells_without,
    detections_of_records,
    diagonal_mm,
    is_simulated,
    sentence_about,
    volumes_of_records,
)
from ..console import counted
from ..notes import preset_title
from ..provenance import on_version, require_one_version
from ..selection import RowCells, select_cells
from ..tables import data_names
from .caveats import comparison_notes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """What is to be compared.

    Attributes:
        first: a row, as `--method` takes it.
        second: another.
        preset: the numbers that both were run with.
        data: what `--data` took: "phantom" or a directory.
        seed: the seed whose comparison is spoken of; others are shown beside it where both rows have them.
        modality: the contrast of the scans.
        metrics: names of `judgement.scan_numbers.COMPARABLE`.
        fingerprint: of several versions of the data, that whose fingerprint begins so.
    """

    first: str
    second: str
    preset: Preset
    data: str = "phantom"
    seed: int = 0
    modality: Modality = Modality.T2
    metrics: tuple[str, ...] = USUAL
    fingerprint: str = ""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two rows, volume by volume.

    Attributes:
        first: title of the one; differences are its numbers less the other's, and it has the wins.
        second: title of the other.
        frame: a row per seed, set and metric, see `judgement.comparison.COMPARED`; the seed that was asked for first.
        titles: of the sets, by key.
        sentence: what a person would say of it.
        notes: how it was measured, and what a reader must know.
    """

    first: str
    second: str
    frame: pd.DataFrame
    titles: Mapping[str, str]
    sentence: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return self.sentence


def row_of(word: str) -> SuiteRow:
    """The one row that a word of `--method` names.

    Raises:
        UserError: it names none, or several.
    """
    found = requested_rows([word])
    if len(found) > 1:
        raise UserError(f"{word} names {len(found)} rows; compare takes one on each side, such as {found[0].row.name}")
    return found[0]


def comparison_of(records: Sequence[RunRecord], asked: Asked) -> Comparison:
    """Compare two rows by the run records of both.

    Raises:
        UserError: a row has no finished cell, both are the same cells, they share no fold, or they lack what is asked.
        MixedDataError: they were measured on several versions of the data.
    """
    entries = (row_of(asked.first), row_of(asked.second))
    cells = _own_cells(cells_of_records(records), asked)
    pairs = dict(_pairs(entries, cells, asked))
    if asked.seed not in pairs:
        raise UserError(_nothing(entries, cells, asked))
    first, second = (row.title for row in pairs[asked.seed])
    measured_cells = _numbers_of(records, pairs, asked)
    volumes, shown = measured_cells.volumes, {seed: pairs[seed] for seed in measured_cells.seeds}
    numbers = measured(sets_of(volumes), asked.metrics)
    if not numbers:
        raise UserError(f"--metric {asked.metrics[0]}: these runs have no scans that it is measured on")
    frame = _frame(volumes, shown, numbers)
    titles = {key: str(_newest(cells, f"{key}/title")) for key in sets_of(volumes) if scans_of(key) != "healthy at"}
    own = frame[frame["seed"] == asked.seed]
    sentences = [sentence_of(own, first, second, titles), sentence_of_seeds(frame, titles)]
    notes = (
        *_notes(own, shown[asked.seed], cells, titles),
        *comparison_notes(own, first, second, titles, measured_cells.diagonals),
        *measured_cells.notes,
    )
    return Comparison(first, second, frame, titles, " ".join(filter(None, sentences)), notes)


def _own_cells(cells: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """Finished cells on the data that are meant; of several names that these may have, that of the newest counts."""
    names = data_names(asked.data)
    done = cells["done"].astype(bool) & cells["data"].isin(names) & (cells["modality"] == asked.modality.value)
    own = cells[done].sort_values("started")
    return on_version(own[own["data"] == own["data"].iloc[-1]] if len(own) else own, asked.fingerprint)


def _pairs(
    entries: tuple[SuiteRow, SuiteRow], cells: pd.DataFrame, asked: Asked
) -> Iterator[tuple[int, tuple[RowCells, RowCells]]]:
    """By seed, the cells of both rows, where both have some."""
    for seed in sorted({asked.seed, *map(int, cells["seed"].unique())}):
        chosen = select_cells(entries, cells, asked.preset, seed, variants=False, modality=asked.modality).rows
        rows = [row for entry in entries for row in chosen if row.entry is entry]
        if len({row.recipe for row in rows}) < len(rows):
            raise UserError(f"{rows[0].title} and {rows[1].title} are the same cells; compare two different ones")
        if len(rows) == 2 and all(len(row.cells) for row in rows):
            require_one_version("the comparison", rows)
            yield seed, (rows[0], rows[1])


def _nothing(entries: tuple[SuiteRow, SuiteRow], cells: pd.DataFrame, asked: Asked) -> str:
    """Why there is nothing to compare."""
    for word, entry in zip((asked.first, asked.second), entries, strict=True):
        row = select_cells((entry,), cells, asked.preset, asked.seed, variants=False, modality=asked.modality).rows[0]
        if not len(row.cells):
            return (
                f"{entry.row.title} has no finished cell on {asked.data} by preset {preset_title(asked.preset)} with "
                f"seed {asked.seed}; run `bench run --method {word}` first, with the same --data, --preset, --set and "
                "--seed"
            )
    titles = " and ".join(entry.row.title for entry in entries)
    return f"{titles} have no finished cells of one split; run both on the same --splits"


@dataclass(frozen=True, eq=False)
class _Numbers:
    """The volumes that are compared.

    Attributes:
        volumes: scored, with what is asked of them; `line` is the recipe of the row.
        seeds: those whose cells have all of it, the one that was asked for first.
        diagonals: of the volumes, mm, of every cell with lesion-wise numbers.
        notes: on seeds that are left out.
    """

    volumes: pd.DataFrame
    seeds: tuple[int, ...]
    diagonals: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


def _numbers_of(records: Sequence[RunRecord], pairs: Mapping[int, tuple[RowCells, RowCells]], asked: Asked) -> _Numbers:
    """What was measured of each volume.

    Raises:
        UserError: cells of the seed that was asked for lack lesion-wise numbers.
    """
    seeds = (asked.seed, *sorted(set(pairs) - {asked.seed}))
    recipes = {str(cell): row.recipe for rows in pairs.values() for row in rows for cell in row.cells["id"]}
    own = [record for record in records if record.config.cell in recipes]
    volumes = volumes_of_records(own)
    volumes["line"] = volumes["id"].map(recipes)
    if not needs_detection(asked.metrics):
        return _Numbers(volumes, seeds)
    detections = detections_of_records(own)
    lacking = cells_without(volumes, detections)
    less = [record for record in own if record.config.cell in lacking]
    if meant := [record for record in less if record.config.seed == asked.seed]:
        name = next(name for name in asked.metrics if needs_detection([name]))
        raise UserError(f"--metric {name}: {sentence_about(meant)}")
    without = {record.config.seed for record in less}
    diagonals = {record.config.cell: diagonal_mm(record) for record in own if record not in less}
    whole = with_scan_numbers(volumes[~volumes["seed"].isin(without)], detections, diagonals)
    whole["line"] = whole["id"].map(recipes)
    notes = (f"Seed {', '.join(map(str, sorted(without)))} is left out: {sentence_about(less)}",) if without else ()
    return _Numbers(whole, tuple(seed for seed in seeds if seed not in without), tuple(diagonals.values()), notes)


def _frame(
    volumes: pd.DataFrame, pairs: Mapping[int, tuple[RowCells, RowCells]], numbers: Sequence[tuple[str, str]]
) -> pd.DataFrame:
    import pandas as pd

    frames = []
    for seed, (one, other) in pairs.items():
        try:
            found = compare(volumes, one.recipe, other.recipe, numbers, line="line")
        except ValueError as error:
            has = " and ".join(f"{row.title} has {', '.join(map(str, row.cells['fold']))}" for row in (one, other))
            raise UserError(f"they share no fold: {has}; run a fold of one that the other has") from error
        frames.append(found.assign(seed=seed))
    whole = pd.concat(frames, ignore_index=True)
    return whole[["seed", *(name for name in whole.columns if name != "seed")]]


def _newest(cells: pd.DataFrame, name: str) -> object:
    known = cells[name].dropna() if name in cells else cells["id"].iloc[:0]
    return known.iloc[-1] if len(known) else name.partition("/")[0]


def _notes(
    own: pd.DataFrame, rows: tuple[RowCells, RowCells], cells: pd.DataFrame, titles: Mapping[str, str]
) -> Iterator[str]:
    """What is to be said of the cells, before all else."""
    simulated = [titles[key].removeprefix("phantom ") for key in titles if is_simulated(cells, key)]
    if simulated:
        yield f"phantom: simulated brains ({', '.join(simulated)}), no patients; this says nothing about real scans."
    folds = int(own["folds"].max()) if len(own) else 0
    for row in rows:
        if len(row.cells) > folds:
            yield f"{row.title} has {counted(len(row.cells), 'fold')}; compared by the {folds} that both have."
