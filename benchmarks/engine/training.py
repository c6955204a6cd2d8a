"""Training a detector: Lightning's loop, our checkpoints.

Two files are kept: `best.ckpt`, the weights with the lowest healthy validation loss (paper, Section 4.3), and
`last.ckpt`, everything needed to go on. The best weights are looked for after every validation and kept in memory. Both
files are written by a thread (`records/snapshots.py`) from a copy that is made after a validation when the last one is
`train.checkpoint_minutes` ago, and at the end. When that is changes no number: a kill at any moment repeats the epochs
since the pair on the disk and finds the same best again. As all randomness derives from (seed, epoch, subject) or
(seed, step), a resumed training gives the numbers of an uninterrupted one: on the CPU, and on a GPU with
`train.deterministic`.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from time import monotonic
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ...datasets.cohort import Volumes
from ...errors import UserError
from ...methods import Batch, Detector
from ...methods.parts.seeds import derive_seed
from ...stopping import is_warned, raise_stop, stop_if_warned, warning_waits
from ...stopwatch import spent
from ..contract.trainer import Handover, fit, make_trainer
from ..plan.settings import TrainSettings
from ..records.checkpoint import read_checkpoint
from ..records.record import RunRecord
from ..records.record_files import Epoch, RecordError
from ..records.repair import put_aside
from ..records.running.live import LiveHistory
from ..records.snapshots import BestWeights, Snapshot, SnapshotWriter
from .progress import Bar, Reporter
from .slices import Batching, Slab, training_loader, validation_loader

_NEEDED_TO_RESUME = ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops")


class TrainingCallback(L.Callback):
    """Watches a training: validation loss, history, checkpoints, progress.

    Args:
        record: the cell's; its folder's name stands in the checkpoints.
        settings: how often to validate and to write.
        seed: seed of the cell; reseeds torch at every step, so that dropout resumes exactly.
        writer: what writes.
    """

    def __init__(self, record: RunRecord, settings: TrainSettings, seed: int, writer: SnapshotWriter) -> None:
        self._record = record
        self._writer = writer
        self._live = LiveHistory(record.fenced)
        self._settings = settings
        self._seed = seed
        self._bar: Bar | None = None
        self._history: list[Epoch] = []
        self._best = math.inf
        self._found: BestWeights | None = None
        self._seconds = 0.0
        self._since = 0.0
        self._written = 0.0
        self._train = _Mean()
        self._validation = _Mean()
        self._stage = ExitStack()

    @property
    def best(self) -> float:
        """Lowest validation loss so far."""
        return self._best

    def watch(self, bar: Bar) -> None:
        """Show progress on this bar."""
        self._bar = bar

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training must know; plain numbers and words, see `checkpoint`."""
        seconds = self._seconds + monotonic() - self._since
        history = [asdict(line) for line in self._history]
        return {"cell": self._record.folder.name, "best": self._best, "seconds": seconds, "history": history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._best = state_dict["best"]
        self._seconds = state_dict["seconds"]
        self._history = [Epoch(**line) for line in state_dict["history"]]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clocks, and the curve that can be watched."""
        self._since = self._written = monotonic()
        self._live.begin(self._history)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Make the step's own randomness a function of the step alone, and of the part of its batch."""
        self._stage.enter_context(spent("step"))
        part = batch_idx % self._settings.accumulate
        torch.manual_seed(derive_seed(self._seed, "step", trainer.global_step, *([part] if part else [])))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Note the loss and move the bar."""
        self._stage.close()
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._train.add(loss * self._settings.accumulate, 1)  # Lightning has divided it by that
        raise_stop()  # a method may have caught it
        self._writer.check()
        self._record.raise_if_lost()
        if self._bar is not None:
            self._bar.advance()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put down what follows to the validation."""
        self._stage.enter_context(spent("validation"))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """The training goes on."""
        self._stage.close()

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the validation loss, weighted by the number of images."""
        self._validation.add(outputs, len(batch.image))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note a validation and look for the best weights; from time to time, write all of it down."""
        done = trainer.current_epoch + 1
        if done % self._settings.validation_interval:
            return
        self._note(trainer, pl_module)
        due = monotonic() - self._written >= 60 * self._settings.checkpoint_minutes
        if due or is_warned() or done == self._settings.epochs:
            with spent("checkpoint"):
                trainer.save_checkpoint(self._record.last_checkpoint)  # comes to `take`
            self._written = monotonic()
        stop_if_warned()

    def take(self, content: dict[str, Any]) -> None:
        """Copy what a checkpoint holds, and the best weights where they are new, and have them written."""
        self._writer.put(Snapshot(content, tuple(self._history), self._found).copied())
        self._found = None

    def _note(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        line = Epoch(
            epoch=trainer.current_epoch,
            step=trainer.global_step,
            train_loss=self._train.take(),
            val_loss=self._validation.take(),
            learning_rate=float(trainer.optimizers[0].param_groups[0]["lr"]),
        )
        if not math.isfinite(line.val_loss) or not math.isfinite(line.train_loss):
            raise UserError(
                f"{self._record.folder.name}: the loss is no longer a number at epoch {line.epoch} "
                f"(train {line.train_loss}, validation {line.val_loss}); lower optimizer.learning_rate or use "
                "train.precision=32-true"
            )
        self._history.append(line)
        self._live.add(line)
        if line.val_loss < self._best and pl_module.selectable:
            self._best = line.val_loss
            self._found = BestWeights.of(pl_module, line)
        if self._bar is not None:
            self._bar.note(f"validation loss {line.val_loss:.4f} (best {self._best:.4f})")


class _Mean:
    """Mean of losses, summed on the device so that no step waits for it."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, loss: Tensor, weight: int) -> None:
        term = loss.detach().float() * weight
        self._sum = term if self._sum is None else self._sum + term
        self._count += weight

    def take(self) -> float:
        """Return the mean and start anew; NaN where nothing was added."""
        mean = math.nan if self._sum is None else float(self._sum) / self._count
        self._sum, self._count = None, 0
        return mean


def train(
    detector: Detector,
    store: Volumes,
    slab: Slab,
    parts: tuple[Sequence[str], Sequence[str]],
    settings: TrainSettings,
    record: RunRecord,
    *,
    seed: int,
    device: str,
    reporter: Reporter,
) -> None:
    """Train on `parts[0]`, validate on `parts[1]`, leave the checkpoints in the record.

    Raises:
        UserError: the loss became NaN, the batches cannot be cut as the settings say, or no validation counted.
        KeyboardInterrupt: the user pressed Ctrl-C; what was checkpointed is kept.
    """
    batching = Batching(len(parts[0]), settings.batch_size, settings.drop_last, settings.accumulate)
    with spent("data"):
        loader = training_loader(store, slab, parts[0], batching, seed, detector.context, device)
        validation = validation_loader(
            store, slab, parts[1], settings.validation_slices, settings.batch_size, seed, detector.context, device
        )
    last = _last_epoch(record, reporter)
    resume = None if last is None else record.last_checkpoint
    done = 0 if last is None else len(loader) * (last + 1)
    writer = SnapshotWriter(lambda snapshot: snapshot.write(record))
    callback = TrainingCallback(record, settings, seed, writer)
    trainer = _trainer(settings, device, callback, detector)
    with reporter.bar(f"train {record.folder.name}", len(loader) * settings.epochs, done) as bar, writer:
        callback.watch(bar)
        with warning_waits():  # a queue's warning: the epoch is brought to its end and written down
            _fit(trainer, detector, loader, validation, resume)
    if not record.best_checkpoint.exists():
        raise UserError(
            f"{record.folder.name}: the training ended before its last phase was validated once, so that there are no "
            "weights to score; raise train.epochs or lower train.validate_every"
        )
    record.set_state("training", seconds_train=callback.state_dict()["seconds"])


def _last_epoch(record: RunRecord, reporter: Reporter) -> int | None:
    """The epoch that `last.ckpt` was written after, the history brought to that moment; None where there is none.

    One that is not this cell's, or that cannot be read, is put aside, and the training begins anew.
    """
    if not record.last_checkpoint.exists():
        return None
    try:
        content = read_checkpoint(record.last_checkpoint, *_NEEDED_TO_RESUME)
        history = _history_in(content, record)
    except RecordError as error:
        reporter.say(f"  warning: {put_aside(record, 'checkpoints/last.ckpt', str(error))}")
        return None
    record.save_history(history)
    return int(content["epoch"])


def restore_history(record: RunRecord) -> None:
    """Bring a training curve that was lost back from `last.ckpt`, where that is whole."""
    with suppress(RecordError):
        record.save_history(_history_in(read_checkpoint(record.last_checkpoint, *_NEEDED_TO_RESUME), record))


def _history_in(content: dict[str, Any], record: RunRecord) -> tuple[Epoch, ...]:
    """The training history that a checkpoint holds.

    Raises:
        RecordError: it is another cell's, or no checkpoint of ours.
    """
    try:
        kept = content["callbacks"][TrainingCallback.__qualname__]
        if kept["cell"] != record.folder.name:
            raise RecordError(f"{record.last_checkpoint} belongs to another cell, {kept['cell']}")
        return tuple(Epoch(**line) for line in kept["history"])
    except (LookupError, TypeError) as error:
        raise RecordError(f"{record.last_checkpoint} is no checkpoint of ours: it lacks {error}") from error


def _trainer(settings: TrainSettings, device: str, callback: TrainingCallback, detector: Detector) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    optimizer = getattr(detector.settings, "optimizer", None)
    clip = optimizer.gradient_clip if optimizer is not None and detector.automatic_optimization else 0
    trainer = make_trainer(
        device,
        max_epochs=settings.epochs,
        precision=settings.precision,
        check_val_every_n_epoch=settings.validation_interval,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=clip or None,
        callbacks=[callback],
    )
    trainer.strategy.checkpoint_io = Handover(callback.take)
    return trainer


def _fit(trainer: L.Trainer, detector: Detector, loader: Any, validation: Any, resume: Any) -> None:
    """Run the loop without Lightning's remarks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch.utils.data")
        fit(trainer, detector, loader, validation, ckpt_path=resume, weights_only=True)
