"""Files written whole or not at all, read back without surprises, and locks that end with their process."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it takes the place of `path` in one step.

    The temporary file is flushed to the disk before the rename, so that neither a kill nor a power cut leaves half a
    file under the final name; on failure it is removed and the old file stays.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path, name: str = "*") -> None:
    """Remove what `replacing` left in a folder when its process was killed; nobody may be writing there.

    Args:
        folder: need not exist.
        name: of the file that was to be written; "*" is any.
    """
    for path in folder.glob(f".{name}.*.partial"):
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock between processes; the system takes it away when its holder ends, however that comes about.

    Args:
        path: the lock's file, which stays.
        wait: for another process that holds it.

    Raises:
        BlockingIOError: another process holds it and `wait` is False.
        OSError: the file cannot be written.
    """
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None where there is no readable one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object: a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, indent=1), encoding="utf-8")
