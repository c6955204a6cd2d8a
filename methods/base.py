"""The contract between a method and the benchmark.

A method is a `Detector`: a Lightning module that learns from healthy slices and gives back, for any volume, the
healthy brain it believes to be behind it. It never sees a lesion mask, a data set's name or a metric: the engine
computes residual, post-processing, threshold and scores, the same way for every method.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import lightning as L
import torch
from torch import Tensor

from .identity import Frozen, MethodInfo, OptimizerSettings, Row
from .parts.optimizer import fused_adam

__all__ = ["Batch", "Detector", "Frozen", "MethodInfo", "OptimizerSettings", "Row", "Scan"]


class Batch(NamedTuple):
    """Healthy training or validation slices.

    Attributes:
        image: intensities in [0, 1], float [B, 1, H, W].
        brain_mask: True inside the brain, bool [B, 1, H, W].
        seed: one number per image, int64 [B]; all randomness spent on an image (timestep, patch, noise) is derived
            from its seed, so that a resumed training and another batch order see the same noise.
        stack: the image between its neighbours, the 2k + 1 slices from k below to k above, float [B, 2k + 1, H, W]
            for a method whose `context` is k; the image itself where k is 0. The outermost slice stands in for
            neighbours that would lie beyond it.
    """

    image: Tensor
    brain_mask: Tensor
    seed: Tensor
    stack: Tensor


@dataclass(frozen=True)
class Scan:
    """What a method may know about the volume it reconstructs, besides the volume itself.

    Attributes:
        brain_mask: True inside the brain, bool [D, 1, H, W], on the volume's device.
        seed: this volume's own seed; slice `i` draws its noise from `(seed, i)`.
        batch_size: images per forward pass; must not change the result.
        modality: the contrast of this scan and of all that the method has learnt from: "t1", "t2", "flair", ... (a run
            has one), for a method that must know what lesions look like.
    """

    brain_mask: Tensor
    seed: int
    batch_size: int
    modality: str = "t2"


class Detector(L.LightningModule):
    """Base class of every method.

    A subclass sets `info` and `Settings`, and implements `training_step`, `validation_step` (returning the loss, the
    validation loss being the one that picks the checkpoint) and `reconstruct`. A method that scores otherwise than by
    |x - x_rec| overrides `anomaly_score`; one that learns without gradients sets `trainable = False` and may override
    `absorb`.

    Args:
        settings: an instance of the class's own `Settings`.
    """

    info: ClassVar[MethodInfo]
    Settings: ClassVar[type[Frozen]]
    trainable: ClassVar[bool] = True
    #: Whether PyTorch can compile its parts for `train.compile`; it cannot where a gradient is differentiated again.
    compilable: ClassVar[bool] = True

    def __init__(self, settings: Frozen) -> None:
        super().__init__()
        self.settings = settings

    @property
    def context(self) -> int:
        """Neighbouring slices on each side that training batches must bring along (`Batch.stack`)."""
        return 0

    @property
    def selectable(self) -> bool:
        """Whether the weights of this moment may become the best checkpoint.

        False during a preparatory phase, whose validation loss does not compare with that of the last one.
        """
        return True

    @property
    def blind(self) -> bool:
        """Whether these weights reconstruct every slice of every scan as one and the same image.

        True of a network whose last layer is zero, as a diffusion model's is before its training: one slice then tells
        what the untrained control would learn from all.
        """
        return False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the training loss of a batch, a scalar."""
        raise TypeError(f"{type(self).__name__} does not implement training_step, which a trainable method needs")

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a validation batch, a scalar (mean over the batch)."""
        raise TypeError(f"{type(self).__name__} does not implement validation_step, which a trainable method needs")

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Return the healthy reconstruction of a volume, [D, 1, H, W] like the volume, deterministic given the scan."""
        raise TypeError(f"{type(self).__name__} does not implement reconstruct")

    def anomaly_score(self, volume: Tensor, reconstruction: Tensor, scan: Scan) -> Tensor:
        """Return the raw anomaly map, [D, 1, H, W]: the l1 residual (paper, Algorithm 2) unless a method overrides."""
        return (volume - reconstruction).abs()

    def absorb(self, volumes: Iterable[Tensor]) -> None:
        """Learn from whole healthy training volumes [D, 1, H, W] without gradients; called once before training."""

    def make_optimizer(self, settings: OptimizerSettings) -> torch.optim.Optimizer:
        """Return Adam over all parameters; a method whose paper uses another optimiser overrides this."""
        return fused_adam(self.parameters(), lr=settings.learning_rate)

    def configure_optimizers(self) -> Any:
        """The method's optimiser with the preset's learning rate, linear warm-up and decay."""
        optim = getattr(self.settings, "optimizer", None)
        if not isinstance(optim, OptimizerSettings):
            raise TypeError(f"{type(self).__name__}.Settings needs a field `optimizer: OptimizerSettings`")
        optimizer = self.make_optimizer(optim)
        total = max(1, int(self.trainer.estimated_stepping_batches))

        def factor(step: int) -> float:
            warm = min(1.0, (step + 1) / (optim.warmup_steps + 1))
            if optim.decay == "none":
                return warm
            progress = max(0, step - optim.warmup_steps) / max(1, total - optim.warmup_steps)
            return warm * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(1.0, progress)))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
