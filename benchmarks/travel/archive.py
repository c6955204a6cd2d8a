"""An archive of records, read as what it is: a zip file from a stranger.

Its directory and its list are looked through before anything of it is used, and they must agree. Every byte that is
read later is held against the list's SHA-256. Nothing is unpickled and nothing is run.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ...errors import UserError, WriteError
from ..records.record import CONFIG, DIGESTS
from ..records.record_files import RecordError
from .contents import FORMAT, MANIFEST, ListedCell, ListedFile, Manifest, fault_of_words, member_of
from .members import RefusalError, check_ends, members_of

_CHUNK = 2**20
_LONGEST_NAME = 2000
#: What zipfile and zlib raise where a file is damaged.
_DAMAGE = (
    *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error),
    *(OSError, OverflowError, LookupError),
)


class ArchiveError(UserError):
    """An archive that is not taken for one of ours, and why."""


@dataclass(frozen=True)
class Archive:
    """An archive whose list and directory agree.

    Attributes:
        path: the file.
        sha256: its SHA-256.
        manifest: the list.
    """

    path: Path
    sha256: str
    manifest: Manifest
    _zip: zipfile.ZipFile
    _members: Mapping[str, zipfile.ZipInfo]

    @property
    def size(self) -> int:
        """Bytes that all its records need on a disk."""
        return sum(file.size for cell in self.manifest.cells for file in cell.files.values())

    def check(self, cell: ListedCell, name: str) -> None:
        """See that a file of a record is the one that was sent; nothing is written.

        Raises:
            RecordError: it is not.
        """
        self._read(cell, name, lambda chunk: None)

    def read(self, cell: ListedCell, name: str) -> bytes:
        """A small file of a record.

        Raises:
            RecordError: it is not what was sent.
        """
        chunks: list[bytes] = []
        self._read(cell, name, chunks.append)
        return b"".join(chunks)

    def copy(self, cell: ListedCell, name: str, path: Path) -> None:
        """Write a file of a record, and see that it is the one that was sent.

        Args:
            cell: whose file.
            name: of the file.
            path: where to; its folder is there.

        Raises:
            RecordError: it is not what was sent.
            WriteError: the disk is full or the folder cannot be written.
        """
        try:
            with path.open("wb") as file:
                self._read(cell, name, file.write)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise WriteError(error.errno, error.strerror or str(error), str(path)) from error

    def _read(self, cell: ListedCell, name: str, take: Callable[[bytes], object]) -> None:
        title = f"{cell.label}: {name}"
        digest = _stream(self._zip, self._members[member_of(cell.label, name)], title, take)
        if digest != cell.files[name].sha256:
            raise RecordError(f"{title} is not the file that was sent, its SHA-256 is another")


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive and look through its directory and its list, before anything of it is used.

    Raises:
        ArchiveError: it cannot be read, is no archive of `bench export`, or holds what no such archive does.
    """
    if not path.is_file():
        raise ArchiveError(f"{path} is no file; name an archive that `bench export` wrote")
    with ExitStack() as held:
        try:
            archive = _looked_through(path, held)
        except RefusalError as error:
            raise ArchiveError(f"{path} {error}") from error
        except _DAMAGE as error:
            raise ArchiveError(f"{path} is no whole zip file ({_first_line(error)}); have it sent again") from error
        yield archive


def _looked_through(path: Path, held: ExitStack) -> Archive:
    file = held.enter_context(path.open("rb"))
    check_ends(file)
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    archive = held.enter_context(zipfile.ZipFile(file))
    members = members_of(archive.infolist(), archive.start_dir)
    return Archive(path, digest, _manifest(archive, members), archive, members)


def _stream(archive: zipfile.ZipFile, info: zipfile.ZipInfo, title: str, take: Callable[[bytes], object]) -> str:
    """Give a member to `take` chunk by chunk, and return its SHA-256.

    Raises:
        RecordError: it is damaged, or not as long as the directory says.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(archive, info, title):
        size += len(chunk)
        digest.update(chunk)
        take(chunk)
    if size != info.file_size:
        raise RecordError(f"{title} is damaged in the archive ({size} bytes instead of {info.file_size})")
    return digest.hexdigest()


def _chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo, title: str) -> Iterator[bytes]:
    try:
        with archive.open(info) as member:
            while chunk := member.read(_CHUNK):
                yield chunk
    except _DAMAGE as error:
        raise RecordError(f"{title} is damaged in the archive ({_first_line(error)})") from error


def _manifest(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo]) -> Manifest:
    """The list, which names the members and nothing else."""
    if MANIFEST not in members:
        raise RefusalError(f"is no archive of `bench export`: it holds no {MANIFEST}")
    chunks: list[bytes] = []
    try:
        _stream(archive, members[MANIFEST], MANIFEST, chunks.append)
        manifest = Manifest.model_validate_json(b"".join(chunks))
    except RecordError as error:
        raise RefusalError(f"cannot be used: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ascii(".".join(str(part) for part in first["loc"]))[1:100].rstrip("'")
        raise RefusalError(f"cannot be used: {MANIFEST} is damaged: {place or 'it'}: {first['msg']}") from error
    if manifest.format != FORMAT:
        raise RefusalError(
            f"is of format {manifest.format} and this uadbench reads {FORMAT}; take the sender's version"
        )
    _check_words(manifest)
    _check_files(manifest, members)
    return manifest


def _check_words(manifest: Manifest) -> None:
    labels = [cell.label for cell in manifest.cells]
    if len(set(labels)) != len(labels):
        raise RefusalError(f"names a cell twice in {MANIFEST}; nothing of it is used")
    people = (manifest.uadbench, manifest.sent_by, *(cell.who for cell in manifest.cells))
    bad = fault_of_words(*people, longest=_LONGEST_NAME)
    if bad:
        raise RefusalError(f"cannot be used: {MANIFEST} holds {bad}, which is no name")


def _check_files(manifest: Manifest, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """See that the list and the zip's directory speak of the same files."""
    listed: dict[str, ListedFile] = {
        member_of(cell.label, name): file for cell in manifest.cells for name, file in cell.files.items()
    }
    odd = sorted(listed.keys() ^ (members.keys() - {MANIFEST}))
    if odd:
        word = "names" if odd[0] in listed else "does not name"
        raise RefusalError(f"does not fit its list: {MANIFEST} {word} {ascii(odd[0])[:100]}; nothing of it is used")
    sizes = [name for name, file in listed.items() if file.size != members[name].file_size]
    if sizes:
        raise RefusalError(f"does not fit its list: {sizes[0]!r} has two sizes; nothing of it is used")
    bare = [cell.label for cell in manifest.cells if not {CONFIG, DIGESTS} <= cell.files.keys()]
    if bare:
        raise RefusalError(f"holds {bare[0]} without its {CONFIG} or {DIGESTS}; nothing of it is used")


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
