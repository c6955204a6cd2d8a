"""`bench report` from the command line."""

from __future__ import annotations

from pathlib import Path

from trials.simulated_study import Shape, Study
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app


def simulate(folder: Path) -> Path:
    list(Study(folder / "runs", Shape(rows=2, folds=2, volumes=(4, 6, 4), bins=16)).write())
    return folder


def test_a_report_and_a_difference_are_written(tmp_path: Path) -> None:
    folder, out = simulate(tmp_path / "results"), tmp_path / "page.html"
    answer = CliRunner().invoke(app, ["report", "1", "--results", str(folder), "-o", str(out)])
    assert answer.exit_code == 0, answer.output
    assert out.read_text().startswith("<!DOCTYPE html>")
    assert "bench report 1 --data phantom --preset demo --seed 0" in out.read_text()
    words = ["report", "--diff", str(folder), str(folder), "-o", str(out)]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert "agree on every scan" in out.read_text()


def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    folder = simulate(tmp_path / "results")
    for words in (["--seed", "3"], ["7"], ["--diff", str(folder), str(tmp_path / "nowhere")]):
        answer = CliRunner().invoke(app, ["report", *words, "--results", str(folder), "-o", str(out)])
        assert answer.exit_code == 2, answer.output
    assert not out.exists()
