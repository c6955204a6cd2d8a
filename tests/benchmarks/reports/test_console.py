"""What is printed: the user's words are never read as markup, and no terminal is too poor for them."""

from __future__ import annotations

import ast
import io
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.table import Table
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.engine.progress import RichReporter
from uadbench.benchmarks.judgement.measures import METRICS
from uadbench.benchmarks.reports.columns import Column
from uadbench.benchmarks.reports.console import in_ascii, make_console
from uadbench.benchmarks.reports.renderers.terminal import renderable
from uadbench.benchmarks.reports.table import Table as ResultTable
from uadbench.datasets.modality import Modality

from cases import ROOT

BENCH = Path(sys.executable).with_name("bench")
#: Each breaks a console that reads markup: one by an error, one by vanishing, one by becoming a picture.
HOSTILE = ("[/red]", "[bold]x[/bold]", ":smile:", "[link=http://x]y", "a[1]", "\\[red]")


def _calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


@pytest.mark.parametrize("folder", ["benchmarks", "datasets", "methods", "metrics"])
def test_nothing_is_printed_but_through_the_console(folder: str) -> None:
    """Consoles are made in one place, where markup is off; whatever parses markup on its own is told not to."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        here = path.relative_to(ROOT).as_posix()
        for call in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            name, place = _name(call), f"{here}:{call.lineno}"
            keywords = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert name != "Console" or here == "benchmarks/reports/console.py", f"{place}: make it with make_console"
            assert name not in ("from_markup", "rprint", "print_json"), f"{place}: reads markup"
            assert keywords.get("markup", "False") == "False", f"{place}: reads markup"
            assert name not in ("TextColumn", "SpinnerColumn") or keywords.get("markup") == "False", f"{place}: markup"
            plain = isinstance(call.func, ast.Name) and name == "print"
            assert not plain or here.startswith("benchmarks/commands/"), f"{place}: print through a console"


def test_the_users_words_are_printed_as_they_are() -> None:
    stream = io.StringIO()
    console = make_console(stream, width=200)
    reporter = RichReporter(console)
    table = Table("word", title=f"T {HOSTILE[0]}")
    for word in HOSTILE:
        console.print(f"Wrote /data/{word}/x.png.")
        reporter.say(word)
        with reporter.bar(f"bar {word}", 3) as bar:
            bar.note(word)
            bar.advance(3)
        table.add_row(f"cell {word}")
    console.print(table)
    text = stream.getvalue()
    for word in HOSTILE:
        for place in (f"Wrote /data/{word}/x.png.\n", f"\n{word}\n", f"  bar {word}: 3 done {word}\n", f"cell {word} "):
            assert place in text, place
    assert f"T {HOSTILE[0]}" in text


def test_a_bar_on_a_terminal_reads_no_markup() -> None:
    from rich.console import Console

    stream = io.StringIO()
    reporter = RichReporter(Console(file=stream, force_terminal=True, width=200))
    with reporter.bar("prepare [/red]", 3) as bar:
        bar.note("[/blue]")  # an unread one; a closing tag without its opening one is an error of rich's
        bar.advance(3)
    assert "prepare [/red]" in stream.getvalue()


def _result_table(title: str) -> ResultTable:
    columns = (Column("tumours", "BraTS21", METRICS["dice"]),)
    heads = ["row", "title", "kind", "done", "folds", "mark", "origin", "sign"]
    rows = [["a", title, "method", 5, 5, "", "", ""], ["b", "B", "method", 0, 0, "", "Lab X", "[1]"]]
    lines = pd.DataFrame(rows, columns=heads)
    names = pd.MultiIndex.from_product([["tumours"], ["dice"], ["mean", "std", "folds", "printed"]])
    numbers = pd.DataFrame([[12.3, 0.5, 5, ""], [math.nan, math.nan, 0, ""]], columns=names)
    return ResultTable(
        "t", "mean ± std", "d", Modality.T2, "p", 0, columns, lines, numbers, (), "caption ±", ("note – ×",)
    )


def test_a_table_in_ascii_is_all_ascii_and_straight() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = make_console(stream, width=80)
    console.print(renderable(_result_table("A [/red]"), ascii_only=console.options.ascii_only), soft_wrap=False)
    stream.flush()
    text = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "A [/red]" in text and "B [1]" in text and "12.30+-0.50" in text and "(%) ^" in text and "note - x" in text
    ends = {len(line) for line in text.splitlines() if line.startswith(("|A ", "|B "))}
    assert len(ends) == 1, "the numbers end in one column"


def test_our_signs_have_ascii_ones_and_letters_stay() -> None:
    assert in_ascii("1 ± 2 × 3 – ä ↑ ↓ …") == "1 +- 2 x 3 - ä ^ v ..."


@pytest.mark.parametrize(
    "words",
    [
        ("list", "methods"),
        ("list", "presets"),
        ("list", "data"),
        ("table", "1"),
        ("table", "1", "--format", "markdown"),
        ("table", "1", "--format", "latex"),
        ("table", "1", "--format", "csv"),
        ("table", "1", "--format", "html"),
        ("table", "1", "--all-rows", "--paper", "--format", "html"),
        ("run", "--method", "thresh", "--data", "nowhere/Bücher [/red] µ±"),
    ],
)
def test_a_terminal_of_ascii_ends_no_command(words: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "Bücher [/red] µ±"
    answer = CliRunner(charset="ascii").invoke(app, [*words, "--results", str(folder)])
    if words[0] == "run":
        assert answer.exit_code == 2
        assert "nowhere/B\\xfccher [/red] \\xb5+-: there is no such directory" in answer.stderr
    else:
        assert answer.exit_code == 0, answer.exception
    assert answer.stdout.isascii()


def test_a_process_under_an_ascii_setting_prints_a_table(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "COLUMNS": "160"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [str(BENCH), "table", "1"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "mean +- standard" in answer.stdout.decode("ascii")
