"""The files of a download: in folders, in tars that are read in place, and what of them cannot be read.

A plain .tar's list of members says where each file begins, so a single scan is copied out without a pass over the
whole archive. Of a tar that is cut short, what is whole is used. Nothing is skipped unmentioned: a member that cannot
be read is listed with the reason, which is what its scan fails with.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ..layout import stem_of, suffix_of
from ..scans.scan_file import open_regular

#: How temporary folders of unpacked members begin.
UNPACKED = ".uadbench-"

_TAR = ".tar"
_TAR_BLOCK = 512  # bytes; a tar ends with two of zeros
_BLOCK = 1 << 20
_MOST_LINKS = 8  # that are followed from one to the next
_NO_END = "is cut short: it has no end mark; download it again for the scans that it lacks"


@dataclass(frozen=True)
class RawFile:
    """A file of a download, on its own or inside a tar.

    Attributes:
        path: the file, or the tar that holds it.
        member: its name in the tar; None for a file on its own.
        offset: where it begins in the tar, bytes.
        size: its length, bytes, where it is a member.
        root: the folder of the download; what lies above it says nothing.
        is_sparse: whether the tar holds it without its stretches of zeros.
        problem: why this member cannot be read; None where it can.
        voxels: the .img of a pair whose header this is.
    """

    path: Path
    member: str | None = None
    offset: int = 0
    size: int = 0
    root: Path | None = None
    is_sparse: bool = False
    problem: str | None = None
    voxels: RawFile | None = None

    @property
    def name(self) -> PurePosixPath:
        """Its path within the download, as far as names matter."""
        if self.member is not None:
            return PurePosixPath(self.member)
        return PurePosixPath((self.path.relative_to(self.root) if self.root else self.path).as_posix())

    def __str__(self) -> str:
        """Its name for messages and manifest, on one line whatever bytes it is made of."""
        return printable(str(self.path) if self.member is None else f"{self.path}:{self.member}")

    @contextmanager
    def opened(self, folder: Path | None = None, most_bytes: int | None = None) -> Iterator[Path]:
        """Give a path to read it from; a member of a tar is copied to a temporary folder for that time.

        Args:
            folder: where temporary folders are made; None is the system's own place.
            most_bytes: a member that is longer is not copied.

        Raises:
            DataError: the tar cannot be read or ends before the member does, or the member is too long.
            OSError: the temporary folder cannot be written.
        """
        if self.member is None:
            yield self.path
            return
        with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=folder) as place:
            for file in (self, self.voxels):
                if file is not None:
                    file._extract(file._copy_in(Path(place)), most_bytes)
            yield self._copy_in(Path(place))

    def _copy_in(self, place: Path) -> Path:
        return place / f"scan{suffix_of(self.name.name) or ''}"

    def _extract(self, copy: Path, most_bytes: int | None) -> None:
        if self.problem is not None:
            raise DataError(f"{self} cannot be read: {self.problem}")
        if most_bytes is not None and self.size > most_bytes:
            raise DataError(f"{self} has {self.size} bytes, more than any scan that is read; look at it")
        left = self.size
        try:
            with copy.open("wb") as out:
                for block in self._sparse_blocks() if self.is_sparse else self._blocks():
                    out.write(block)
                    left -= len(block)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(copy)) from error
        if left:
            raise DataError(f"{printable(str(self.path))} ends in the middle of {self.member}; download it again")

    def _blocks(self) -> Iterator[bytes]:
        """The content of a member, block by block."""
        left = self.size
        try:
            with open_regular(self.path) as archive:
                archive.seek(self.offset)
                while left and (block := archive.read(min(left, _BLOCK))):
                    yield block
                    left -= len(block)
        except OSError as error:
            raise DataError(f"{self} cannot be read ({error.strerror or error}); copy or download it again") from error

    def _sparse_blocks(self) -> Iterator[bytes]:
        """The content of a sparse member, zeros put back; tarfile knows how each kind of tar notes them."""
        try:
            with open_regular(self.path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
                member = next((one for one in archive if one.offset_data == self.offset), None)
                content = None if member is None else archive.extractfile(member)
                while content is not None and (block := content.read(_BLOCK)):
                    yield block
        except tarfile.TarError:
            return  # the tar ends before the member does, which the count of bytes tells
        except OSError as error:
            raise DataError(f"{self} cannot be read ({error.strerror or error}); copy or download it again") from error


@dataclass(frozen=True)
class Listing:
    """The files of a download in order of name, and a sentence for each archive or folder that is not whole."""

    files: tuple[RawFile, ...]
    damaged: Mapping[str, str]


def list_files(raw: Path) -> Listing:
    """Every file of a download, tars opened, pairs joined; hidden files and folders are not part of it.

    Raises:
        DataError: there is nothing, or nothing that can be read.
    """
    try:
        if raw.exists() and not raw.is_dir():
            if raw.suffix.lower() != _TAR:
                raise DataError(f"{raw} is neither a folder nor a plain .tar; unpack it and give the folder")
            return _open_tars([raw], raw.parent, {})
        if not raw.is_dir():
            raise DataError(f"{raw} does not exist; give the folder or the .tar that was downloaded")
    except OSError as error:
        raise DataError(f"{raw} cannot be read ({error.strerror}); check its permissions") from error
    damaged: dict[str, str] = {}
    paths = sorted(_walk(raw, damaged))
    if not paths and not damaged:
        raise DataError(f"{raw} is empty; give the folder or the .tar that was downloaded")
    return _open_tars(paths, raw, damaged)


def _walk(raw: Path, damaged: dict[str, str]) -> Iterator[Path]:
    """Files below a folder, links followed but no folder twice; what is no file counts as one, to be reported."""

    def report(error: OSError) -> None:
        name = printable(str(error.filename))
        damaged[name] = f"{name} cannot be read ({error.strerror}); check its permissions"

    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(raw, onerror=report, followlinks=True):
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        yield from (Path(folder, name) for name in files if not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _open_tars(paths: Sequence[Path], root: Path, damaged: dict[str, str]) -> Listing:
    files: list[RawFile] = []
    for path in paths:
        if path.suffix.lower() != _TAR:
            files.append(RawFile(path, root=root))
            continue
        members, problem = _members(path)
        files += members
        if problem:
            damaged[printable(str(path))] = problem
    return Listing(_paired(files), damaged)


def _paired(files: Sequence[RawFile]) -> tuple[RawFile, ...]:
    """The files, each .hdr with its .img as one."""
    voxels: dict[tuple[str, str], RawFile] = {}
    for file in files:
        if _kind_of_pair(file) == ".img":
            voxels.setdefault(_place(file), file)
    joined = [
        replace(file, voxels=voxels.pop(_place(file), None)) if _kind_of_pair(file) == ".hdr" else file
        for file in files
    ]
    taken = {file.voxels for file in joined}
    return tuple(file for file in joined if file not in taken)


def _kind_of_pair(file: RawFile) -> str | None:
    kind = (suffix_of(file.name.name) or "").removesuffix(".gz")
    return kind if kind in (".hdr", ".img") else None


def _place(file: RawFile) -> tuple[str, str]:
    """What the two files of a pair have in common."""
    return ("" if file.member is None else str(file.path)), str(file.name.parent / stem_of(file.name.name))


# --------------------------------------------------------------------------------------------------------------- tars


def _members(path: Path) -> tuple[list[RawFile], str | None]:
    """The files in a tar up to where it is whole, and what is wrong with it."""
    name = printable(str(path))
    members: list[RawFile] = []
    links: list[tarfile.TarInfo] = []
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.isdir() or any(map(_is_hidden, PurePosixPath(member.name.removeprefix("./")).parts)):
                    continue
                if member.islnk() or member.issym():
                    links.append(member)
                elif member.isreg():
                    members.append(
                        RawFile(path, member.name, member.offset_data, member.size, is_sparse=member.issparse())
                    )
                else:
                    members.append(RawFile(path, member.name, problem=f"it is {_type_of(member)}, no file"))
            problem = None if _ends_at(path, archive.offset) else _NO_END
    except (tarfile.TarError, EOFError) as error:
        problem = _NO_END
        if not members and not links:
            return [], f"{name} is no plain tar ({error}); download it again, or unpack it and give the folder"
    except DataError as error:
        return [], str(error)
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error}); check its permissions or copy it again"
    files = {posixpath.normpath(str(file.member)): file for file in members}
    targets = {posixpath.normpath(link.name): _target(link) for link in links}
    linked = [_followed(path, link, targets, files) for link in links]
    return [*members, *linked], None if problem is None else f"{name} {problem}"


def _target(link: tarfile.TarInfo) -> str:
    """The name in the tar that a link points to: a hard link counts from the top, a symbolic one from its folder."""
    start = posixpath.dirname(link.name) if link.issym() else ""
    return posixpath.normpath(posixpath.join(start, link.linkname))


def _followed(path: Path, link: tarfile.TarInfo, targets: Mapping[str, str], files: Mapping[str, RawFile]) -> RawFile:
    """What a link in a tar stands for, under the link's name."""
    target = _target(link)
    for _ in range(_MOST_LINKS):
        target = targets.get(target, target)
    if target in files:
        return replace(files[target], member=link.name)
    return RawFile(
        path, link.name, problem=f"it is a link to {link.linkname}, which is no file of the tar; unpack the tar"
    )


def _type_of(member: tarfile.TarInfo) -> str:
    if member.isfifo():
        return "a pipe"
    return "a device" if member.isdev() else f"of an unknown type ({member.type!r})"


def _ends_at(path: Path, offset: int) -> bool:
    """Whether a tar's end mark stands there; tarfile takes a cut between two files or a damaged header for the end."""
    with open_regular(path) as archive:
        archive.seek(offset)
        return archive.read(_TAR_BLOCK) == bytes(_TAR_BLOCK)


def printable(text: str) -> str:
    """A file name as one line that any terminal can show: control characters and stray bytes are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
