"""A DICOM series as one volume: its slices put in order, the gaps between them checked, its voxels read.

Directions and positions are DICOM's LPS until the affine is made, which is RAS+ like all others here. GDCM, by
SimpleITK, decodes the pixels of one file after the other and applies each file's own scaling.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..scans.native import NativeSpace, OpenedScan
from ..scans.nifti import turned_to_ras
from ..scans.scan_header import HEADS, ReadLimits, refuse_span
from ..scans.space import Affine, Grid
from .header import Slice
from .series import Series

_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_SCANNER = 1  # NIfTI's code of a scanner's own coordinates
_DIRECTION_TOLERANCE = 2e-3  # of a unit vector: 0.1 degrees
_SPACING_TOLERANCE = 1e-3  # of the distance between voxels
_SAME_PLACE = 0.1  # of the usual gap; two slices nearer than that are one place
_MISSING = 1.5  # usual gaps; from there a slice is missing
_UNEVEN, _UNEVEN_MM = 0.02, 0.1  # of the usual gap, and mm, by which a gap may differ: positions are rounded
_ASIDE_MM = 0.3  # by which a slice may lie aside of the line from the first to the last
_ROUND = 0.15  # of a gap: how near to a whole number of gaps a wide one must be to be called missing slices
#: What GDCM decodes: uncompressed, deflated, RLE, JPEG, lossless JPEG, JPEG-LS and JPEG 2000.
_DECODED = {
    *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"),
    *("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57"),
    *("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
    *("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
}  # fmt: skip


@dataclass(frozen=True)
class Stack:
    """Slices in order, evenly spaced.

    Attributes:
        slices: from the lowest along their normal to the highest.
        affine: from (column, row, slice) to RAS+ mm.
    """

    slices: tuple[Slice, ...]
    affine: Affine

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns."""
        return (len(self.slices), *self.slices[0].size)


def stack_slices(slices: Sequence[Slice], title: str) -> Stack:
    """Put slices in order and see that they make a volume.

    Args:
        slices: at least two, in any order.
        title: what to call them in messages.

    Raises:
        DataError: they differ in size, voxels or direction, one is missing or there twice, or gaps are uneven; where.
    """
    _refuse_unlike(slices, title)
    normal = np.cross(slices[0].row, slices[0].column)
    ordered = sorted(slices, key=lambda one: float(np.dot(one.position, normal)))
    positions = np.array([one.position for one in ordered])
    _refuse_gaps(positions @ normal, title)
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    _refuse_aside(positions, step, title)
    between_rows, between_columns = ordered[0].spacing
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(between_columns, ordered[0].row)
    affine[:3, 1] = np.multiply(between_rows, ordered[0].column)
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    return Stack(tuple(ordered), _TO_RAS @ affine)


def open_series(series: Series, title: str, limits: ReadLimits = HEADS) -> OpenedScan:
    """Read a series as a scan.

    Args:
        series: the one that was chosen.
        title: what to call it in messages and records; file names are never used for that.
        limits: what is refused unread.

    Raises:
        DataError: it makes no volume, is too large, spans what no head does, or its pixels cannot be decoded.
    """
    _refuse_kind(series, title)
    stack = stack_slices(series.slices, title)
    _refuse_size(stack.shape, title, limits)
    grid = Grid(stack.shape, stack.affine)
    if limits.is_head:
        refuse_span(grid, f"{title}: ", "choose another series, or convert it to NIfTI and correct its voxel sizes")
    image, image_grid = turned_to_ras(_voxels(stack, title, limits), grid.affine)
    remark = "DICOM: its pixels have been through lossy compression" if series.is_lossy else None
    return OpenedScan(title, image, image_grid, NativeSpace(grid, _SCANNER, _SCANNER, remark=remark))


# ------------------------------------------------------------------------------------------------------ what is refused


def _refuse_kind(series: Series, title: str) -> None:
    """Refuse what is no volume of grey values, or packed in a way that is not read."""
    if len(series.slices) < 2:
        raise DataError(f"{title} is a single slice and no volume; choose another series")
    unknown = [uid for uid in series.transfer_syntaxes if uid not in _DECODED]
    if unknown:
        raise DataError(f"{title} is compressed as {_name_of(unknown[0])}, which is not read; decompress it first")
    if len({one.rescale for one in series.slices}) > 1 and any(one.frames > 1 for one in series.slices):
        raise DataError(f"{title} scales the frames of one file unlike, which is not read; convert it to NIfTI first")


def _name_of(transfer_syntax: str) -> str:
    from pydicom.uid import UID

    return UID(transfer_syntax).name


def _refuse_size(shape: tuple[int, int, int], title: str, limits: ReadLimits) -> None:
    if math.prod(shape) > limits.max_voxels:
        listed = " x ".join(map(str, shape[::-1]))
        raise DataError(
            f"{title} has {listed} voxels, more than the {limits.max_voxels} that are read; choose another series, or "
            "raise --max-voxels"
        )


def _refuse_unlike(slices: Sequence[Slice], title: str) -> None:
    first = slices[0]
    directions = np.array([(*one.row, *one.column) for one in slices])
    spacings = np.array([one.spacing for one in slices])
    positions = np.array([one.position for one in slices])
    if not (np.isfinite(directions).all() and np.isfinite(positions).all() and (spacings > 0).all()):
        raise DataError(f"{title} has slices whose place is no number, or voxels without size; export it again")
    axes = directions[0].reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=_DIRECTION_TOLERANCE):
        raise DataError(f"{title} has slices whose directions are not at right angles; export it again")
    sizes = np.array([one.size != first.size for one in slices])
    turned = (np.abs(directions - directions[0]) > _DIRECTION_TOLERANCE).any(axis=1)
    scaled = (np.abs(spacings / spacings[0] - 1) > _SPACING_TOLERANCE).any(axis=1)
    for differ, what in ((sizes, "sizes"), (turned, "orientations"), (scaled, "voxel sizes")):
        if differ.any():
            where = int(np.argmax(differ)) + 1
            raise DataError(
                f"{title} mixes slices of several {what}: {int(differ.sum())} of {len(slices)} are unlike the first, "
                f"from slice {where} in the order of the files; choose another series, or export its parts apart"
            )


def _refuse_gaps(heights: NDArray[np.float64], title: str) -> None:
    """Refuse gaps between slices that are not all alike.

    Args:
        heights: positions along the normal, ascending, mm.
        title: what to call the series.
    """
    gaps = np.diff(heights)
    wide = gaps[gaps > 0.01 * max(float(gaps.max()), 1e-6)]
    usual = float(np.median(wide)) if wide.size else 0.0
    doubled = np.flatnonzero(gaps <= _SAME_PLACE * usual)
    if doubled.size:
        raise DataError(
            f"{title} has {_number(doubled.size, 'place')} with more than one slice, the first at "
            f"{heights[doubled[0]]:.1f} mm (slices {doubled[0] + 1} and {doubled[0] + 2} of {heights.size} along their "
            "normal): files are there twice, or several volumes in one series; export one volume alone"
        )
    missing = np.flatnonzero(gaps >= _MISSING * usual)
    for at in missing:
        count = float(gaps[at] / usual)
        if abs(count - round(count)) < _ROUND:
            raise DataError(
                f"{title}: {_number(round(count) - 1, 'slice')} missing between {_between(heights, int(at))}: "
                f"{gaps[at]:.2f} mm instead of {usual:.2f}; copy the whole series"
            )
    uneven = np.flatnonzero(np.abs(gaps - usual) > max(_UNEVEN_MM, _UNEVEN * usual))
    if uneven.size:
        raise DataError(
            f"{title} has unevenly spaced slices: {gaps[uneven[0]]:.2f} mm between "
            f"{_between(heights, int(uneven[0]))}, {usual:.2f} mm usually; resample it to even gaps as NIfTI"
        )


def _refuse_aside(positions: NDArray[np.float64], step: NDArray[np.float64], title: str) -> None:
    direction = step / np.linalg.norm(step)
    away = positions - positions[0]
    sideways = np.linalg.norm(away - np.outer(away @ direction, direction), axis=1)
    worst = int(np.argmax(sideways))
    if sideways[worst] > _ASIDE_MM:
        raise DataError(
            f"{title} has slices that do not lie in one line: slice {worst + 1} of {len(positions)} along their normal "
            f"is {sideways[worst]:.1f} mm aside; export one volume alone"
        )


def _between(heights: NDArray[np.float64], at: int) -> str:
    return f"slices {at + 1} and {at + 2} of {heights.size} along their normal, at {heights[at]:.1f} mm"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


# --------------------------------------------------------------------------------------------------------------- voxels


def _voxels(stack: Stack, title: str, limits: ReadLimits) -> NDArray[np.float32]:
    """Grey values [slice, row, column], file after file."""
    volume = np.empty(stack.shape, dtype=np.float32)
    numbered = sorted(enumerate(stack.slices), key=lambda pair: str(pair[1].file))
    for file, group in groupby(numbered, key=lambda pair: pair[1].file):
        members = list(group)
        first = members[0][1]
        _refuse_size((first.frames, *first.size), title, limits)
        place = f"{title}: slice {members[0][0] + 1} of {len(stack.slices)} along their normal"
        frames = _decode(file, place)
        if frames.shape != (first.frames, *first.size):
            raise DataError(f"{place} holds other pixels than its header says; copy the series again")
        for index, one in members:
            volume[index] = frames[one.frame]
    return volume


def _decode(file: Path, place: str) -> NDArray[np.float32]:
    """The pixels of a file, [frame, row, column]."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        with _itk_is_silent():
            image = reader.Execute()
    except RuntimeError as error:
        raise DataError(
            f"{place} cannot be decoded, as if it were cut short or damaged; copy the series again"
        ) from error
    array = np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)
    return array if array.ndim == 3 else array[np.newaxis]


@contextmanager
def _itk_is_silent() -> Iterator[None]:
    """Keep ITK's warnings off the screen: they name files."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.GlobalWarningDisplayOff()
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
