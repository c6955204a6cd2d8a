"""The curve that a training shows while it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.fence import FencedFolder
from uadbench.benchmarks.records.progress import forget_progress
from uadbench.benchmarks.records.record import record_of
from uadbench.benchmarks.records.record_files import Epoch
from uadbench.benchmarks.records.running.live import LIVE, LiveHistory, read_live
from uadbench.datasets.cohort import Data

from cases import TINY

QUIET = SilentReporter()


def epoch(number: int) -> Epoch:
    return Epoch(number, 10 * number, 1.0 / number, 2.0 / number, 1e-3)


def free(folder: Path) -> FencedFolder:
    return FencedFolder(folder, lambda: None)


def test_every_line_is_there_at_once_with_its_time(tmp_path: Path) -> None:
    live = LiveHistory(free(tmp_path))
    live.begin([])
    for number in (1, 2, 3):
        live.add(epoch(number))
        found = read_live(tmp_path)
        assert [line.epoch for line in found] == list(range(1, number + 1))
        assert found[-1].val_loss == 2.0 / number
        assert all(line.time is not None for line in found)


def test_a_training_that_goes_on_takes_back_what_its_checkpoint_does_not_know(tmp_path: Path) -> None:
    first = LiveHistory(free(tmp_path))
    first.begin([])
    for number in (1, 2, 3):
        first.add(epoch(number))
    times = {line.epoch: line.time for line in read_live(tmp_path)}
    second = LiveHistory(free(tmp_path))
    second.begin([epoch(1), epoch(2)])
    assert {line.epoch: line.time for line in read_live(tmp_path)} == {number: times[number] for number in (1, 2)}
    second.add(epoch(3))
    assert [line.epoch for line in read_live(tmp_path)] == [1, 2, 3]


def test_a_torn_line_and_a_strangers_are_passed_over(tmp_path: Path) -> None:
    live = LiveHistory(free(tmp_path))
    live.begin([epoch(1)])
    path = tmp_path / LIVE
    path.write_bytes(path.read_bytes() + b'{"epoch": 2, "ste')
    assert [line.epoch for line in read_live(tmp_path)] == [1]
    path.write_bytes(b"\xff\xfe\n" + path.read_bytes())
    assert [line.epoch for line in read_live(tmp_path)] == [1]
    assert read_live(tmp_path / "nowhere") == ()


def test_whoever_has_lost_the_cell_writes_nothing(tmp_path: Path) -> None:
    def lost() -> None:
        raise PermissionError("lost")

    LiveHistory(free(tmp_path)).begin([epoch(1)])
    live = LiveHistory(FencedFolder(tmp_path, lost))
    with pytest.raises(PermissionError):
        live.begin([])
    with pytest.raises(PermissionError):
        live.add(epoch(2))
    assert [line.epoch for line in read_live(tmp_path)] == [1]


def test_a_disk_that_takes_nothing_costs_the_sight_alone(tmp_path: Path) -> None:
    folder = tmp_path / "cell"
    folder.write_text("no folder")
    live = LiveHistory(free(folder))
    live.begin([epoch(1)])
    live.add(epoch(2))
    assert read_live(folder) == ()


@pytest.fixture
def rare(tiny_data: Data) -> Job:
    """A training that writes a checkpoint at its end alone."""
    preset: Preset = load_preset(str(TINY), ["train.checkpoint_minutes=60"])
    (job,) = jobs_for(select_rows(["ae"]), (0,), tiny_data, preset, 0)
    return job


def test_a_training_shows_its_validations_before_it_writes_any_checkpoint(
    rare: Job, tmp_path: Path, stop_after: Callable[[str, int], SilentReporter]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_job(rare, tmp_path, "cpu", stop_after("train", 9))
    record = record_of(tmp_path, rare.cell)
    assert record.history() == ()
    seen = read_live(record.folder)
    assert len(seen) >= 1
    run_job(rare, tmp_path, "cpu", QUIET)
    said = [(line.epoch, line.step, line.train_loss, line.val_loss) for line in read_live(record.folder)]
    assert said == [(line.epoch, line.step, line.train_loss, line.val_loss) for line in record.history()]
    assert [line.val_loss for line in seen] == [line.val_loss for line in record.history()][: len(seen)]
    assert record.done
    forget_progress(record.folder)
    assert read_live(record.folder) == () and record.done
