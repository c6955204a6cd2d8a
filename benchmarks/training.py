"""Training a detector: Lightning's loop, our checkpoints.

Two files are kept: `best.ckpt`, the weights with the lowest healthy validation loss (paper, Section 4.3), and
`last.ckpt`, everything needed to go on. Both are written at the end of an epoch that was validated, best first: a kill
between the two repeats that epoch and writes the same best again. As all randomness derives from (seed, epoch,
subject) or (seed, step), a resumed training gives the numbers of an uninterrupted one.
"""

from __future__ import annotations

import io
import logging
import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import lightning as L
import torch
from torch import Tensor

from ..datasets.store import VolumeStore
from ..methods import Batch, Detector
from ..methods.parts.seeds import derive_seed
from .errors import UserError
from .files import replacing, write_with
from .preset import TrainSettings
from .progress import Bar, Reporter
from .record import Epoch, RunRecord
from .slices import Slab, training_loader, validation_loader
from .stopping import raise_stop
from .trainer import fit, make_trainer


class Diary(L.Callback):
    """Watches a training: validation loss, history, checkpoints, progress.

    Args:
        record: where to write.
        every: epochs between validations.
        seed: seed of the cell; reseeds torch at every step, so that dropout resumes exactly.
    """

    def __init__(self, record: RunRecord, every: int, seed: int) -> None:
        self._record = record
        self._every = every
        self._seed = seed
        self._bar: Bar | None = None
        self._history: list[Epoch] = []
        self._best = math.inf
        self._seconds = 0.0
        self._since = 0.0
        self._train = _Mean()
        self._validation = _Mean()

    @property
    def best(self) -> float:
        """Lowest validation loss so far."""
        return self._best

    def watch(self, bar: Bar) -> None:
        """Show progress on this bar."""
        self._bar = bar

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training must know."""
        seconds = self._seconds + time.monotonic() - self._since
        return {"best": self._best, "seconds": seconds, "history": [asdict(line) for line in self._history]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._best = state_dict["best"]
        self._seconds = state_dict["seconds"]
        self._history = [Epoch(**line) for line in state_dict["history"]]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Make the step's own randomness a function of the step alone."""
        torch.manual_seed(derive_seed(self._seed, "step", trainer.global_step))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Note the loss and move the bar."""
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        self._train.add(loss, 1)
        raise_stop()  # a method may have caught it
        if self._bar is not None:
            self._bar.advance()

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
        """Write history and checkpoints after an epoch that was validated."""
        if (trainer.current_epoch + 1) % self._every:
            return
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
        if line.val_loss < self._best and pl_module.selectable:
            self._best = line.val_loss
            save_weights(self._record, pl_module, line.epoch, line.val_loss)
        self._record.save_history(tuple(self._history))
        write_with(self._record.last_checkpoint, trainer.save_checkpoint)
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


def save_weights(record: RunRecord, detector: L.LightningModule, epoch: int, val_loss: float) -> None:
    """Write `best.ckpt`: state dict, epoch and validation loss.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    content = io.BytesIO()  # on a full disk torch itself raises no OSError, which would say what happened
    torch.save({"state_dict": detector.state_dict(), "epoch": epoch, "val_loss": val_loss}, content)
    with replacing(record.best_checkpoint) as path:
        path.write_bytes(content.getbuffer())


def load_weights(record: RunRecord, detector: Detector) -> float:
    """Read `best.ckpt` into a detector and return its validation loss."""
    content = torch.load(record.best_checkpoint, map_location="cpu", weights_only=True)
    detector.load_state_dict(content["state_dict"])
    return float(content["val_loss"])


def train(
    detector: Detector,
    store: VolumeStore,
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
        UserError: the loss became NaN, or the validation never comes.
        KeyboardInterrupt: the user pressed Ctrl-C; what was checkpointed is kept.
    """
    every = min(settings.validate_every, settings.epochs)
    if settings.epochs % every:
        raise UserError(
            f"train.epochs={settings.epochs} is no multiple of train.validate_every={settings.validate_every}: the "
            "last epochs would never be validated; change one of them with --set"
        )
    loader = training_loader(store, slab, parts[0], settings.batch_size, seed, detector.context)
    validation = validation_loader(
        store, slab, parts[1], settings.validation_slices, settings.batch_size, seed, detector.context
    )
    diary = Diary(record, every, seed)
    trainer = _trainer(settings, every, device, diary, detector)
    resume = record.last_checkpoint if record.last_checkpoint.exists() else None
    done = 0 if resume is None else len(loader) * (_resumed_epoch(record) + 1)
    with reporter.bar(f"train {record.folder.name}", len(loader) * settings.epochs, done) as bar:
        diary.watch(bar)
        _fit(trainer, detector, loader, validation, resume)
    if not record.best_checkpoint.exists():
        raise UserError(
            f"{record.folder.name}: the training ended before its last phase was validated once, so that there are no "
            "weights to score; raise train.epochs or lower train.validate_every"
        )
    record.set_state("training", seconds_train=diary.state_dict()["seconds"])


def _resumed_epoch(record: RunRecord) -> int:
    history = record.history()
    return history[-1].epoch if history else -1


def _trainer(settings: TrainSettings, every: int, device: str, diary: Diary, detector: Detector) -> L.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    optimizer = getattr(detector.settings, "optimizer", None)
    clip = optimizer.gradient_clip if optimizer is not None and detector.automatic_optimization else 0
    return make_trainer(
        device,
        max_epochs=settings.epochs,
        precision=settings.precision,
        check_val_every_n_epoch=every,
        gradient_clip_val=clip or None,
        callbacks=[diary],
    )


def _fit(trainer: L.Trainer, detector: Detector, loader: Any, validation: Any, resume: Any) -> None:
    """Run the loop without Lightning's remarks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        warnings.filterwarnings("ignore", module="torch.utils.data")
        fit(trainer, detector, loader, validation, ckpt_path=resume, weights_only=False)
