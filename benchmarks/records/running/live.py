"""What a training says of every validation at once: the curve of the record grows only when a checkpoint is written.

A line per validation below `progress/`, in the order of epochs, with the time at which it was made. Whoever watches the
training reads it; no number of the cell stands in it alone, and it goes with the rest of `progress/` when the cell is
over. A training that goes on from a checkpoint begins the file anew with the curve that the checkpoint holds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from pydantic import ValidationError

from ..fence import FencedFolder
from ..record_files import Epoch, Recorded
from .progress import FOLDER

LIVE = f"{FOLDER}/epochs.jsonl"


class LiveEpoch(Recorded):
    """A validation.

    Attributes:
        epoch: index of the epoch.
        step: optimiser steps so far.
        train_loss: mean since the last validation.
        val_loss: healthy validation loss.
        learning_rate: at the end of the epoch.
        time: seconds since 1970 by the clock of the machine that trains; None where nobody knows any more.
    """

    epoch: int
    step: int
    train_loss: float
    val_loss: float
    learning_rate: float
    time: float | None = None


class LiveHistory:
    """Writes the live curve of a training; a disk that takes nothing more costs the user the sight of it.

    Args:
        fenced: the cell's folder, held by this process.
    """

    def __init__(self, fenced: FencedFolder) -> None:
        self._fenced = fenced

    def begin(self, history: Iterable[Epoch]) -> None:
        """Begin anew with the validations that are behind this training; their times are kept where they are known.

        Raises:
            HeldError: another process holds the cell.
            LostClaimError: another process took it over.
        """
        times = {line.epoch: line.time for line in read_live(self._fenced.path)}
        lines = [_line(epoch, times.get(epoch.epoch)) for epoch in history]
        self._fenced.check()
        with suppress(OSError):
            self._fenced.write_text(LIVE, "".join(lines))

    def add(self, epoch: Epoch) -> None:
        """Add a validation made just now; nothing depends on the line, so it is not flushed to the disk.

        Raises:
            HeldError: another process holds the cell.
            LostClaimError: another process took it over.
        """
        self._fenced.check()
        with suppress(OSError), self._fenced.opened(LIVE) as file:
            file.seek(0, os.SEEK_END)
            file.write(_line(epoch, time.time()).encode())


def read_live(folder: Path) -> tuple[LiveEpoch, ...]:
    """The validations that a training has said so far, by epoch; a line that cannot be read is passed over.

    Args:
        folder: the cell's folder.
    """
    found: dict[int, LiveEpoch] = {}
    with suppress(OSError):
        for line in (folder / LIVE).read_bytes().splitlines():
            with suppress(ValidationError):
                epoch = LiveEpoch.model_validate_json(line)
                found[epoch.epoch] = epoch
    return tuple(found[number] for number in sorted(found))


def _line(epoch: Epoch, when: float | None) -> str:
    return LiveEpoch(**asdict(epoch), time=when).model_dump_json() + "\n"
