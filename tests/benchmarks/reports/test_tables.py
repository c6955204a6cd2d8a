"""Where the numbers of `bench table` are read, and what the command prints."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pandas.testing import assert_frame_equal
from rich.console import Console

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.records.record import all_records
from uadbench.benchmarks.reports.table import TableOptions
from uadbench.benchmarks.reports.tables import gather, print_tables
from uadbench.benchmarks.tracking.sync import sync_all
from uadbench.errors import UserError
from uadbench.methods import methods

if TYPE_CHECKING:
    from .conftest import Bench

Make = Callable[..., Any]
DOWN = "http://127.0.0.1:9"


def test_reads_mlflow_and_says_what_it_does_not_hold(bench: Bench, mlflow_uri: str) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), data="told")
    assert sync_all(bench.runs, mlflow_uri, SilentReporter()).written == 1
    table = bench.table(mlflow_uri, data="told")
    assert bench.line(table, "ae").texts[0] == "30.00"
    assert not any("MLflow" in note for note in table.notes)
    bench.run(1, 1, bench.words(0.03, 0.4), data="told")
    table = bench.table(mlflow_uri, data="told")
    assert bench.line(table, "ae").mark == "2/5 folds"
    assert any(note.startswith("1 fold not in MLflow yet") for note in table.notes)


def test_mlflow_alone_makes_the_same_table(bench: Bench, mlflow_uri: str, tmp_path: Path) -> None:
    for fold in range(2):
        bench.run(1, fold, bench.words(0.03, 0.3 + 0.1 * fold), data="same", cohorts=_cohorts())
    sync_all(bench.runs, mlflow_uri, SilentReporter())
    from_both = bench.table(mlflow_uri, data="same")
    bench.runs = tmp_path / "elsewhere"
    from_mlflow = bench.table(mlflow_uri, data="same")
    assert_frame_equal(from_mlflow.lines, from_both.lines)
    assert_frame_equal(from_mlflow.numbers, from_both.numbers)
    assert (from_mlflow.columns, from_mlflow.caption) == (from_both.columns, from_both.caption)
    assert from_mlflow.notes == from_both.notes


def test_mlflow_is_asked_only_for_what_is_not_here(
    bench: Bench, mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), data="here")
    sync_all(bench.runs, mlflow_uri, SilentReporter())
    bench.run(1, 1, bench.words(0.03, 0.4), data="here")
    asked: list[tuple[str, ...]] = []

    def ask(uri: str, *data: str) -> tuple[()]:
        asked.append(data)
        return ()

    monkeypatch.setattr("uadbench.benchmarks.reports.tables.fold_results", ask)
    cells, notes = gather(all_records(bench.runs), mlflow_uri, "here")
    assert len(cells) == 2 and notes[0].startswith("1 fold not in MLflow yet")
    assert asked == []
    gather(all_records(tmp_path / "elsewhere"), mlflow_uri, "here")
    assert asked == [("here",)]


def test_falls_back_to_the_run_records_and_says_so(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    table = bench.table(DOWN)
    assert bench.line(table, "ae").texts[0] == "30.00"
    assert any(note.startswith("Read from the run records, not from MLflow") for note in table.notes)


def test_unfinished_cells_do_not_count(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), done=False)
    assert bench.line(bench.table(), "ae").texts[0] == "–"


def test_controls_are_added_by_the_command(bench: Bench) -> None:
    lines = list(csv.DictReader(io.StringIO(printed(bench, "1", "csv", controls=True, all_rows=True))))
    controls = {line["row"] for line in lines if line["kind"] == "control"}
    assert {row.name for cls in methods().values() if cls.info.control for row in cls.info.rows} <= controls
    assert "maediff-untrained" in controls


def printed(bench: Bench, which: str, form: str, data: str = "phantom", **options: bool) -> str:
    console = Console(width=80, file=io.StringIO(), soft_wrap=True)
    preset = load_preset("demo")
    shown = TableOptions(**options)
    print_tables(which, form, preset, data, seed=0, results=bench.runs.parent, console=console, options=shown)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_command_prints_every_table_in_every_format(bench: Bench) -> None:
    assert printed(bench, "all", "markdown", paper=True, all_rows=True).count("| Method |") == 3
    assert printed(bench, "all", "html", paper=True, all_rows=True).count("</table>") == 3
    latex = printed(bench, "all", "latex", paper=True, all_rows=True)
    assert latex.count(r"\end{tabular}") == 3
    assert all(ord(sign) < 128 for sign in latex)  # the notes of every method too
    lines = list(csv.DictReader(io.StringIO(printed(bench, "all", "csv", controls=True, all_rows=True))))
    assert list(dict.fromkeys(line["table"] for line in lines)) == ["table1", "table2", "frontier"]
    assert {len(line) for line in lines} == {17}
    text = printed(bench, "2", "rich", paper=True, all_rows=True)
    assert "U-Net + Att. + MAE" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("which", "form"), [("7", "rich"), ("controls", "rich"), ("1", "docx")])
def test_a_wrong_word_is_answered_with_the_right_ones(bench: Bench, which: str, form: str) -> None:
    with pytest.raises(UserError, match="choose"):
        printed(bench, which, form)


@pytest.mark.parametrize("name", ["scans", "phantom-scans", "mixed-scans"])
def test_a_directory_finds_its_runs_whatever_they_are_called(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DOWN)
    bench.run(1, 0, bench.words(0.03, 0.3), data=name, data_title=f"title of {name}")
    lines = printed(bench, "1", "csv", data="/some/where/scans")
    assert "–" not in lines
    assert gather(all_records(bench.runs), DOWN, "scans", "phantom-scans", "mixed-scans")[0]["data"].tolist() == [name]


def _cohorts() -> dict[str, dict[str, str]]:
    return {
        "healthy": {"name": "phantom-healthy", "title": "phantom healthy"},
        "tumours": {"name": "phantom-tumours", "title": "phantom tumours"},
    }
