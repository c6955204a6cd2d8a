"""`bench new-method`: what it writes works as it stands, from its own test to a line of the table."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.contract.new_method import write_method
from uadbench.benchmarks.plan.plan import brought_sections
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import load_suite, select_rows
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

from cases import TINY

BENCH = Path(sys.executable).with_name("bench")


def bench(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run([str(BENCH), *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_from_nothing_to_a_line_of_the_table(tmp_path: Path, tiny_data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's commands, on the tests' tiny data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("uadbench.benchmarks.opening.open_data", lambda *words, **more: tiny_data)
    written = bench("new-method", "my_detector", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    assert "python -m pytest test_my_detector.py" in written.stdout  # `pytest` alone does not find it in a checkout
    assert "bench run --method my_detector.py --folds all" in written.stdout
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_detector.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0 and "2 passed" in tested.stdout, tested.stdout

    options = ["--data", "tiny", "--preset", str(TINY), "--set", "net.width=4", "--results", str(tmp_path / "results")]

    def command(*words: str) -> Result:
        answer = CliRunner().invoke(app, [*words, *options])
        assert answer.exit_code == 0, answer.stderr
        return answer

    word = "my_detector.py:MyDetector"
    command("run", "--method", word, "--folds", "0,1", "--device", "cpu", "--jobs", "2")
    table = command("table", "1", "--format", "markdown", "--method", word).stdout
    lines = [line for line in table.splitlines() if line.startswith("| My detector")]
    assert len(lines) == 1 and "±" in lines[0] and "–" not in lines[0], table
    picture = tmp_path / "figure.png"
    command("figure", "reconstructions", "--method", word, "--fold", "1", "--device", "cpu", "--out", str(picture))
    assert picture.stat().st_size > 10_000


def test_own_rows_stand_beside_the_others_once(tmp_path: Path, tiny_preset: Preset) -> None:
    from uadbench.benchmarks.reports.tables import with_rows

    path, _ = write_method("my_detector", tmp_path)
    more = (*select_rows([str(path)]), *select_rows(["ae", "mean-brain"]))
    table = load_suite("table1")
    names = [entry.row.name for entry in with_rows(table, more).rows]
    assert names == [*(entry.row.name for entry in table.rows), "my-detector", "mean-brain"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_my_detector.py").write_text("mine")
    with pytest.raises(UserError, match="test_my_detector.py is there already"):
        write_method("my_detector", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test_my_detector.py"]
    assert (tmp_path / "test_my_detector.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("my-detector", "write an identifier"),
        ("MyDetector", "write an identifier"),
        ("2d", "write an identifier"),
        ("_mine", "write an identifier"),
        ("class", "write an identifier"),
        ("maediff", "there is a method, row or suite of that name"),
        ("pddpm_s16", "there is a method, row or suite of that name"),
        ("mean_brain", "there is a method, row or suite of that name"),
        ("unet", "there is a method, row or suite of that name"),
        ("table1", "there is a method, row or suite of that name"),
        ("json", "Python has a module of that name"),
        ("torch", "Python has a module of that name"),
    ],
)
def test_a_name_that_will_not_do_is_one_sentence(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        write_method(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_such_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        write_method("my_detector", tmp_path / "nowhere")


def test_what_is_written_is_clean(tmp_path: Path) -> None:
    """By the linter's rules, the names filled in, and short: some fifty lines of code."""
    path, check = write_method("my_detector", tmp_path)
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--isolated", "--line-length", "120"]
    command += ["--select", "E,F,W,I,UP,B,D", "--ignore", "D105,D107,D203,D213,D413", path.name, check.name]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout
    assert "$" not in path.read_text() + check.read_text()
    (entry,) = select_rows([str(path)])
    assert (entry.method.__name__, entry.row.name, entry.row.title) == ("MyDetector", "my-detector", "My detector")
    assert brought_sections([entry.method]) == {"net": {"width": 16, "latent": 128}}
