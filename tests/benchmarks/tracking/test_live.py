"""Curves that grow in MLflow while cells are trained, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.records.fence import FencedFolder
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.records.record_files import Epoch
from uadbench.benchmarks.records.running.live import LiveHistory
from uadbench.benchmarks.records.running.system import SYSTEM_FILE
from uadbench.benchmarks.tracking.database import TrackingError
from uadbench.benchmarks.tracking.live import LiveCells
from uadbench.benchmarks.tracking.sync import fold_results, sync_all, sync_record

Make = Callable[..., Any]


@pytest.fixture
def entry(entry_of: Make) -> SuiteRow:
    return entry_of("toy", "Toy")


@pytest.fixture
def running(tmp_path: Path, entry: SuiteRow, fake_record: Make) -> Callable[..., RunRecord]:
    """A record of a cell that is being trained; its fingerprint tells it from those of other tests."""

    def make(name: str, fold: int = 0) -> RunRecord:
        record = fake_record(tmp_path / name, entry, fold, data=name, done=False, fingerprint=f"{name:f<64}")
        assert isinstance(record, RunRecord)
        return record

    return make


def live(record: RunRecord) -> LiveHistory:
    return LiveHistory(FencedFolder(record.folder, lambda: None))


def finish(record: RunRecord) -> None:
    record.set_state("scoring", trained=True)
    record.finish(60.0)


def children(uri: str, data: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    number = client.get_experiment_by_name("uadbench").experiment_id
    return list(client.search_runs([number], f"tags.`uadbench.data` = '{data}' and tags.`uadbench.kind` = 'fold'"))


def curve(uri: str, run_id: str, key: str = "val_loss") -> list[tuple[int, float]]:
    from mlflow import MlflowClient

    return [(point.step, point.value) for point in MlflowClient(uri).get_metric_history(run_id, key)]


def test_the_curve_grows_and_the_finished_run_goes_on_from_it(
    mlflow_uri: str, running: Callable[..., RunRecord]
) -> None:
    record = running("grows")
    history = record.history()
    cells = LiveCells([record.folder], mlflow_uri)
    assert not cells.look()
    writer = live(record)
    writer.begin([])
    writer.add(history[0])
    before = time.time()
    assert cells.look()
    (child,) = children(mlflow_uri, "grows")
    assert child.info.status == "RUNNING"
    assert child.data.tags["mlflow.parentRunId"]
    assert child.data.params["train.epochs"] == "4"
    assert curve(mlflow_uri, child.info.run_id) == [(2, 1.0)]
    assert not cells.look(), "nothing is new"
    writer.add(history[1])
    assert cells.look()
    assert curve(mlflow_uri, child.info.run_id) == [(2, 1.0), (4, 0.5)]
    assert fold_results(mlflow_uri, "grows") == (), "an unfinished cell is no result"
    from mlflow import MlflowClient

    times = [point.timestamp for point in MlflowClient(mlflow_uri).get_metric_history(child.info.run_id, "val_loss")]
    assert all(abs(moment / 1000 - before) < 30 for moment in times), "live points have the time of their validation"

    finish(record)
    cells.finish(record.folder)
    assert sync_record(record, mlflow_uri)
    (whole,) = children(mlflow_uri, "grows")
    assert whole.info.run_id == child.info.run_id, "a page that somebody watches stays the same"
    assert whole.info.status == "FINISHED"
    for key in ("train_loss", "val_loss", "learning_rate"):
        points = curve(mlflow_uri, whole.info.run_id, key)
        assert [step for step, _ in points] == [2, 4, 6], "nothing is doubled"
    assert [value for _, value in curve(mlflow_uri, whole.info.run_id)] == [epoch.val_loss for epoch in history]
    assert not sync_record(record, mlflow_uri)
    assert len(fold_results(mlflow_uri, "grows")) == 1


def test_a_curve_that_turned_out_otherwise_is_replaced(mlflow_uri: str, running: Callable[..., RunRecord]) -> None:
    record = running("otherwise")
    writer = live(record)
    cells = LiveCells([record.folder], mlflow_uri)
    writer.begin([])
    writer.add(replace(record.history()[0], val_loss=0.7777))
    cells.look()
    (shown,) = children(mlflow_uri, "otherwise")
    finish(record)
    assert sync_record(record, mlflow_uri)
    (whole,) = children(mlflow_uri, "otherwise")
    assert whole.info.run_id != shown.info.run_id
    assert curve(mlflow_uri, whole.info.run_id) == [(line.epoch, line.val_loss) for line in record.history()]


def test_a_resumed_run_goes_on_where_the_killed_one_was(mlflow_uri: str, running: Callable[..., RunRecord]) -> None:
    record = running("resumed")
    history = record.history()
    writer = live(record)
    first = LiveCells([record.folder], mlflow_uri)
    writer.begin([])
    writer.add(history[0])
    writer.add(history[1])
    first.look()
    second = LiveCells([record.folder], mlflow_uri)
    assert not second.look(), "what lies there from before is no news"
    again = live(record)
    again.begin(history[:1])  # the checkpoint did not know the second
    again.add(history[1])
    again.add(history[2])
    assert second.look()
    (child,) = children(mlflow_uri, "resumed")
    assert [step for step, _ in curve(mlflow_uri, child.info.run_id)] == [2, 4, 6]
    again.add(Epoch(8, 80, 0.1, 0.1, 1e-3))
    assert first.look(), "it sees the news"
    assert [step for step, _ in curve(mlflow_uri, child.info.run_id)] == [2, 4, 6], "but another one tells of it now"


def test_a_failed_and_a_stopped_cell_say_so(mlflow_uri: str, running: Callable[..., RunRecord]) -> None:
    for name, end, status in (
        ("failed", lambda cells, folder: cells.fail(folder, "the loss is no number"), "FAILED"),
        ("stopped", lambda cells, folder: cells.stop(), "KILLED"),
    ):
        record = running(name)
        cells = LiveCells([record.folder], mlflow_uri)
        live(record).begin(record.history()[:1])
        cells.look()
        end(cells, record.folder)
        (child,) = children(mlflow_uri, name)
        assert child.info.status == status
        assert child.data.tags.get("problem") == ("the loss is no number" if name == "failed" else None)


def test_sync_ends_what_nobody_trains_any_more(
    mlflow_uri: str, running: Callable[..., RunRecord], fake_record: Make, entry: SuiteRow
) -> None:
    record = running("left")
    cells = LiveCells([record.folder], mlflow_uri)
    live(record).begin(record.history()[:2])
    cells.look()
    (child,) = children(mlflow_uri, "left")
    assert child.info.status == "RUNNING"
    with record.claimed({}):
        sync_all(record.folder.parent, mlflow_uri, SilentReporter())
        (held,) = children(mlflow_uri, "left")
        assert held.info.status == "RUNNING"
    sync_all(record.folder.parent, mlflow_uri, SilentReporter())
    (ended,) = children(mlflow_uri, "left")
    assert ended.info.status == "KILLED"
    finish(record)
    assert sync_all(record.folder.parent, mlflow_uri, SilentReporter()) == (1, 0)
    (whole,) = children(mlflow_uri, "left")
    assert (whole.info.run_id, whole.info.status) == (child.info.run_id, "FINISHED")


def test_a_run_that_somebody_deletes_meanwhile_is_let_go(mlflow_uri: str, running: Callable[..., RunRecord]) -> None:
    from mlflow import MlflowClient

    record = running("deleted")
    writer = live(record)
    cells = LiveCells([record.folder], mlflow_uri)
    writer.begin(record.history()[:1])
    cells.look()
    (child,) = children(mlflow_uri, "deleted")
    MlflowClient(mlflow_uri).delete_run(child.info.run_id)
    writer.add(record.history()[1])
    cells.look()
    assert children(mlflow_uri, "deleted") == []


def test_a_whole_run_is_not_opened_again(mlflow_uri: str, running: Callable[..., RunRecord]) -> None:
    record = running("known")
    finish(record)
    sync_record(record, mlflow_uri)
    (whole,) = children(mlflow_uri, "known")
    cells = LiveCells([record.folder], mlflow_uri)
    live(record).begin(record.history()[:1])
    cells.look()
    (same,) = children(mlflow_uri, "known")
    assert (same.info.run_id, same.info.status) == (whole.info.run_id, "FINISHED")
    assert len(curve(mlflow_uri, same.info.run_id)) == 3


def test_what_the_machine_does_grows_too_and_is_told_once(mlflow_uri: str, running: Callable[..., RunRecord]) -> None:
    record = running("machine")
    cells = LiveCells([record.folder], mlflow_uri)
    live(record).begin(record.history()[:1])
    path = record.folder / SYSTEM_FILE
    path.write_text("time,cpu_utilization_percentage\n1000.0,50.0\n")
    cells.look()
    path.write_text(path.read_text() + "1010.0,70.0\n")
    cells.look()
    (child,) = children(mlflow_uri, "machine")
    key = "system/cpu_utilization_percentage"
    assert curve(mlflow_uri, child.info.run_id, key) == [(0, 50.0), (1, 70.0)]
    path.write_text(path.read_text() + "1020.0,90.0\n")
    finish(record)
    sync_record(record, mlflow_uri)
    (whole,) = children(mlflow_uri, "machine")
    assert whole.info.run_id == child.info.run_id
    assert curve(mlflow_uri, child.info.run_id, key) == [(0, 50.0), (1, 70.0), (2, 90.0)]
    (found,) = fold_results(mlflow_uri, "machine")
    assert not [name for name in found.metrics if name.startswith("system/")]


def test_a_store_that_is_down_leaves_the_news_for_later(mlflow_uri: str, running: Callable[..., RunRecord]) -> None:
    record = running("later")
    cells = LiveCells([record.folder], "http://127.0.0.1:9")
    live(record).begin(record.history()[:1])
    for _ in range(2):
        with pytest.raises(TrackingError):
            cells.look()
    cells._uri = mlflow_uri
    assert cells.look()
    assert len(children(mlflow_uri, "later")) == 1
