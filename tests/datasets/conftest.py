"""Tiny brains, and data directories made of them in the field's layout."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from uadbench.datasets.base import DataSet
from uadbench.datasets.downloads.recipe import PreparationRecipe
from uadbench.datasets.layout import scan_path
from uadbench.datasets.modality import Modality
from uadbench.datasets.scans.atlases import read_atlas
from uadbench.datasets.scans.bias import BiasSettings
from uadbench.datasets.scans.preparation import PreparationSettings
from uadbench.datasets.scans.registration import RegistrationSettings
from uadbench.datasets.scans.scan_preparation import ScanSettings
from uadbench.datasets.scans.skull_strip import MaskFile, Stripped

from cases import SHARED

Brain = tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]


def _brain(seed: int, shape: tuple[int, int, int] = (26, 40, 36)) -> Brain:
    """An asymmetric ellipsoid of textured tissue on zero background, with a lesion: image, brain mask, lesion mask."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    radius = (axes[0] / 0.9) ** 2 + (axes[1] / 0.85) ** 2 + (axes[2] / 0.7) ** 2
    brain = radius + 0.2 * axes[1] * axes[2] < 1
    lesion = sum((axis - place) ** 2 for axis, place in zip(axes, (0.1, 0.2, -0.2), strict=True)) < 0.06
    image = 100 + 40 * axes[0] + 30 * axes[1] + 20 * axes[2] + rng.normal(0, 5, shape) + 80 * lesion
    return np.where(brain, image, 0).astype(np.float32), brain, lesion & brain


@pytest.fixture
def brain() -> Callable[..., Brain]:
    return _brain


@pytest.fixture
def small() -> PreparationSettings:
    """A preparation whose volumes have 8×16×16 voxels."""
    return PreparationSettings(side=32, depth=16)


def _write_nifti(path: Path, array: NDArray[np.generic], *, axes: str = "RAS", voxel: float = 1.0) -> None:
    """Write a (z, y, x) array of RAS order as a NIfTI file stored in another orientation."""
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = (-17.0, -19.0, -11.0)
    dtype = np.uint8 if array.dtype == np.bool_ else array.dtype
    image = nib.Nifti1Image(np.moveaxis(array.astype(dtype), (0, 1, 2), (2, 1, 0)), affine)
    target = nib.orientations.axcodes2ornt(axes)
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), target)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)


@pytest.fixture
def write_nifti() -> Callable[..., None]:
    return _write_nifti


def _write_scan(root: Path, info: DataSet, scan: str, seed: int = 0, axes: str = "RAS") -> None:
    image, mask, lesion = _brain(seed)
    files = {"t2": image, "mask": mask, "seg": lesion}
    for kind in info.kinds(Modality.T2):
        _write_nifti(scan_path(root, info, kind, scan), files[kind], axes=axes)


@pytest.fixture
def write_scan() -> Callable[..., None]:
    return _write_scan


def _write_csv(path: Path, scans: Sequence[str], ages: Mapping[str, float] | None = None) -> None:
    """Write a split file with the columns that the published ones have; their names and paths say t1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["", "img_name", "age", "label", "img_path", "mask_path", "seg_path", "Agegroup"])
        for number, scan in enumerate(scans):
            age = (ages or {}).get(scan, "")
            writer.writerow([number, f"{scan}_t1.nii.gz", age, 0, f"/t1/{scan}_t1.nii.gz", "", "", ""])


@pytest.fixture
def write_csv() -> Callable[..., None]:
    return _write_csv


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans and published split files, beside the project; absent in a plain clone."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent: no published split files and no real scans to test with")
    return folder


LESION_RADIUS = 14.0


@pytest.fixture(scope="session")
def coarse() -> ScanSettings:
    """A preparation of raw scans that takes a fifth of a second."""
    return ScanSettings(
        voxel=4.0,
        registration=RegistrationSettings(voxels=(8.0,), iterations=20, turns=(0.0,), starts=1),
        bias=BiasSettings(shrink=2, iterations=(5, 5)),
    )


def _save_raw(path: Path, array: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), affine), path)


@pytest.fixture(scope="session")
def save_raw() -> Callable[..., None]:
    return _save_raw


@pytest.fixture(scope="session")
def write_head(head, oriented, grid_points):
    """Write a head as raw files; returns where its lesion truly is in the scan's world."""

    def write(image: Path, mask: Path | None, seg: Path | None, axes: str = "LAS", *, skull: bool = True) -> np.ndarray:
        to_scan = np.eye(4)
        to_scan[:3, :3] = 1.05 * Rotation.from_euler("xyz", (6, -4, 5), degrees=True).as_matrix()
        to_scan[:3, 3] = (12, -9, 7)
        shape, affine = oriented(axes, (4, 4, 5), 5, extent=236)
        points = nib.affines.apply_affine(np.linalg.inv(to_scan), grid_points(shape, affine))
        values = head.sample(points, "t2", lesion=LESION_RADIUS if seg else 0).round()
        _save_raw(image, values if skull else np.where(head.brain(points), values, np.float32(0)), affine)
        if mask:
            _save_raw(mask, head.brain(points), affine)
        if seg:
            _save_raw(seg, 4 * head.lesion(points, LESION_RADIUS).astype(np.uint8), affine)
        return nib.affines.apply_affine(to_scan, np.array(head.LESION))

    return write


@pytest.fixture(scope="session")
def forget_orientation() -> Callable[[Path], None]:
    """Set a file's qform_code and sform_code to 0, two bytes each from byte 252 of its header, and nothing else."""

    def run(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        content[252:256] = bytes(4)
        path.write_bytes(gzip.compress(bytes(content)))

    return run


@pytest.fixture(scope="session")
def atlas_file(tmp_path_factory, head, oriented, grid_points) -> Path:
    shape, affine = oriented("LAS", (4, 4, 4))
    points = grid_points(shape, affine)
    path = tmp_path_factory.mktemp("atlas") / "synthetic_t1.nii.gz"
    brain = np.where(head.brain(points), head.sample(points, "t1", skull=False), 0)
    _save_raw(path, brain.astype(np.float32), affine)
    return path


@pytest.fixture(scope="session")
def recipe_for(atlas_file, coarse) -> Callable[[str], PreparationRecipe]:
    """How a set is prepared in miniature, by its name."""
    return lambda name: PreparationRecipe(
        read_atlas(atlas_file), Stripped() if name == "brats21" else MaskFile(), coarse
    )
