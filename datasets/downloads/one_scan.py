"""One scan of a download: read, prepared, written with its row; what goes wrong with it is told and stops nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import versions_of, write_json
from ..base import PREPARED_LABELS
from ..layout import MASK, SEGMENTATION
from ..scans.nifti import as_lesions, as_mask, read_header, read_volume, write_volume
from ..scans.scan_file import scan_parts, sha256_of
from ..scans.scan_header import ReadLimits
from ..scans.scan_preparation import PreparedScan, RawVolumes, prepare_scan
from ..scans.skull_strip import MASK_FILE
from ..scans.space import Affine, Grid
from .raw_files import RawFile
from .raw_layouts import RawScan
from .set_place import SetPlace, stamp_of

_FRACTION = 0.01  # what a stored label may be off a whole number
_LIBRARIES = ("SimpleITK", "nibabel", "numpy", "scipy", "uadbench")


@dataclass(frozen=True)
class ScanFailure:
    """A scan that could not be prepared, or an archive that could not be read to its end.

    Attributes:
        scan: its name.
        reason: one sentence.
    """

    scan: str
    reason: str


def prepare_one(place: SetPlace, scan: RawScan) -> ScanFailure | None:
    """Prepare and write a scan; None if it worked.

    Raises:
        OSError: the data directory or the temporary folder cannot be written, so no other scan can be either.
    """
    place.forget(scan.id)
    started = time.perf_counter()
    try:
        sources, volumes = _read(place, scan)
        read = time.perf_counter() - started
        prepared = prepare_scan(volumes, place.recipe.atlas, place.recipe.stripper, place.recipe.settings)
    except MemoryError:
        return ScanFailure(scan.id, f"{scan.id} needs more memory than there is; start again with fewer --jobs")
    except (ValueError, RuntimeError, ArithmeticError, EOFError, IndexError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        return ScanFailure(scan.id, text if scan.id in text else f"{scan.id}: {text}")
    try:
        _write(place, scan, sources, prepared, round(read, 3))
    except OSError:
        place.forget(scan.id)
        raise
    return None


@dataclass(frozen=True)
class _Sources:
    """What a row says of the files that a scan was made from: each by kind, and which masks hold fractions.

    `orientation`: where that of the image comes from, see `ScanHeader.orientation`.
    """

    files: Mapping[str, Any]
    fractional: tuple[str, ...]
    orientation: str


def _read(place: SetPlace, scan: RawScan) -> tuple[_Sources, RawVolumes]:
    """A scan's sources, for its row, and its volumes."""
    files = place.used(scan)
    if place.recipe.stripper.name == MASK_FILE and MASK not in files:
        raise DataError(f"no brain mask lies with {files[place.image]}; add it or choose another --skull-strip")
    sources: dict[str, Any] = {}
    orientation = ""
    read: dict[str, tuple[NDArray[np.float32], Grid]] = {}
    for kind, file in files.items():
        with file.opened(place.rows_folder, place.limits.most_bytes) as path:
            read[kind] = _volume(file, path, place.limits)  # first, so that what is too large is not hashed
            sources[kind] = _identity(file, path)
            orientation = read_header(path, place.limits).orientation if kind == place.image else orientation
    image, grid = read[place.image]
    image_name = files[place.image].name.name
    brain = (as_mask(*read[MASK], str(files[MASK]), image_name, grid), read[MASK][1]) if MASK in read else None
    lesions, ignored = None, None
    if SEGMENTATION in read:
        masks = as_lesions(
            read[SEGMENTATION],
            str(files[SEGMENTATION]),
            image_name,
            grid,
            lesion=place.labels.lesion,
            ignored=place.labels.ignored,
        )
        lesions, ignored = (None if mask is None else (mask, read[SEGMENTATION][1]) for mask in masks)
    if lesions is not None and not lesions[0].any():
        raise DataError(
            f"{files[SEGMENTATION]} marks no lesion, and a scan of {place.title} cannot be scored without; correct "
            "it or take the scan out of the download"
        )
    fractional = tuple(kind for kind in read if kind != place.image and _has_fractions(read[kind][0]))
    return _Sources(sources, fractional, orientation), RawVolumes(image, grid, brain, lesions, ignored)


def _identity(file: RawFile, path: Path) -> dict[str, Any]:
    """What a row says of a source.

    Raises:
        DataError: it cannot be read, which would else look like a failure of the data directory.
    """
    try:
        return {"file": str(file), "sha256": sha256_of(path), "stamp": stamp_of(file)}
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{file} cannot be read ({reason}); check its permissions or copy it again") from error


def _has_fractions(values: NDArray[np.float32]) -> bool:
    return bool((np.abs(values - np.round(values)) > _FRACTION).any())


def _volume(file: RawFile, path: Path, limits: ReadLimits) -> tuple[NDArray[np.float32], Grid]:
    """Read a volume; a complaint names the file of the download, not its temporary copy."""
    try:
        return read_volume(path, limits)
    except DataError as error:
        text = str(error).replace(str(path), str(file))
        if file.voxels is not None:
            text = text.replace(str(scan_parts(path)[-1]), str(file.voxels))
        raise DataError(text) from error


def _write(place: SetPlace, scan: RawScan, sources: _Sources, prepared: PreparedScan, reading: float) -> None:
    """Write a scan's files, then its row."""
    started = time.perf_counter()
    arrays: dict[str, NDArray[Any]] = {place.image: prepared.image, MASK: prepared.brain}
    if prepared.lesions is not None:
        arrays[SEGMENTATION] = _written_labels(prepared.lesions, prepared.ignored)
    results = {}
    for kind, path in place.results(scan.id).items():
        write_volume(path, arrays[kind], prepared.grid)
        where = path.relative_to(place.out).as_posix()
        results[kind] = {"file": where, "sha256": sha256_of(path), "bytes": path.stat().st_size}
    voxel_ml = prepared.grid.voxel_ml
    row = {
        "scan": scan.id,
        "modality": place.image,
        "sources": dict(sources.files),
        "fractional": list(sources.fractional),
        "orientation": sources.orientation,
        "results": results,
        "recipe": place.recipe.content(),
        "made_with": versions_of(_LIBRARIES),
        "seconds": {"read": reading, **prepared.seconds, "write": round(time.perf_counter() - started, 3)},
        "registration": {
            "mutual_information": round(prepared.registration.mutual_information, 5),
            "mask_dice": round(prepared.registration.mask_dice, 5),
            "atlas_to_scan_mm": _plain(prepared.registration.to_scan),
        },
        "brain_ml": round(float(prepared.brain.sum()) * voxel_ml, 1),
        "lesions_ml": None if prepared.lesions is None else round(float(prepared.lesions.sum()) * voxel_ml, 3),
    }
    write_json(place.row_path(scan.id), row)


def _written_labels(lesions: NDArray[np.bool_], ignored: NDArray[np.bool_] | None) -> NDArray[Any]:
    """The segmentation as it is written: a mask, or two labels where something counts as nothing."""
    if ignored is None:
        return lesions
    (lesion_value,), (ignored_value,) = PREPARED_LABELS.lesion, PREPARED_LABELS.ignored
    return np.where(lesions, lesion_value, np.where(ignored, ignored_value, 0)).astype(np.uint8)


def _plain(matrix: Affine) -> list[list[float]]:
    return [[float(value) for value in line] for line in matrix]
