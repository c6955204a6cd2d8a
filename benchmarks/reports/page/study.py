"""What a report is about: the rows of a study, their cells, and what they scored on every test volume.

Rows are those of the tables of the report, each once; which of their cells count is decided as in the tables. Folds are
not independent, since they share their test volumes: a volume's score of a row is the mean over its folds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ....datasets.cohort import HEALTHY
from ....datasets.modality import Modality
from ....errors import UserError
from ...judgement.by_volume import volume_scores
from ...plan.preset import Preset
from ...plan.suite import Suite, SuiteRow, load_suite
from ...records.record import RunRecord
from ..cells import is_simulated
from ..columns import set_titles
from ..cost import bills_of, with_cost
from ..provenance import on_version
from ..results import Results
from ..selection import select_cells
from ..table import Table, TableOptions
from ..tables import data_names, tables_of, with_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Question:
    """Which study a report is about, in the words of the command line.

    Attributes:
        suites: the tables.
        preset: the numbers that the rows were run with.
        data: what `--data` took.
        modality: the contrast of the scans.
        seed: the seed of the runs.
        more: rows beside those of the tables, e.g. of a method of the user's own.
        fingerprint: of several versions of the data, the one whose fingerprint begins so.
        people: a table of the persons; None for none.
    """

    suites: tuple[Suite, ...]
    preset: Preset
    data: str = "phantom"
    modality: Modality = Modality.T2
    seed: int = 0
    more: tuple[SuiteRow, ...] = ()
    fingerprint: str = ""
    people: Path | None = None


@dataclass(frozen=True, eq=False)
class StudyRow:
    """A row of the study.

    Attributes:
        place: its number in the study, from 0; colours go by it.
        entry: the row and its method's card.
        title: what tables call it.
        kind: whether it competes.
        cells: the frame of its finished cells, by fold.
        records: their records, in the same order.
    """

    place: int
    entry: SuiteRow
    title: str
    kind: Literal["method", "control"]
    cells: pd.DataFrame
    records: tuple[RunRecord, ...]

    @property
    def name(self) -> str:
        """What `--method` takes."""
        return self.entry.row.name

    @property
    def whole(self) -> bool:
        """Whether all its folds are there; other rows are shown, and not ranked."""
        return not self.entry.card.learns or len(self.cells) >= int(self.cells["folds"].max())

    @property
    def competes(self) -> bool:
        """Whether it is ranked."""
        return self.kind == "method" and self.whole


@dataclass(frozen=True)
class SetOf:
    """A test set.

    Attributes:
        key: what runs know it by.
        title: what people call it.
        simulated: whether its brains are.
    """

    key: str
    title: str
    simulated: bool

    @property
    def has_lesions(self) -> bool:
        """Whether there is something to be found."""
        return self.key != HEALTHY


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that the sections of a report are made of.

    Attributes:
        question: what was asked.
        tables: those that have a line.
        rows: each once, in the order of the tables.
        sets: the lesion sets, then the healthy one.
        cells: the frame of the rows' cells, with their cost.
        volumes: the frame of the cells' scored volumes, with `place` and title (`line`) of the row.
        results: the records of these cells alone.
    """

    question: Question
    tables: tuple[Table, ...]
    rows: tuple[StudyRow, ...]
    sets: tuple[SetOf, ...]
    cells: pd.DataFrame
    volumes: pd.DataFrame
    results: Results

    @property
    def lesion_sets(self) -> tuple[SetOf, ...]:
        """The sets with lesions."""
        return tuple(one for one in self.sets if one.has_lesions)

    @property
    def healthy_set(self) -> SetOf | None:
        """The healthy set, where it was scored."""
        return next((one for one in self.sets if not one.has_lesions), None)

    @property
    def simulated(self) -> bool:
        """Whether any set is the phantom."""
        return any(one.simulated for one in self.sets)

    def by_volume(self, key: str, score: str) -> pd.DataFrame:
        """A score of a set, means over folds: a line per scan, a column per row (its place); NaN where there is none.

        Scans come in the order in which they were scored; those without any such score are left out.
        """
        own = self.volumes[self.volumes["set"] == key]
        if not len(own):
            return self.volumes.iloc[:0].reindex(columns=range(len(self.rows))).astype(float)
        wide = volume_scores(own, key, score, line="place")
        return wide.reindex(columns=range(len(self.rows))).dropna(how="all")

    def lesion_ml(self, key: str) -> pd.Series:
        """Lesion volume by scan of a set, millilitres."""
        own = self.volumes[self.volumes["set"] == key]
        found: pd.Series = own.groupby("subject", sort=False)["lesion_ml"].first()
        return found


def study_of(results: Results, question: Question) -> Study:
    """Read what a report needs.

    Args:
        results: the run records.
        question: which study.

    Raises:
        UserError: there is no finished cell of it, or the preset does not fit a row.
        MixedDataError: its rows were measured on several versions of the data.
    """
    own = _own_records(results, question)
    cells, volumes = own.to_dataframe(), own.volumes()
    done = with_cost(cells[cells["done"].astype(bool)], bills_of(own.records))
    tables = _tables(done, volumes, question)
    shown = tuple(table for table in tables if table.lines["done"].any())
    if not shown:
        raise UserError(_nothing(question))
    chosen = {table.name for table in shown}
    suites = [with_rows(suite, question.more) for suite in question.suites if suite.name in chosen]
    rows = _rows(suites, done, question, own.records)
    used = _together([row.cells for row in rows])
    kept = volumes[volumes["id"].isin(used["id"])].reset_index(drop=True)
    records = Results(tuple(record for row in rows for record in row.records))
    return Study(question, shown, rows, _sets(used, question), used, with_rows_named(kept, rows), records)


def _own_records(results: Results, question: Question) -> Results:
    """The records that a study may be of: those of other data, presets and seeds need not be read."""
    names = data_names(question.data)
    configs = [(record, record.config) for record in results.records]
    return Results(
        tuple(
            record
            for record, config in configs
            if config.data in names and config.seed == question.seed and config.modality == question.modality.value
        )
    )


def _tables(done: pd.DataFrame, volumes: pd.DataFrame, question: Question) -> tuple[Table, ...]:
    """The tables of the question, with intervals; what other papers reported stands below the first alone."""
    first, *others = question.suites
    options = TableOptions(
        paper=True, elsewhere=True, controls=True, cost=True, ci=True, fingerprint=question.fingerprint
    )

    def of_cells(wanted: Set[str]) -> pd.DataFrame:
        return volumes[volumes["id"].isin(wanted)]

    return tuple(
        table
        for suites, chosen in (((first,), options), (others, replace(options, elsewhere=False)))
        for table in tables_of(
            suites,
            done,
            question.preset,
            question.data,
            seed=question.seed,
            modality=question.modality,
            options=chosen,
            more=question.more,
            volumes=of_cells,
        )
    )


def _nothing(question: Question) -> str:
    return (
        f"there is no finished cell on --data {question.data} with --preset {question.preset.name} and --seed "
        f"{question.seed}, so there is nothing to report; `bench list runs` shows what there is"
    )


def _rows(
    suites: Sequence[Suite], done: pd.DataFrame, question: Question, records: Sequence[RunRecord]
) -> tuple[StudyRow, ...]:
    """The rows of some tables, each once, with the cells that the tables show."""
    controls = load_suite("controls").rows
    entries = {entry.row.name: entry for suite in suites for entry in (*suite.rows, *controls)}
    own = done[done["data"].isin(data_names(question.data)) & (done["modality"] == question.modality.value)]
    newest = own.sort_values("started")["data"].iloc[-1]
    own = on_version(own[own["data"] == newest], question.fingerprint)
    selection = select_cells(
        _controls_last(entries), own, question.preset, question.seed, variants=False, modality=question.modality
    )
    known = {record.config.cell: record for record in records}
    shown = {row.recipe: row for row in reversed(selection.shown(all_rows=False))}  # two tables may name one recipe
    return tuple(
        StudyRow(
            place,
            row.entry,
            row.title,
            "control" if row.entry.card.info.control else "method",
            row.cells,
            tuple(known[cell] for cell in row.cells["id"]),
        )
        for place, row in enumerate(reversed(shown.values()))
    )


def _controls_last(entries: Mapping[str, SuiteRow]) -> list[SuiteRow]:
    return sorted(entries.values(), key=lambda entry: entry.card.info.control)


def _together(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(frames).drop_duplicates("id")


def with_rows_named(frame: pd.DataFrame, rows: Sequence[StudyRow]) -> pd.DataFrame:
    """A frame of volumes or detections with `place` and title (`line`) of the row of each cell."""
    places = {cell: row.place for row in rows for cell in row.cells["id"]}
    titles = {cell: row.title for row in rows for cell in row.cells["id"]}
    return frame.assign(place=frame["id"].map(places), line=frame["id"].map(titles))


def _sets(cells: pd.DataFrame, question: Question) -> tuple[SetOf, ...]:
    titles = set_titles(cells, (), phantom=question.data == "phantom")
    return tuple(SetOf(key, title, is_simulated(cells, key)) for key, title in titles.items())
