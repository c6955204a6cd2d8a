"""A new scan is prepared as the run's own scans were, unless the user says otherwise."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

from uadbench.benchmarks.prediction.scan_recipe import recipe_for
from uadbench.benchmarks.prediction.trained import TrainedRun
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.records.record_files import CellConfig
from uadbench.datasets.scans import atlases
from uadbench.datasets.scans.atlases import load_mni152
from uadbench.datasets.scans.scan_preparation import ScanSettings
from uadbench.errors import DataError

PROTOCOL = ScanSettings().bias.iterations


def run_on(folder: Path, name: str = "ixi", **prepared: object) -> TrainedRun:
    """A run whose record says so much of its healthy scans."""
    record = RunRecord(folder)
    healthy = {"name": name, "title": name, "prepared": prepared or None}
    words = dict.fromkeys(("cell", "recipe", "row", "title", "method", "preset", "data", "data_title"), "x")
    words |= {"content": {}, "control": False, "trainable": True, "changed": [], "departures": [], "plan": {}}
    words |= {"fingerprint": "f", "splits": "own", "fold": 0, "folds": 5, "seed": 0, "cohorts": {"healthy": healthy}}
    record.begin(CellConfig.model_validate_json(json.dumps(words)), {})
    return TrainedRun((record,))


@pytest.fixture(scope="module")
def atlas_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("atlas") / "our_atlas.nii.gz"
    brain = load_mni152_template(resolution=4).get_fdata() * load_mni152_brain_mask(resolution=4).get_fdata()
    nib.save(nib.Nifti1Image(brain.astype(np.float32), load_mni152_template(resolution=4).affine), path)
    return path


def test_the_runs_own_preparation_is_taken(tmp_path):
    own = run_on(tmp_path, atlas="mni152", atlas_sha256=load_mni152().sha256, n4_levels=3)
    recipe = recipe_for(own, "auto", None)
    assert (recipe.atlas.name, recipe.notes) == ("mni152", ())
    assert recipe.settings.bias.iterations == PROTOCOL[:3]


def test_the_users_word_goes_before(tmp_path, atlas_file):
    own = run_on(tmp_path, atlas="mni152", atlas_sha256=load_mni152().sha256, n4_levels=3)
    recipe = recipe_for(own, str(atlas_file), 1)
    assert recipe.atlas.name == atlas_file.name
    assert recipe.settings.bias.iterations == PROTOCOL[:1]
    [note] = recipe.notes
    assert "another atlas, mni152" in note


def test_an_atlas_from_a_file_has_to_be_given(tmp_path, atlas_file):
    digest = hashlib.sha256(atlas_file.read_bytes()).hexdigest()
    own = run_on(tmp_path, atlas=atlas_file.name, atlas_sha256=digest, n4_levels=4)
    with pytest.raises(DataError, match=r"the run's scans lie in the atlas our_atlas.nii.gz .*--atlas FILE"):
        recipe_for(own, "auto", None)
    assert recipe_for(own, str(atlas_file), None).notes == ()


def test_where_the_record_does_not_say_the_guess_is_a_note(tmp_path, monkeypatch):
    def offline() -> Path:
        raise DataError("there is no connection; give the stripped SRI24")

    monkeypatch.setattr(atlases, "fetch_sri24", offline)
    recipe = recipe_for(run_on(tmp_path), "auto", None)
    assert recipe.atlas.name == "mni152"
    assert recipe.settings.bias.iterations == PROTOCOL
    assert "does not say in which atlas its scans lie; mni152 is taken" in recipe.notes[0]
    assert recipe.notes[1].endswith("cannot be had: there is no connection")


def test_a_run_of_the_phantom_wants_mni152_and_the_bias_left_in(tmp_path):
    recipe = recipe_for(run_on(tmp_path, name="phantom-healthy"), "auto", None)
    assert recipe.atlas.name == "mni152"
    assert recipe.settings.bias.iterations == ()
    assert recipe.notes == ("the bias is left in (N4: no levels)",)
    assert recipe_for(run_on(tmp_path, name="phantom-healthy"), "auto", 2).settings.bias.iterations == PROTOCOL[:2]
