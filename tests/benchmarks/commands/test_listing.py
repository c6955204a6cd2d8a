"""`bench list data`: every store that a run built, wherever the results lie."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app

from conftest import make_tiny_data


def listed(results: Path) -> str:
    answer = CliRunner().invoke(app, ["list", "data", "--results", str(results)], env={"COLUMNS": "200"})
    assert answer.exit_code == 0, answer.stderr
    return answer.stdout


def test_stores_are_listed_with_their_volumes(tmp_path: Path) -> None:
    results = tmp_path / "copy.old" / "results"  # what is above the results is none of its business
    make_tiny_data(results / "data" / "phantom-tiny-seed0-0123")
    unfinished = results / "data" / "phantom-tiny-seed0-4567" / "healthy.partial"
    unfinished.mkdir(parents=True)
    (unfinished / "manifest.json").write_text("{}")
    table = listed(results)
    assert "phantom-tiny-seed0-0123/healthy" in table and " 10 " in table
    assert "phantom-tiny-seed0-0123/tumours" in table and " 4 " in table
    assert "4567" not in table


def test_a_store_that_was_cut_is_told(tmp_path: Path) -> None:
    make_tiny_data(tmp_path / "data" / "clinic")
    (tmp_path / "data" / "clinic" / "ms" / "manifest.json").write_text('{"format": 1')
    assert "damaged: " in listed(tmp_path)
