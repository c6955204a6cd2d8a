"""`bench report --diff`: what was changed is found, what was not is not."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from uadbench.benchmarks.reports.page.difference import changes_between, difference_of, write_difference
from uadbench.benchmarks.reports.page.html import render
from uadbench.benchmarks.reports.page.study import study_of
from uadbench.benchmarks.reports.results import load_results
from uadbench.errors import UserError

from .conftest import ask


@pytest.fixture(scope="module")
def other(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study, in which AE scores four hundredths more on every tumour."""
    copy = tmp_path_factory.mktemp("other") / "results"
    shutil.copytree(folder, copy)
    for record in load_results(copy).records:
        if record.config.row == "ae":
            scores = record.scores()
            more = [
                replace(score, dice=score.dice + 0.04) if score.role == "tumours" and score.dice is not None else score
                for score in scores
            ]
            record.save_scores(tuple(more))
            record.finish(1.0)
    return copy


def test_what_was_changed_is_found(folder: Path, other: Path) -> None:
    first, second = (study_of(load_results(one), ask()) for one in (folder, other))
    pairs = list(zip(first.rows, second.rows, strict=True))
    changes = changes_between(first, second, pairs)
    changed = [change for change in changes if change.difference]
    assert [(change.title, change.one.key, change.metric.name) for change in changed] == [("AE", "tumours", "dice")]
    (change,) = changed
    assert change.difference == pytest.approx(4.0)
    assert change.after - change.before == pytest.approx(4.0)
    assert (change.wins, change.ties, change.losses) == (14, 0, 0)
    assert (change.low, change.high) == pytest.approx((4.0, 4.0))
    page = render(difference_of(first, second, ("here", "there")))
    assert "4 rows in both. A has 8 cells, B 8; of the 8 that are the same by their ids, 8 have" in page
    assert "agree on every scan" in page
    assert page.count("<svg") == 1  # of tumours; where nothing differs there is nothing to be drawn
    assert "phantom MS: DICE of every row agrees on every scan." in page
    assert "+0.00" not in page


def test_folders_without_a_shared_row_are_refused(folder: Path) -> None:
    study = study_of(load_results(folder), ask())
    with pytest.raises(UserError, match="here and there share no row"):
        difference_of(study, replace(study, rows=()), ("here", "there"))


def test_the_page_is_written(folder: Path, other: Path, tmp_path: Path) -> None:
    path = tmp_path / "diff.html"
    results = (load_results(folder), load_results(other))
    assert write_difference((folder, other), results, ask(), path) == path.stat().st_size
    assert str(other) in path.read_text()
