"""`bench table --cost`: every format has the columns, a record without a bill has dashes, and nothing is ranked."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from uadbench.benchmarks.records.cost import CellCost, save_cost
from uadbench.benchmarks.records.record import RunRecord, all_records
from uadbench.benchmarks.reports.cost import COST_COLUMNS, bills_in, with_cost
from uadbench.benchmarks.reports.renderers.terminal import renderable
from uadbench.benchmarks.reports.results import read_cell
from uadbench.benchmarks.reports.table import Table, TableOptions, make_table
from uadbench.benchmarks.reports.tables import gather, print_tables, render

if TYPE_CHECKING:
    from .conftest import Bench

DOWN = "http://127.0.0.1:9"
WORDS = {"seconds_score": 30.0, "phantom-healthy/scans_scored": 2.0, "phantom-tumours/scans_scored": 4.0}


def bill(bench: Bench, place: int, cost: CellCost) -> None:
    save_cost(RunRecord(sorted(path for path in bench.runs.iterdir() if path.is_dir())[place]), cost)


def costly(bench: Bench, **options: bool) -> Table:
    cells, notes = gather(all_records(bench.runs), DOWN, "phantom")
    cells = with_cost(cells, bills_in(bench.runs))
    return make_table(bench.suite, cells, bench.preset, "phantom", 0, notes=notes, options=TableOptions(cost=True))


@pytest.fixture
def table(bench: Bench) -> Table:
    """Two folds of one row with bills, one fold of another without."""
    for fold, minutes in enumerate((2.0, 4.0)):
        numbers = {**bench.words(0.03, 0.3), **WORDS, "parameters": 2.5e6, "seconds_train": 60 * minutes}
        bench.run(1, fold, numbers)
    for place, size in enumerate((2, 4)):
        bill(bench, place, CellCost(slice_gflop=12.5, peak_bytes=size * 2**30, peak_of="process"))
    bench.run(2, 0, bench.words(0.02, 0.4))
    return costly(bench)


def test_means_over_folds_and_no_spread_of_what_is_counted(bench: Bench, table: Table) -> None:
    texts = bench.line(table, "ae").texts[-len(COST_COLUMNS) :]
    assert texts == ["2.50", "12.50", "3.00 ± 1.41", "5.00 ± 0.00", "3.00 ± 1.41"]
    assert bench.line(table, bench.suite.rows[2].row.name).texts[-len(COST_COLUMNS) :] == ["–"] * len(COST_COLUMNS)
    assert all(line.ranks[-len(COST_COLUMNS) :] == [0] * len(COST_COLUMNS) for line in bench.lines(table))
    (note,) = [note for note in table.notes if note.startswith("cost:")]
    assert "CPU, 2 threads (memory of the whole process)" in note
    assert not any(note.startswith("–") for note in table.notes)  # every score is there


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "html"])
def test_every_format_has_them(form: str, table: Table) -> None:
    text = render([table], form)
    assert "12.5" in text
    for word in ("parameters", "training", "per volume", "memory"):
        assert word in text or form == "csv"
    if form == "csv":
        lines = [line for line in csv.DictReader(io.StringIO(text)) if line["role"] == "cost" and line["row"] == "ae"]
        means = {line["metric"]: float(line["mean"]) for line in lines}
        assert list(means) == [column.metric.name for column in COST_COLUMNS]
        assert list(means.values()) == [2.5, 12.5, 3.0, 5.0, 3.0]


def test_the_terminal_shows_them_whole_below_the_numbers(table: Table) -> None:
    """Ten columns do not fit 80 letters: every number stands in one piece, each row is named twice."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable(table))
    lines = console.export_text(styles=False).splitlines()
    assert max(map(len, lines)) <= 80
    (scores, costs) = [line.split() for line in lines if line.split()[:1] == ["AE"]]
    assert scores[-5:] == ["30.00±0.00", "40.00±0.00", "5.00±0.00", "6.00±0.00", "30.00±0.00"]
    assert costs[-5:] == ["2.50", "12.50", "3.00±1.41", "5.00±0.00", "3.00±1.41"]
    assert sum("Table 1" in line for line in lines) == 1


def test_without_the_option_nothing_is_there(bench: Bench, table: Table) -> None:
    assert not any(column.key == "cost" for column in bench.table().columns)


def test_the_command_and_the_notebook_have_the_same(
    bench: Bench, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uadbench.benchmarks.reports import tables

    monkeypatch.setattr(tables, "suites_of", lambda which: (bench.suite,))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DOWN)
    file = io.StringIO()
    words: dict[str, Any] = {"seed": 0, "results": bench.runs.parent, "options": TableOptions(cost=True)}
    print_tables("1", "csv", bench.preset, "phantom", console=Console(file=file, width=1000), **words)
    printed = [line for line in csv.DictReader(io.StringIO(file.getvalue())) if line["role"] == "cost"]
    from uadbench.benchmarks.records.record import all_records
    from uadbench.benchmarks.reports.results import Results

    numbers = Results(all_records(bench.runs)).numbers("1", preset=bench.preset, cost=True)
    of_ae = numbers.loc[("ae", "method")]["cost"]
    for line in printed:
        if line["row"] == "ae":
            assert of_ae[line["metric"]]["mean"] == pytest.approx(float(line["mean"]))
    assert "cost" not in Results(all_records(bench.runs)).numbers("1", preset=bench.preset).columns.get_level_values(0)


def test_a_cell_shows_its_bill(bench: Bench, table: Table, fake_record: Callable[..., RunRecord]) -> None:
    folder = sorted(path for path in bench.runs.iterdir() if path.is_dir())[0]
    cost = read_cell(folder.name, bench.runs.parent).cost
    assert cost is not None and cost.slice_gflop == 12.5
