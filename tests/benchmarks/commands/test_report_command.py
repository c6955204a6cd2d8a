"""`bench report` from the command line."""

from __future__ import annotations

from pathlib import Path

from trials.simulated_study import Shape, Study
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app

from ..reports.page.niivue_package import whole_package


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


def test_a_table_of_persons_adds_strata_by_sex(tmp_path: Path) -> None:
    folder, out, table = simulate(tmp_path / "results"), tmp_path / "page.html", tmp_path / "people.csv"
    rows = [f"phantom-{key}-{n:04d},{'fm'[n % 2]}" for key in ("healthy", "tumours", "ms") for n in range(6)]
    table.write_text("\n".join(["img_name,sex", *rows]))
    words = ["report", "1", "--results", str(folder), "-o", str(out)]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert ">sex</td>" not in out.read_text()
    answer = CliRunner().invoke(app, [*words, "--people", str(table)])
    assert answer.exit_code == 0, answer.output
    text = out.read_text().replace(' class="short"', "")
    assert "<td>sex</td><td>female</td><td>3</td>" in text  # of six tumours
    assert "<td>sex</td><td>male</td><td>2</td>" in text  # of four MS scans
    assert f"bench report 1 --data phantom --preset demo --seed 0 --people {table}" in text


def test_niivue_without_a_volume_to_show_is_left_out_and_said(tmp_path: Path) -> None:
    folder, out = simulate(tmp_path / "results"), tmp_path / "page.html"
    package = whole_package(tmp_path)
    words = ["report", "1", "--results", str(folder), "-o", str(out), "--niivue", str(package)]
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    assert "There is no 3-D view, since no volume is shown here." in " ".join(answer.output.split())


def test_what_cannot_be_reported_is_one_sentence(tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    folder = simulate(tmp_path / "results")
    table = tmp_path / "people.csv"
    table.write_text("name,sex\na,f\n")
    both = ["--diff", str(folder), str(folder)]
    for words in (
        ["--seed", "3"],
        ["7"],
        ["--diff", str(folder), str(tmp_path / "nowhere")],
        ["--people", str(tmp_path / "nowhere.csv")],
        ["--people", str(table)],
        [*both, "--people", str(table)],
        ["--niivue", str(tmp_path / "nowhere.tgz")],
        ["--niivue", str(table)],
    ):
        answer = CliRunner().invoke(app, ["report", *words, "--results", str(folder), "-o", str(out)])
        assert answer.exit_code == 2, answer.output
        assert "Traceback" not in answer.output
    assert not out.exists()
