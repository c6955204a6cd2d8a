"""What the header of one DICOM file says of its slices: how they were made and where they lie, and nothing of whom.

pydicom reads the tags named here and passes over all others, so names, dates and numbers of a patient are never in
memory. Positions and directions are DICOM's own: LPS, millimetres.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ...errors import DataError

Vector = tuple[float, float, float]

_MAGIC, _MAGIC_AT = b"DICM", 128
_DEFERRED_BYTES = 4096  # a longer value, such as the pixels, stays on the disk
_MR_IMAGES = (  # SOP classes: MR, enhanced MR, and MR converted to it from single files
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.4",
)
_FRAMES, _SHARED = "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"
_TAGS = (
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "ProtocolName",
    "Modality",
    "ImageType",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "LossyImageCompression",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    _SHARED,
    _FRAMES,
    "PixelData",
)
_UNREADABLE = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError,
    OverflowError, RecursionError, struct.error,
)  # fmt: skip


class NoImage(StrEnum):
    """Why a file is passed over, in words for a count."""

    OTHER = "no DICOM file"
    EMPTY = "empty"
    WITHOUT_PIXELS = "DICOM without an image"
    WITHOUT_PLACE = "image without a place in space"
    COLOUR = "colour image"


@dataclass(frozen=True)
class Slice:
    """One picture of a series.

    Attributes:
        file: where it lies.
        frame: which of the pictures in that file it is, from 0.
        frames: how many there are.
        size: rows and columns.
        position: centre of its first voxel.
        row: direction in which the columns are counted, and `column` in which the rows are; unit vectors.
        column: see `row`.
        spacing: millimetres between rows and between columns.
        echo_ms: echo time; None where it is not said.
        kind: what sort of picture it is, such as ("ORIGINAL", "PRIMARY", "M").
        rescale: slope and intercept by which stored numbers become grey values.
    """

    file: Path
    frame: int
    frames: int
    size: tuple[int, int]
    position: Vector
    row: Vector
    column: Vector
    spacing: tuple[float, float]
    echo_ms: float | None
    kind: tuple[str, ...]
    rescale: tuple[float, float]


@dataclass(frozen=True)
class Header:
    """What a file says of the series that it belongs to, and its slices.

    Attributes:
        uid: the series; to group by, never to be shown.
        number: SeriesNumber; 0 where there is none.
        modality: "MR" and so on; empty where it is not said.
        description: free text of the scanner, which may name anybody: see `series.technique_of`.
        timing: repetition and inversion time, ms, where they are said.
        transfer_syntax: UID of how the pixels are packed.
        is_lossy: whether they have been through lossy compression.
        slices: the pictures.
    """

    uid: str
    number: int
    modality: str
    description: str
    timing: tuple[float | None, float | None]
    transfer_syntax: str
    is_lossy: bool
    slices: tuple[Slice, ...]


def is_dicom(path: Path) -> bool:
    """Whether a path is a regular file with DICOM's mark."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
    except OSError:
        return False


def read_header(path: Path, place: str) -> Header | NoImage:
    """Read what a file says of its slices, or why it holds none.

    Args:
        path: a regular file.
        place: which file that is, for messages: its name may be a patient's.

    Raises:
        DataError: it cannot be read, or says that it is an MR image and holds none, as one that is cut short.
    """
    try:
        if path.stat().st_size == 0:
            return NoImage.EMPTY
        if not is_dicom(path):
            path.open("rb").close()  # one that may not be read could be a slice
            return NoImage.OTHER
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the values that they are about
            return _header(path, place, _read_tags(path))
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(f"{place} cannot be read as DICOM; copy the series again") from error


def _read_tags(path: Path) -> Any:
    import pydicom

    return pydicom.dcmread(path, specific_tags=list(_TAGS), defer_size=_DEFERRED_BYTES)


def _header(path: Path, place: str, tags: Any) -> Header | NoImage:
    if "PixelData" not in tags or "Rows" not in tags:
        stored = str(tags.get("SOPClassUID") or tags.file_meta.get("MediaStorageSOPClassUID") or "")
        if not stored or stored in _MR_IMAGES:
            raise DataError(f"{place} says that it is an image and holds none; copy the series again")
        return NoImage.WITHOUT_PIXELS
    if int(tags.get("SamplesPerPixel") or 1) != 1:
        return NoImage.COLOUR
    slices = _frames(path, tags) if _FRAMES in tags else _single(path, tags)
    if not slices:
        return NoImage.WITHOUT_PLACE
    return Header(
        uid=str(tags.get("SeriesInstanceUID") or ""),
        number=int(tags.get("SeriesNumber") or 0),
        modality=str(tags.get("Modality") or ""),
        description=str(tags.get("SeriesDescription") or tags.get("ProtocolName") or ""),
        timing=(_number(tags.get("RepetitionTime")), _number(tags.get("InversionTime"))),
        transfer_syntax=str(tags.file_meta.TransferSyntaxUID),
        is_lossy=str(tags.get("LossyImageCompression") or "") == "01",
        slices=slices,
    )


def _single(path: Path, tags: Any) -> tuple[Slice, ...]:
    """The slice of a file that holds one; none where its place is not said, as of a screenshot."""
    if int(tags.get("NumberOfFrames") or 1) != 1:
        return ()
    place = [tags.get(name) for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")]
    if not all(place):
        return ()
    return (_slice(path, tags, place, (0, 1), tags.get("EchoTime"), tags.get("ImageType")),)


def _frames(path: Path, tags: Any) -> tuple[Slice, ...]:
    """The slices of an enhanced file: what all share stands in one sequence, what is each one's own in another."""
    shared = _first(tags, _SHARED)
    groups = tags[_FRAMES].value
    if len(groups) != int(tags.get("NumberOfFrames") or 1):
        raise ValueError("as many groups as frames")
    slices = []
    for number, group in enumerate(groups):
        place = [
            _of(group, shared, "PlanePositionSequence", "ImagePositionPatient"),
            _of(group, shared, "PlaneOrientationSequence", "ImageOrientationPatient"),
            _of(group, shared, "PixelMeasuresSequence", "PixelSpacing"),
        ]
        if not all(place):
            return ()
        echo = _of(group, shared, "MREchoSequence", "EffectiveEchoTime")
        kind = _of(group, shared, "MRImageFrameTypeSequence", "FrameType") or tags.get("ImageType")
        rescale = [
            _of(group, shared, "PixelValueTransformationSequence", name)
            for name in ("RescaleSlope", "RescaleIntercept")
        ]
        slices.append(_slice(path, tags, place, (number, len(groups)), echo, kind, rescale))
    return tuple(slices)


def _slice(
    path: Path,
    tags: Any,
    place: Sequence[Any],
    frame: tuple[int, int],
    echo: Any,
    kind: Any,
    rescale: Sequence[Any] = (None, None),
) -> Slice:
    x, y, z = (float(value) for value in place[0])
    a, b, c, d, e, f = (float(value) for value in place[1])
    between_rows, between_columns = (float(value) for value in place[2])
    slope, intercept = rescale
    return Slice(
        file=path,
        frame=frame[0],
        frames=frame[1],
        size=(int(tags.Rows), int(tags.Columns)),
        position=(x, y, z),
        row=(a, b, c),
        column=(d, e, f),
        spacing=(between_rows, between_columns),
        echo_ms=_number(echo),
        kind=tuple(str(word) for word in ([kind] if isinstance(kind, str) else kind or ())),
        rescale=(1.0 if slope is None else float(slope), float(intercept or 0)),
    )


def _of(group: Any, shared: Any, sequence: str, name: str) -> Any:
    """A value in a sequence of the frame's own, or else in the one that all frames share."""
    for tags in (group, shared):
        inner = None if tags is None else _first(tags, sequence)
        if inner is not None and name in inner:
            return inner.get(name)
    return None


def _first(tags: Any, sequence: str) -> Any:
    found = tags.get(sequence)
    return found[0] if found else None


def _number(value: Any) -> float | None:
    return None if value in (None, "") else float(value)
