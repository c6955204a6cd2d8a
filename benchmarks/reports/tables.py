"""`bench table`: read the finished cells, make the tables, print them.

Cells come from the run records, and from MLflow what is not among them; `Results.table` takes the run records alone.
Both make their tables by `tables_of`, of a frame of cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets.modality import Modality
from ...errors import UserError
from ..judgement.detection import detection_numbers, with_detection
from ..judgement.found import FOUND_TABLES, POOLED_TABLE
from ..judgement.froc import froc_points
from ..plan.preset import Preset
from ..plan.suite import Suite, SuiteRow, load_suite, suites_in_order
from ..records.looked_at import looked_at
from ..records.record import RunRecord, all_records, finished
from ..tracking.database import TrackingError, database_of, store_uri
from ..tracking.fold_result import FoldResult
from ..tracking.glance import complete_cells
from ..tracking.sync import fold_results
from .cells import (
    cells_of_results,
    detections_of_records,
    froc_frames,
    histograms_of_records,
    lesions_of_records,
    volumes_of_records,
    without_detection,
    without_froc,
)
from .columns import found_suite
from .console import counted
from .cost import bills_in, with_cost
from .notes import DASH
from .renderers import csv, html, latex, markdown
from .renderers.terminal import renderable
from .table import PLAIN, Table, TableOptions, make_table

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

_RENDERERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": markdown.render,
    "latex": latex.render,
    "csv": csv.render,
    "html": html.render,
}
FORMATS = ("rich", *_RENDERERS)
_GAP = f"{DASH}: nothing to measure, such as a lesion of that size, or no lesion-wise numbers in the record yet."


def print_tables(
    which: str,
    form: str,
    preset: Preset,
    data: str,
    *,
    seed: int,
    results: Path,
    console: Console,
    modality: Modality = Modality.T2,
    options: TableOptions = PLAIN,
    more: Sequence[SuiteRow] = (),
) -> None:
    """Print tables as `bench table` does.

    Args:
        which: "1", "2", "frontier" or "all".
        form: one of `FORMATS`.
        preset: the numbers the rows were run with.
        data: what `--data` took: "phantom" or a directory.
        seed: the seed of the runs.
        results: the results folder.
        console: where to.
        modality: the contrast of the scans of the runs.
        options: what else stands in the tables.
        more: rows to show below those of each table, e.g. of a method of the user's own.

    Raises:
        UserError: there is no such table or format, or the preset does not fit a row.
    """
    suites = suites_of(which)
    if form not in FORMATS:
        raise UserError(f"--format {form}: choose {', '.join(FORMATS[:-1])} or {FORMATS[-1]}")
    records = looked_at(all_records(results / "runs"))
    cells, notes = gather(records, store_uri(results), *data_names(data))
    if options.cost:
        cells = with_cost(cells, bills_in(results / "runs"))
    if options.detection:
        shown = [record for record in records if record.config.cell in set(cells["id"])]
        cells = with_detection(cells, found_in(shown))
        notes = (*notes, *filter(None, [without_detection(shown), without_froc(shown)]))
    tables = tables_of(
        suites,
        cells,
        preset,
        data,
        seed=seed,
        modality=modality,
        options=options,
        more=more,
        notes=notes,
        volumes=partial(volumes_in, records) if options.ci else None,
    )
    if form == "rich":
        for table in tables:
            console.print(renderable(table, ascii_only=console.options.ascii_only), soft_wrap=False)
    else:
        console.file.write(render(tables, form))


def found_in(records: Sequence[RunRecord]) -> pd.DataFrame:
    """What was found, a row per cell that has lines of it; see `judgement.detection`."""
    detections, lesions = detections_of_records(records), lesions_of_records(records)
    points = froc_points(froc_frames(records))
    return detection_numbers(detections, lesions, histograms_of_records(records), points)


def render(tables: Sequence[Table], form: str) -> str:
    """Write tables as text: "markdown", "latex" (booktabs), "html" or "csv" (one number per line, unrounded)."""
    return _RENDERERS[form](tables)


def tables_of(
    suites: Sequence[Suite],
    cells: pd.DataFrame,
    preset: Preset,
    data: str,
    *,
    seed: int,
    modality: Modality = Modality.T2,
    options: TableOptions = PLAIN,
    more: Sequence[SuiteRow] = (),
    notes: Sequence[str] = (),
    volumes: Callable[[Set[str]], pd.DataFrame] | None = None,
) -> tuple[Table, ...]:
    """The tables of some suites.

    Args:
        suites: see `suites_of`.
        cells: the frame of finished cells.
        preset: the numbers the rows were run with.
        data: "phantom" or a directory; of several names that its runs may have, that of the newest counts.
        seed: the seed of the runs.
        modality: the contrast of their scans; a table shows one.
        options: what else stands in the tables.
        more: rows to show below those of each table.
        notes: what is to be said of the source of the cells.
        volumes: reads the scored volumes of cells, by their ids; for intervals.

    Raises:
        UserError: the preset does not fit a row.
    """
    names = data_names(data)
    own = cells[cells["data"].isin(names) & (cells["modality"] == modality.value)].sort_values("started")
    name = str(own["data"].iloc[-1]) if len(own) else names[0]
    controls = load_suite("controls").rows if options.controls else ()
    whole = [with_rows(suite, more) for suite in suites]
    return tuple(
        table
        for suite in whole
        for table in (
            make_table(
                suite,
                own,
                preset,
                name,
                seed,
                modality=modality,
                controls=controls,
                options=options,
                notes=notes,
                volumes=volumes,
            ),
            *(_beside(suite, own, preset, name, seed, modality, options) if options.detection else ()),
        )
    )


def _beside(
    suite: Suite, cells: pd.DataFrame, preset: Preset, data: str, seed: int, modality: Modality, options: TableOptions
) -> Iterator[Table]:
    """The tables of what was found, of our rows alone."""
    own = replace(PLAIN, variants=options.variants, fingerprint=options.fingerprint)
    for found in (*FOUND_TABLES, POOLED_TABLE):
        further, notes = found_suite(suite, found), (found.note,)
        table = make_table(further, cells, preset, data, seed, modality=modality, options=own, notes=notes)
        gaps = [_GAP] if (table.text() == DASH).any(axis=None) else []
        simulated = [note for note in table.notes if note.startswith("phantom:")]
        yield replace(table, not_run=(), notes=(*notes, *gaps, *simulated))  # the rest stands below the first table


def volumes_in(records: Sequence[RunRecord], cells: Set[str]) -> pd.DataFrame:
    """The scored volumes of the records of these cells."""
    return volumes_of_records(record for record in records if record.config.cell in cells)


def suites_of(which: str) -> tuple[Suite, ...]:
    """The suites that a word of `bench table` names: one table, or all.

    Raises:
        UserError: there is no such table.
    """
    known = tuple(name for name in suites_in_order() if name != "controls")
    if which == "all":
        return tuple(load_suite(name) for name in known)
    for name in (which, f"table{which}"):
        if name in known:
            return (load_suite(name),)
    words = ", ".join(name.removeprefix("table") for name in known)
    raise UserError(f"there is no table {which}; choose {words} or all")


def with_rows(suite: Suite, more: Sequence[SuiteRow]) -> Suite:
    """A suite with more rows below its own; a row that it has already is not shown twice."""
    known = {entry.row.name for entry in suite.rows}
    return replace(suite, rows=(*suite.rows, *(entry for entry in more if entry.row.name not in known)))


def data_names(word: str) -> tuple[str, ...]:
    """The names that runs on `--data WORD` may have: a directory's own, or with its mark where it holds phantoms."""
    if word == "phantom":
        return (word,)
    name = Path(word).resolve().name
    return name, f"phantom-{name}", f"mixed-{name}"


def gather(own: Sequence[RunRecord], uri: str, *data: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read every finished cell of data sources: from the run records, and from MLflow what is not among them.

    MLflow is asked only where it may hold more than the records, since its import alone takes seconds.

    Args:
        own: the run records.
        uri: the MLflow store.
        data: names of data sources.

    Returns:
        The frame of cells, and notes on where they were read.
    """
    records = [FoldResult.of_record(record) for record in finished(own)]
    on_disk = [result for result in records if result.data in data]
    here = {result.cell for result in on_disk}
    database = database_of(uri)
    known = None if database is None else complete_cells(database, data)
    elsewhere: list[FoldResult] = []
    if known is None or not known <= here:
        try:
            tracked = fold_results(uri, *data)
        except TrackingError as error:
            return cells_of_results(on_disk), (f"Read from the run records, not from MLflow: {error}.",)
        known = frozenset(result.cell for result in tracked)
        elsewhere = [result for result in tracked if result.cell not in here]
    missing = len(here - known)
    note = f"{counted(missing, 'fold')} not in MLflow yet, read from the run records; `bench sync` tells MLflow."
    return cells_of_results([*elsewhere, *on_disk]), (note,) if missing else ()
