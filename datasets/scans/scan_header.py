"""What a scan's header says: format, shape, units, where the voxels lie; judged before a single voxel is read.

All affines leave here in millimetres, whatever unit the header counts in: nibabel gives its numbers as they stand.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ..layout import SUFFIXES, stem_of, suffix_of
from .space import Affine, Grid

HEAD_BYTES = 540  # of the longest header, NIfTI-2's
#: What may follow the voxels of a file or precede them: extensions and what FreeSurfer notes behind the voxels.
MOST_EXTRA_BYTES = 16 << 20
#: As many as a cube of 630; the finest whole heads published, 0.25 mm at 7 T, are cropped to less.
MAX_VOXELS = 250_000_000
#: Where an orientation comes from, see `ScanHeader.orientation`.
ASSUMED, BY_QFORM = "assumed: ", "from the qform: the sform is singular"
SMALLEST_SPAN, LARGEST_SPAN = 50.0, 600.0  # mm, of each side of a scan; a head has 150 to 250
_MOST_BYTES_PER_VOXEL = 8
_FLAT = 1e-6  # volume of a voxel, of what its edges would span at right angles
_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}  # by nibabel's names of the units
_UNIT_CODES = {1: "meter", 2: "mm", 3: "micron"}
_UNIT_BITS = 7
_WORDS = {"meter": "metres", "mm": "millimetres", "micron": "microns"}
_GOOD_RAS = slice(28, 30)  # bytes of an MGH header: whether it says where the voxels lie


@dataclass(frozen=True)
class ReadLimits:
    """What is refused unread.

    Attributes:
        max_voxels: more voxels.
        is_head: whether a scan must span what a head does.
    """

    max_voxels: int = MAX_VOXELS
    is_head: bool = False

    @property
    def most_bytes(self) -> int:
        """Bytes that no file of a scan exceeds which is not refused."""
        return self.max_voxels * _MOST_BYTES_PER_VOXEL + 2 * MOST_EXTRA_BYTES


USUAL = ReadLimits()
HEADS = ReadLimits(is_head=True)


def usual_limits(max_voxels: int | None) -> ReadLimits:
    """The usual limits, with another number of voxels if one is given."""
    return USUAL if max_voxels is None else ReadLimits(max_voxels)


def head_limits(max_voxels: int | None) -> ReadLimits:
    """The limits of raw scans, with another number of voxels if one is given."""
    return HEADS if max_voxels is None else ReadLimits(max_voxels, is_head=True)


@dataclass(frozen=True)
class ScanHeader:
    """A header that makes sense.

    Attributes:
        image_class: nibabel's class of the format.
        shape: voxels (x, y, z) as stored.
        affine: over (x, y, z) as stored, RAS+ mm.
        unit: what the header counts in, "mm", "meter" or "micron"; "mm" where it does not say.
        sform_code: what the sform is aligned to, as NIfTI counts; 0 where there is none.
        qform_code: the same for the qform.
        assumed: why the orientation had to be assumed, in a few words; None where the header gives it.
        by_qform: whether the sform is of no use, so that the affine is the qform.
        promised: bytes of the file that holds the voxels, up to the last of them, unpacked.
    """

    image_class: Any
    shape: tuple[int, ...]
    affine: Affine
    unit: str
    sform_code: int
    qform_code: int
    assumed: str | None
    by_qform: bool
    promised: int

    @property
    def axes(self) -> str:
        """The axes as stored, such as "LAS"."""
        import nibabel as nib

        return "".join(code or "?" for code in nib.aff2axcodes(self.affine))

    @property
    def orientation(self) -> str:
        """Where the orientation comes from, in words for a record."""
        if self.assumed:
            return f"{ASSUMED}{self.axes}"
        return BY_QFORM if self.by_qform else "from the header"

    @property
    def remark(self) -> str | None:
        """What the user should know of the orientation; None where there is nothing to say."""
        if self.assumed:
            return f"orientation: the header gives none ({self.assumed}); {self.axes} is assumed"
        return "orientation: the header's sform is singular, so its qform is read" if self.by_qform else None


def format_title(path: Path) -> str:
    """What a file is by its name, for messages."""
    suffix = suffix_of(path.name) or ""
    if suffix.startswith(".mg"):
        return "MGH"
    return "NIfTI or Analyze" if suffix.startswith((".hdr", ".img")) else "NIfTI"


def judge_header(path: Path, head: bytes, limits: ReadLimits) -> ScanHeader:
    """Read a header and refuse one that cannot be true, that means no single volume, or too large a one.

    Args:
        path: the scan, for messages.
        head: the first bytes of its header.
        limits: what is too large.

    Raises:
        DataError: what is wrong with it.
        nibabel's errors, KeyError, ValueError, OverflowError: no header at all, or numbers that mean nothing.
    """
    import nibabel as nib

    image_class = _image_class(path, head)
    with quiet(nib.imageglobals.logger):  # it speaks of headers that it mends; here they are checked
        header = image_class.header_class(head[: _header_bytes(image_class)])
    shape = tuple(int(count) for count in header.get_data_shape())
    dtype = header.get_data_dtype()
    _check_content(path, shape, dtype, limits)
    offset = int(header.get_data_offset())
    if not 0 <= offset <= MOST_EXTRA_BYTES:
        raise DataError(f"{path} has its voxels at byte {offset} by its header; copy or convert it again")
    unit = _unit(header)
    stored, by_qform = _stored_affine(path, header, head)
    affine = np.diag([_MM[unit or "mm"]] * 3 + [1.0]) @ stored
    if limits.is_head:
        refuse_span(Grid(shape[2::-1], affine), f"{path}: ", _unit_advice(affine, shape, unit))
    sform, qform = _codes(header)
    return ScanHeader(
        image_class=image_class,
        shape=shape[:3],
        affine=affine,
        unit=unit or "mm",
        sform_code=sform,
        qform_code=qform,
        assumed=_why_assumed(header, head, sform, qform),
        by_qform=by_qform,
        promised=offset + math.prod(shape) * dtype.itemsize,
    )


def refuse_span(grid: Grid, where: str = "", advice: str = "correct the voxel sizes in its header") -> None:
    """Sizes that are meant as metres or microns would else end in an array larger than the memory, or take hours.

    Raises:
        DataError: a side of the grid is shorter or longer than any head's.
    """
    spans = np.sort(grid.spacing * grid.shape[::-1])
    if spans[0] < SMALLEST_SPAN or spans[-1] > LARGEST_SPAN:
        listed = " x ".join(f"{span:.4g}" for span in grid.spacing * grid.shape[::-1])
        raise DataError(f"{where}the scan spans {listed} mm, which no head does; {advice}")


def in_unit(affine: Affine, unit: str) -> Affine:
    """An affine in mm as a header writes it that counts in another unit."""
    return np.asarray(np.diag([1 / _MM[unit]] * 3 + [1.0]) @ affine)


@contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    """Let a logger say nothing for a while."""
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _image_class(path: Path, head: bytes) -> Any:
    """Nibabel's class for a file, by its name and its header.

    Raises:
        DataError: it is of no format that is read.
    """
    import nibabel as nib

    suffix = (suffix_of(path.name) or "").removesuffix(".gz")
    if not suffix:
        raise DataError(f"{path} is called like no scan that is read ({', '.join(SUFFIXES)}); convert it to .nii.gz")
    if suffix in (".mgz", ".mgh"):
        if int.from_bytes(head[:4], "big") != 1 or len(head) < nib.freesurfer.mghformat.DATA_OFFSET:
            raise DataError(f"{path} is no readable MGH file (its header is another); copy or convert it again")
        return nib.MGHImage
    single: tuple[Any, ...] = (nib.Nifti1Image, nib.Nifti2Image)
    pair: tuple[Any, ...] = (nib.Nifti1Pair, nib.Nifti2Pair, nib.Spm2AnalyzeImage)
    for image_class in single if suffix == ".nii" else pair:
        if image_class.header_class.may_contain_header(head):
            break
    else:
        raise DataError(f"{path} is no readable {format_title(path)} file (no header); copy or convert it again")
    matrix = path.with_name(f"{stem_of(path.name)}.mat")
    if image_class is nib.Spm2AnalyzeImage and matrix.exists():
        raise DataError(f"{path} is an Analyze file whose place stands in {matrix.name}; convert it to .nii.gz")
    return image_class


def _header_bytes(image_class: Any) -> int:
    import nibabel as nib

    if image_class is nib.MGHImage:
        return int(nib.freesurfer.mghformat.DATA_OFFSET)
    return int(image_class.header_class.sizeof_hdr)


def _check_content(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], limits: ReadLimits) -> None:
    """Refuse what is no single volume of numbers, or a larger one than is read.

    Raises:
        DataError: it is.
    """
    if len(shape) < 3 or any(count != 1 for count in shape[3:]):
        raise DataError(f"{path} has shape {shape}; give one 3-D volume per file")
    if min(shape) < 1:
        raise DataError(f"{path} has shape {shape}, hence no voxels; copy it again")
    if dtype.kind not in "iuf":
        raise DataError(f"{path} holds {_content_name(dtype)}, not one number per voxel; convert it to grey values")
    if math.prod(shape) > limits.max_voxels:
        listed = " x ".join(map(str, shape[:3]))
        raise DataError(
            f"{path} has {listed} voxels, more than the {limits.max_voxels} that are read; crop or resample it, or "
            "raise --max-voxels"
        )


def _content_name(dtype: np.dtype[Any]) -> str:
    return {"c": "complex numbers", "V": "colours (RGB)"}.get(dtype.kind, str(dtype))


# ----------------------------------------------------------------------------------------------------------- its place


def _is_nifti(header: Any) -> bool:
    import nibabel as nib

    return isinstance(header, nib.Nifti1Header)


def _codes(header: Any) -> tuple[int, int]:
    """Codes of sform and qform; a format that has neither counts as NIfTI's "scanner" where it knows its place."""
    import nibabel as nib

    if _is_nifti(header):
        return int(header["sform_code"]), int(header["qform_code"])
    return (1, 0) if isinstance(header, nib.freesurfer.mghformat.MGHHeader) else (0, 0)


def _why_assumed(header: Any, head: bytes, sform: int, qform: int) -> str | None:
    if _is_nifti(header):
        return None if sform > 0 or qform > 0 else "sform and qform code 0"
    if not sform:
        return "it is of the Analyze format"
    return None if any(head[_GOOD_RAS]) else "goodRASFlag 0"


def _stored_affine(path: Path, header: Any, head: bytes) -> tuple[Affine, bool]:
    """The affine in the header's own unit, and whether it had to be taken from the qform.

    nibabel takes a voxel size of 0 for 1 mm; so where the affine is made from sizes, those of the file are looked at.

    Raises:
        DataError: voxels without size, or an affine that is singular or not a number.
    """
    affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    sform, qform = _codes(header)
    by_qform = _is_nifti(header) and sform > 0 and qform > 0 and not _is_usable(affine)
    if by_qform:
        affine = np.asarray(header.get_qform(), dtype=np.float64)
    if "pixdim" in header and (sform <= 0 or by_qform):
        sizes = np.asarray(_unmended(header, head)["pixdim"][1:4], dtype=np.float64)
        if not (np.isfinite(sizes) & (sizes != 0)).all():
            listed = " x ".join(f"{size:g}" for size in sizes)
            raise DataError(f"{path} has a header with voxels of {listed} mm; correct its voxel sizes")
    if not _is_usable(affine):
        raise DataError(f"{path} has a header whose affine is singular or not a number; correct its voxel sizes")
    return affine, by_qform


def _unmended(header: Any, head: bytes) -> Any:
    return type(header)(head[: type(header).sizeof_hdr], check=False)


def _is_usable(affine: NDArray[np.float64]) -> bool:
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > _FLAT * edges.prod())


# -------------------------------------------------------------------------------------------------------------- units


def _unit(header: Any) -> str | None:
    """What a header counts lengths in; None where it does not say. MGH and Analyze know millimetres alone."""
    if not _is_nifti(header):
        return "mm"
    return _UNIT_CODES.get(int(header["xyzt_units"]) & _UNIT_BITS)


def _unit_advice(affine: Affine, shape: tuple[int, ...], unit: str | None) -> str:
    """What to do about a span that is no head's: which unit would make it one."""
    millimetres = np.linalg.norm(affine[:3, :3], axis=0) * shape[:3] / _MM[unit or "mm"]
    fitting = [
        name
        for name, factor in _MM.items()
        if (factor * millimetres >= SMALLEST_SPAN).all() and (factor * millimetres <= LARGEST_SPAN).all()
    ]
    if not fitting:
        return "correct the voxel sizes in its header"
    says = f"says {_WORDS[unit]}" if unit else "names no unit"
    code = next(code for code, name in _UNIT_CODES.items() if name == fitting[0])
    where = f"write that unit into it (xyzt_units {code})"
    return f"its header {says}, and in {_WORDS[fitting[0]]} it would be one: if so, {where}"
