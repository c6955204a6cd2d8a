"""An archive into a results folder: each cell joins whole or not at all, and what is here is never changed.

A cell is written beside the others, in `runs/.arriving`, looked at there, and renamed. A rename gives a name to one
folder only: of two that import at once one joins, and a cell that was begun here meanwhile stays. A process that is
killed leaves nothing under the name of a cell, and the next import clears away what it had begun.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ...errors import UserError, WriteError
from ...files import locked
from ..engine.progress import Reporter, SilentReporter
from ..records.attempts import ATTEMPTS
from ..records.detections import DETECTION_FILES, files_of
from ..records.origin import Origin, save_origin
from ..records.record import BEST, DIGESTS, RunRecord
from ..records.record_files import Digests, RecordError
from .archive import Archive, ArchiveError, open_archive
from .contents import ListedCell
from .trust import DataHere, check_record

_PLACE = ".arriving"
_SILENT = SilentReporter()
#: Bytes that stay free on the disk beyond what the records need.
_SPARE = 64 * 2**20


#: What becomes of a cell: it is new here; it was here without its weights or without what was found in each volume, and
#: has them now; it was here, the same.
Fate = Literal["joined", "completed", "known"]


@dataclass(frozen=True)
class Arrival:
    """What came of the cells of an archive.

    Attributes:
        fates: by name of the cell.
        refused: those that did not join, by name, each with the sentence that says why.
    """

    fates: Mapping[str, Fate]
    refused: Mapping[str, str]

    def of(self, fate: Fate) -> tuple[str, ...]:
        """The names of the cells of which this became."""
        return tuple(label for label, found in self.fates.items() if found == fate)


def take_in(path: Path, runs: Path, sha256: str = "", reporter: Reporter = _SILENT) -> Arrival:
    """Let the records of an archive join a folder of runs.

    Args:
        path: the archive.
        runs: the folder of run records.
        sha256: what the archive's SHA-256 must be; "" takes whatever it is.
        reporter: where progress goes.

    Raises:
        ArchiveError: the archive is refused as a whole; nothing was written.
        UserError: the disk is full or the folder cannot be written; what has joined stays, and the same call goes on.
    """
    with open_archive(path) as archive:
        if sha256 and archive.sha256 != sha256.strip().lower():
            raise ArchiveError(f"{path} is not the archive that was meant: its SHA-256 is {archive.sha256}")
        fates: dict[str, Fate] = {}
        refused: dict[str, str] = {}
        with _place(runs) as place:
            _check_room(archive, place)
            data = DataHere.of(runs, frozenset(cell.label for cell in archive.manifest.cells))
            with reporter.bar("import cells", len(archive.manifest.cells)) as bar:
                for cell in archive.manifest.cells:
                    try:
                        fates[cell.label] = _take_in(archive, cell, runs, place, data)
                    except RecordError as error:
                        refused[cell.label] = str(error).replace(f"{place}{os.sep}", "")
                    bar.advance()
        return Arrival(fates, refused)


@contextmanager
def _place(runs: Path) -> Iterator[Path]:
    """A folder beside the records to write into, which nobody else has; it is gone afterwards."""
    arriving = runs / _PLACE
    try:
        arriving.mkdir(parents=True, exist_ok=True)
        with locked(arriving / ".lock", progress=lambda: shutil.disk_usage(arriving).used):
            for left in arriving.iterdir():
                _clear(left)
            place = arriving / secrets.token_hex(4)
            place.mkdir()
            try:
                yield place
            finally:
                _clear(place)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(arriving)) from error


def _clear(left: Path) -> None:
    """Remove what an import has begun; where flock means nothing it may go on, so its folder is taken from it first."""
    if left.is_dir():
        aside = left.with_name(f"{left.name}.gone")
        with suppress(OSError):
            left.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _check_room(archive: Archive, place: Path) -> None:
    needed, free = archive.size + _SPARE, shutil.disk_usage(place).free
    if needed > free:
        raise UserError(
            f"{archive.path} needs {needed / 2**20:.0f} MiB and {free / 2**20:.0f} MiB are free under "
            f"{place.parents[1]}; make room or choose another --results"
        )


def _take_in(archive: Archive, cell: ListedCell, runs: Path, place: Path, data: DataHere) -> Fate:
    """Let one cell join.

    Raises:
        RecordError: it is not what it says it is, or another is here; nothing was changed.
    """
    target = runs / cell.label
    if _is_there(target):
        here = RunRecord(target)
        _check_same(archive, cell, here)
        completed = _complete_detection(archive, cell, here, place)
        if BEST not in cell.files or here.best_checkpoint.exists():
            return "completed" if completed else "known"
        here.fenced.write_with(BEST, lambda partial: archive.copy(cell, BEST, partial))
        return "completed"
    record = _unpack(archive, cell, place)
    data.check(check_record(record, cell), cell.label)
    save_origin(record, _origin(archive, cell, record))
    _give_name(record.folder, target, cell.label)
    return "joined"


def _complete_detection(archive: Archive, cell: ListedCell, here: RunRecord, place: Path) -> bool:
    """Add what was found in each test volume to a record that has nothing of it, or less; whether that was done.

    Raises:
        RecordError: what arrives is damaged; nothing was changed.
        HeldError: another process is at work on the record.
    """
    known = here.detection_version
    if here.has_detection or not cell.files.keys() >= set(files_of(known + 1)):
        return False
    arrived = _unpack(archive, cell, place)
    check_record(arrived, cell)
    if arrived.detection_version <= known:  # measured by rules as old as those here, or by other ones
        return False
    if not here.is_reopened:
        here.reopen()
    here.forget_detection()
    for name in files_of(arrived.detection_version):
        here.fenced.write_with(name, lambda partial, name=name: archive.copy(cell, name, partial))  # type: ignore[misc]
    here.close(added=True)
    return True


def _is_there(target: Path) -> bool:
    """Whether a record, or whatever else, has the name; an empty folder has not."""
    try:
        return any(target.iterdir())
    except FileNotFoundError:
        return target.is_symlink()
    except NotADirectoryError:
        return True


def _unpack(archive: Archive, cell: ListedCell, place: Path) -> RunRecord:
    """Write a record where it arrives, and see that its files are those that were sent.

    Raises:
        RecordError: they are not.
    """
    folder = place / cell.label
    for name in cell.files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        archive.copy(cell, name, path)
        if name.startswith(ATTEMPTS):
            os.utime(path, (0, 0))  # the age of an attempt is its heartbeat, and nobody here is at work on it
    return RunRecord(folder)


def _give_name(folder: Path, target: Path, label: str) -> None:
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise RecordError(f"{label} was begun here meanwhile; import again when that has ended") from error
        raise


def _check_same(archive: Archive, cell: ListedCell, here: RunRecord) -> None:
    """See that a record that is here is the one that arrives.

    Raises:
        RecordError: it is another, or not whole, or what arrives is damaged.
    """
    if not here.was_finished:
        raise RecordError(f"{cell.label} is begun here and not finished; let it end, or move {here.folder} away")
    problem = here.problem()
    if problem:
        raise RecordError(f"{cell.label} here {problem}; move {here.folder} away, then import again")
    for name in cell.files:
        archive.check(cell, name)
    known, theirs = here.digests, _digests(archive, cell)
    names = (known.keys() | theirs.keys()) - set(DETECTION_FILES)  # what one of the two may lack, or measure anew
    differ = sorted(name for name in names if known.get(name) != theirs.get(name))
    differ += [name for name, file in cell.files.items() if theirs.get(name, file.sha256) != file.sha256]
    if differ:
        raise RecordError(
            f"{cell.label} is here already, and another was sent under that name: they differ in "
            f"{', '.join(dict.fromkeys(differ))}; keep one, by moving {here.folder} away or leaving the other out"
        )


def _digests(archive: Archive, cell: ListedCell) -> dict[str, str]:
    try:
        return Digests.model_validate_json(archive.read(cell, DIGESTS)).files
    except ValueError as error:
        raise RecordError(f"{cell.label}: {DIGESTS} is damaged") from error


def _origin(archive: Archive, cell: ListedCell, record: RunRecord) -> Origin:
    environment = record.environment
    return Origin(
        who=cell.who,
        computed=environment.get("started", ""),
        commit=environment.get("commit", ""),
        uadbench=environment.get("uadbench", ""),
        sent_by=archive.manifest.sent_by,
        file=archive.path.name,
        sha256=archive.sha256,
        arrived=datetime.now(UTC).isoformat(timespec="seconds"),
    )
