"""Weights on disk: written atomically, and read without running anybody's code.

A checkpoint may come from elsewhere. It is a zip archive of tensors and of a pickle that only names plain containers,
numbers and words; PyTorch's restricted unpickler (`weights_only=True`) refuses whatever else one could hold.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...methods import Detector
from ...out_of_memory import is_out_of_memory
from .fence import FencedFolder
from .origin import without_weights
from .record import BEST, LAST, RunRecord
from .record_files import RecordError, archive_problem

_DAMAGED_PICKLE = (EOFError, pickle.UnpicklingError, ValueError, LookupError, TypeError, AttributeError)
#: What PyTorch raises where a file is no checkpoint of ours, or is one of another network.
_UNREADABLE = (RuntimeError, OSError, *_DAMAGED_PICKLE)


def read_checkpoint(path: Path, *needed: str) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Args:
        path: the file.
        needed: keys that it must have.

    Raises:
        RecordError: it is missing, damaged, holds more than data, or lacks a key.
    """
    problem = archive_problem(path)
    if problem:
        raise RecordError(f"{path} {problem}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        _raise_shortage(error)
        raise RecordError(f"{path} cannot be read as weights ({_first_line(error)}), so it is not used") from error
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise RecordError(f"{path} is no checkpoint of ours: it lacks {missing[0]}")
    return dict(content)


def save_weights(record: RunRecord, weights: Mapping[str, Tensor], epoch: int, val_loss: float) -> None:
    """Write `best.ckpt`: state dict, epoch and validation loss.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    _save(record.fenced, BEST, {"state_dict": weights, "epoch": epoch, "val_loss": val_loss})


def save_training(record: RunRecord, content: Mapping[str, Any]) -> None:
    """Write `last.ckpt`: everything needed to go on with a training.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    _save(record.fenced, LAST, content)


def _save(folder: FencedFolder, name: str, content: Mapping[str, Any]) -> None:
    archive = io.BytesIO()  # on a full disk torch itself raises no OSError, which would say what happened
    torch.save(content, archive)
    folder.write_with(name, lambda partial: partial.write_bytes(archive.getbuffer()))


def load_weights(record: RunRecord, detector: Detector) -> float:
    """Read `best.ckpt` into a detector and return its validation loss.

    Raises:
        RecordError: the file is missing, damaged, not the one that the cell was finished with, or of another network.
    """
    missing = without_weights(record)
    if missing:
        raise RecordError(missing)
    record.check_weights()
    content = read_checkpoint(record.best_checkpoint, "state_dict", "val_loss")
    try:
        detector.load_state_dict(content["state_dict"])
        return float(content["val_loss"])
    except _UNREADABLE as error:
        _raise_shortage(error)
        raise RecordError(
            f"{record.best_checkpoint} does not fit this version of {type(detector).__name__} ({_first_line(error)})"
        ) from error


def _raise_shortage(error: Exception) -> None:
    """A file is whole that there was no memory for: it must not be put aside."""
    if is_out_of_memory(error):
        raise error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
