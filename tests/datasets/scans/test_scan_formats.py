"""Every format and unit that scans come in gives the same volume in millimetres; what has no end is refused unread."""

from __future__ import annotations

import gzip
import os
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from uadbench.datasets.scans.native import read_native, write_native
from uadbench.datasets.scans.nifti import read_header, read_volume
from uadbench.datasets.scans.scan_file import scan_parts, scan_stamp, sha256_of
from uadbench.datasets.scans.scan_header import HEADS, ReadLimits
from uadbench.errors import DataError

UNITS = {"micron": 1000.0, "mm": 1.0, "meter": 0.001}


@pytest.fixture
def data(oriented) -> tuple[np.ndarray, np.ndarray]:
    """Voxels [X, Y, Z] and affine of an oblique head-sized grid stored as PIR."""
    shape, affine = oriented("PIR", (4, 5, 4), 7, extent=200)
    return np.random.default_rng(0).integers(0, 900, shape[::-1]).astype(np.int16), affine


def assert_is(path: Path, data: tuple[np.ndarray, np.ndarray]) -> None:
    """What is read has, at the world point of each stored voxel, its value: by the affines alone."""
    voxels, affine = data
    array, grid = read_volume(path, HEADS)
    places = np.moveaxis(np.indices(voxels.shape), 0, -1)[::3, ::2, ::4].reshape(-1, 3)
    found = nib.affines.apply_affine(np.linalg.inv(grid.affine) @ affine, places)
    np.testing.assert_allclose(found, np.rint(found), atol=1e-3)
    i, j, k = np.rint(found).astype(int).T
    np.testing.assert_array_equal(array[k, j, i], voxels[tuple(places.T)])
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")


def write(path: Path, data: tuple[np.ndarray, np.ndarray], unit: str | None = "mm") -> Path:
    voxels, affine = data
    stored = np.diag([UNITS[unit or "mm"]] * 3 + [1]) @ affine
    image = nib.Nifti1Image(voxels, stored)
    image.set_sform(stored, 1)
    image.set_qform(stored, 3)
    image.header.set_xyzt_units(unit or "unknown")
    nib.save(image, path)
    return path


# -------------------------------------------------------------------------------------------------------------- units


@pytest.mark.parametrize("unit", [*UNITS, None])
def test_a_header_is_read_in_the_unit_it_counts_in(unit, data, tmp_path):
    path = write(tmp_path / "scan.nii.gz", data, unit)
    assert_is(path, data)
    np.testing.assert_allclose(read_native(path).grid.affine, data[1], rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize("unit", UNITS)
def test_a_map_lies_on_its_scan_for_viewers_with_and_without_units(unit, data, tmp_path):
    path = write(tmp_path / "scan.nii.gz", data, unit)
    native = read_native(path)
    write_native(tmp_path / "map.nii.gz", np.zeros(native.grid.shape, dtype=np.float32), native, "x")
    scan, made = nib.load(path), nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_allclose(made.affine, scan.affine, rtol=1e-6)
    np.testing.assert_allclose(made.header.get_qform(), scan.header.get_qform(), rtol=1e-4, atol=1e-4 * UNITS[unit])
    assert made.header.get_xyzt_units()[0] == scan.header.get_xyzt_units()[0] == unit
    import SimpleITK as sitk  # which heeds units

    for one in (path, tmp_path / "map.nii.gz"):
        assert max(sitk.ReadImage(str(one)).GetSpacing()) == pytest.approx(5, rel=1e-4)


@pytest.mark.parametrize(
    ("named", "meant", "words"),
    [
        (None, "micron", "names no unit, and in microns it would be one.*xyzt_units 3"),
        (None, "meter", "names no unit, and in metres it would be one.*xyzt_units 1"),
        ("mm", "micron", "says millimetres, and in microns"),
        ("meter", "mm", "says metres, and in millimetres"),
    ],
)
def test_a_unit_that_makes_no_head_is_refused_with_the_one_that_would(named, meant, words, data, tmp_path):
    voxels, affine = data
    path = write(tmp_path / "scan.nii", (voxels, np.diag([UNITS[meant] / UNITS[named or "mm"]] * 3 + [1]) @ affine))
    image = nib.load(path)
    image.header.set_xyzt_units(named or "unknown")
    image.header.set_sform(np.diag([UNITS[meant]] * 3 + [1]) @ affine, 1)
    nib.save(nib.Nifti1Image(voxels, image.header.get_sform(), image.header), path)
    with pytest.raises(DataError, match=f"which no head does; its header {words}"):
        read_volume(path, HEADS)


# ------------------------------------------------------------------------------------------------------------ formats


def as_mgh(path: Path, data: tuple[np.ndarray, np.ndarray]) -> Path:
    nib.save(nib.MGHImage(data[0], data[1]), path)
    return path


def as_pair(path: Path, data: tuple[np.ndarray, np.ndarray]) -> Path:
    nib.save(nib.Nifti1Pair(*data), path.with_suffix(".img"))
    return path


def renamed(path: Path, data: tuple[np.ndarray, np.ndarray]) -> Path:
    return write(path.with_name("scan.nii.gz"), data).rename(path)


def packed_pair(path: Path, data: tuple[np.ndarray, np.ndarray]) -> Path:
    for kind in ("hdr", "img"):
        plain = as_pair(path.with_name("plain.img"), data).with_suffix(f".{kind}")
        path.with_name(f"scan.{kind}.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return path


def upper_pair(path: Path, data: tuple[np.ndarray, np.ndarray]) -> Path:
    for kind in ("hdr", "img"):
        as_pair(path.with_name("plain.img"), data).with_suffix(f".{kind}").rename(path.with_suffix(f".{kind.upper()}"))
    return path


FORMATS = {
    "scan.mgz": as_mgh,
    "scan.mgh": as_mgh,
    "scan.MGZ": lambda path, data: as_mgh(path.with_name("scan.mgz"), data).rename(path),
    "scan.mgh.gz": lambda path, data: as_mgh(path.with_name("scan.mgz"), data).rename(path),
    "scan.img": as_pair,
    "scan.hdr": as_pair,
    "scan.hdr.gz": packed_pair,
    "scan.img.gz": packed_pair,
    "SCAN.IMG": upper_pair,
    "SCAN.NII.GZ": renamed,
    "scan.Nii.Gz": renamed,
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_gives_the_voxels_in_their_places(name, data, tmp_path):
    path = FORMATS[name](tmp_path / name, data)
    assert_is(path, data)
    native = read_native(path)
    assert native.remark is None
    write_native(tmp_path / "map.nii.gz", np.ones(native.grid.shape, dtype=np.float32), native, "x")
    np.testing.assert_allclose(nib.load(tmp_path / "map.nii.gz").affine, data[1], atol=1e-4)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_cut_short_is_a_sentence(name, data, tmp_path):
    path = FORMATS[name](tmp_path / name, data)
    voxels = scan_parts(path)[-1]
    voxels.write_bytes(voxels.read_bytes()[:-900])
    with pytest.raises(DataError, match=r"is cut short"):
        read_volume(path)


def test_an_analyze_pair_is_read_as_las_which_is_said_and_not_beside_a_matrix(data, tmp_path):
    voxels, _ = data
    image = nib.AnalyzeImage(voxels, None)
    image.header.set_zooms((4, 5, 6))
    nib.save(image, tmp_path / "scan.img")
    array, grid = read_volume(tmp_path / "scan.hdr")
    np.testing.assert_array_equal(array, voxels[::-1].transpose(2, 1, 0))
    np.testing.assert_allclose(grid.spacing, (4, 5, 6))
    assert "LAS is assumed" in (read_native(tmp_path / "scan.img").remark or "")
    (tmp_path / "scan.mat").write_bytes(b"MATLAB")
    with pytest.raises(DataError, match=r"whose place stands in scan\.mat; convert it to \.nii\.gz"):
        read_volume(tmp_path / "scan.img")


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("scan.img", lambda path, data: as_pair(path, data).with_suffix(".hdr").unlink(), r"no scan\.hdr lies beside"),
        ("scan.hdr", lambda path, data: as_pair(path, data).with_suffix(".img").unlink(), r"no scan\.img lies beside"),
        ("scan.mgh", lambda path, data: path.write_bytes(gzip.compress(b"x")), r"rename it to scan\.mgz$"),
        ("scan.NII", lambda path, data: path.write_bytes(gzip.compress(b"x")), r"rename it to scan\.NII\.gz$"),
        (
            "scan.mgz",
            lambda path, data: as_mgh(path.with_suffix(".mgh"), data).rename(path),
            "unpacked already, so rename it to .mgh",
        ),
        ("scan.mgz", lambda path, data: path.write_bytes(gzip.compress(b"x" * 999)), "no readable MGH file"),
        ("scan.dcm", lambda path, data: path.write_bytes(b"DICM"), "called like no scan that is read"),
        ("scan.nii.gz", lambda path, data: path.mkdir(), "is a folder and no file"),
        ("scan.nii.gz", lambda path, data: os.mkfifo(path), "is a pipe and no file"),
        ("scan.nii", lambda path, data: path.symlink_to("/dev/zero"), "is a device and no file"),
        ("scan.mgz", lambda path, data: path.symlink_to("/dev/zero"), "is a device and no file"),
        ("scan.nii", lambda path, data: path.symlink_to("/nowhere"), "No such file"),
    ],
)
def test_what_is_no_scan_is_a_sentence(name, make, words, data, tmp_path):
    make(tmp_path / name, data)
    for read in (read_volume, read_header, read_native):
        with pytest.raises(DataError, match=words):
            read(tmp_path / name)
    if "no file" in words:
        with pytest.raises(DataError, match=words):
            sha256_of(tmp_path / name)


def test_a_pair_is_known_by_both_of_its_files(data, tmp_path):
    header = as_pair(tmp_path / "scan.hdr", data)
    voxels = header.with_suffix(".img")
    first, stamp = sha256_of(header), scan_stamp(header)
    assert (sha256_of(voxels), scan_stamp(voxels)) == (first, stamp)
    for part in (header, voxels):
        content = part.read_bytes()
        part.write_bytes(content + b"\0")
        assert sha256_of(header) != first
        assert scan_stamp(header) != stamp
        part.write_bytes(content)
    assert sha256_of(header) == first


# ---------------------------------------------------------------------------------------------------- sform and qform


@pytest.mark.parametrize("spoil", [b"\0" * 48, np.full(12, np.nan, "<f4").tobytes()])
def test_of_a_singular_sform_the_qform_is_read_which_is_said(spoil, data, tmp_path):
    path = write(tmp_path / "scan.nii", data)
    content = bytearray(path.read_bytes())
    content[280:328] = spoil
    path.write_bytes(content)
    array, grid = read_volume(path, HEADS)
    write(tmp_path / "good.nii", data)
    reference, good = read_volume(tmp_path / "good.nii")
    np.testing.assert_array_equal(array, reference)
    np.testing.assert_allclose(grid.affine, good.affine, atol=1e-3)
    assert "sform is singular, so its qform is read" in (read_native(path).remark or "")
    content[252:254] = bytes(2)
    path.write_bytes(content)
    with pytest.raises(DataError, match="affine is singular or not a number"):
        read_volume(path)


# -------------------------------------------------------------------------------------------------------------- bombs


def header_of(side: int, millimetres: float) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_shape((side,) * 3)
    header.set_data_dtype(np.uint8)
    header["pixdim"][1:4] = millimetres
    header["qform_code"] = 1
    header["vox_offset"] = 352
    return bytes(header.binaryblock) + bytes(4)


def peak_of(action) -> tuple[float, float]:
    """Seconds and peak of Python's memory, MB, of an action that is refused; the first call imports what it needs."""
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(DataError):
        action()
    seconds, peak = time.perf_counter() - begun, tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return seconds, peak


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_true_header_of_too_many_voxels_is_refused_before_they_are_read(name, tmp_path):
    content = header_of(600, 0.3) + bytes(40 << 20)
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    limits = ReadLimits(100_000_000, is_head=True)
    with pytest.raises(DataError, match=r"has 600 x 600 x 600 voxels, more than the 100000000 .* raise --max-voxels"):
        read_volume(tmp_path / name, limits)
    assert peak_of(lambda: read_volume(tmp_path / name, limits))[1] < 2
    with pytest.raises(DataError, match="is cut short: its header promises 216000352 bytes"):
        read_volume(tmp_path / name, ReadLimits(300_000_000))


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_file_that_goes_on_past_what_its_header_promises_is_left(name, tmp_path):
    with (gzip.open if name.endswith("gz") else open)(tmp_path / name, "wb") as file:
        file.write(header_of(60, 3))
        for _ in range(150):
            file.write(bytes(1 << 20))
    with pytest.raises(DataError, match="goes on long after the 216352 bytes that its header promises"):
        read_volume(tmp_path / name)
    assert peak_of(lambda: read_volume(tmp_path / name))[1] < 60  # of 150


def test_a_little_may_follow_the_voxels(data, tmp_path):
    """As FreeSurfer writes its notes behind them."""
    path = as_mgh(tmp_path / "scan.mgh", data)
    path.write_bytes(path.read_bytes() + b"mri_convert in.nii out.mgz" * 1000)
    assert_is(path, data)
