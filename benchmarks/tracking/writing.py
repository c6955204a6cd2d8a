"""Writing to a run of MLflow in portions that every server accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .report import DataNote, Point
from .tags import METRICS_PER_BATCH, PARAMS_PER_BATCH


def log(
    client: Any,
    run_id: str,
    *,
    params: Mapping[str, str] | None = None,
    points: Sequence[Point] = (),
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log parameters, points of metrics and tags.

    Args:
        client: MLflow's.
        run_id: of the run.
        params: names and values; each can be given once.
        points: of metrics.
        tags: names and values.
    """
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

    metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
    for start in range(0, len(metrics), METRICS_PER_BATCH):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_BATCH])
    words = [Param(key, value) for key, value in (params or {}).items()]
    for start in range(0, len(words), PARAMS_PER_BATCH):
        portion = words[start : start + PARAMS_PER_BATCH]
        try:
            client.log_batch(run_id, params=portion)
        except MlflowException as error:
            if error.error_code != "BAD_REQUEST":
                raise
            client.log_batch(run_id, params=portion)  # somebody told the same at this moment; now it is no error
    if tags:
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def log_data(client: Any, run_id: str, data: DataNote) -> None:
    """Name the data among a run's inputs; what is there already is not doubled.

    Args:
        client: MLflow's.
        run_id: of the run.
        data: the data.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    dataset = Dataset(data.name, data.digest, "local", data.source, profile=data.profile)
    tags = [InputTag(MLFLOW_DATASET_CONTEXT, "training and test")]
    client.log_inputs(run_id, [DatasetInput(dataset, tags)])
