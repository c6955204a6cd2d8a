"""The files of a training, written by a thread while it goes on.

At one moment everything is copied; the thread then writes the copy, one file after the other and each atomically. Where
the disk is slower than the training, what still waits gives way to what is newer. The two files of a moment are a pair:
the best weights are written first, so that a training that goes on from `last.ckpt` has, or finds again, the weights
that it believes to be the best so far.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from .checkpoint import save_training, save_weights
from .record import RunRecord
from .record_files import Epoch


@dataclass(frozen=True)
class BestWeights:
    """The weights with the lowest validation loss so far, as they were.

    Attributes:
        values: the state dict.
        epoch: after which they were found.
        val_loss: their validation loss.
    """

    values: dict[str, Tensor]
    epoch: int
    val_loss: float

    @classmethod
    def of(cls, network: nn.Module, line: Epoch) -> BestWeights:
        """A copy that the next step does not change, on the network's device: to fetch it from there would wait."""
        values = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return cls(values, line.epoch, line.val_loss)


@dataclass(frozen=True)
class Snapshot:
    """All that a training leaves on the disk at one moment.

    Attributes:
        last: everything needed to go on, as Lightning has it.
        history: the training curve so far.
        best: the best weights, where they were found since the snapshot before; else None.
    """

    last: dict[str, Any]
    history: tuple[Epoch, ...]
    best: BestWeights | None

    def copied(self) -> Snapshot:
        """The same on the CPU, which no step changes."""
        last = apply_to_collection(self.last, Tensor, lambda tensor: tensor.detach().to("cpu", copy=True))
        best = self.best and replace(self.best, values={name: value.cpu() for name, value in self.best.values.items()})
        return Snapshot(last, self.history, best)

    def instead_of(self, waiting: Snapshot | None) -> Snapshot:
        """This one with the best weights of one that was never written, unless it has better ones."""
        return self if waiting is None or self.best is not None else replace(self, best=waiting.best)

    def write(self, record: RunRecord) -> None:
        """Write the files, best weights first.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        if self.best is not None:
            save_weights(record, self.best.values, self.best.epoch, self.best.val_loss)
        record.save_history(self.history)
        save_training(record, self.last)


class SnapshotWriter:
    """A thread that writes snapshots one at a time; of those that wait, the newest.

    Leaving the block waits until all is written. An error of the thread is raised in the caller: by the next `check` or
    `put`, and at the end of the block, where that does not end by another error.

    Args:
        write: writes one snapshot.
    """

    def __init__(self, write: Callable[[Snapshot], None]) -> None:
        self._write = write
        self._changed = threading.Condition()
        self._waiting: Snapshot | None = None
        self._closed = False
        self._error: BaseException | None = None
        # A daemon: whoever presses Ctrl-C twice need not wait, and a file is there whole or not at all.
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        if kind is None:
            self.check()

    def put(self, snapshot: Snapshot) -> None:
        """Have a snapshot written as soon as the thread is free; nobody may change it any more.

        Raises:
            UserError: the disk was full, or the folder could not be written, the time before.
        """
        self.check()
        with self._changed:
            self._waiting = snapshot.instead_of(self._waiting)
            self._changed.notify()

    def check(self) -> None:
        """Raise what went wrong in the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while (snapshot := self._next()) is not None:
                self._write(snapshot)
        except BaseException as error:  # noqa: BLE001  (whatever it is, it is the caller's to know)
            self._error = error

    def _next(self) -> Snapshot | None:
        """The snapshot that waits, as soon as there is one; None where there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting is not None)
            snapshot, self._waiting = self._waiting, None
            return snapshot
