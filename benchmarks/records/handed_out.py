"""The cells that `bench run` has handed out, as far as one must know of them to say how they stand."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from .record_files import Recorded

#: Folder of the specs below the results folder; what they hold in full is `executors.spec.CellSpec`.
SPECS = "specs"
_DATA = "data-"


class HandedOut(Recorded):
    """A cell that was handed out.

    Attributes:
        label: name of its folder.
        title: of its table row.
        fold: index of its fold.
    """

    label: str
    title: str
    fold: int


def handed_out(results: Path) -> tuple[HandedOut, ...]:
    """Every cell that was handed out from a results folder, by name; what cannot be read is passed over."""
    found = []
    for path in sorted((results / SPECS).glob("*.json")):
        if not path.name.startswith(_DATA):
            with suppress(OSError, ValidationError):
                found.append(HandedOut.model_validate_json(path.read_bytes()))
    return tuple(found)
