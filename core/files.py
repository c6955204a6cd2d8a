"""Files written whole or not at all, read back without surprises, hashed; locks that end with their process."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import secrets
import shlex
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

from .errors import WriteError

_POLL = 0.05  # s, between two tries to get a lock
_SAY_AFTER = 2.0  # s of waiting after which the user is told for whom
PATIENCE = 60.0  # s of waiting for a process that gets no further, after which we give up
_LONGEST_HOLDER = 200  # letters of a command line that are shown


class LockWarning(UserWarning):
    """Somebody else holds a lock, and we wait."""


class LockTimeoutError(OSError):
    """Somebody else held a lock for too long."""


@contextmanager
def replacing(path: Path, check: Callable[[], None] | None = None) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path` in one step.

    The temporary file is flushed to the disk before the rename, so that neither a kill nor a power cut leaves half a
    file under the final name; on failure it is removed and the old file stays.

    Args:
        path: the file.
        check: called just before the rename; raises where it must not happen any more.

    Raises:
        WriteError: the disk is full or the folder cannot be written; any OSError of the block is taken for that.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _new_file(path)
        try:
            yield partial
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            if check is not None:
                check()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def _new_file(path: Path) -> Path:
    """A new empty file beside `path`, of a name that nobody has; unlike mkstemp's it follows the umask."""
    while True:
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            continue
        return partial


def remove_partials(folder: Path, name: str = "*") -> None:
    """Remove what `replacing` left in a folder when its process was killed; whoever still writes there finds out.

    Args:
        folder: need not exist.
        name: of the file that was to be written; "*" is any.
    """
    for path in folder.glob(f".{name}.*.partial"):
        remove(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, whichever stands there; nothing need stand there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = True, progress: Callable[[], Hashable] | None = None) -> Iterator[None]:
    """Hold a lock between processes; the system takes it away when its holder ends, however that comes about.

    The holder writes its number and command line into the file, so that whoever waits can be told for whom.

    Args:
        path: the lock's file, which stays; a link is not followed, as it could lead to somebody's own file.
        wait: for another process that holds it: a warning says for whom, and after a minute we give up.
        progress: a value that changes while the holder gets on; the minute begins anew with each change.

    Raises:
        BlockingIOError: another process holds it and `wait` is False.
        LockTimeoutError: another process held it for a minute without getting on.
        OSError: the file cannot be written.
    """
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o666), "r+", encoding="utf-8", errors="replace") as file:
        if wait:
            _wait_for(file.fileno(), path, progress or (lambda: None))
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(f"process {os.getpid()} ({shlex.join(sys.argv)[:_LONGEST_HOLDER]})")
        file.flush()
        yield


def _wait_for(descriptor: int, path: Path, progress: Callable[[], Hashable]) -> None:
    """Try until the lock is ours."""
    begun = since = time.monotonic()
    seen, told = progress(), False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        now = time.monotonic()
        if now - begun > _SAY_AFTER and not told:
            warnings.warn(f"waiting for {lock_holder(path)}, which holds {path}", LockWarning, stacklevel=4)
            told = True
        if (latest := progress()) != seen:
            seen, since = latest, now
        if now - since > PATIENCE:
            raise LockTimeoutError(
                f"{lock_holder(path)} has held {path} for {now - since:.0f} s; wait for it or stop it, then try again"
            )
        time.sleep(_POLL)


def lock_holder(path: Path) -> str:
    """Who holds a lock, in words."""
    try:
        said = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        said = ""
    return said if said.isprintable() and said else "another process"


def write_text(path: Path, text: str) -> None:
    """Write a text file: a reader sees the old file or the new one, never a part.

    Raises:
        WriteError: the disk is full or the folder cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_with(path: Path, save: Callable[[Path], object], check: Callable[[], None] | None = None) -> None:
    """Let `save` write a file of its own format to a temporary path that then takes the place of `path`.

    Args:
        path: the file.
        save: writes; what it returns is passed over.
        check: see `replacing`.

    Raises:
        WriteError: the disk is full or the folder cannot be written.
    """
    with replacing(path, check) as partial:
        save(partial)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, readable, its keys in their order.

    Raises:
        WriteError: the disk is full or the folder cannot be written.
    """
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None where there is no readable one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_bytes(content: bytes | memoryview) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_json(value: Any) -> str:
    """SHA-256 of plain values (numbers, words, lists, objects), whatever the order of an object's keys."""
    return sha256_of_bytes(json.dumps(value, sort_keys=True).encode())


def versions_of(libraries: Iterable[str]) -> dict[str, str]:
    """The version of Python and of those of the distributions that are installed."""
    found = {"python": platform.python_version()}
    for library in libraries:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found
