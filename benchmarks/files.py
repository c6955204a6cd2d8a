"""Files that are written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..datasets import atomic
from .errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` on success (see `datasets.atomic.replacing`).

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    try:
        with atomic.replacing(path) as partial:
            yield partial
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"cannot write {path}: {reason}; make room or choose another folder, then run the same command again "
            "(what was finished is kept)"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, readable and with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_with(path: Path, save: Callable[[Path], None]) -> None:
    """Let `save` write a file of its own format atomically."""
    with replacing(path) as partial:
        save(partial)
