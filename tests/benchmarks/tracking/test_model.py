"""A model in MLflow that predicts what the cell predicts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.engine.scoring import binarise
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows, with_score
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.tracking.sync import sync_record
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

pytest.importorskip("mlflow", reason="MLflow is not installed here")
Make = Callable[..., Any]


def finished(job: Job, runs: Path) -> RunRecord:
    return run_job(job, runs, "cpu", SilentReporter())


def load(uri: str, cell: str) -> Any:
    import mlflow

    client = mlflow.MlflowClient(uri)
    number = client.get_experiment_by_name("uadbench").experiment_id
    (run,) = client.search_runs([number], f"tags.`uadbench.cell` = '{cell}'")
    mlflow.set_tracking_uri(uri)
    return mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")


@pytest.mark.parametrize("score", ["", "ssim"])
@pytest.mark.parametrize("row", ["ae", "maediff", "thresh"])
def test_a_loaded_model_predicts_what_the_cell_does(
    row: str, score: str, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, mlflow_uri: str
) -> None:
    if row != "ae" and score:
        pytest.skip("one with another score is enough")
    rows = select_rows([row])
    (job,) = jobs_for([with_score(one, score) for one in rows] if score else rows, (0,), tiny_data, tiny_preset, 0)
    record = finished(job, tmp_path / "runs")
    assert sync_record(record, mlflow_uri, with_model=True)
    assert not sync_record(record, mlflow_uri, with_model=True), "it is logged once"
    reader = reader_of(job, record, "cpu")
    cohort, subject = tiny_data.lesions["tumours"], tiny_data.splits.lesion["tumours"].test[0]
    reading = reader.read(cohort, subject)
    (tmp_path / "runs").rename(tmp_path / "elsewhere")  # the model needs nothing of them
    model = load(mlflow_uri, job.cell.id)
    given = {"volume": reading.original, "brain_mask": reading.brain_mask}
    found = model.predict(given, params={"name": subject, "threshold": "tumours"})
    np.testing.assert_array_equal(found["reconstruction"], reading.reconstruction)
    np.testing.assert_array_equal(found["score"], reading.score_map)
    moved = RunRecord(tmp_path / "elsewhere" / record.folder.name)
    expected = binarise(reading.score_map, moved.thresholds["tumours"].greedy, job.plan.score)
    np.testing.assert_array_equal(found["lesions"], expected)
    high = model.predict(given, params={"name": subject, "threshold": "1000"})
    assert found["lesions"].any() and not high["lesions"].any()
    with pytest.raises(UserError, match="thresholds of"):
        model.predict(given, params={"threshold": "nobody's"})


def test_signature_and_example_say_what_it_takes(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, mlflow_uri: str
) -> None:
    (job,) = jobs_for(select_rows(["ae"]), (1,), tiny_data, tiny_preset, 0)
    record = finished(job, tmp_path / "runs")
    sync_record(record, mlflow_uri, with_model=True)
    model = load(mlflow_uri, job.cell.id)
    signature = model.metadata.signature
    shape = tiny_data.healthy.store.shape[1:]
    assert [(spec.name, spec.shape, spec.type.name) for spec in signature.inputs.inputs] == [
        ("volume", (-1, *shape), "float32"),
        ("brain_mask", (-1, *shape), "bool"),
    ]
    assert [spec.name for spec in signature.outputs.inputs] == ["reconstruction", "score", "lesions"]
    example = model.input_example
    found = model.predict(example)
    assert found["score"].shape == example["volume"].shape
    with pytest.raises(Exception, match="brain_mask"):
        model.predict({"volume": example["volume"]})


def test_without_weights_there_is_no_model(tmp_path: Path, mlflow_uri: str, entry_of: Make, fake_record: Make) -> None:
    record = fake_record(tmp_path, entry_of("toy", "Toy"), data="no weights")
    record.best_checkpoint.unlink()
    assert sync_record(record, mlflow_uri, with_model=True)
    assert not sync_record(record, mlflow_uri, with_model=True)
