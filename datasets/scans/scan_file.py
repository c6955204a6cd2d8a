"""The files of a scan on disk: what is opened, where one ends, and what their content is called by.

Only regular files are opened: a pipe would keep the program waiting for ever, a device such as /dev/zero has no end. A
scan is one file, or a pair of header (.hdr) and voxels (.img), named by either of the two.
"""

from __future__ import annotations

import gzip
import hashlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import product
from pathlib import Path
from typing import BinaryIO, cast

from ...errors import DataError
from ...files import sha256_of_bytes
from ..layout import stem_of, suffix_of

_GZIP = b"\x1f\x8b"
_PACKED = (".gz", ".mgz")
_NIFTI_SIZES = (348, 540)  # of the header, its first number: NIfTI-1 and NIfTI-2
_PARTNERS = {".hdr": ".img", ".img": ".hdr"}
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading.

    Raises:
        DataError: it is a folder, pipe, device or socket, or a link to one.
        OSError: it is not there or cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise DataError(f"{path} is {what} and no file; give the file itself")
    return path.open("rb")


def scan_parts(path: Path) -> tuple[Path, ...]:
    """The files that a scan consists of: itself; or of a pair first the header, then the voxels.

    Raises:
        DataError: the other file of a pair is not there.
    """
    suffix = suffix_of(path.name) or ""
    kind = suffix.removesuffix(".gz")
    if kind not in _PARTNERS:
        return (path,)
    partner = _partner(path, _PARTNERS[kind])
    if partner is None:
        raise DataError(
            f"{path} is one of a pair, but no {stem_of(path.name)}{_PARTNERS[kind]} lies beside it; add it or convert "
            "the scan to .nii.gz"
        )
    return (path, partner) if kind == ".hdr" else (partner, path)


def _partner(path: Path, kind: str) -> Path | None:
    """The file beside `path` of the same stem and another suffix, which is there; spelt like it, if there are two."""
    packed = path.name.lower().endswith(".gz")
    endings = (".gz", "") if packed else ("", ".gz")
    is_upper = path.name[len(stem_of(path.name)) :].isupper()
    cases = (str.upper, str.lower) if is_upper else (str.lower, str.upper)
    names = (stem_of(path.name) + case(kind + ending) for ending, case in product(endings, cases))
    return next((found for name in names if (found := path.with_name(name)).exists()), None)


def is_pair(one: Path, other: Path) -> bool:
    """Whether two files of one folder are header and voxels of one scan."""
    kinds = {(suffix_of(path.name) or "").removesuffix(".gz") for path in (one, other)}
    return stem_of(one.name) == stem_of(other.name) and kinds == set(_PARTNERS)


def scan_stamp(path: Path) -> list[int]:
    """Size in bytes and time of change in ns of each file of a scan.

    Raises:
        DataError, OSError: a file is not there.
    """
    states = [part.stat() for part in scan_parts(path)]
    return [number for state in states for number in (state.st_size, state.st_mtime_ns)]


def sha256_of(path: Path) -> str:
    """The hash of a scan: of its file, or of both of a pair.

    Raises:
        DataError: a file cannot be read or is none.
    """
    digests = [_sha256(part) for part in scan_parts(path)]
    return digests[0] if len(digests) == 1 else sha256_of_bytes("".join(digests).encode())


def _sha256(path: Path) -> str:
    try:
        with open_regular(path) as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{path} cannot be read ({reason}); check the path and its permissions") from error


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """The content of a file, unpacked while it is read if its name says that it is gzipped.

    Raises:
        DataError: it is no file, empty, or not gzipped as its name says.
        OSError, EOFError, zlib.error: it cannot be read or is damaged, also while it is read.
    """
    with open_regular(path) as file:
        start = file.read(16)
        file.seek(0)
        if not start:
            raise DataError(f"{path} is empty (0 bytes); copy or download it again")
        if not path.name.lower().endswith(_PACKED):
            if start.startswith(_GZIP):
                raise DataError(f"{path} is gzipped though its name does not say so; rename it to {_packed_name(path)}")
            yield file
            return
        if not start.startswith(_GZIP):
            raise DataError(f"{path} is no gzip file, it begins with {start!r}; {_remedy(path, start)}")
        with gzip.GzipFile(fileobj=file) as stream:
            yield cast("BinaryIO", stream)


def _packed_name(path: Path) -> str:
    is_mgh = suffix_of(path.name) == ".mgh"
    return f"{stem_of(path.name)}.mgz" if is_mgh else f"{path.name}.gz"


def _remedy(path: Path, start: bytes) -> str:
    suffix = suffix_of(path.name) or ""
    is_header = any(int.from_bytes(start[:4], order) in _NIFTI_SIZES for order in ("little", "big"))
    if suffix == ".nii.gz" and is_header:
        return "it is unpacked already, so rename it to .nii"
    if suffix in (".mgz", ".mgh.gz") and int.from_bytes(start[:4], "big") == 1:
        return "it is unpacked already, so rename it to .mgh"
    return "copy or download it again"
