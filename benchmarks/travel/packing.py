"""Records into an archive: the same records, sent by the same person, give the same bytes.

So nothing in it tells the time: members are sorted, bear one date and are stored as they are, and when a cell was
computed stands in its own `environment.json`.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import stat
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ...errors import UserError
from ...files import replacing, sha256_of_file
from ..engine.progress import Reporter, SilentReporter
from ..plan.cell import PROTOCOL_VERSION
from ..records.attempts import ATTEMPTS
from ..records.detections import DETECTION_FILES
from ..records.origin import computed_by
from ..records.record import BEST, DIGESTS, RunRecord
from ..records.record_files import Digests, RecordError, read_as
from .contents import (
    FORMAT,
    MANIFEST,
    MOST_FILES,
    ListedCell,
    ListedFile,
    Manifest,
    fault_of_words,
    label_of,
    member_of,
    most_bytes,
    travelling_files,
)

#: The first moment that a zip file can tell: one for all members.
_DATE = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_CHUNK = 2**20
_SILENT = SilentReporter()


@dataclass(frozen=True)
class Packed:
    """An archive that was written.

    Attributes:
        path: the file.
        labels: of the cells in it.
        size: in bytes.
        sha256: its SHA-256, by which whoever gets it may know that it is this one.
    """

    path: Path
    labels: tuple[str, ...]
    size: int
    sha256: str


def whoever_sends(word: str) -> str:
    """Who sends an archive: the word that was given, or else user and machine.

    Raises:
        UserError: the word is no line of text.
    """
    if word:
        if fault_of_words(word, longest=200):
            raise UserError(f"--who {word[:40]!r}: write a name in one line, of 200 letters at most")
        return word
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container may know the number of its user only
        user = f"user {os.getuid()}"
    found = f"{user}@{socket.gethostname()}"
    return "somebody" if fault_of_words(found, longest=200) else found


def pack(
    records: Sequence[RunRecord], path: Path, who: str, *, with_weights: bool, reporter: Reporter = _SILENT
) -> Packed:
    """Write an archive of finished records.

    Args:
        records: what to send, each once.
        path: the file; one that is there is replaced once the new one is whole.
        who: whoever sends it, see `whoever_sends`.
        with_weights: send the best weights, too.
        reporter: where progress goes.

    Raises:
        UserError: a record is not whole or lacks its weights, or the file cannot be written.
    """
    by_label = {label_of(record.config): record for record in records}
    files = {label: _files_of(label, record, with_weights=with_weights) for label, record in sorted(by_label.items())}
    if sum(map(len, files.values())) >= MOST_FILES:
        raise UserError(f"{len(files)} cells have more than {MOST_FILES} files; export fewer at a time")
    with replacing(path) as partial:
        with zipfile.ZipFile(partial, "w") as archive, reporter.bar("export cells", len(files)) as bar:
            cells = []
            for label, names in files.items():
                cells.append(_pack_cell(archive, label, by_label[label], names, who))
                bar.advance()
            manifest = Manifest(format=FORMAT, uadbench=version("uadbench"), sent_by=who, cells=tuple(cells))
            text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"
            archive.writestr(_member(MANIFEST, len(text.encode())), text)
        size, digest = partial.stat().st_size, sha256_of_file(partial)
    return Packed(path, tuple(files), size, digest)


def why_not_sent(record: RunRecord) -> str:
    """Why a record cannot be sent, in words that follow its name; "" where it can."""
    adding = "is open for what `bench score` adds to it" if record.is_reopened else ""
    return record.problem() or adding


def _files_of(label: str, record: RunRecord, *, with_weights: bool) -> tuple[str, ...]:
    """The names of the files of a record that travel, in order.

    Raises:
        UserError: the record is not whole, or something that cannot travel.
    """
    problem = why_not_sent(record)
    if problem:
        raise UserError(f"{record.folder} {problem}; run the cell to its end, or leave it out")
    if record.config.content.get("protocol") != PROTOCOL_VERSION:
        raise UserError(
            f"{record.folder} was made by version {record.config.content.get('protocol')} of the protocol, and nobody "
            f"takes it in any more (now: {PROTOCOL_VERSION}); run the cell again, or leave it out"
        )
    if with_weights and BEST in _digests(record) and not record.best_checkpoint.is_file():
        raise UserError(f"{record.folder} has no weights to send; leave --with-weights out, or train the cell again")
    attempts = sorted(f"{ATTEMPTS}/{path.name}" for path in (record.folder / ATTEMPTS).glob("*.json"))
    vouched = _digests(record)
    names = [name for name in travelling_files() if name != BEST or with_weights]
    names = [name for name in names if name not in DETECTION_FILES or name in vouched]
    found = [name for name in (*names, *attempts) if (record.folder / name).is_file() and most_bytes(name) is not None]
    return tuple(sorted(found))


def _digests(record: RunRecord) -> Mapping[str, str]:
    digests: Digests | None = read_as(record.folder / DIGESTS, Digests)
    return {} if digests is None else digests.files


def _pack_cell(archive: zipfile.ZipFile, label: str, record: RunRecord, names: Sequence[str], who: str) -> ListedCell:
    """Add the files of a record.

    Raises:
        RecordError: one cannot be read, is too large, or was changed since the cell was finished.
    """
    config, known = record.config, _digests(record)
    files = {name: _pack_file(archive, label, record.folder / name, name) for name in names}
    for name, file in files.items():
        if known.get(name, file.sha256) != file.sha256:
            raise RecordError(
                f"{record.folder / name} is not the file that the cell was finished with, so it is not sent"
            )
    return ListedCell(
        label=label,
        cell=config.cell,
        protocol=PROTOCOL_VERSION,
        fingerprint=config.fingerprint,
        who=computed_by(record, who),
        files=files,
    )


def _pack_file(archive: zipfile.ZipFile, label: str, path: Path, name: str) -> ListedFile:
    digest, written = hashlib.sha256(), 0
    with ExitStack() as held:
        try:
            file = held.enter_context(path.open("rb"))
            size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise RecordError(f"{path} cannot be read ({error.strerror or error}), so nothing is sent") from error
        if size > (most_bytes(name) or 0):
            raise RecordError(f"{path} is larger than such a file can be ({size} bytes), so it is not sent")
        member = held.enter_context(archive.open(_member(member_of(label, name), size), "w"))
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            written += len(chunk)
            member.write(chunk)
    if written != size:
        raise RecordError(f"{path} was changed meanwhile; try again")
    return ListedFile(sha256=digest.hexdigest(), size=size)


def _member(name: str, size: int) -> zipfile.ZipInfo:
    """A member whose directory entry says nothing of the machine or the hour."""
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system, info.external_attr = _UNIX, (stat.S_IFREG | 0o644) << 16
    info.compress_type, info.file_size = zipfile.ZIP_STORED, size
    return info
