"""Checkpoints are written beside the training: whole, in order, the newest, and never without the best weights."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records import snapshots
from uadbench.benchmarks.records.record import RunRecord, record_of
from uadbench.benchmarks.records.record_files import Epoch
from uadbench.benchmarks.records.snapshots import BestWeights, Snapshot, SnapshotWriter
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

from cases import TINY

LINE = Epoch(epoch=3, step=4, train_loss=0.5, val_loss=0.25, learning_rate=0.1)


def snapshot(number: int, best: bool = False) -> Snapshot:
    found = BestWeights({"weight": torch.full((2,), float(number))}, number, 1.0 / number) if best else None
    return Snapshot({"number": number}, (LINE,), found)


class SlowDisk:
    """Writes nothing until it is let; remembers what it was asked to write."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int | None]] = []
        self.busy, self.go = threading.Event(), threading.Event()

    def __call__(self, one: Snapshot) -> None:
        self.asked.append((one.last["number"], one.best and one.best.epoch))
        self.busy.set()
        assert self.go.wait(10)


def test_of_those_that_wait_the_newest_is_written_with_the_best_weights_of_all() -> None:
    disk = SlowDisk()
    with SnapshotWriter(disk) as writer:
        writer.put(snapshot(1))
        assert disk.busy.wait(10)
        started = time.monotonic()
        for number, best in ((2, True), (3, False), (4, True), (5, False), (6, False)):
            writer.put(snapshot(number, best))
        assert time.monotonic() - started < 5  # and the disk still writes the first one
        assert disk.asked == [(1, None)]
        disk.go.set()
    assert disk.asked == [(1, None), (6, 4)]


def test_an_error_of_the_thread_is_raised_at_the_next_opportunity_and_at_the_end() -> None:
    def full(one: Snapshot) -> None:
        raise UserError("the disk is full")

    with pytest.raises(UserError, match="the disk is full"), SnapshotWriter(full) as writer:
        writer.put(snapshot(1))
    with pytest.raises(UserError, match="the disk is full"), SnapshotWriter(full) as writer:
        writer.put(snapshot(1))
        for _ in range(200):
            writer.check()
            time.sleep(0.05)
    with pytest.raises(KeyboardInterrupt), SnapshotWriter(full) as writer:  # what stopped the training is not hidden
        writer.put(snapshot(1))
        raise KeyboardInterrupt


def test_a_stop_still_writes_what_waits() -> None:
    written: list[int] = []
    writer = SnapshotWriter(lambda one: written.append(one.last["number"]))
    with contextlib.suppress(KeyboardInterrupt), writer:
        writer.put(snapshot(1))
        raise KeyboardInterrupt
    assert written == [1]


def test_a_copy_is_not_changed_by_the_next_step() -> None:
    network = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)

    def step() -> None:
        network(torch.ones(1, 2)).sum().backward()
        optimizer.step()

    step()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    live = {"state_dict": network.state_dict(), "optimizer_states": [optimizer.state_dict()]}
    copy = Snapshot(live, (LINE,), BestWeights.of(network, LINE)).copied()
    assert copy.best is not None
    moments = copy.last["optimizer_states"][0]["state"][0]["exp_avg"].clone()
    step()
    for name, value in before.items():
        assert not torch.equal(network.state_dict()[name], value)
        assert torch.equal(copy.last["state_dict"][name], value)
        assert torch.equal(copy.best.values[name], value)
    assert torch.equal(copy.last["optimizer_states"][0]["state"][0]["exp_avg"], moments)


def test_the_best_weights_are_on_the_disk_before_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kill between the two must find them."""

    def no_room(record: RunRecord, content: object) -> None:
        raise UserError("no room")

    monkeypatch.setattr(snapshots, "save_training", no_room)
    record = RunRecord(tmp_path)
    with pytest.raises(UserError, match="no room"):
        snapshot(2, best=True).write(record)
    assert torch.load(record.best_checkpoint, weights_only=True)["epoch"] == 2
    assert not record.last_checkpoint.exists()


# ------------------------------------------------------------------------------------------------------- in a training


def job_of(data: Data, *changes: str) -> Job:
    changes = ("train.validate_every=1", "optimizer.learning_rate=0.03", *changes)
    return jobs_for(select_rows(["ae"]), (0,), data, load_preset(str(TINY), changes), 0)[0]


def numbers(record: RunRecord) -> dict[str, float]:
    return {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}


@pytest.fixture(scope="module")
def whole(tiny_data: Data, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A training that nobody disturbed."""
    return run_job(job_of(tiny_data), tmp_path_factory.mktemp("whole"), "cpu", SilentReporter())


@pytest.mark.parametrize("replaced", range(5))
def test_a_death_at_any_file_of_the_thread_goes_on_to_the_same_numbers(
    tiny_data: Data, whole: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: int
) -> None:
    """A pair is three files, and there are two pairs at the least: nothing reaches the disk after so many files."""
    job = job_of(tiny_data)
    left = [replaced]
    replace = os.replace

    def die(self: Path, target: Path) -> Path:
        if threading.current_thread().name == "checkpoints":
            left[0] -= 1
            if left[0] < 0:
                raise MemoryError("dead")
        replace(self, target)
        return Path(target)

    with monkeypatch.context() as patch, pytest.raises(UserError, match="dead"):
        patch.setattr(Path, "replace", die)
        run_job(job, tmp_path / "killed", "cpu", SilentReporter())
    again = run_job(job, tmp_path / "killed", "cpu", SilentReporter())
    assert again.history() == whole.history()
    assert numbers(again) == numbers(whole)
    best = [torch.load(one.best_checkpoint, weights_only=True) for one in (again, whole)]
    assert best[0]["epoch"] == best[1]["epoch"]
    assert all(torch.equal(value, best[1]["state_dict"][name]) for name, value in best[0]["state_dict"].items())


def test_a_slow_disk_changes_no_number(
    tiny_data: Data, whole: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[[Snapshot, RunRecord], None] = Snapshot.write
    written: list[int] = []

    def slowly(one: Snapshot, record: RunRecord) -> None:
        time.sleep(0.5)
        written.append(one.last["epoch"])
        write(one, record)

    monkeypatch.setattr(Snapshot, "write", slowly)
    slow = run_job(job_of(tiny_data), tmp_path / "slow", "cpu", SilentReporter())
    assert len(written) < 6 and written[-1] == 5
    assert numbers(slow) == numbers(whole) and slow.history() == whole.history()
    assert record_of(tmp_path / "slow", job_of(tiny_data).cell).last_checkpoint.exists()
