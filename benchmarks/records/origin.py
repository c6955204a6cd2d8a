"""Where a record came from: `origin.json`, which lies in the records of other machines that were imported here.

A record that was computed here has none. The file is no part of the digests: whoever imports writes it, and a cell that
is run again here loses it.
"""

from __future__ import annotations

from pathlib import Path

from .record import ORIGIN, RunRecord
from .record_files import Recorded, RecordError, read_as

_UNKNOWN = f"somebody unknown ({ORIGIN} is damaged)"


class Origin(Recorded):
    """Who computed a record, and how it came here.

    Attributes:
        who: whoever computed it, as they called themselves; nothing proves it.
        computed: when the cell was last begun there, ISO 8601; "" where unknown.
        commit: of the code that computed it; "" where unknown.
        uadbench: version of the code that computed it; "" where unknown.
        sent_by: whoever made the archive.
        file: name of the archive.
        sha256: its SHA-256.
        arrived: when it was imported, ISO 8601.
    """

    who: str
    computed: str = ""
    commit: str = ""
    uadbench: str = ""
    sent_by: str = ""
    file: str = ""
    sha256: str = ""
    arrived: str = ""


def origin_of(record: RunRecord) -> Origin | None:
    """Where a record came from, or at least its training; None of one that was computed here altogether.

    A damaged file still says: not here.
    """
    return _read(record.folder) or _of_training(record)


def computed_by(record: RunRecord, here: str) -> str:
    """Everybody who computed a record, in words.

    Args:
        record: the record.
        here: what whoever computes here is called.
    """
    found, trained = _read(record.folder), _of_training(record)
    if found is not None:
        return found.who
    return here if trained is None else f"{here}; {trained.who}"


def _of_training(record: RunRecord) -> Origin | None:
    """Where the weights that a record has taken over came from; None where they are of its own, or of here."""
    donor = _donor(record)
    found = None if donor is None else _read(donor)
    return None if found is None else found.model_copy(update={"who": f"{found.who} (training)"})


def _read(folder: Path) -> Origin | None:
    try:
        found: Origin | None = read_as(folder / ORIGIN, Origin)
    except RecordError:
        return Origin(who=_UNKNOWN)
    return found


def _donor(record: RunRecord) -> Path | None:
    """The folder of the record whose weights this one has taken over; None where it was trained itself."""
    try:
        label = record.state.weights_from
    except RecordError:
        return None
    return record.folder.parent / label if label and Path(label).name == label else None


def without_weights(record: RunRecord) -> str:
    """Why a trained record has no weights, and what to do; "" where they are there."""
    if record.best_checkpoint.exists():
        return ""
    origin = _read(record.folder)
    if origin is None:
        return f"{record.folder.name} has no weights any more; move {record.folder} away and run the cell again"
    return (
        f"{record.folder.name} was computed by {origin.who} and came without its weights; import an archive that was "
        f"exported --with-weights, or move {record.folder} away and run the cell here"
    )


def save_origin(record: RunRecord, origin: Origin) -> None:
    """Write where a record came from.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    record.fenced.write_json(ORIGIN, origin.model_dump(mode="json"))
