"""Cells in parallel: the same numbers, one failure stops nobody, a killed parent leaves no worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.datasets.cohort import Data

from cases import TINY, run_jobs


@pytest.mark.slow
def test_workers_do_what_one_process_does(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    jobs = jobs_for(select_rows(["thresh", "mean-brain"]), (0, 1), tiny_data, tiny_preset, 0)
    alone = {o.spec.cell: o for o in run_jobs(jobs, tmp_path / "one", "cpu", 1, SilentReporter())}
    together = {o.spec.cell: o for o in run_jobs(jobs, tmp_path / "two", "cpu", 2, SilentReporter())}
    assert set(alone) == set(together) == {job.cell.id for job in jobs}
    for cell, outcome in alone.items():
        assert together[cell].record.done and not together[cell].problem
        for name, value in outcome.record.metrics.items():
            if not name.startswith("seconds"):
                assert together[cell].record.metrics[name] == pytest.approx(value, rel=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_cell_does_not_stop_the_others(workers: int, tiny_data: Data, tmp_path: Path) -> None:
    # every training diverges
    preset = load_preset(str(TINY), ["optimizer.learning_rate=1e30", "optimizer.gradient_clip=0.0"])
    jobs = jobs_for(select_rows(["pddpm-s48", "thresh"]), (0,), tiny_data, preset, 0)
    outcomes = {o.spec.row: o for o in run_jobs(jobs, tmp_path, "cpu", workers, SilentReporter())}
    failed = outcomes["pddpm-s48"]
    assert "lower optimizer.learning_rate" in failed.problem and not failed.record.done
    assert outcomes["thresh"].record.done
