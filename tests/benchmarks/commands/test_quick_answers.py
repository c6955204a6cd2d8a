"""Who only reads or lists, and who has mistyped a word, waits for no library that trains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from uadbench.datasets.phantom.subjects import SIZES

#: Runs `bench` and then says what was imported, on the last line.
PROBE = """
import atexit, sys
heavy = ("torch", "lightning", "mlflow", "matplotlib", "sklearn", "pandas", "scipy", "nibabel", "SimpleITK")
atexit.register(lambda: print("imported:", *(name for name in heavy if name in sys.modules)))
from uadbench.benchmarks.commands.app import main
main()
"""
Bench = Callable[..., tuple[str, set[str]]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Runs the command in a process and folder of its own; gives what it said and which libraries it imported."""
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "COLUMNS": "200"}
    environment.pop("MLFLOW_TRACKING_URI", None)

    def run(*words: str, first: str = "") -> tuple[str, set[str]]:
        command = [sys.executable, "-c", first + PROBE, *words]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        said, _, imported = done.stdout.rpartition("imported:")
        return said + done.stderr, set(imported.split())

    run("table", "all", "--controls")  # the first call after an installation asks the methods
    return run


@pytest.mark.parametrize(
    ("words", "said", "needed"),
    [
        ("list methods", "MAEDiff", set()),
        ("list presets", "demo", set()),
        ("list data-sets", "BraTS21", set()),
        ("list data", "Volume stores", set()),
        ("list runs", "Runs under", set()),
        ("list scores", "SSIM", {"scipy"}),
        ("table all --controls", "not run yet: Thresh", {"scipy", "pandas"}),
        ("table 7", "there is no table 7", {"scipy", "pandas"}),
        ("export nothing -o cells.zip", "nothing: no cell, parent or row of that name", set()),
        ("import cells.zip", "cells.zip is no file", set()),
    ],
)
def test_who_lists_or_reads_imports_what_the_answer_is_made_of(
    bench: Bench, words: str, said: str, needed: set[str]
) -> None:
    answer, imported = bench(*words.split())
    assert said in answer
    assert imported <= needed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run --method maedif", "there is no method 'maedif'"),
        ("run --method ae+ssin", "there is no score 'ssin'"),
        ("run --method ae --preset demmo", "there is no preset 'demmo'"),
        ("run --method ae --folds 0,0", "fold 0 stands there 2 times"),
        ("run --method ae --set train.epoch=3", "the preset has no number"),
        ("run --method ae --data nowhere", "there is no such directory"),
        ("run --method ae --data-set mine.py", "the file cannot be read"),
        ("score --method ae --score ssin", "there is no score 'ssin'"),
        ("table 1 --method maedif", "there is no method 'maedif'"),
        ("figure reconstructions --method maedif", "there is no method 'maedif'"),
        ("list method", "choose one of methods"),
    ],
)
def test_a_misspelt_word_is_said_before_pytorch_is_imported(bench: Bench, words: str, said: str) -> None:
    answer, imported = bench(*words.split())
    assert said in answer
    assert imported <= {"scipy", "pandas"}


@pytest.mark.slow
def test_a_fold_that_is_not_there_is_said_before_pytorch_is_imported(bench: Bench, small_phantom: Path) -> None:
    first = f"from uadbench.datasets.phantom.subjects import SIZES, PhantomSize\nSIZES['demo'] = {SIZES['demo']!r}\n"
    words = ["run", "--method", "ae", "--folds", "7", "--results", str(small_phantom / "results")]
    answer, imported = bench(*words, first=first)  # of the volumes that are there
    assert "there is no fold 7" in answer
    assert not imported & {"torch", "lightning", "mlflow", "matplotlib"}
