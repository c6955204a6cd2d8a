"""`bench predict`: maps in the scan's own space, against what the engine's parts give when they are called by hand."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner, Result

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.prediction import outputs as writing
from uadbench.benchmarks.prediction import scan_recipe
from uadbench.benchmarks.prediction.inputs import ScanFile, find_scans
from uadbench.benchmarks.prediction.predict import predict_scans
from uadbench.benchmarks.prediction.predictor import Predictor, choose_threshold
from uadbench.benchmarks.prediction.scan_recipe import ScanRecipe
from uadbench.benchmarks.prediction.trained import TrainedRun, find_run
from uadbench.datasets.cohort import Data
from uadbench.datasets.scans.atlases import read_atlas
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.scans.preparation import bounding_box, prepare_volume
from uadbench.datasets.scans.registration import RegistrationSettings
from uadbench.datasets.scans.scan_preparation import ScanSettings
from uadbench.errors import UserError

RADIUS = 10.0
QUICK = ScanSettings(
    registration=RegistrationSettings(voxels=(8.0, 5.0), iterations=20, turns=(0.0,), starts=1),
    bias=BiasSettings(shrink=4, iterations=(2,)),
)
# Whatever is brighter than a bound that differs a little from fold to fold is anomalous.
METHOD = """
import torch
from uadbench.methods import Detector, Frozen, MethodInfo, Row

class Bound(Detector):
    info = MethodInfo("bound", "Bound", "nobody", None, (Row("bound", "Bound"),))
    Settings = Frozen
    trainable = False

    def __init__(self, settings):
        super().__init__(settings)
        self.register_buffer("bound", torch.tensor(0.5))

    def absorb(self, volumes):
        level = torch.stack([volume.mean() for volume in volumes]).mean()
        self.bound = 0.4 + 0.1 * torch.frac(1000 * level)

    def reconstruct(self, volume, scan):
        return volume.clamp(max=float(self.bound))
"""


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), path)
    return path


def values_of(path: Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).transpose(2, 1, 0)


@pytest.fixture(autouse=True)
def quick_preparation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_recipe, "ScanSettings", lambda: QUICK)


@pytest.fixture(scope="module")
def results(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with two finished folds of the method above, on all 50 slices."""
    folder = tmp_path_factory.mktemp("results")
    (folder / "bound.py").write_text(METHOD)
    sections = {**tiny_preset.sections, "data": {"phantom": "paper", "slices": 50}}
    preset = tiny_preset.model_copy(update={"sections": sections})
    for job in jobs_for(select_rows([str(folder / "bound.py")]), (0, 1), tiny_data, preset, 0):
        run_job(job, folder / "runs", "cpu", SilentReporter())
    return folder


@pytest.fixture(scope="module")
def run(results: Path) -> TrainedRun:
    return find_run("bound", results / "runs", "sqlite:////nowhere/mlflow.db")


@pytest.fixture(scope="module")
def atlas_path(tmp_path_factory, head, oriented, grid_points) -> Path:
    shape, affine = oriented("RAS", (3, 3, 3))
    points = grid_points(shape, affine)
    image = np.where(head.brain(points), head.sample(points, "t1", skull=False), 0).astype(np.float32)
    return save(tmp_path_factory.mktemp("atlas") / "atlas.nii.gz", image, affine)


@pytest.fixture(scope="module")
def prepared_scan(tmp_path_factory, head, oriented, grid_points) -> tuple[ScanFile, np.ndarray, np.ndarray]:
    """A scan as `bench prepare` leaves it, with its mask; and both as arrays."""
    shape, affine = oriented("RAS", (1, 1, 1))
    points = grid_points(shape, affine)
    brain = head.brain(points)
    box = bounding_box(brain)
    image = np.where(brain, head.sample(points, "t2", lesion=RADIUS), 0).astype(np.float32)[box]
    affine[:3, 3] = nib.affines.apply_affine(affine, [part.start for part in box][::-1])
    folder = tmp_path_factory.mktemp("prepared")
    scan = ScanFile(
        save(folder / "case_t2.nii.gz", image, affine), save(folder / "case_mask.nii.gz", brain[box], affine)
    )
    return scan, image, brain[box]


def predictor_for(run: TrainedRun, atlas_path: Path, out: Path, threshold: float = 0.2) -> Predictor:
    return Predictor(run, "given", threshold, ScanRecipe(read_atlas(atlas_path), QUICK, ()), "auto", "cpu", out)


def test_maps_are_the_engines_and_lie_where_scipy_puts_them(run, prepared_scan, atlas_path, tmp_path):
    """Mean and spread of two folds, by hand and by SciPy's interpolation on the scan's voxels."""
    scan, image, brain = prepared_scan
    outcome = predict_scans(predictor_for(run, atlas_path, tmp_path), [scan], SilentReporter())
    assert outcome.predicted == ("case",)
    volume = prepare_volume(image, brain, None, run.preparation)
    maps = [reader.read_arrays(volume.volume, volume.brain_mask, "case").score_map for reader in run.readers("cpu")]
    assert np.abs(maps[0] - maps[1]).max() > 0.01
    mean, spread = (maps[0] + maps[1]) / 2, np.abs(maps[0] - maps[1]) / np.sqrt(2)
    # Coarse voxel i of 2 mm has its centre at fine voxel 2 i + 1/2, counted from the first kept one.
    first = [int((have - kept) / 2) for have, kept in zip(image.shape, (100, 192, 192), strict=True)]
    fine = np.meshgrid(*(np.arange(size) for size in image.shape), indexing="ij")
    places = [(axis - start - 0.5) / 2 for axis, start in zip(fine, first, strict=True)]
    inside = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(places, mean.shape, strict=True)], axis=0)
    for kind, expected in (("score", mean), ("spread", spread)):
        found = values_of(tmp_path / f"case_{kind}.nii.gz")
        want = ndimage.map_coordinates(expected, places, order=1)
        np.testing.assert_allclose(found[inside], want[inside], atol=1e-5)
        assert found.max() > 0.01
    lesions = values_of(tmp_path / "case_lesions.nii.gz")
    assert set(np.unique(lesions)) == {0, 1}
    assert lesions[mean_in_scan(mean, places) > 0.3].mean() > 0.95
    assert not lesions[mean_in_scan(mean, places) < 0.1].any()


def mean_in_scan(coarse: np.ndarray, places: list[np.ndarray]) -> np.ndarray:
    return ndimage.map_coordinates(coarse, places, order=1, cval=0.15)


@pytest.fixture(scope="module")
def odd(tmp_path_factory, head, oriented, grid_points) -> tuple[Path, np.ndarray]:
    """A stripped head, turned, scaled and shifted, in thick oblique PIR slices of int16; its lesion's true centre."""
    to_scan = np.eye(4)
    to_scan[:3, :3] = Rotation.from_euler("xyz", (7, -5, 9), degrees=True).as_matrix() @ np.diag((1.06, 1.0, 0.95))
    to_scan[:3, 3] = (11, -8, 14)
    shape, affine = oriented("PIR", (1.5, 4, 1.5), 8, extent=240)
    in_atlas = nib.affines.apply_affine(np.linalg.inv(to_scan), grid_points(shape, affine))
    values = np.where(head.brain(in_atlas), head.sample(in_atlas, "t2", lesion=RADIUS), 0)
    path = save(tmp_path_factory.mktemp("odd") / "odd.nii.gz", values.round().astype(np.int16), affine)
    return path, nib.affines.apply_affine(to_scan, np.array(head.LESION))


def bench(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_lesion_in_an_odd_orientation_is_found_where_it_is(odd, results, atlas_path, tmp_path):
    path, truth = odd
    words = ("predict", path, "--run", "bound", "--out", tmp_path, "--threshold", 0.3, "--results", results)
    answer = bench(*words, "--atlas", atlas_path)
    assert answer.exit_code == 0, answer.output
    lines = (tmp_path / "odd_components.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines[1:]))
    centres = np.array([[float(row[key]) for key in ("x_mm", "y_mm", "z_mm")] for row in rows])
    nearest = int(np.linalg.norm(centres - truth, axis=1).argmin())
    assert np.linalg.norm(centres[nearest] - truth) < 3
    # A ball of 10 mm whose size went with the scan; median filter and threshold take some of its soft rim.
    assert 0.5 < float(rows[nearest]["volume_ml"]) / (4 / 3 * np.pi * 1.06 * 0.95) < 1.5
    # The same component in the binary map, read by nibabel alone, in the scan's own voxels.
    source, lesions = nib.load(path), nib.load(tmp_path / "odd_lesions.nii.gz")
    assert lesions.shape == source.shape
    np.testing.assert_allclose(lesions.affine, source.affine, atol=1e-5)
    pieces, _ = ndimage.label(np.asarray(lesions.dataobj) > 0, np.ones((3, 3, 3)))
    voxel = np.rint(nib.affines.apply_affine(np.linalg.inv(source.affine), truth)).astype(int)
    piece = np.argwhere(pieces == pieces[tuple(voxel)])
    assert pieces[tuple(voxel)] > 0
    assert np.linalg.norm(nib.affines.apply_affine(source.affine, piece).mean(0) - truth) < 3
    voxel_ml = abs(np.linalg.det(source.affine[:3, :3])) / 1000
    assert len(piece) * voxel_ml == pytest.approx(float(rows[nearest]["volume_ml"]), rel=0.2)


def test_every_output_says_what_it_is_not(odd, results, atlas_path, tmp_path, monkeypatch):
    written = []
    draw = writing.overlay_figure
    monkeypatch.setattr(writing, "overlay_figure", lambda *words: written.append(words) or draw(*words))
    words = ("predict", odd[0], "--run", "bound", "--out", tmp_path, "--results", results, "--atlas", atlas_path)
    answer = bench(*words)
    assert answer.exit_code == 0, answer.output
    assert "no medical device" in answer.output
    outputs = {path.name: path for path in tmp_path.iterdir()}
    kinds = ("input", "reconstruction", "score", "spread", "lesions")
    images = {f"odd_{kind}.nii.gz" for kind in kinds}
    assert set(outputs) == images | {"odd_components.csv", "odd_overlay.png", "odd.json"}
    for name in images:
        assert "no medical device" in nib.load(outputs[name]).header["descrip"].item().decode()
    assert "no medical device" in outputs["odd_components.csv"].read_text().splitlines()[0]
    assert "no medical device" in json.loads(outputs["odd.json"].read_text())["notice"]
    [(_, _, title, notice)] = written
    assert "no medical device" in notice
    assert "odd" in title
    picture = outputs["odd_overlay.png"].read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


@pytest.fixture
def half_masked(odd, tmp_path) -> tuple[Path, Path]:
    """The odd scan with a mask of one half of its brain, which registers somehow."""
    path, _ = odd
    image = nib.load(path)
    brain = np.asarray(image.dataobj) > 0
    brain[:, : int(ndimage.center_of_mass(brain)[1])] = False
    return path, save(tmp_path / "half.nii.gz", brain.transpose(2, 1, 0), image.affine)


def test_a_registration_that_failed_is_refused_and_names_what_to_try(half_masked, results, atlas_path, tmp_path):
    path, mask = half_masked
    out = tmp_path / "out"
    words = ("--run", "bound", "--out", out, "--results", results, "--atlas", atlas_path)
    answer = bench("predict", path, "--mask", mask, *words)
    assert answer.exit_code == 2, answer.output
    told = " ".join(answer.output.split())
    assert "odd: failed: its registration to atlas.nii.gz is not to be believed (" in told
    assert re.search(r"a brain of \d+ ml, beyond 800 to 2100", told)
    assert all(word in told for word in ("orientation", "--mask", "--skull-strip", "--force"))
    assert not list(out.glob("*"))
    # Nothing was predicted, so nothing is said to lie anywhere or to be done.
    assert "0 predicted, 0 were predicted already, 1 failed." in told
    assert "Maps, tables and pictures" not in told
    assert not re.search(r"predict: \d+ done", told)


def test_what_was_forced_says_so_everywhere(half_masked, results, atlas_path, tmp_path, monkeypatch):
    titles = []
    draw = writing.overlay_figure
    monkeypatch.setattr(writing, "overlay_figure", lambda *words: titles.append(words[2]) or draw(*words))
    path, mask = half_masked
    out = tmp_path / "out"
    words = ("predict", path, "--mask", mask, "--run", "bound", "--out", out, "--results", results)
    answer = bench(*words, "--atlas", atlas_path, "--force")
    assert answer.exit_code == 0, answer.output
    account = json.loads((out / "odd.json").read_text())
    assert "a brain of" in account["doubt"]
    assert f"(registration doubtful: {account['doubt']})" in " ".join(answer.output.split())
    assert account["doubt"] in (out / "odd_components.csv").read_text().splitlines()[0]
    assert account["doubt"] in titles[0]
    for image in out.glob("*.nii.gz"):
        assert "REGISTRATION DOUBTFUL" in nib.load(image).header["descrip"].item().decode()
    again = bench(*words, "--atlas", atlas_path)
    assert again.exit_code == 2  # and what was forced is kept
    assert (out / "odd.json").exists()
    assert "predicted already (registration doubtful" in " ".join(
        bench(*words, "--atlas", atlas_path, "--force").output.split()
    )


def test_a_second_time_only_what_changed_is_done(run, prepared_scan, atlas_path, tmp_path):
    scan, image, _ = prepared_scan
    copy = ScanFile(tmp_path / "other_t2.nii.gz", scan.mask)
    copy.path.write_bytes(scan.path.read_bytes())
    predictor = predictor_for(run, atlas_path, tmp_path / "out")
    assert predict_scans(predictor, [scan, copy], SilentReporter()).predicted == ("case", "other")
    assert predict_scans(predictor, [scan, copy], SilentReporter()).kept == ("case", "other")
    save(copy.path, image * 2, nib.load(scan.path).affine)
    (tmp_path / "out" / "case_score.nii.gz").unlink()
    assert predict_scans(predictor, [scan, copy], SilentReporter()).predicted == ("case", "other")
    other = replace(predictor, threshold=0.31)
    assert predict_scans(other, [scan], SilentReporter()).predicted == ("case",)


def test_a_scan_in_microns_or_of_another_format_gives_the_same_maps_on_itself(run, prepared_scan, atlas_path, tmp_path):
    scan, image, _ = prepared_scan
    affine = nib.load(scan.path).affine
    microns = nib.Nifti1Image(image.transpose(2, 1, 0), np.diag([1000.0, 1000.0, 1000.0, 1.0]) @ affine)
    microns.header.set_xyzt_units("micron")
    nib.save(microns, tmp_path / "microns.nii")
    nib.save(nib.MGHImage(image.transpose(2, 1, 0), affine), tmp_path / "surfer.mgz")
    nib.save(nib.Nifti1Pair(image.transpose(2, 1, 0), affine), tmp_path / "pair.img")
    scans = [ScanFile(tmp_path / name, None) for name in ("microns.nii", "surfer.mgz", "pair.img")]
    plain = ScanFile(scan.path, None)
    outcome = predict_scans(predictor_for(run, atlas_path, tmp_path / "out"), [plain, *scans], SilentReporter())
    assert not outcome.failures, outcome.failures
    expected = nib.load(tmp_path / "out" / "case_score.nii.gz")
    for one in scans:
        made = nib.load(tmp_path / "out" / f"{one.name}_score.nii.gz")
        source = nib.load(one.path)
        np.testing.assert_allclose(made.affine, source.affine, rtol=1e-6)
        np.testing.assert_allclose(made.get_fdata(), expected.get_fdata(), atol=1e-3)
    unit = nib.load(tmp_path / "out" / "microns_score.nii.gz").header.get_xyzt_units()[0]
    assert unit == "micron"


def test_one_bad_scan_is_said_and_the_others_are_predicted(prepared_scan, results, atlas_path, tmp_path):
    scan, _, _ = prepared_scan
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(scan.path.read_bytes()[:2000])
    words = ("--run", "bound", "--out", tmp_path / "out", "--results", results, "--atlas", atlas_path)
    answer = bench("predict", bad, scan.path, *words)
    assert answer.exit_code == 1, answer.output
    assert "bad: failed:" in answer.output
    assert "Traceback" not in answer.output
    assert (tmp_path / "out" / "case.json").exists()
    assert not list((tmp_path / "out").glob("bad*"))
    assert bench("predict", bad, *words).exit_code == 2


def test_a_full_disk_is_one_sentence_and_leaves_no_half_written_file(
    run, prepared_scan, atlas_path, tmp_path, monkeypatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "out" / "case_score.nii.gz"))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot be written: No space left on device; make room"):
        predict_scans(predictor_for(run, atlas_path, tmp_path / "out"), [prepared_scan[0]], SilentReporter())
    assert list((tmp_path / "out").iterdir()) == []


def test_an_output_folder_below_a_file_is_refused(run, prepared_scan, atlas_path, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        predict_scans(predictor_for(run, atlas_path, tmp_path / "file" / "out"), [prepared_scan[0]], SilentReporter())


def test_the_threshold_is_a_sets_mean_over_folds_or_a_number(run):
    pairs = [record.thresholds for record in run.records]
    for role in ("tumours", "ms"):
        assert choose_threshold(role, run) == (role, pytest.approx((pairs[0][role].greedy + pairs[1][role].greedy) / 2))
    assert choose_threshold("0.25", run) == ("given", 0.25)
    for word in ("stroke", "-1", "nan", "inf"):
        with pytest.raises(UserError, match=f"--threshold {word}"):
            choose_threshold(word, run)


def test_masks_go_with_scans_and_names_do_not_clash(tmp_path):
    scans = [tmp_path / "a.nii.gz", tmp_path / "b_t2.nii"]
    masks = [tmp_path / "ma.nii", tmp_path / "mb.nii"]
    found = find_scans(scans, masks).scans
    assert [(one.name, one.mask) for one in found] == [("a", masks[0]), ("b", masks[1])]
    others = ("c_t2.NII.GZ", "d.mgz", "e.MGH", "f_t2.img", "g.hdr.gz", "h.mgh.gz")
    assert [one.name for one in find_scans([tmp_path / name for name in others]).scans] == list("cdefgh")
    assert [one.name for one in find_scans([tmp_path / "p.hdr", tmp_path / "p.img"]).scans] == ["p"]
    with pytest.raises(UserError, match="2 scans and 1 masks"):
        find_scans(scans, masks[:1])
    with pytest.raises(UserError, match=r"would both write b_\*"):
        find_scans([*scans, tmp_path / "elsewhere" / "b.nii.gz"])


def test_nothing_found_is_an_empty_table_and_a_picture(run, prepared_scan, atlas_path, tmp_path):
    predictor = predictor_for(run, atlas_path, tmp_path, threshold=5.0)
    predict_scans(predictor, [prepared_scan[0]], SilentReporter())
    assert len((tmp_path / "case_components.csv").read_text().splitlines()) == 2
    assert (tmp_path / "case_overlay.png").stat().st_size > 20_000
    assert not values_of(tmp_path / "case_lesions.nii.gz").any()


def starved(*words: object, **more: object) -> None:
    raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize(
    ("owner", "name", "told"),
    [
        ("prediction.predict", "ready_scan", "case: failed: its preparation ran out of memory (RuntimeError"),
        ("prediction.outputs", "write_native", "case: failed: the writing of its maps ran out of memory (RuntimeError"),
        (
            "engine.reading.Reader",
            "_scan",
            "the reconstruction ran out of memory with score.batch_size=1, halved from 64",
        ),
        ("prediction.trained", "load_weights", "loading the weights ran out of memory with score.batch_size=64"),
    ],
)
def test_out_of_memory_is_one_sentence_at_every_stage(
    owner, name, told, prepared_scan, results, atlas_path, tmp_path, monkeypatch
):
    scan, _, _ = prepared_scan
    words = ("predict", scan.path, "--mask", scan.mask, "--run", "bound", "--out", tmp_path, "--results", results)
    with monkeypatch.context() as broken:
        broken.setattr(f"uadbench.benchmarks.{owner}.{name}", starved)
        answer = bench(*words, "--atlas", atlas_path)
    assert answer.exit_code == 2, answer.output
    said = " ".join(answer.output.split())
    assert told in said and "Traceback" not in said
    assert "less is needed with" in said and "no other program beside it" in said
    assert not (tmp_path / "case.json").exists()
    if owner == "engine.reading.Reader":
        assert "case: failed: bound-fold0-" in said and "--run of one cell instead of all 2 folds" in said
    if name == "ready_scan":
        assert "a scan of fewer voxels, cropped or resampled" in said


def test_a_small_memory_halves_the_batch_once_for_all_scans_and_folds(
    run, prepared_scan, atlas_path, tmp_path, monkeypatch
):
    """The maps are those of the whole batch, to the bit."""
    scan, _, _ = prepared_scan
    predict_scans(predictor_for(run, atlas_path, tmp_path / "whole"), [scan], SilentReporter())
    predictor = predictor_for(run, atlas_path, tmp_path / "halved")
    said, tried = [], []
    whole = type(predictor.readers[0].detector).reconstruct

    def reconstruct(self, volume, scan):
        tried.append(scan.batch_size)
        if scan.batch_size > 16:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, volume, scan)

    reporter = SilentReporter()
    for reader in predictor.readers:
        monkeypatch.setattr(type(reader.detector), "reconstruct", reconstruct)
    monkeypatch.setattr(reporter, "say", said.append)
    assert predict_scans(predictor, [scan], reporter).predicted == ("case",)
    assert tried == [64, 32, 16, 16]
    assert sum("out of memory with score.batch_size=64; it goes on with 16" in line for line in said) == 1
    for kind in ("score", "reconstruction", "spread"):
        found, wanted = (values_of(tmp_path / part / f"case_{kind}.nii.gz") for part in ("halved", "whole"))
        np.testing.assert_array_equal(found, wanted)
