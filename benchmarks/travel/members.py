"""The members of a stranger's zip file, judged by its directory before a byte of them is read.

A member is believed only where its name is one that `bench export` gives, to the letter. So there is no path to escape
by, no link, no second file of a name, and nothing that grows beyond what was said.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections import Counter
from collections.abc import Sequence
from typing import BinaryIO

from ...registry import is_name
from .contents import MANIFEST, MOST_DIRECTORY_BYTES, MOST_FILES, MOST_MANIFEST_BYTES, RUNS, most_bytes

#: Text shrinks by 3 to 20; what shrinks more than this is made to fill somebody's disk.
_MOST_SQUEEZED, _SMALL = 100, 2**16
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED, _PATCHED, _STRONGLY_ENCRYPTED = 0x1, 0x20, 0x40
#: The last record of a zip file, and what stands before it in one of more than 4 GB.
_END, _LOCATOR_64, _END_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_LOCAL_HEADER_BYTES = 30
_MOST_FOLD_DIGITS, _ID_DIGITS = 4, 12
_DIGITS, _HEX = frozenset("0123456789"), frozenset("0123456789abcdef")
_TOO_MANY = f"holds more than {MOST_FILES} files; have fewer cells exported at a time"


class RefusalError(ValueError):
    """What is wrong with an archive, in words that follow its name."""


def check_ends(file: BinaryIO) -> None:
    """See that a file begins and ends as ours do, and that its directory is one that fits the memory.

    Raises:
        RefusalError: it does not.
    """
    file.seek(0)
    if file.read(4) != b"PK\x03\x04":
        raise RefusalError("is no archive of `bench export`: it does not begin as one")
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END.size - _LOCATOR_64.size - _END_64.size))
    tail = file.read()
    end = tail[-_END.size :]
    if len(end) != _END.size or end[:4] != b"PK\x05\x06" or end[-2:] != b"\0\0":
        raise RefusalError("is cut off, or is no archive of `bench export`: it does not end as one")
    files, directory = _counts(tail)
    if files > MOST_FILES or directory > MOST_DIRECTORY_BYTES:
        raise RefusalError(_TOO_MANY)


def _counts(tail: bytes) -> tuple[int, int]:
    """How many members a zip file has, and how large its directory is, as zipfile reads it from the file's end."""
    _, _, _, _, files, directory, _, _ = _END.unpack(tail[-_END.size :])
    before = tail[: -_END.size]
    if before[-_LOCATOR_64.size :][:4] != b"PK\x06\x07":
        return files, directory
    record = before[: -_LOCATOR_64.size][-_END_64.size :]
    if len(record) != _END_64.size or record[:4] != b"PK\x06\x06":
        raise RefusalError("does not say where its directory lies")
    *_, files, directory, _ = _END_64.unpack(record)
    return files, directory


def members_of(infos: Sequence[zipfile.ZipInfo], directory: int) -> dict[str, zipfile.ZipInfo]:
    """The members by name, each a plain file of a name that ours have, none over another.

    Args:
        infos: the zip's own directory.
        directory: where it begins in the file.

    Raises:
        RefusalError: a member is none of ours.
    """
    if len(infos) > MOST_FILES:  # whatever the last record said
        raise RefusalError(_TOO_MANY)
    for info in infos:
        fault = _foreign(info) or _too_large(info)
        if fault:
            raise RefusalError(f"holds {_shown(info)}, {fault}; nothing of it is used")
    _refuse_doubles([info.filename for info in infos])
    _refuse_overlaps(infos, directory)
    return {info.filename: info for info in infos}


def _foreign(info: zipfile.ZipInfo) -> str:
    """Why a member is none of ours, in words that follow its name; "" of one that may be."""
    if info.orig_filename != info.filename or _limit(info.filename) is None:
        return "which is none of the files that a record sends"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG) or info.is_dir():
        return "which is a link or another thing that is no plain file"
    if info.flag_bits & (_ENCRYPTED | _STRONGLY_ENCRYPTED):
        return "which is encrypted"
    if info.compress_type not in _KINDS or info.flag_bits & _PATCHED:
        return "which is packed in a way that ours are not"
    return ""


def _too_large(info: zipfile.ZipInfo) -> str:
    """What is wrong with a member's sizes, in words that follow its name; "" where nothing is."""
    if info.file_size > (_limit(info.filename) or 0):
        return f"which is larger than such a file can be ({info.file_size} bytes)"
    if info.file_size > _MOST_SQUEEZED * info.compress_size + _SMALL:
        return f"whose {info.compress_size} bytes would become {info.file_size}"
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        return "whose size is said in two ways"
    return ""


def _limit(member: str) -> int | None:
    """How large a member may be; None of a name that no member has."""
    if member == MANIFEST:
        return MOST_MANIFEST_BYTES
    top, _, rest = member.partition("/")
    label, _, name = rest.partition("/")
    return most_bytes(name) if top == RUNS and _is_label(label) else None


def _is_label(label: str) -> bool:
    """Whether a name is METHOD-foldN-ID, as folders of records are called."""
    method, _, rest = label.rpartition("-fold")
    fold, _, cell = rest.partition("-")
    is_fold = 0 < len(fold) <= _MOST_FOLD_DIGITS and set(fold) <= _DIGITS
    return is_name(method) and is_fold and len(cell) == _ID_DIGITS and set(cell) <= _HEX


def _refuse_doubles(names: Sequence[str]) -> None:
    # All names are ASCII by now, so case is all by which a file system may take two for one.
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.lower(), name)
        if other != name:
            raise RefusalError(f"holds {other!r} and {name!r}, which are one file on some disks; nothing of it is used")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise RefusalError(f"holds {twice[0]!r} more than once; nothing of it is used")


def _refuse_overlaps(infos: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """A few bytes that many members share would become many files."""
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise RefusalError(f"holds {_shown(info)}, which lies over another file; nothing of it is used")
        end = info.header_offset + _LOCAL_HEADER_BYTES + len(info.filename) + info.compress_size
    if end > directory:
        raise RefusalError("holds a file that lies over its directory; nothing of it is used")


def _shown(info: zipfile.ZipInfo) -> str:
    """A member's name as it may be printed: quoted, without control characters, and short."""
    name = ascii(info.orig_filename)
    return name if len(name) <= 100 else f"{name[:97]}...'"
