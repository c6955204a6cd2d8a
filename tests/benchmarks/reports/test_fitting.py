"""Tables in a terminal: no word is broken where 80 letters have room for it."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from trials.simulated_study import Shape, Study
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.reports.renderers.fitting import fit, plain_grid

TABLES = (
    ("table", "1"),
    ("table", "1", "--ci"),
    ("table", "1", "--ci", "--beside"),
    ("table", "1", "--ci", "--beside", "--paper", "--cost"),
    ("table", "1", "--detection", "--ci"),
    ("compare", "maediff", "pddpm-s16", "--metric", "l1_ratio", "--metric", "healthy_false_below_01"),
    ("reproduce", "table1", "--preset", "demo"),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("study")
    list(Study(results / "runs", Shape(rows=13, folds=2, volumes=(12, 14, 8), bins=16)).write())
    return results


def shown(study: Path, words: tuple[str, ...], width: int) -> str:
    answer = CliRunner().invoke(app, [*words, "--results", str(study)], env={"COLUMNS": str(width), "TERM": "dumb"})
    assert answer.exit_code == 0, answer.stderr
    assert max(map(len, answer.stdout.splitlines())) <= width
    return answer.stdout


def words_of(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_][\w-]*[^\W\d_]", text))


@pytest.mark.parametrize("words", TABLES)
@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_word_of_a_narrow_table_is_one_of_the_wide_one(study: Path, words: tuple[str, ...], width: int) -> None:
    """What is a word in 80 letters is one in 400, where nothing is wrapped."""
    assert words_of(shown(study, words, width)) - words_of(shown(study, words, 400)) == set()


@pytest.mark.parametrize(
    ("width", "wide", "whole"),
    [(40, [], True), (24, [6, 7, 5], True), (22, [6, 7, 5], True), (19, None, False)],
)
def test_columns_get_what_their_words_need(width: int, wide: list[int] | None, *, whole: bool) -> None:
    """Three columns whose longest words have 6, 7 and 5 letters; between them 2 blanks or 1, at the edges 1 each."""
    grid = plain_grid()
    grid.add_column("method")
    grid.add_column("phantom tumours", justify="right")
    grid.add_column("DICE", justify="right")
    grid.add_row("A B", "1.0", "12.34")
    assert fit(grid, width) == whole
    if wide:
        assert [column.width for column in grid.columns] == wide
    console = Console(file=io.StringIO(), width=width)
    console.print(grid)
    assert ("phantom" in console.file.getvalue()) == whole  # type: ignore[attr-defined]
