"""A run is found by every name its user may have at hand, and comes back from its record alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.prediction.trained import TrainedRun, find_run
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.tracking.sync import sync_record
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

NOWHERE = "sqlite:////nowhere/at/all/mlflow.db"


@pytest.fixture
def runs(tmp_path: Path, entry_of: Callable, fake_record: Callable) -> dict[str, RunRecord]:
    """Folds 1 and 0 of a row, one unfinished fold of it, and two experiments of another row."""
    one, other = entry_of("alpha", "Alpha"), entry_of("beta", "Beta")
    return {
        "alpha 1": fake_record(tmp_path, one, 1),
        "alpha 0": fake_record(tmp_path, one, 0),
        "alpha open": fake_record(tmp_path, one, 2, done=False),
        "beta": fake_record(tmp_path, other, 0),
        "beta seed 1": fake_record(tmp_path, other, 0, seed=1),
    }


def names(run: TrainedRun) -> list[str]:
    return [record.folder.name for record in run.records]


def test_a_cell_by_folder_name_and_id(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    record = runs["alpha 1"]
    for word in (str(record.folder), record.folder.name, record.config.cell):
        assert names(find_run(word, tmp_path, NOWHERE)) == [record.folder.name]


def test_a_parent_is_its_finished_folds_in_order(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    both = [runs["alpha 0"].folder.name, runs["alpha 1"].folder.name]
    for word in ("alpha", runs["alpha 0"].config.recipe):
        assert names(find_run(word, tmp_path, NOWHERE)) == both


def test_a_row_of_two_experiments_is_refused_with_the_choice(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="2 experiments, choose one") as caught:
        find_run("beta", tmp_path, NOWHERE)
    for key in ("beta", "beta seed 1"):
        assert runs[key].config.recipe in str(caught.value)


def test_what_is_not_there_or_not_finished_is_named(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cell or parent of that name .*finished rows: alpha, beta"):
        find_run("gamma", tmp_path, NOWHERE)
    with pytest.raises(UserError, match="is not finished"):
        find_run(runs["alpha open"].folder.name, tmp_path, NOWHERE)
    with pytest.raises(UserError, match="finished rows: none"):
        find_run("alpha", tmp_path / "elsewhere", NOWHERE)


def test_mlflows_ids_of_parent_and_fold_are_known(
    entry_of: Callable, fake_record: Callable, tmp_path: Path, mlflow_uri: str
) -> None:
    from mlflow import MlflowClient

    records = [fake_record(tmp_path, entry_of("delta", "Delta"), fold, data="found-by-id") for fold in (0, 1)]
    for record in records:
        assert sync_record(record, mlflow_uri)
    client = MlflowClient(tracking_uri=mlflow_uri)
    [experiment] = client.search_experiments(filter_string="name = 'uadbench'")
    query = "tags.`uadbench.data` = 'found-by-id'"
    found = {run.data.tags["uadbench.kind"]: run for run in client.search_runs([experiment.experiment_id], query)}
    assert len(names(find_run(found["parent"].info.run_id, tmp_path, mlflow_uri))) == 2
    [name] = names(find_run(found["fold"].info.run_id, tmp_path, mlflow_uri))
    assert name.endswith(found["fold"].data.tags["uadbench.cell"])
    with pytest.raises(UserError, match="no cell or parent"):
        find_run("0" * 32, tmp_path, mlflow_uri)


def test_a_reader_from_the_record_is_the_engines(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    """Its map of a volume equals the one of the reader that the engine makes from job and data."""
    [job] = jobs_for(select_rows(["ae+ssim"]), (0,), tiny_data, tiny_preset, 3)
    record = run_job(job, tmp_path, "cpu", SilentReporter())
    [reader] = find_run(record.folder.name, tmp_path, NOWHERE).readers("cpu")
    cohort, subject = tiny_data.healthy, tiny_data.splits.healthy_test[0]
    expected = reader_of(job, record, "cpu").read(cohort, subject)
    original, mask = cohort.store.volume(subject), cohort.store.brain_mask(subject)
    slab = job.slab
    found = reader.read_arrays(np.array(slab.of(original)), slab.of(mask).astype(bool), subject)
    assert (found.score_map == expected.score_map).all()
    assert found.score_map.max() > 0


def test_missing_weights_and_methods_are_named(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    run = find_run(runs["alpha 0"].folder.name, tmp_path, NOWHERE)
    with pytest.raises(UserError, match="'alpha', which no installed package registers"):
        run.readers("cpu")
