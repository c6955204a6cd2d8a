"""A run has one modality: it is in the cell's id, methods are told it, and nothing shows two of them in one place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from uadbench.benchmarks import sources
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.prediction.inputs import ScanFile
from uadbench.benchmarks.prediction.same_modality import modality_in, require_modality
from uadbench.benchmarks.prediction.trained import TrainedRun, find_run
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.reports.cells import cells_of_records, volumes_of_records
from uadbench.datasets.cohort import Cohort, Data
from uadbench.datasets.modality import Modality, modality_named
from uadbench.datasets.phantom import load as phantom_data
from uadbench.datasets.phantom.load import DEMO, PhantomSet, simulate
from uadbench.datasets.phantom.subjects import subjects
from uadbench.datasets.scans.preparation import PreparationSettings, prepare_volume
from uadbench.errors import UserError
from uadbench.methods import Scan
from uadbench.methods.thresh import Thresh
from uadbench.metrics import average_precision, postprocess

DOWN = "http://127.0.0.1:9"
OTHERS = (Modality.T1, Modality.FLAIR)


def in_modality(data: Data, modality: Modality) -> Data:
    """The same volumes, said to be of another modality."""

    def said(cohort: Cohort) -> Cohort:
        return replace(cohort, modality=modality)

    return replace(data, healthy=said(data.healthy), lesions={key: said(one) for key, one in data.lesions.items()})


def jobs_on(data: Data, preset: Preset, *rows: str) -> list[Job]:
    return jobs_for(select_rows(list(rows)), (0,), data, preset, 0)


@pytest.fixture(scope="module")
def records(
    tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory
) -> dict[Modality, dict[str, RunRecord]]:
    """Thresh and the autoencoder on T2, T1 and FLAIR, in one folder of runs; the volumes are the same, and bright."""
    runs = tmp_path_factory.mktemp("modalities") / "runs"
    return {
        modality: {
            job.entry.row.name: run_job(job, runs, "cpu", SilentReporter())
            for job in jobs_on(in_modality(tiny_data, modality), tiny_preset, "thresh", "ae")
        }
        for modality in (Modality.T2, *OTHERS)
    }


# ------------------------------------------------------------------------------------------------------ cells and runs


def test_cells_of_two_modalities_are_never_one(tiny_data: Data, tiny_preset: Preset) -> None:
    for row in ("thresh", "ae", "ae+ssim"):
        cells = [jobs_on(in_modality(tiny_data, one), tiny_preset, row)[0].cell for one in (Modality.T2, *OTHERS)]
        assert len({cell.id for cell in cells}) == len({cell.recipe.id for cell in cells}) == 3
        assert len({cell.fingerprint for cell in cells}) == 3


def test_two_methods_run_on_each(records: dict[Modality, dict[str, RunRecord]]) -> None:
    for modality, found in records.items():
        for record in found.values():
            assert record.done and record.config.modality == modality
            assert not record.state.weights_from, "weights of another modality were taken over"
    frame = cells_of_records([record for found in records.values() for record in found.values()])
    assert sorted(frame["modality"]) == ["flair", "flair", "t1", "t1", "t2", "t2"]
    assert set(volumes_of_records(list(records[Modality.T1].values()))["modality"]) == {"t1"}


def test_a_trained_method_does_not_care_for_the_word(records: dict[Modality, dict[str, RunRecord]]) -> None:
    """The same volumes under another name: what the autoencoder makes of them is the same to the last digit."""
    t2 = {key: value for key, value in records[Modality.T2]["ae"].metrics.items() if not key.startswith("seconds")}
    for modality in OTHERS:
        found = records[modality]["ae"].metrics
        assert {key: found[key] for key in t2} == t2


def test_thresh_is_told_which_way_is_up(records: dict[Modality, dict[str, RunRecord]]) -> None:
    """The lesions of these volumes are bright: who takes them for T1 looks for dark ones and finds nothing."""
    found = {modality: records[modality]["thresh"].metrics for modality in records}
    for cohort in ("tiny-tumours", "tiny-ms"):
        assert found[Modality.FLAIR][f"{cohort}/auprc"] == found[Modality.T2][f"{cohort}/auprc"] > 0.2
        assert found[Modality.T1][f"{cohort}/auprc"] < 0.1


def test_thresh_finds_the_dark_tumours_of_the_t1_phantom_and_not_upside_down() -> None:
    """Pooled over three scans, post-processed as in a run; chance is the share of tumour voxels."""
    thresh = Thresh(Thresh.Settings.model_validate({"equalisation": {"bins": 256}}))
    scores: dict[str, list[np.ndarray]] = {"t1": [], "t2": []}
    truths = []
    for person in subjects(DEMO, PhantomSet.TUMOURS)[:3]:
        scan = simulate(person, PhantomSet.TUMOURS, 0, Modality.T1)
        ready = prepare_volume(scan.image, scan.brain_mask, scan.lesion_mask, PreparationSettings())
        volume, brain = (torch.from_numpy(part)[:, None] for part in (ready.volume, ready.brain_mask))
        assert ready.lesion_mask is not None
        truths.append(ready.lesion_mask[ready.brain_mask])
        for modality, found in scores.items():
            raw = thresh.anomaly_score(volume, torch.zeros_like(volume), Scan(brain, 0, 8, modality))
            found.append(postprocess(raw[:, 0].numpy(), ready.brain_mask, erosion=3, median=5)[ready.brain_mask])
    truth = np.concatenate(truths)
    right, wrong = (average_precision(np.concatenate(scores[modality]), truth) for modality in ("t1", "t2"))
    assert right > 2 * truth.mean() and wrong < truth.mean()


def test_data_are_opened_in_the_modality_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_data: Data
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(phantom_data, "load_phantom", lambda *words, **more: (asked.append(more), tiny_data)[1])
    settings = load_preset("demo").preparation
    for modality in Modality:
        sources.open_data("phantom", "demo", settings, tmp_path, None, SilentReporter(), modality)
    assert [words["modality"] for words in asked] == list(Modality)


def test_a_modality_is_named_in_any_case_or_refused() -> None:
    assert modality_named("FLAIR") is Modality.FLAIR
    with pytest.raises(UserError, match="no modality 't3': choose one of t1, t1ce, t2, flair, pd"):
        modality_named("t3")


# --------------------------------------------------------------------------------------------------------- predictions


@pytest.fixture
def run_on_t1(records: dict[Modality, dict[str, RunRecord]]) -> TrainedRun:
    return TrainedRun((records[Modality.T1]["thresh"],))


def test_a_run_knows_its_modality_and_tells_its_method(
    run_on_t1: TrainedRun, records: dict[Modality, dict[str, RunRecord]], tiny_data: Data
) -> None:
    """A prediction looks at a scan as the run's own scoring did, whose dark was up."""
    assert run_on_t1.modality is Modality.T1 and ", T1, " in run_on_t1.title
    volume = np.array(tiny_data.lesions["tumours"].store.volume("tumours-2"))
    mask = np.array(tiny_data.lesions["tumours"].store.brain_mask("tumours-2"))
    maps = {}
    for modality in (Modality.T1, Modality.T2):
        (reader,) = TrainedRun((records[modality]["thresh"],)).readers("cpu")
        assert reader.modality is modality
        maps[modality] = reader.read_arrays(volume, mask, "tumours-2").score_map
    inner = ndimage.binary_erosion(mask[1:-1], np.ones((1, 3, 3)), iterations=8)
    dark_up, bright_up = (maps[modality][1:-1][inner] for modality in (Modality.T1, Modality.T2))
    assert np.corrcoef(dark_up, bright_up)[0, 1] < -0.9


def test_runs_of_two_modalities_are_two_experiments(records: dict[Modality, dict[str, RunRecord]]) -> None:
    runs = records[Modality.T1]["thresh"].folder.parent
    with pytest.raises(UserError, match=r"thresh names 3 experiments.*T1.*"):
        find_run("thresh", runs, DOWN)
    for modality in (Modality.T2, *OTHERS):
        assert find_run("thresh", runs, DOWN, modality).modality is modality
    with pytest.raises(UserError, match="thresh names 3 experiments"):
        find_run("thresh", runs, DOWN, Modality.PD)
    assert find_run(records[Modality.FLAIR]["thresh"].config.recipe, runs, DOWN).modality is Modality.FLAIR


def test_a_scan_of_another_modality_is_refused(run_on_t1: TrainedRun) -> None:
    scans = [ScanFile(Path("somebody.nii.gz"))]
    with pytest.raises(UserError, match="learnt T1 scans and cannot read FLAIR: choose a run on FLAIR"):
        require_modality(Modality.FLAIR, run_on_t1, scans)
    assert require_modality(Modality.T1, run_on_t1, scans) == require_modality(None, run_on_t1, scans) == ()


def test_a_name_that_says_otherwise_is_pointed_out(run_on_t1: TrainedRun) -> None:
    names = ("sub-01_T2w.nii.gz", "sub-02_T1w.nii.gz", "sub-03.nii.gz", "BraTS-GLI-00000-000-t2f.nii")
    doubts = require_modality(None, run_on_t1, [ScanFile(Path(name)) for name in names])
    assert [doubt.split(" by its name")[0] for doubt in doubts] == [
        "sub-01_T2w.nii.gz is T2",
        "BraTS-GLI-00000-000-t2f.nii is FLAIR",
    ]
    assert not require_modality(Modality.T1, run_on_t1, [ScanFile(Path(names[0]))]), "the user has said so"


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("sub-01_T1w.nii.gz", Modality.T1),
        ("x_FLAIR.nii", Modality.FLAIR),
        ("IXI002-Guys-0828-T2.nii.gz", Modality.T2),
        ("BraTS21_00000_t1ce.nii.gz", Modality.T1CE),
        ("x_mask.nii.gz", None),
        ("t1_of_somebody.nii.gz", None),
        ("plain.nii", None),
    ],
)
def test_the_last_word_of_a_name_tells(name: str, modality: Modality | None) -> None:
    assert modality_in(name) is modality
