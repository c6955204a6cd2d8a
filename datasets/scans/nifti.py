"""Reading scans, NIfTI and its kin: any orientation in, (z, y, x) of RAS+ out, a clear sentence for what is unreadable.

Formats are NIfTI, alone (.nii) or as a pair (.hdr and .img), FreeSurfer's MGH (.mgz, .mgh) and Analyze pairs.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import replacing
from .scan_file import scan_parts, unpacked
from .scan_header import HEAD_BYTES, MOST_EXTRA_BYTES, USUAL, ReadLimits, ScanHeader, format_title, judge_header, quiet
from .space import Affine, Grid

_COMPRESSION = 4
_BLOCK = 1 << 20
VOXEL_TOLERANCE = 0.02  # of 1 mm
_PLACE_TOLERANCE = 1.0  # mm between any corner of the image and that of its mask
_FRACTION = 0.01  # what a stored label may be off a whole number
_NEGATIVE = -0.5  # a mask may dip a little below 0 where it was warped with splines; a label does not


def read_volume(path: Path, limits: ReadLimits = USUAL) -> tuple[NDArray[np.float32], Grid]:
    """Read a volume of any voxel size as float32 [Z, Y, X], its axes turned as near to RAS as they go.

    The header is judged first, so that nobody waits or makes room for what is refused; then the file is read to its
    end: nibabel stops at the last voxel, where neither a wrong checksum nor a missing end shows.

    Args:
        path: a file of any orientation, or either one of a pair; 4-D if the fourth axis holds one frame.
        limits: what is refused unread.

    Raises:
        DataError: the file cannot be read, is no single volume, is too large, or its header makes no sense.
    """
    import nibabel as nib

    with _told(path):
        image, header = _load(path, limits)
        with quiet(nib.imageglobals.logger):
            image = _as_nifti(image, header)
            image = nib.as_closest_canonical(nib.squeeze_image(image))
        with np.errstate(over="ignore", invalid="ignore"):  # what is too large becomes infinite, which callers refuse
            array = np.asarray(image.dataobj, dtype=np.float32)
    grid = Grid(array.shape[::-1], np.asarray(image.affine, dtype=np.float64))
    return np.ascontiguousarray(array.transpose(2, 1, 0)), grid


def turned_to_ras(array: NDArray[np.float32], affine: Affine) -> tuple[NDArray[np.float32], Grid]:
    """Turn the axes of a volume as near to RAS as they go, and say where it lies then.

    Args:
        array: voxels [k, j, i] as they are stored.
        affine: from (i, j, k) to RAS+ world millimetres.
    """
    import nibabel as nib

    image = nib.as_closest_canonical(nib.Nifti1Image(array.transpose(2, 1, 0), affine))
    turned = np.asarray(image.dataobj, dtype=np.float32)
    grid = Grid(turned.shape[::-1], np.asarray(image.affine, dtype=np.float64))
    return np.ascontiguousarray(turned.transpose(2, 1, 0)), grid


def read_header(path: Path, limits: ReadLimits = USUAL) -> ScanHeader:
    """What a file's header says, without a look at its voxels.

    Raises:
        DataError: as `read_volume`.
    """
    with _told(path), unpacked(scan_parts(path)[0]) as stream:
        return judge_header(path, stream.read(HEAD_BYTES), limits)


def read_image(path: Path) -> tuple[NDArray[np.float32], Grid]:
    """Read a 1 mm volume as float32 [Z, Y, X] in RAS order.

    Raises:
        DataError: as `read_volume`; or its voxels are not 1 mm.
    """
    array, grid = read_volume(path)
    _check_voxels(path, grid.spacing)
    return array, grid


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


def as_lesions(
    labels: tuple[NDArray[np.float32], Grid],
    name: str,
    image_name: str,
    image_grid: Grid,
    *,
    lesion: Sequence[int] = (),
    ignored: Sequence[int] = (),
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """The lesions of a segmentation that was read, and what counts neither as lesion nor as background.

    Args:
        labels: what was read, [Z, Y, X], and where it lies.
        name: its name, for the message.
        image_name: name of the image that it belongs to.
        image_grid: where that lies.
        lesion: the values that are lesion; none given: every value above 0 that is not ignored.
        ignored: the values that count as nothing.

    Returns:
        Both as bool [Z, Y, X]; the second is None where no value is ignored.

    Raises:
        DataError: as `as_mask`; or there are values between the labels where it matters which label a voxel has.
    """
    values, grid = labels
    marked = as_mask(values, grid, name, image_name, image_grid)
    if not lesion and not ignored:
        return marked, None
    whole = np.rint(values)
    if np.abs(values - whole).max() > _FRACTION:
        raise DataError(
            f"{name} holds values between its labels, as a linear warp leaves them, so what is lesion cannot be told; "
            "resample it by nearest neighbour"
        )
    nothing = np.isin(whole, ignored)
    lesions = np.isin(whole, lesion) if lesion else marked & ~nothing
    return lesions, nothing if ignored else None


def read_lesions(
    path: Path, image_path: Path, image_grid: Grid, *, lesion: Sequence[int] = (), ignored: Sequence[int] = ()
) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
    """Read a segmentation that belongs to an image; see `as_lesions` for the rest.

    Raises:
        DataError: as `read_image` and `as_lesions`.
    """
    return as_lesions(read_image(path), str(path), image_path.name, image_grid, lesion=lesion, ignored=ignored)


def _corner_distance(one: Grid, other: Grid) -> float:
    """The largest distance between the corners of two grids of one shape, mm."""
    corners = np.array(list(product(*((0, size - 1) for size in one.shape))), dtype=np.float64)
    return float(np.linalg.norm(one.world(corners) - other.world(corners), axis=1).max())


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Make a sentence of what goes wrong while a file is read.

    Raises:
        DataError: it did.
    """
    import nibabel as nib

    try:
        yield
    except FileNotFoundError as error:
        raise DataError(
            f"{path} is missing ({error.strerror}); add the file or take the scan out of the split"
        ) from error
    except (
        nib.filebasedimages.ImageFileError,
        nib.spatialimages.HeaderDataError,
        nib.orientations.OrientationError,
        nib.freesurfer.mghformat.MGHError,
        gzip.BadGzipFile,
        zlib.error,
        KeyError,  # a code that the format does not know
        OverflowError,
        ValueError,
    ) as error:
        if isinstance(error, DataError):
            raise
        title = format_title(path)
        raise DataError(f"{path} is no readable {title} file ({_one_line(error)}); copy or convert it again") from error
    except EOFError as error:
        raise DataError(f"{path} is cut short: its gzip stream has no end; copy or download it again") from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}); check its permissions or copy it again") from error


def _load(path: Path, limits: ReadLimits) -> tuple[Any, ScanHeader]:
    """Nibabel's image of a scan, read to its end into memory, and its header."""
    import nibabel as nib

    parts = scan_parts(path)
    with unpacked(parts[0]) as stream:
        head = stream.read(HEAD_BYTES)
        header = judge_header(path, head, limits)
        promised = header.promised if len(parts) == 1 else len(head)
        files = {"image": _content(parts[0], head, stream, promised)}
    if len(parts) > 1:
        with unpacked(parts[1]) as stream:
            files = {"header": files["image"], "image": _content(parts[1], b"", stream, header.promised)}
    if header.image_class is nib.Spm2AnalyzeImage:
        files["mat"] = BytesIO()
    holders = {kind: nib.FileHolder(fileobj=content) for kind, content in files.items()}
    with quiet(nib.imageglobals.logger):
        return header.image_class.from_file_map(holders), header


def _as_nifti(image: Any, header: ScanHeader) -> Any:
    """The same voxels at the header's place in millimetres, whatever the format."""
    import nibabel as nib

    if isinstance(image, nib.Nifti1Pair) and np.array_equal(image.affine, header.affine):
        return image
    return nib.Nifti1Image(image.dataobj, header.affine)


def _content(path: Path, head: bytes, stream: BinaryIO, promised: int) -> BytesIO:
    """A file's content with its end, whose length and checksum are thereby verified.

    Args:
        path: it, for messages.
        head: what was read already.
        stream: the rest.
        promised: the bytes that there must be; a little more may follow.

    Raises:
        DataError: there are fewer bytes, or many more.
    """
    content = BytesIO()
    content.write(head)
    most = promised + MOST_EXTRA_BYTES
    while block := stream.read(min(_BLOCK, most + 1 - content.tell())):
        content.write(block)
    size = content.tell()
    if size < promised:
        raise DataError(f"{path} is cut short: its header promises {promised} bytes, there are {size}; copy it again")
    if size > most:
        raise DataError(
            f"{path} goes on long after the {promised} bytes that its header promises; convert it again or correct its "
            "header"
        )
    content.seek(0)
    return content


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_voxels(path: Path, sizes: NDArray[np.float64]) -> None:
    if not np.all(np.abs(sizes - 1) <= VOXEL_TOLERANCE):
        listed = " x ".join(f"{size:.2f}" for size in sizes)
        raise DataError(f"{path} has voxels of {listed} mm, not 1 mm; resample, strip and register the scans first")
