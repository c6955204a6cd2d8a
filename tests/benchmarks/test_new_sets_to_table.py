"""WMH 2017 and BIDS directories in miniature, FLAIR, from their raw folders to a row of a table."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from sklearn.metrics import average_precision_score, f1_score

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.engine.scoring import binarise, truth_of
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import load_suite, select_rows
from uadbench.benchmarks.reports.cells import cells_of_records
from uadbench.benchmarks.reports.table import make_table
from uadbench.datasets import Modality, data_set_named, data_sets
from uadbench.datasets.downloads.prepare import PrepareOptions, plan_download, prepare_download
from uadbench.datasets.load import load_disk
from uadbench.datasets.scans import registration
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.scans.registration import RegistrationSettings

from cases import TESTS, TINY

SETS = ("bids", "wmh2017", "bids-lesions")
KNOWN = tuple(data_sets().values())


def _prepare(name: str, raw: Path, out: Path, atlas: Path) -> None:
    """As `bench prepare NAME RAW --modality flair --skull-strip none`, in a second per scan: one climb, one N4."""
    options = PrepareOptions(Modality.FLAIR, "none", str(atlas), "t1")
    plan = plan_download(data_set_named(name), raw, out, options, KNOWN)
    settings = replace(
        plan.recipe.settings,
        registration=RegistrationSettings(voxels=(8.0,), iterations=20, turns=(0.0,), starts=1),
        bias=BiasSettings(shrink=8, iterations=(5,)),
    )
    prepared = prepare_download(replace(plan, recipe=replace(plan.recipe, settings=settings)))
    assert not prepared.failures and prepared.prepared


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(registration, "LEAST_DICE", 0.8)  # a single climb ends millimetres off, which is an error
    script = TESTS / "trials" / "make_miniature.py"
    subprocess.run([sys.executable, str(script), str(tmp_path), "--sets", ",".join(SETS)], check=True)
    template, brain = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    atlas = tmp_path / "atlas.nii.gz"
    nib.save(nib.Nifti1Image(template.get_fdata() * brain.get_fdata(), template.affine), atlas)
    for name in SETS:
        _prepare(name, tmp_path / name, tmp_path / "data", atlas)
    return tmp_path / "data"


@pytest.mark.slow
def test_from_raw_folders_to_a_row(directory: Path, tmp_path: Path) -> None:
    labels = np.asarray(nib.load(directory / "Test/wmh2017/seg/Utrecht-0_seg.nii.gz").dataobj)
    assert set(np.unique(labels)) == {0, 1, 2}

    preset = load_preset(str(TINY), ("data.slices=40",))
    data = load_disk(directory, tmp_path / "cache", preset.preparation, None, 1, known=KNOWN, modality=Modality.FLAIR)
    assert (data.healthy.name, set(data.lesions)) == ("bids", {"wmh2017", "bids-lesions"})
    people = {subject.id: (subject.age, subject.site) for subject in data.healthy.store.subjects}
    assert people["sub-01_ses-1"] == people["sub-01_ses-2"] == (29.0, "south")
    parts = [*data.splits.folds[0].train, *data.splits.folds[0].val], [*data.splits.healthy_test]
    assert not {scan.partition("_")[0] for scan in parts[0]} & {scan.partition("_")[0] for scan in parts[1]}

    (job,) = jobs_for(select_rows(["thresh"]), (0,), data, preset, 0)
    record = run_job(job, tmp_path / "runs", "cpu", SilentReporter())
    wmh = data.lesions["wmh2017"]
    (subject,) = data.splits.lesion["wmh2017"].test[:1]
    score = next(one for one in record.scores() if (one.cohort, one.subject) == ("wmh2017", subject))
    score_map = reader_of(job, record, "cpu").read(wmh, subject).score_map
    truth = truth_of(wmh, subject, job.slab)
    assert truth.ignored is not None and truth.ignored.any()
    found = binarise(score_map, record.thresholds["wmh2017"].greedy, job.plan.score)
    counts = ~truth.ignored
    assert score.dice == pytest.approx(f1_score(truth.lesions[counts], found[counts]))
    assert score.auprc == pytest.approx(average_precision_score(truth.lesions[counts], score_map[counts]))
    # The other pathology shines as the lesions do: who counted it as background would find half of that, who counted
    # it as lesion would find lesions that nobody asked for.
    assert score.auprc > average_precision_score(truth.lesions.ravel(), score_map.ravel()) + 0.1
    assert score.lesion_ml == pytest.approx(truth.lesions.sum() * wmh.store.voxel_ml)

    table = make_table(load_suite("table1"), cells_of_records([record]), preset, data.name, 0)
    lesion_sets = {(key, metric) for key in data.lesions for metric in ("dice", "auprc")}
    assert {(column.key, column.metric.name) for column in table.columns} == {*lesion_sets, ("healthy", "l1")}
    row = table.text().loc[table.lines.index[table.lines["row"] == "thresh"][0]]
    assert float(row["wmh2017/dice"].split()[0]) > 30
    assert float(row["bids-lesions/dice"].split()[0]) > 30
