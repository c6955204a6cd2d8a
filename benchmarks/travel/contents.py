"""What an archive of records holds: which files of a record travel, how large each may be, and the list of them all.

    manifest.json                 the list: every cell, and every file with its size and SHA-256
    runs/<label>/<file>           the files of each record, stored as they are

What stays at home: the state that a training goes on from, maps, kept reconstructions, bars, logs and locks.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from ..records.attempts import ATTEMPTS
from ..records.cost import COST
from ..records.detections import DETECTION, DETECTIONS, FROC, HISTOGRAMS, LESIONS
from ..records.record import (
    BEST,
    CONFIG,
    DIGESTS,
    ENVIRONMENT,
    FIGURE,
    HISTORY,
    METHOD,
    METRICS,
    SCORE_STATE,
    SCORES,
    STATE,
    THRESHOLDS,
    UNTRAINED,
)
from ..records.record_files import CellConfig, Recorded

#: Raise it where an archive is made that older versions would misread.
FORMAT = 1
MANIFEST, RUNS = "manifest.json", "runs"
_KIB, _MIB, _GIB = 2**10, 2**20, 2**30
MOST_MANIFEST_BYTES = 64 * _MIB
#: Files of an archive, and bytes of its directory: far more than every cell of every table, far less than the memory.
MOST_FILES, MOST_DIRECTORY_BYTES = 60_000, 16 * _MIB

#: The files of a record that travel, each with the most bytes that it may have.
_MOST_BYTES = {
    CONFIG: 4 * _MIB,
    ENVIRONMENT: _MIB,
    STATE: _MIB,
    METRICS: 4 * _MIB,
    THRESHOLDS: 4 * _MIB,
    UNTRAINED: _MIB,
    SCORES: 64 * _MIB,
    DETECTION: _MIB,
    DETECTIONS: 256 * _MIB,
    LESIONS: 256 * _MIB,
    FROC: 256 * _MIB,
    HISTOGRAMS: _GIB,
    HISTORY: 64 * _MIB,
    SCORE_STATE: _GIB,
    BEST: 16 * _GIB,
    COST: _MIB,
    METHOD: 4 * _MIB,
    FIGURE: 64 * _MIB,
    DIGESTS: _MIB,
}
#: One file per attempt at a cell: where and when.
_ATTEMPT = re.compile(rf"{ATTEMPTS}/[0-9]{{6}}\.json")
_MOST_ATTEMPT_BYTES = 64 * _KIB

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ListedFile(Recorded):
    """A file as the list has it; its size in bytes."""

    sha256: _Sha256
    size: Annotated[int, Field(ge=0)]


class ListedCell(Recorded):
    """A cell as the list has it.

    Attributes:
        label: name of its folder.
        cell: its id.
        protocol: version of the protocol that made its numbers.
        fingerprint: of the data that it was computed on.
        who: whoever computed it.
        files: by name.
    """

    label: str
    cell: str
    protocol: int
    fingerprint: str
    who: str
    files: dict[str, ListedFile]


class Manifest(Recorded):
    """The list of an archive.

    Attributes:
        format: of the archive.
        uadbench: version of the program that made it.
        sent_by: whoever made it.
        cells: by label.
    """

    format: int
    uadbench: str
    sent_by: str
    cells: tuple[ListedCell, ...]


def most_bytes(name: str) -> int | None:
    """How large a file of a record may be; None of one that does not travel."""
    return _MOST_ATTEMPT_BYTES if _ATTEMPT.fullmatch(name) else _MOST_BYTES.get(name)


def travelling_files() -> tuple[str, ...]:
    """The names of all files that travel, but those of attempts."""
    return tuple(_MOST_BYTES)


def member_of(label: str, name: str) -> str:
    """The name in the archive of a file of a record."""
    return f"{RUNS}/{label}/{name}"


def label_of(config: CellConfig) -> str:
    """The name that the folder of a cell has, see `Cell.label`."""
    return f"{config.method}-fold{config.fold}-{config.cell}"


def fault_of_words(*words: str, longest: int = 2000) -> str:
    """The first word that is no line of text, cut and quoted; "" where all can be shown anywhere."""
    bad = (word for word in words if len(word) > longest or not word.isprintable())
    return next((repr(word[:40]) for word in bad), "")
