"""A volume in 3-D: left is left and a millimetre is one, as nibabel reads the file; a map is cut at its threshold."""

from __future__ import annotations

import base64
import gzip

import nibabel as nib
import numpy as np

from uadbench.benchmarks.reports.page.solid import ABOVE, lesions_file, map_file, middle_of, scan_file


def opened(content: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(content)))


def test_left_front_and_top_lie_where_they_lie_in_the_patient() -> None:
    volume = np.zeros((10, 20, 30), np.float32)  # z, y, x of RAS+
    volume[8, 17, 3] = 1.0  # high, in front, left
    image = opened(scan_file(volume, 2.0))
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    levels = np.asarray(image.dataobj)
    assert levels.shape == (30, 20, 10)
    (place,) = np.argwhere(levels == 255)
    x, y, z = nib.affines.apply_affine(image.affine, place)
    assert (x, y, z) == (2 * (3 - 14.5), 2 * (17 - 9.5), 2 * (8 - 4.5))
    assert x < 0 < min(y, z)  # RAS+: the left is negative, front and top are positive
    assert image.header.get_zooms() == (2.0, 2.0, 2.0)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_lesions_and_scan_lie_in_one_space() -> None:
    lesions = np.zeros((4, 5, 6), bool)
    lesions[1, 2, 3] = True
    image, scan = opened(lesions_file(lesions, 1.5)), opened(scan_file(lesions.astype(np.float32), 1.5))
    assert np.array_equal(image.affine, scan.affine)
    assert np.argwhere(np.asarray(image.dataobj)).tolist() == [[3, 2, 1]]


def test_what_lies_above_the_threshold_and_that_alone_is_above() -> None:
    rng = np.random.default_rng(0)
    for threshold in (0.2, 0.0):
        scores = rng.random((3, 4, 5)).astype(np.float32) * 0.6
        scores[0, 0, :3] = threshold, np.nextafter(np.float32(threshold), np.float32(1)), 0.0
        levels = np.asarray(opened(map_file(scores, threshold, 2.0)).dataobj).transpose(2, 1, 0)
        assert np.array_equal(levels >= ABOVE, scores > threshold)
    assert levels.max() < 256
    doubled = np.asarray(opened(map_file(np.full((1, 1, 1), 0.5, np.float32), 0.25, 2.0)).dataobj)
    assert doubled.item() == 255


def test_planes_cross_in_a_lesion() -> None:
    lesions = np.zeros((10, 10, 10), bool)
    lesions[7, 2, 8] = lesions[7, 3, 8] = True
    lesions[0, 0, 0] = True
    x, y, z = middle_of(lesions)
    assert lesions[int(z * 10), int(y * 10), int(x * 10)]
    assert (x, z) == (0.85, 0.75)
    assert middle_of(lesions & False) == (0.5, 0.5, 0.5)
