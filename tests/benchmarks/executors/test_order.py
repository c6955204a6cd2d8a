"""The longest cells are begun first; what is shown keeps the order of the request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import pytest

from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import Reporter, SilentReporter
from uadbench.benchmarks.executors.base import USER, CellEnd, Outcome
from uadbench.benchmarks.executors.here import Here
from uadbench.benchmarks.executors.order import longest_first
from uadbench.benchmarks.executors.spec import CellSpec
from uadbench.benchmarks.experiment import Experiment
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.request import Request
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.datasets.cohort import Data

FOLDS = (0, 1)
MINUTES = {"thresh": 1.0, "ae": 4.0, "pddpm-s48": 9.0, "mean-brain": 2.0}


@pytest.fixture
def jobs(tiny_data: Data, tiny_preset: Preset) -> list[Job]:
    return jobs_for(select_rows(["thresh", "ae", "pddpm-s48", "mean-brain"]), FOLDS, tiny_data, tiny_preset, 0)


def seconds(jobs: Sequence[Job], minutes: dict[str, float]) -> dict[str, float]:
    rows = {job.cell.recipe.id: job.entry.row.name for job in jobs}
    return {recipe: 60 * minutes[row] for recipe, row in rows.items() if row in minutes}


def words(jobs: Sequence[Job]) -> list[str]:
    return [f"{job.entry.row.name}/{job.fold}" for job in jobs]


def test_the_longest_come_first_and_folds_stay_in_order(jobs: list[Job]) -> None:
    wanted = [f"{row}/{fold}" for row in ("pddpm-s48", "ae", "mean-brain", "thresh") for fold in FOLDS]
    assert words(longest_first(jobs, seconds(jobs, MINUTES))) == wanted
    assert words(longest_first(jobs, {})) == words(jobs)


def test_what_nobody_could_time_may_take_longest(jobs: list[Job]) -> None:
    unknown = {row: minutes for row, minutes in MINUTES.items() if row != "mean-brain"}
    assert words(longest_first(jobs, seconds(jobs, unknown)))[:3] == ["mean-brain/0", "mean-brain/1", "pddpm-s48/0"]


def test_who_takes_over_weights_comes_after_all_that_train(tiny_data: Data, tiny_preset: Preset) -> None:
    jobs = jobs_for(select_rows(["ae", "ae+l2", "thresh"]), FOLDS, tiny_data, tiny_preset, 0)
    found = words(longest_first(jobs, seconds(jobs, {"ae": 4.0, "ae+l2": 5.0, "thresh": 1.0})))
    assert found == ["ae/0", "ae/1", "thresh/0", "thresh/1", "ae+l2/0", "ae+l2/1"]


def test_two_workers_are_done_sooner_in_this_order_than_in_most(jobs: list[Job]) -> None:
    """By counting: whoever is free takes the next, as the workers do."""

    def end_of(order: Sequence[Job]) -> float:
        free = [0.0, 0.0]
        for job in order:
            free[free.index(min(free))] += MINUTES[job.entry.row.name]
        return max(free)

    one_each = [job for job in jobs if job.fold == 0]
    ends = [end_of(order) for order in permutations(one_each)]
    assert end_of(longest_first(one_each, seconds(jobs, MINUTES))) == min(ends) == 9.0
    assert max(ends) > 11


def test_outcomes_come_back_in_the_order_of_the_request(
    jobs: list[Job], tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    begun: list[str] = []

    class Nowhere(Here):
        def run(self, specs: Sequence[CellSpec], reporter: Reporter) -> Iterator[Outcome]:
            begun.extend(spec.cell for spec in specs)
            return iter([Outcome.of(spec, CellEnd(USER, "not run")) for spec in specs])

    for workers, expected in ((2, longest_first(jobs, seconds(jobs, MINUTES))), (1, tuple(jobs))):
        begun.clear()
        nowhere = Nowhere()
        nowhere.workers = workers
        experiment = Experiment(Request((), results=tmp_path), tiny_preset, tiny_data, tuple(jobs), "cpu", nowhere)
        outcomes = experiment.run(SilentReporter(), seconds(jobs, MINUTES))
        assert begun == [job.cell.id for job in expected]
        assert [outcome.spec.cell for outcome in outcomes] == [job.cell.id for job in jobs]
