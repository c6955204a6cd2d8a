"""A volume store on a disk of this machine: copied once, checked, and used by every cell that runs here."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...errors import DataError
from ...files import LockTimeoutError, locked, remove
from .store import VolumeStore

_NAMED_BY = 12  # digits of the fingerprint in the copy's name


def copied_store(folder: Path, scratch: Path, fingerprint: str) -> Path:
    """The copy of a store below `scratch`, made now if there is none; processes of one machine take turns.

    The SHA-256 of every volume is compared when the copy is made, and once more when it is first read.

    Args:
        folder: the store.
        scratch: a folder on a disk of this machine.
        fingerprint: of the store.

    Returns:
        The copy's folder.

    Raises:
        DataError: the store is not there or another one, the copy is damaged, or the disk is full.
    """
    copy = scratch / f"{folder.name}-{fingerprint[:_NAMED_BY]}"
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with locked(scratch / f".{copy.name}.lock", progress=lambda: _bytes_in(_partial(copy))):
            if not copy.exists():
                _copy(folder, copy, fingerprint)
    except LockTimeoutError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{folder} cannot be copied to {scratch}: {reason}; choose another --scratch") from error
    return copy


def _copy(folder: Path, copy: Path, fingerprint: str) -> None:
    """Copy beside the final name, check, rename."""
    partial = _partial(copy)
    VolumeStore.open(folder, fingerprint)
    remove(partial)
    shutil.copytree(folder, partial)
    VolumeStore.open(partial, fingerprint).check()
    partial.rename(copy)


def _partial(copy: Path) -> Path:
    return copy.with_name(f"{copy.name}.partial")


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*")) if folder.exists() else 0
