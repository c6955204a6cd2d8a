"""A scan's own space: maps that were made elsewhere, written on the scan's grid with the scan's affine.

Whoever opens a map beside the scan must see one lie on the other, in any viewer. So the result has the very voxels of
the file that was given, in its storage order, with its affine, the unit that this counts in and the codes that say what
it means: a viewer that heeds units and one that does not show either file in the same place.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...files import replacing
from .nifti import read_header, read_volume
from .scan_header import HEADS, USUAL, ReadLimits, in_unit
from .space import Affine, Grid, resample

_COMPRESSION = 4
_LONGEST_DESCRIPTION = 79  # bytes; NIfTI-1 has 80 with the closing zero

_ScalarT = TypeVar("_ScalarT", np.float32, np.bool_)


@dataclass(frozen=True)
class NativeSpace:
    """Where a file's voxels lie, in its own storage order.

    Attributes:
        grid: shape (k, j, i) of the stored array, reversed as all arrays here, and its affine over (i, j, k).
        sform_code: what the sform is aligned to, as NIfTI counts; 0 where there is none.
        qform_code: the same for the qform.
        unit: what the file counts lengths in, as nibabel calls it: "mm", "meter" or "micron".
        remark: what the user should know of the orientation; None where the header gives it plainly.
    """

    grid: Grid
    sform_code: int
    qform_code: int
    unit: str = "mm"
    remark: str | None = None

    def take(self, array: NDArray[_ScalarT], grid: Grid, from_native: Affine) -> NDArray[_ScalarT]:
        """Bring a volume from elsewhere: linear for maps, nearest for masks, 0 where it does not reach.

        Args:
            array: float32 map or bool mask.
            grid: where it lies.
            from_native: matrix from the scan's world to the world of `grid`, RAS+ mm [4, 4].
        """
        return resample(array, grid, self.grid, from_native)


@dataclass(frozen=True)
class OpenedScan:
    """A scan in memory.

    Attributes:
        title: what messages and records call it: the path of a file, but never that of a DICOM file.
        image: float32 [Z, Y, X] of axes near RAS.
        grid: where that lies.
        native: the scan's own space.
    """

    title: str
    image: NDArray[np.float32]
    grid: Grid
    native: NativeSpace


def open_scan(path: Path, limits: ReadLimits = HEADS) -> OpenedScan:
    """Read a scan of one file, or of a pair, see `layout.SUFFIXES`.

    Raises:
        DataError: it cannot be read or is too large, or its header makes no sense.
    """
    image, grid = read_volume(path, limits)
    return OpenedScan(str(path), image, grid, read_native(path, limits))


def read_native(path: Path, limits: ReadLimits = USUAL) -> NativeSpace:
    """The space of a file that `read_volume` could read.

    Raises:
        DataError: the file cannot be read.
    """
    header = read_header(path, limits)
    grid = Grid(header.shape[::-1], header.affine)
    return NativeSpace(grid, header.sform_code, header.qform_code, header.unit, header.remark)


def write_native(path: Path, array: NDArray[Any], space: NativeSpace, description: str) -> None:
    """Write an array that lies in a scan's own space as gzipped NIfTI, whole or not at all; bool as uint8.

    Args:
        path: the file.
        array: float32 or bool, of the space's shape.
        space: the scan's.
        description: what the header's field `descrip` says; at most 79 bytes.

    Raises:
        OSError: the disk is full or the folder cannot be written.
        ValueError: the description is too long, or the shape is another.
    """
    import nibabel as nib

    text = description.encode("ascii")
    if len(text) > _LONGEST_DESCRIPTION or array.shape != space.grid.shape:
        raise ValueError(f"{path}: description of {len(text)} bytes, shape {array.shape} in {space.grid.shape}")
    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    affine = in_unit(space.grid.affine, space.unit)
    image: Any = nib.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units(space.unit)
    image.header["descrip"] = text
    if space.sform_code or space.qform_code:
        image.set_sform(affine, space.sform_code)
        image.set_qform(affine, space.qform_code)
    with replacing(path) as partial:
        partial.write_bytes(gzip.compress(image.to_bytes(), _COMPRESSION, mtime=0))
