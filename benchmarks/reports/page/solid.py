"""A volume of the gallery in 3-D: scan, lesions and anomaly maps as NIfTI files inside the page.

The arrays are (z, y, x) of RAS+, see `datasets.scans.space`; NIfTI's are (x, y, z). A prepared volume is centred on its
brain and keeps no place in the world, so its middle becomes the origin: left, right, front, back and millimetres are
right, coordinates are the page's own.
"""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: The grey from which on a map lies above the run's threshold; the page's script knows it, too.
ABOVE = 128


@dataclass(frozen=True)
class Solid:
    """A volume as files in base64.

    Attributes:
        scan: grey values.
        lesions: 1 on lesions.
        maps: title of the row and its anomaly map; from `ABOVE` on it lies above the row's threshold, and at 255 it
            reaches twice the threshold.
        middle: where planes cross at first, shares of the volume from left to right, back to front, bottom to top.
    """

    scan: str
    lesions: str
    maps: tuple[tuple[str, str], ...]
    middle: tuple[float, float, float]

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return sum(map(len, (self.scan, self.lesions, *(content for _, content in self.maps))))


def middle_of(lesions: NDArray[np.bool_]) -> tuple[float, float, float]:
    """A voxel of the lesions' largest slice, near the middle of what lies there; the middle of a volume without any.

    Args:
        lesions: bool [D, H, W].
    """
    if not lesions.any():
        return (0.5, 0.5, 0.5)
    z = int(lesions.sum(axis=(1, 2)).argmax())
    there = np.argwhere(lesions[z])
    y, x = there[((there - there.mean(axis=0)) ** 2).sum(axis=1).argmin()]
    depth, height, width = lesions.shape
    return ((float(x) + 0.5) / width, (float(y) + 0.5) / height, (z + 0.5) / depth)


def scan_file(volume: NDArray[np.float32], voxel_mm: float) -> str:
    """Intensities from 0 to 1, [D, H, W], as a file."""
    return _file((np.clip(volume, 0, 1) * 255).round().astype(np.uint8), voxel_mm)


def lesions_file(lesions: NDArray[np.bool_], voxel_mm: float) -> str:
    """A mask [D, H, W] as a file."""
    return _file(lesions.astype(np.uint8), voxel_mm)


def map_file(score_map: NDArray[np.float32], threshold: float, voxel_mm: float) -> str:
    """An anomaly map [D, H, W] as a file: what lies above the threshold, and that alone, is `ABOVE` or more."""
    share = score_map / (threshold or 1.0)
    below = np.clip(share * (ABOVE - 1), 0, ABOVE - 1)
    above = ABOVE + np.clip(share - 1, 0, 1) * (255 - ABOVE)
    return _file(np.where(score_map > threshold, above, below).astype(np.uint8), voxel_mm)


def _file(levels: NDArray[np.uint8], voxel_mm: float) -> str:
    """A gzipped NIfTI file of grey values [D, H, W], in base64."""
    import nibabel as nib

    columns = np.ascontiguousarray(levels.transpose(2, 1, 0))
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = -voxel_mm * (np.array(columns.shape) - 1) / 2
    image = nib.Nifti1Image(columns, affine)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(image.to_bytes(), mtime=0)).decode()
