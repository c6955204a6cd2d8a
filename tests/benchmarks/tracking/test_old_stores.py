"""Stores that earlier versions wrote are read, and brought up to date by a sync."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.reports.cells import cells_of_results
from uadbench.benchmarks.tracking.report import Report
from uadbench.benchmarks.tracking.sync import fold_results, prepare_store, sync_all

pytest.importorskip("mlflow", reason="MLflow is not installed here")
Make = Callable[..., Any]


@pytest.fixture
def entry(entry_of: Make) -> SuiteRow:
    return entry_of("toy", "Toy")


def write_as_before(uri: str, records: list[RunRecord]) -> str:
    """What the versions of before November 2026 wrote of cells; returns the parent's id."""
    from mlflow import MlflowClient

    number = prepare_store(uri)
    client = MlflowClient(uri)
    first = Report.begun(records[0])
    family = dict(zip(("uadbench.recipe", "uadbench.data", "uadbench.splits"), first.family, strict=True))
    tags = {"uadbench.kind": "parent", **family, "mlflow.note.content": first.note, "mine": "look at this"}
    parent = client.create_run(number, start_time=first.start, tags=tags, run_name=first.parent_title)
    for record in records:
        report = Report.begun(record)
        own = {**report.tags, "uadbench.kind": "fold", "mlflow.parentRunId": parent.info.run_id}
        run = client.create_run(number, start_time=report.start, tags=own, run_name=report.title).info.run_id
        for key, value in report.params.items():
            client.log_param(run, key, value)
        for line in record.history():
            for key in ("train_loss", "val_loss", "learning_rate"):
                client.log_metric(run, key, getattr(line, key), step=line.epoch)
        for key, value in record.metrics.items():
            client.log_metric(run, "best_val_loss" if key == "val_loss" else key, value, step=0)
            client.log_metric(parent.info.run_id, f"{key}_mean", value)
        client.set_terminated(run, "FINISHED")
        client.set_tag(run, "uadbench.complete", "0" * 64)
    client.log_metric(parent.info.run_id, "folds_done", len(records))
    client.set_terminated(parent.info.run_id, "FINISHED")
    return str(parent.info.run_id)


def test_an_old_store_is_read_as_it_was(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    records = [fake_record(tmp_path, entry, fold, data="old read", fingerprint="old_read") for fold in range(2)]
    write_as_before(mlflow_uri, records)
    found = {result.cell: result for result in fold_results(mlflow_uri, "old read")}
    assert {cell: dict(result.metrics) for cell, result in found.items()} == {
        record.config.cell: record.metrics for record in records
    }
    frame = cells_of_results(found.values())
    dice = list(frame.sort_values("fold")["tumours/dice"])
    assert dice == [record.metrics["phantom-tumours/dice"] for record in records]


def test_a_sync_renames_all_of_it_and_keeps_what_users_wrote(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    from mlflow import MlflowClient

    records = [fake_record(tmp_path, entry, fold, data="old told", fingerprint="old_told") for fold in range(2)]
    old = write_as_before(mlflow_uri, records)
    assert sync_all(tmp_path, mlflow_uri, SilentReporter()) == (2, 0)
    assert sync_all(tmp_path, mlflow_uri, SilentReporter()) == (0, 2)
    client = MlflowClient(mlflow_uri)
    number = client.get_experiment_by_name("uadbench").experiment_id
    runs = client.search_runs([number], "tags.`uadbench.data` = 'old told'")
    (parent,) = [run for run in runs if run.data.tags["uadbench.kind"] == "parent"]
    children = [run for run in runs if run.data.tags["uadbench.kind"] == "fold"]
    assert parent.info.run_id != old and parent.data.tags["mine"] == "look at this"
    assert not [key for key in parent.data.metrics if key.endswith("_mean")]
    assert len(children) == 2
    for child in children:
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert "cost/parameters" in child.data.metrics and "parameters" not in child.data.metrics
        assert len(client.get_metric_history(child.info.run_id, "val_loss")) == 3
    assert len(fold_results(mlflow_uri, "old told")) == 2


def test_an_old_run_that_knows_more_is_kept(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    record = fake_record(tmp_path, entry, 0, data="old more", fingerprint="old_more")
    write_as_before(mlflow_uri, [record])
    (record.folder / "history.csv").unlink()
    record.finish(60.0)
    assert sync_all(tmp_path, mlflow_uri, SilentReporter()) == (0, 1)
    (found,) = fold_results(mlflow_uri, "old more")
    assert dict(found.metrics) == record.metrics


def test_data_and_description_are_among_what_is_told(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    from mlflow import MlflowClient

    record = fake_record(tmp_path, entry, 0, data="inputs", fingerprint="abc123" * 10)
    sync_all(tmp_path, mlflow_uri, SilentReporter())
    sync_all(tmp_path, mlflow_uri, SilentReporter())
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("uadbench")
    assert "dice_" in experiment.tags["mlflow.note.content"]
    runs = client.search_runs([experiment.experiment_id], "tags.`uadbench.data` = 'inputs'")
    assert len(runs) == 2
    for run in runs:
        (given,) = run.inputs.dataset_inputs
        assert (given.dataset.name, given.dataset.digest) == ("inputs", record.config.fingerprint[:36])
        assert record.config.fingerprint in given.dataset.source
        assert "phantom-tumours" in given.dataset.profile
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "my own words")
    prepare_store(mlflow_uri)
    assert client.get_experiment_by_name("uadbench").tags["mlflow.note.content"] == "my own words"
