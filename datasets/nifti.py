"""Reading NIfTI files: any orientation in, (z, y, x) of RAS+ out, and a clear sentence for what cannot be read."""

from __future__ import annotations

import gzip
import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .atomic import replacing
from .errors import DataError
from .space import Grid

_COMPRESSION = 4
_BLOCK = 1 << 20
_GZIP = b"\x1f\x8b"
_NIFTI_SIZES = (348, 540)  # of the header, its first number: NIfTI-1 and NIfTI-2
_FLAT = 1e-6  # volume of a voxel, of what its edges would span at right angles
VOXEL_TOLERANCE = 0.02  # of 1 mm
_PLACE_TOLERANCE = 1.0  # mm between any corner of the image and that of its mask
_NEGATIVE = -0.5  # a mask may dip a little below 0 where it was warped with splines; a label does not


def read_volume(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read a volume of any voxel size as float32 [Z, Y, X], its axes turned as near to RAS as they go.

    A gzipped file is read to its end first: nibabel stops at the last voxel, where neither a wrong checksum nor a
    missing end shows, and it would make room for whatever size a damaged header claims.

    Args:
        path: a .nii or .nii.gz file of any orientation; 4-D if the fourth axis holds one frame.

    Raises:
        DataError: the file cannot be read, is no single volume, or its header makes no sense.
    """
    import nibabel as nib

    try:
        size = _unpacked_size(path)
        with _quiet(nib.imageglobals.logger):  # it speaks of headers that it mends; here they are checked
            image: Any = nib.load(path)
            _check_header(path, image, size)
        image = nib.as_closest_canonical(nib.squeeze_image(image))
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite, which callers refuse
            array = np.asarray(image.dataobj, dtype=np.float32)
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; add the file or take the scan out of the split") from error
    except (
        nib.filebasedimages.ImageFileError,
        nib.spatialimages.HeaderDataError,
        nib.orientations.OrientationError,
        gzip.BadGzipFile,
        zlib.error,
    ) as error:
        raise DataError(f"{path} is no readable NIfTI file ({_one_line(error)}); copy or convert it again") from error
    except EOFError as error:
        raise DataError(f"{path} is cut short: its gzip stream has no end; copy or download it again") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}); check its permissions or copy it again") from error
    grid = Grid(array.shape[::-1], np.asarray(image.affine, dtype=np.float64))
    return np.ascontiguousarray(array.transpose(2, 1, 0)), grid


def read_image(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read a 1 mm volume as float32 [Z, Y, X] in RAS order.

    Raises:
        DataError: as `read_volume`; or its voxels are not 1 mm.
    """
    array, grid = read_volume(path)
    _check_voxels(path, grid.spacing)
    return array, grid


def stored_axes(path: Path) -> str:
    """The axes of a file that `read_volume` reads as they are stored, such as "LAS"."""
    import nibabel as nib

    with _quiet(nib.imageglobals.logger):
        image: Any = nib.load(path)
    return "".join(code or "?" for code in nib.aff2axcodes(image.affine))


def is_placed(path: Path) -> bool:
    """Whether a file that `read_volume` reads says how its axes lie; of one that does not, LAS is assumed.

    That is the NIfTI format's "method 1", for scans converted from formats that knew voxel sizes alone: what is left
    and what is right is then a convention.
    """
    import nibabel as nib

    with _quiet(nib.imageglobals.logger):
        header: Any = nib.load(path).header
    return bool(header["sform_code"] > 0 or header["qform_code"] > 0)


def write_volume(path: Path, array: NDArray[Any], grid: Grid) -> None:
    """Write an array [Z, Y, X] as a gzipped NIfTI file, whole or not at all; bool is written as uint8.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    import nibabel as nib

    values = array.astype(np.uint8) if array.dtype == np.bool_ else array
    image = nib.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), grid.affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as partial:
        partial.write_bytes(gzip.compress(image.to_bytes(), _COMPRESSION, mtime=0))


def read_mask(path: Path, image_path: Path, image_grid: Grid) -> NDArray[np.bool_]:
    """Read a mask or segmentation that belongs to an image: every label above 0 is True.

    The bound is one half, not zero: for labels that is the same, and where a mask was wrongly warped with linear
    interpolation (as some shared data were) it keeps the outline in place instead of growing it by a voxel.

    Raises:
        DataError: as `read_image`; or the mask holds not-a-number, or does not lie on the image's grid.
    """
    values, grid = read_image(path)
    return as_mask(values, grid, str(path), image_path.name, image_grid)


def as_mask(values: NDArray[np.float32], grid: Grid, name: str, image_name: str, image_grid: Grid) -> NDArray[np.bool_]:
    """The mask that a volume which was read holds (see `read_mask`).

    Args:
        values: what was read, [Z, Y, X].
        grid: where it lies.
        name: its name, for the message.
        image_name: name of the image that it belongs to.
        image_grid: where that lies.

    Raises:
        DataError: it holds not-a-number or negative labels, or does not lie on the image's grid.
    """
    if grid.shape != image_grid.shape:
        raise DataError(
            f"{name} has shape {grid.shape}, its image {image_name} {image_grid.shape} (z, y, x); "
            "resample the mask to the image"
        )
    if _corner_distance(grid, image_grid) > _PLACE_TOLERANCE:
        raise DataError(f"{name} lies elsewhere in space than its image {image_name}; resample it to the image")
    if not np.isfinite(values).all():
        raise DataError(f"{name} holds not-a-number; write the mask again")
    if values.min() <= _NEGATIVE:
        raise DataError(f"{name} holds negative values ({values.min():g}), which no label is; write it again")
    return values >= np.float32(0.5)


def _corner_distance(one: Grid, other: Grid) -> float:
    """The largest distance between the corners of two grids of one shape, mm."""
    corners = np.array(list(product(*((0, size - 1) for size in one.shape))), dtype=np.float64)
    return float(np.linalg.norm(one.world(corners) - other.world(corners), axis=1).max())


def _unpacked_size(path: Path) -> int:
    """Bytes that a file holds, unpacked if it is gzipped, whose length and checksum are thereby verified.

    Raises:
        DataError: the file is empty or is not gzipped though its name says so.
        OSError, EOFError, zlib.error: it cannot be read or is damaged.
    """
    with path.open("rb") as file:
        start = file.read(16)
    if not start:
        raise DataError(f"{path} is empty (0 bytes); copy or download it again")
    if path.suffix != ".gz":
        if start.startswith(_GZIP):
            raise DataError(f"{path} is gzipped though its name does not say so; rename it to {path.name}.gz")
        return path.stat().st_size
    if not start.startswith(_GZIP):
        is_nifti = any(int.from_bytes(start[:4], order) in _NIFTI_SIZES for order in ("little", "big"))
        remedy = "it is unpacked already, so rename it to .nii" if is_nifti else "copy or download it again"
        raise DataError(f"{path} is no gzip file, it begins with {start!r}; {remedy}")
    with gzip.open(path) as stream:
        return sum(len(block) for block in iter(lambda: stream.read(_BLOCK), b""))


def _check_header(path: Path, image: Any, size: int) -> None:
    """Refuse a header that cannot be true or that means no single volume.

    Raises:
        DataError: what is wrong with it.
    """
    import nibabel as nib

    if not isinstance(image, nib.Nifti1Image):
        raise DataError(f"{path} is no NIfTI file but {type(image).__name__}; convert it")
    frames = image.shape[3:]
    if len(image.shape) < 3 or any(count != 1 for count in frames):
        raise DataError(f"{path} has shape {image.shape}; give one 3-D volume a file")
    if min(image.shape) < 1:
        raise DataError(f"{path} has shape {image.shape}, hence no voxels; copy it again")
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise DataError(f"{path} holds {_content_name(dtype)}, not one number a voxel; convert it to grey values")
    stored: Any = image.dataobj
    promised = math.prod(image.shape) * dtype.itemsize + stored.offset
    if promised > size:
        raise DataError(f"{path} is cut short: its header promises {promised} bytes, there are {size}; copy it again")
    _check_place(path, image)


def _content_name(dtype: np.dtype[Any]) -> str:
    return {"c": "complex numbers", "V": "colours (RGB)"}.get(dtype.kind, str(dtype))


def _check_place(path: Path, image: Any) -> None:
    """Refuse voxels without size.

    nibabel takes a size of 0 for 1 mm; so where the affine is made from sizes, those of the file itself are looked at.
    """
    with image.file_map["image"].get_prepare_fileobj("rb") as file:
        stored = type(image.header).from_fileobj(file, check=False)
    sizes = np.asarray(stored["pixdim"][1:4], dtype=np.float64)
    if stored["sform_code"] <= 0 and not (np.isfinite(sizes) & (sizes != 0)).all():
        listed = " x ".join(f"{size:g}" for size in sizes)
        raise DataError(f"{path} has a header with voxels of {listed} mm; correct its voxel sizes")
    affine = np.asarray(image.affine, dtype=np.float64)
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) <= _FLAT * edges.prod():
        raise DataError(f"{path} has a header whose affine is singular or not a number; correct its voxel sizes")


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Let a logger say nothing for a while."""
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_voxels(path: Path, sizes: NDArray[np.float64]) -> None:
    if not np.all(np.abs(sizes - 1) <= VOXEL_TOLERANCE):
        listed = " x ".join(f"{size:.2f}" for size in sizes)
        raise DataError(f"{path} has voxels of {listed} mm, not 1 mm; resample, strip and register the scans first")
