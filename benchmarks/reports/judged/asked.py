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
from ....metrics.inference import FEW
from ...judgement.by_volume import sets_of
from ...judgement.comparison import compare
from ...judgement.measures import METRICS, USUAL, measured
from ...judgement.sentences import sentence_of, sentence_of_seeds
from ...plan.preset import Preset
from ...plan.request import requested_rows
from ...plan.suite import SuiteRow
from ...records.record import RunRecord
from ..cells import cells_of_records, is_simulated, volumes_of_records
from ..console import counted
from ..notes import preset_title
from ..provenance import on_version, require_one_version
from ..selection import RowCells, select_cells
from ..tables import data_names

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
        metrics: names of `judgement.measures.METRICS`.
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


def usable_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """The metrics that words name; the usual ones of none.

    Raises:
        UserError: there is no such metric.
    """
    for name in names:
        if name not in METRICS:
            raise UserError(f"--metric {name}: choose {', '.join(METRICS)}")
    return tuple(dict.fromkeys(names)) or USUAL


def comparison_of(records: Sequence[RunRecord], asked: Asked) -> Comparison:
    """Compare two rows by the run records of both.

    Raises:
        UserError: a row has no finished cell, both are the same cells, or they share no fold.
        MixedDataError: they were measured on several versions of the data.
    """
    entries = (row_of(asked.first), row_of(asked.second))
    cells = _own_cells(cells_of_records(records), asked)
    pairs = dict(_pairs(entries, cells, asked))
    if asked.seed not in pairs:
        raise UserError(_nothing(entries, cells, asked))
    shown = (asked.seed, *sorted(set(pairs) - {asked.seed}))
    first, second = (row.title for row in pairs[asked.seed])
    volumes = _volumes(records, [row for seed in shown for row in pairs[seed]])
    numbers = measured(sets_of(volumes), asked.metrics)
    frame = _frame(volumes, {seed: pairs[seed] for seed in shown}, numbers)
    titles = {key: str(_newest(cells, f"{key}/title")) for key in sets_of(volumes)}
    own = frame[frame["seed"] == asked.seed]
    sentences = [sentence_of(own, first, second, titles), sentence_of_seeds(frame, titles)]
    notes = tuple(_notes(own, pairs[asked.seed], cells, titles))
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


def _volumes(records: Sequence[RunRecord], rows: Sequence[RowCells]) -> pd.DataFrame:
    """The volumes of these rows' cells; `line` is the recipe."""
    recipes = {str(cell): row.recipe for row in rows for cell in row.cells["id"]}
    volumes = volumes_of_records(record for record in records if record.config.cell in recipes)
    volumes["line"] = volumes["id"].map(recipes)
    return volumes


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
    simulated = [titles[key].removeprefix("phantom ") for key in titles if is_simulated(cells, key)]
    if simulated:
        yield f"phantom: simulated brains ({', '.join(simulated)}), no patients; this says nothing about real scans."
    folds = int(own["folds"].max()) if len(own) else 0
    for row in rows:
        if len(row.cells) > folds:
            yield f"{row.title} has {counted(len(row.cells), 'fold')}; compared by the {folds} that both have."
    yield from method_notes(len(own), folds)
    if own["doubtful"].any():
        few = own[own["doubtful"]].drop_duplicates("set")
        sets = ", ".join(f"{titles[key]} {n}" for key, n in zip(few["set"], few["n"], strict=True))
        yield f"†: fewer than {FEW} volumes ({sets}); such an interval covers the truth less often than it says."


def method_notes(comparisons: int, folds: int) -> Iterator[str]:
    """How comparisons are made.

    Args:
        comparisons: of the family.
        folds: behind them.
    """
    several = folds > 1
    first = f", {counted(folds, 'fold')} averaged first, since a fold is no second volume" if several else ""
    both = "volumes and trainings" if several else "volumes; it knows one training of each"
    yield (
        f"Paired by volume{first}. p: Wilcoxon's signed-rank test, two-sided, zeros by Pratt; Holm: over "
        f"{counted(comparisons, 'comparison')}. Interval: 95 %, BCa bootstrap over {both}. A difference is called one "
        "where Holm's p is below 0.05 and the interval leaves out zero."
    )
    yield (
        "False claim: the probability that the one with the worse mean is at least as good (after Christodoulou et al. "
        "2025, arXiv:2505.04720), here the share of resamples in which the difference has the other sign."
    )
