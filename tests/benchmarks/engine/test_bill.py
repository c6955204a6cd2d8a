"""The bill of a cell: what each stage took, all sessions together, outside of everything that determines numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.bill import reconstructions
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.cost import Arithmetic, CellCost, add_seconds, cost_of
from uadbench.benchmarks.records.record import record_of
from uadbench.benchmarks.speed.memory import count_job
from uadbench.benchmarks.speed.timing import time_steps
from uadbench.datasets.cohort import Data
from uadbench.stopwatch import spent

from cases import run_jobs

QUIET = SilentReporter()


@pytest.fixture
def jobs(tiny_data: Data, tiny_preset: Preset) -> list[Job]:
    return jobs_for(select_rows(["ae"]), (0, 1), tiny_data, tiny_preset, 0)


def slow_figure(samples: object, path: Path, min_voxels: int) -> None:
    with spent("figure"):
        time.sleep(0.3)


def test_sessions_add_up_and_the_stages_are_part_of_the_whole(
    jobs: list[Job], tmp_path: Path, stop_after: Callable[[str, int], SilentReporter]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_job(jobs[0], tmp_path, "cpu", stop_after("train", 5), slow_figure)
    first = cost_of(record_of(tmp_path, jobs[0].cell))
    assert first is not None and first.sessions == 1 and first.total > 0 and first.gflop is None
    started = time.monotonic()
    record = run_job(jobs[0], tmp_path, "cpu", QUIET, slow_figure)
    took = time.monotonic() - started
    cost = cost_of(record)
    assert cost is not None and cost.sessions == 2
    assert first.total < cost.total <= first.total + took
    assert 0.3 <= cost.seconds["figure"] < 0.6
    assert sum(cost.seconds.values()) + cost.unaccounted == pytest.approx(cost.total)
    assert cost.peak_of == "process" and cost.peak_bytes is not None and cost.peak_bytes > 50 * 2**20
    assert record.done


def test_arithmetic_is_counted_once_for_all_folds_and_multiplied(jobs: list[Job], tmp_path: Path) -> None:
    asked: list[int] = []

    def count(job: Job) -> Arithmetic:
        asked.append(job.fold)
        return Arithmetic(slice_gflop=2.0, step_gflop=5.0)

    records = [run_job(job, tmp_path, "cpu", QUIET, None, count) for job in jobs]
    assert asked == [0]
    # tiny: 6 epochs of 2 steps (6 scans in batches of 4), 3 validations of 2 scans with 2 slices each; 4 slices a
    # volume, of which there are 2 healthy ones, twice with the untrained control, 4 in each of two lesion sets, and the
    # 2 healthy ones of validation.
    control = 2 if jobs[0].plan.score.untrained_control else 0
    expected = 5.0 * (6 * 2 + 3 * 2 * 2 / 4 / 3) + 2.0 * 4 * (2 + control + 2 * 4 + 2)
    for record in records:
        cost = cost_of(record)
        assert cost is not None
        assert (cost.slice_gflop, cost.step_gflop) == (2.0, 5.0)
        assert cost.gflop == pytest.approx(expected)


def test_a_step_is_counted_as_the_one_that_runs(jobs: list[Job]) -> None:
    job = jobs[0]
    counted = count_job(job)
    assert counted is not None and counted.step_gflop is not None
    train, side = job.plan.train, job.data.healthy.store.shape[-1]
    true = time_steps(job.detector(), train, train.batch_size, side, steps=1, seed=0, advance=int)
    assert counted.step_gflop == pytest.approx(true.flop / 1e9)


def test_a_cell_of_the_command_has_its_arithmetic(jobs: list[Job], tmp_path: Path) -> None:
    (outcome,) = run_jobs(jobs[:1], tmp_path, "cpu", 1, QUIET)
    cost = cost_of(outcome.record)
    assert cost is not None and cost.arithmetic == count_job(jobs[0])


@pytest.mark.parametrize("damage", ["{", '{"total": "much"}', "[]", "\udcff"])
def test_a_broken_bill_costs_nothing(damage: str, jobs: list[Job], tmp_path: Path) -> None:
    record = record_of(tmp_path, jobs[0].cell)
    record.folder.mkdir(parents=True)
    bill = record.folder / "cost.json"
    bill.write_bytes(damage.encode(errors="surrogateescape"))
    run_job(jobs[0], tmp_path, "cpu", QUIET)
    cost = cost_of(record)
    assert record.done and cost is not None and cost.sessions == 1
    bill.write_bytes(damage.encode(errors="surrogateescape"))
    assert record.done and cost_of(record) is None
    add_seconds(record, "mlflow", 1.0)
    bill.unlink()
    assert record.done and cost_of(record) is None  # as records of before there were bills


def test_a_bill_that_cannot_be_written_stops_nothing(jobs: list[Job], tmp_path: Path) -> None:
    record = record_of(tmp_path, jobs[0].cell)
    (record.folder / "cost.json" / "in the way").mkdir(parents=True)
    run_job(jobs[0], tmp_path, "cpu", QUIET)
    assert record.done


def test_it_changes_no_number_and_stands_in_no_digest(jobs: list[Job], tmp_path: Path) -> None:
    record = run_job(jobs[0], tmp_path, "cpu", QUIET)
    before = (record.folder / "digests.json").read_bytes()
    assert "cost" not in json.loads(before)["files"]
    add_seconds(record, "mlflow", 2.5)
    cost = cost_of(record)
    assert cost is not None and cost.seconds["mlflow"] == 2.5
    assert record.done and (record.folder / "digests.json").read_bytes() == before


def test_the_higher_peak_stays_and_a_gpus_is_not_compared_with_a_process() -> None:
    def peak(size: int, kind: Any) -> CellCost:
        return CellCost(peak_bytes=size, peak_of=kind)

    assert peak(3, "GPU").plus(peak(2, "GPU")).peak_bytes == 3
    assert peak(9, "process").plus(peak(2, "GPU")).peak_of == "GPU"
    assert CellCost(seconds={"a": 1.0}).plus(CellCost(seconds={"a": 2.0, "b": 1.0})).seconds == {"a": 3.0, "b": 1.0}


def test_reconstructions_by_hand(jobs: list[Job]) -> None:
    control = 2 if jobs[0].plan.score.untrained_control else 0
    assert reconstructions(jobs[0], trained=False) == 2 + 8 + 2 + control
    assert reconstructions(jobs[0], trained=True) == 2 + 8 + 2
