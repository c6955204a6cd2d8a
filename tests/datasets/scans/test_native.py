"""Maps in a scan's own space: the same voxels and affine as the file, and values where they belong."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from uadbench.datasets.scans.native import read_native, write_native
from uadbench.datasets.scans.space import Grid
from uadbench.errors import DataError

NOTICE = "research software, no medical device"


@pytest.fixture
def scan(tmp_path, oriented):
    """A function that writes a scan of odd orientation and returns its path."""

    def write(axes: str, sizes: tuple[float, ...], turn: float, *, frames: bool = False):
        shape, affine = oriented(axes, sizes, turn, extent=60)
        values = np.random.default_rng(0).integers(0, 900, shape[::-1]).astype(np.int16)
        image = nib.Nifti1Image(values[..., None] if frames else values, affine)
        image.set_sform(affine, 1)
        image.set_qform(affine, 3)
        path = tmp_path / f"{axes}.nii.gz"
        nib.save(image, path)
        return path

    return write


ORIENTATIONS = [
    ("RAS", (1, 1, 1), 0),
    ("LAS", (0.51, 0.51, 4), 0),
    ("PIR", (0.9, 3, 0.9), 7),
    ("SPL", (2, 1, 1.5), -20),
]


@pytest.mark.parametrize(("axes", "sizes", "turn"), ORIENTATIONS)
def test_what_is_written_has_the_scans_voxels_affine_and_codes(axes, sizes, turn, scan, tmp_path):
    path = scan(axes, sizes, turn, frames=axes == "LAS")
    source = nib.load(path)
    native = read_native(path)
    array = np.arange(np.prod(source.shape[:3]), dtype=np.float32).reshape(source.shape[:3][::-1])
    write_native(tmp_path / "map.nii.gz", array, native, NOTICE)
    written = nib.load(tmp_path / "map.nii.gz")
    assert written.shape == source.shape[:3]
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-5)
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (1, 3)
    np.testing.assert_allclose(written.header.get_qform(), source.header.get_qform(), atol=1e-4)
    assert written.header["descrip"].item().decode() == NOTICE
    np.testing.assert_array_equal(np.asarray(written.dataobj), array.transpose(2, 1, 0))


@pytest.mark.parametrize(("axes", "sizes", "turn"), ORIENTATIONS)
def test_values_land_where_scipy_puts_them(axes, sizes, turn, scan):
    """A map from a coarse grid elsewhere, through an affine, against SciPy's interpolation at each voxel's world."""
    native = read_native(scan(axes, sizes, turn))
    rng = np.random.default_rng(1)
    coarse = Grid((20, 24, 22), nib.affines.from_matvec(2.5 * np.eye(3), (-30.0, -38.0, -20.0)))
    values = ndimage.gaussian_filter(rng.normal(size=coarse.shape), 1.5).astype(np.float32)
    from_native = np.eye(4)
    from_native[:3, :3] = 1.1 * Rotation.from_euler("xyz", (8, -12, 5), degrees=True).as_matrix()
    from_native[:3, 3] = (3, -4, 2)
    shape = native.grid.shape
    voxels = np.stack(np.meshgrid(*(np.arange(size) for size in shape[::-1]), indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(from_native @ native.grid.affine, voxels)
    places = nib.affines.apply_affine(np.linalg.inv(coarse.affine), world)[..., ::-1].transpose(3, 2, 1, 0)
    inside = np.all([(p >= 0) & (p <= n - 1) for p, n in zip(places, coarse.shape, strict=True)], axis=0)
    assert inside.mean() > 0.1
    moved = native.take(values, coarse, from_native)
    expected = ndimage.map_coordinates(values, places, order=1)
    np.testing.assert_allclose(moved[inside], expected[inside], atol=1e-5)
    mask = native.take(values > 0, coarse, from_native)
    nearest = np.rint(places).astype(int)
    edge = np.any(np.abs(np.abs(places - nearest) - 0.5) < 1e-3, axis=0)
    expected_mask = (values > 0)[tuple(nearest.clip(0, np.array(coarse.shape)[:, None, None, None] - 1))]
    sure = inside & ~edge
    np.testing.assert_array_equal(mask[sure], expected_mask[sure])


def test_a_file_that_is_no_image_is_refused(tmp_path):
    path = tmp_path / "scan.nii.gz"
    path.write_text("no image")
    with pytest.raises(DataError, match=r"scan\.nii\.gz is no gzip file"):
        read_native(path)


def test_a_map_of_another_shape_is_a_mistake_of_ours(scan, tmp_path):
    native = read_native(scan("RAS", (2, 2, 2), 0))
    with pytest.raises(ValueError, match="shape"):
        write_native(tmp_path / "map.nii.gz", np.zeros((2, 2, 2), dtype=np.float32), native, NOTICE)
    assert not (tmp_path / "map.nii.gz").exists()
