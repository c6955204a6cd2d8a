"""Fixtures of the benchmark's tests: run records as the engine writes them, made of invented numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uadbench.benchmarks.plan.cell import Cell, Recipe
from uadbench.benchmarks.plan.plan import Plan
from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.records.record import RunRecord, record_of
from uadbench.benchmarks.records.record_files import CellConfig, Epoch, ThresholdPair, VolumeScore
from uadbench.datasets.modality import Modality
from uadbench.methods import Detector, Frozen, MethodInfo, Row, card_of

COHORTS = {
    "healthy": {"name": "phantom-healthy", "title": "phantom healthy"},
    "tumours": {"name": "phantom-tumours", "title": "phantom tumours"},
    "ms": {"name": "phantom-ms", "title": "phantom MS"},
}
ENVIRONMENT = {
    "commit": "abc123def456",
    "python": "3.11.9",
    "torch": "2.13.0",
    "lightning": "2.5.0",
    "uadbench": "0.1.0",
    "device": "CPU, 2 threads",
    "machine": "a machine, 2 cores, Linux",
    "started": "2025-03-01T10:00:00+00:00",
}
SECTIONS: dict[str, dict[str, Any]] = {
    "data": {"phantom": "demo", "slices": 16},
    "preparation": {
        "side": 192,
        "depth": 100,
        "iterations": 3,
        "time_step": 0.125,
        "lower_percentile": 1.0,
        "upper_percentile": 99.0,
        "factor": 2,
    },
    "train": {
        "epochs": 4,
        "batch_size": 8,
        "drop_last": True,
        "accumulate": 1,
        "checkpoint_activations": False,
        "validate_every": 2,
        "validation_slices": 4,
        "checkpoint_minutes": 0.0,
        "precision": "32-true",
        "compile": False,
        "tf32": False,
        "deterministic": True,
    },
    "score": {
        "erosion": 3,
        "median": 5,
        "min_voxels": 7,
        "threshold_steps": 10,
        "batch_size": 64,
        "untrained_control": True,
        "lesion_free": "exclude",
        "test_volumes": "all",
    },
}


class NetSettings(Frozen):
    width: int


class NetSection(Frozen):
    net: NetSettings


def make_entry(name: str, title: str, *, trainable: bool = True, control: bool = False) -> SuiteRow:
    """A table row of a class made on the spot; the row fixes a width that tells its recipe from others."""
    row = Row(name, title, {"net.width": sum(map(ord, name))})
    info = MethodInfo(name=name, title=title, citation="nobody", year=None, rows=(row,), control=control)
    cls = type("Toy", (Detector,), {"info": info, "Settings": NetSection, "trainable": trainable})
    return SuiteRow(row, card_of(cls))


def make_plan(entry: SuiteRow) -> Plan:
    return Plan.model_validate({**SECTIONS, "method": {"net": {"width": entry.row.settings["net.width"]}}})


def write_record(
    runs: Path,
    entry: SuiteRow,
    fold: int = 0,
    *,
    metrics: dict[str, float] | None = None,
    done: bool = True,
    seed: int = 0,
    fingerprint: str = "f" * 64,
    modality: Modality = Modality.T2,
    started: str = str(ENVIRONMENT["started"]),
    **config: Any,
) -> RunRecord:
    """Write the record of a cell that was never run."""
    plan = make_plan(entry)
    recipe = Recipe.of(entry.method, plan, seed, modality)
    data = str(config.get("data", "phantom"))
    cell = Cell(recipe, fold, data, fingerprint)
    record = record_of(runs, cell)
    words: dict[str, Any] = {
        "cell": cell.id,
        "recipe": recipe.id,
        "content": recipe.content(),
        "row": entry.row.name,
        "title": entry.row.title,
        "method": entry.method.info.name,
        "control": entry.method.info.control,
        "trainable": entry.method.trainable,
        "preset": "demo",
        "changed": [],
        "departures": ["less noise: t_test 250 instead of 500"],
        "data": data,
        "data_title": "phantom (demo)",
        "cohorts": COHORTS,
        "fingerprint": fingerprint,
        "splits": "phantom",
        "fold": fold,
        "folds": 5,
        "seed": seed,
        "plan": plan.model_dump(mode="json"),
    }
    record.begin(CellConfig.model_validate_json(json.dumps({**words, **config})), {**ENVIRONMENT, "started": started})
    fill(record, entry, fold, metrics)
    if done:
        record.set_state("scoring", trained=True)
        record.finish(60.0)
    return record


def fill(record: RunRecord, entry: SuiteRow, fold: int, metrics: dict[str, float] | None) -> None:
    if entry.method.trainable:
        record.save_history(tuple(Epoch(e, 10 * e, 1.0 / e, 2.0 / e, 1e-3) for e in (2, 4, 6)))
        record.best_checkpoint.parent.mkdir(parents=True, exist_ok=True)
        record.best_checkpoint.write_bytes(b"weights")
    record.save_thresholds({"tumours": ThresholdPair(0.2, 0.3, 0.21, 0.31), "ms": ThresholdPair(0.1, 0.05, 0.11, 0.06)})
    record.save_scores(
        (
            VolumeScore("phantom-healthy", "healthy", "h1", None, None, None, 0.03, 0.06, None, 1.0),
            VolumeScore("phantom-tumours", "tumours", "t1", 0.4, 0.41, 0.5, 0.04, 0.07, 12.0, 1.0),
        )
    )
    record.figure.parent.mkdir(parents=True, exist_ok=True)
    record.figure.write_bytes(b"\x89PNG")
    default = {
        "phantom-healthy/l1": 0.030 + 0.001 * fold,
        "phantom-healthy/l1_brain": 0.06,
        "phantom-tumours/dice": 0.30 + 0.01 * fold,
        "phantom-tumours/dice_exact": 0.33 + 0.01 * fold,
        "phantom-tumours/auprc": 0.35 + 0.01 * fold,
        "phantom-ms/dice": 0.05 + 0.01 * fold,
        "phantom-ms/dice_exact": 0.06,
        "phantom-ms/auprc": 0.06,
        "parameters": 1000.0,
        "seconds_score": 2.0,
    }
    if entry.method.trainable:
        default |= {"val_loss": 0.5, "seconds_train": 30.0, "phantom-healthy/l1_untrained": 0.3}
    record.save_metrics(default if metrics is None else metrics)


@pytest.fixture(scope="session")
def write_scan() -> Callable[[Path, str, dict[str, np.ndarray]], None]:
    """Writes the files of a scan of a data directory, `{"t2": array, …}`, into the folder of its set."""

    def write(folder: Path, name: str, parts: dict[str, np.ndarray]) -> None:
        import nibabel as nib  # not at the top: the GPU's tests run where it is not installed

        for part, array in parts.items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), folder / part / f"{name}.nii.gz")

    return write


@pytest.fixture
def entry_of() -> Callable[..., SuiteRow]:
    return make_entry


@pytest.fixture
def plan_of() -> Callable[[SuiteRow], Plan]:
    return make_plan


@pytest.fixture
def fake_record() -> Callable[..., RunRecord]:
    return write_record


@pytest.fixture
def toy_sections() -> dict[str, dict[str, Any]]:
    return {**SECTIONS, "net": {"width": 1}}


@pytest.fixture(scope="session")
def mlflow_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One SQLite store for the whole session: making one takes seconds. Tests tell theirs apart by the data's name."""
    pytest.importorskip("mlflow", reason="MLflow is not installed here")
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def no_foreign_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def ball() -> Callable[..., np.ndarray]:
    """A bool volume with a ball in it."""

    def make(shape: tuple[int, int, int], centre: tuple[int, int, int], radius: float) -> np.ndarray:
        grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
        distance = np.sqrt(((grid - np.array(centre)[:, None, None, None]) ** 2).sum(0))
        return distance <= radius

    return make
