"""`bench figure reconstructions`: what is done is drawn, what is not is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.figures.reconstructions import MethodMaps
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.reports.comparison import kind_of_score
from uadbench.datasets.cohort import Data

from cases import TINY, untold


@pytest.fixture
def bench(tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("uadbench.benchmarks.opening.open_data", lambda *words, **more: tiny_data)
    monkeypatch.setattr("uadbench.benchmarks.experiment.telling", untold)
    common = ["--preset", str(TINY), "--device", "cpu", "--results", str(tmp_path / "results")]
    return lambda *words: CliRunner().invoke(app, [*words, *common])


FIGURE = ("figure", "reconstructions", "--method", "thresh", "--method", "ae", "--method", "mean-brain", "--fold", "0")


def test_what_is_done_is_drawn_and_what_is_not_is_said(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Sequence[MethodMaps]] = []
    monkeypatch.setattr(
        "uadbench.benchmarks.reports.comparison.comparison_figure", lambda methods, path: drawn.append(methods)
    )
    assert bench("run", "--method", "thresh", "--method", "mean-brain", "--folds", "0", "--jobs", "1").exit_code == 0
    answer = bench(*FIGURE)
    assert answer.exit_code == 0, answer.stderr
    assert "Not run yet, so not drawn: AE." in answer.stderr
    assert f"Wrote {tmp_path / 'results/figures/reconstructions-tiny-tiny-fold0.png'}." in answer.stderr
    assert [(method.title, method.kind) for method in drawn[0]] == [
        ("Thresh", "score of Thresh"),
        ("Mean brain", "|scan - reconstruction|"),
    ]


def test_nothing_to_draw_is_one_sentence(bench: Any) -> None:
    answer = bench(*FIGURE)
    assert answer.exit_code == 2
    assert "run `bench run --method thresh --method ae --method mean-brain --folds 0` first" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_kinds_of_score_are_told_apart() -> None:
    names = ("thresh", "ae", "maediff", "pddpm-iqa", "ae+ssim", "maediff+ssim", "ae+l1")
    kinds = dict(zip(names, map(kind_of_score, select_rows(list(names))), strict=False))
    assert kinds["ae"] == kinds["maediff"] == "|scan - reconstruction|"
    assert kinds["ae+ssim"] == kinds["maediff+ssim"] == "SSIM"
    assert len({kinds[name] for name in ("thresh", "ae", "pddpm-iqa", "ae+ssim")}) == 4
