"""A small study that nobody ran, and its report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from trials.simulated_study import Shape
from trials.simulated_study import Study as Simulated

from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.reports.page.report import page_of, source_of
from uadbench.benchmarks.reports.page.study import Question, Study, study_of
from uadbench.benchmarks.reports.results import load_results
from uadbench.benchmarks.reports.tables import suites_of
from uadbench.benchmarks.sources import data_of_runs

SHAPE = Shape(rows=4, folds=2, volumes=(6, 14, 5), bins=64)
#: The name of a scan that would run, did the page not show it as it is.
EVIL = '<script>document.title = "owned"</script>&"\'"'


def ask(which: str = "all") -> Question:
    return Question(suites_of(which), load_preset("demo"))


def simulate(folder: Path, seed: int = 0, bins: int = SHAPE.bins) -> Path:
    """The results folder of a small study, one of whose scans has a wicked name."""
    shape = replace(SHAPE, bins=bins)
    for record in Simulated(folder / "runs", shape, seed).write():
        scores = record.scores()
        last = next(score for score in reversed(scores) if score.role == "tumours")
        record.save_scores(tuple(replace(score, subject=EVIL) if score is last else score for score in scores))
        record.finish(1.0)
    return folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session")
def study(folder: Path) -> Study:
    return study_of(load_results(folder), ask())


@pytest.fixture(scope="session")
def text(study: Study, folder: Path) -> str:
    """The report as text."""
    from uadbench.benchmarks.reports.page.html import render

    return render(page_of(study, source_of(study, folder, lambda print_: data_of_runs(folder, print_))))


@pytest.fixture(scope="session")
def report(text: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


Find = Callable[[str], list[dict[str, str]]]
