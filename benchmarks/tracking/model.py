"""A trained cell as a model that `mlflow.pyfunc.load_model` reads, logged on request.

It is a copy of what a prediction needs of the record: configuration, weights, thresholds, what the score has learnt,
and the file of a method of the user's own. Nothing of it is pickled; MLflow has `prediction/served.py` read it, so
whoever loads it needs uadbench. The input example is a disc by a formula: no scan leaves the machine.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..plan.plan import Plan
from ..records.record import (
    BEST,
    CONFIG,
    DIGESTS,
    ENVIRONMENT,
    METHOD,
    METRICS,
    ORIGIN,
    SCORE_STATE,
    STATE,
    THRESHOLDS,
    RunRecord,
)

MODEL_NAME = "model"
#: What MLflow calls to read the model; by name, as prediction lies above this room.
_LOADER = "uadbench.benchmarks.prediction.served"
_KEPT = (CONFIG, ENVIRONMENT, STATE, METRICS, THRESHOLDS, SCORE_STATE, BEST, METHOD, ORIGIN, DIGESTS)
_PACKAGES = ("uadbench", "torch", "lightning", "numpy", "scipy", "scikit-learn", "pandas")


def log_model(client: Any, run_id: str, record: RunRecord) -> bool:
    """Log a cell's model among the artifacts of its run; returns whether there is one.

    Args:
        client: MLflow's.
        run_id: of the cell's run.
        record: the finished cell.
    """
    if not record.best_checkpoint.exists() and record.config.trainable:
        return False  # its weights were removed, or never came with it
    with tempfile.TemporaryDirectory(prefix="uadbench-model-") as place:
        path = Path(place) / MODEL_NAME
        save_model(record, path)
        client.log_artifacts(run_id, str(path), MODEL_NAME)
    return True


def save_model(record: RunRecord, path: Path) -> None:
    """Write a cell's model into a new folder, with signature and input example.

    Args:
        record: the finished cell.
        path: of the folder.
    """
    from mlflow import pyfunc

    config = record.config
    plan = Plan.of_record(config.plan)
    height, width = plan.preparation.settings.shape[1:]
    threshold = next(iter(record.thresholds), "")
    with tempfile.TemporaryDirectory(prefix="uadbench-cell-") as place:
        cell = Path(place) / "cell"
        for name in _KEPT:
            if (record.folder / name).is_file():
                (cell / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(record.folder / name, cell / name)
        pyfunc.save_model(
            path=path,
            loader_module=_LOADER,
            data_path=str(cell),
            signature=_signature(height, width, threshold),
            input_example=({"volume": _disc(height, width), "brain_mask": _disc(height, width) > 0}, {"name": "disc"}),
            pip_requirements=_requirements(),
            metadata={"cell": config.cell, "row": config.row, "data": config.data, "modality": config.modality},
        )


def _signature(height: int, width: int, threshold: str) -> Any:
    """Tensors by name: a prepared volume and its brain, [slices, height, width]."""
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    shape, number, truth = (-1, height, width), np.dtype(np.float32), np.dtype(np.bool_)
    return ModelSignature(
        inputs=Schema([TensorSpec(number, shape, "volume"), TensorSpec(truth, shape, "brain_mask")]),
        outputs=Schema([
            TensorSpec(number, shape, "reconstruction"),
            TensorSpec(number, shape, "score"),
            TensorSpec(truth, shape, "lesions"),
        ]),
        params=ParamSchema([ParamSpec("name", "string", "scan"), ParamSpec("threshold", "string", threshold)]),
    )  # fmt: skip


def _disc(height: int, width: int) -> np.ndarray:
    """Two slices of a bright disc, float32 [2, height, width]."""
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    return np.stack([np.where(radius < min(height, width) * part, 0.5, 0.0) for part in (0.3, 0.35)]).astype(np.float32)


def _requirements() -> list[str]:
    """What must be installed where the model is loaded, in the versions of here."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            continue
    return found
