"""Mean brain: a control, not a published method.

The reconstruction of every volume is the voxel-wise mean of the healthy training volumes. A trained method that does
not reconstruct healthy brains better than this has learned nothing about the individual.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from .base import Detector, Frozen, MethodInfo, Row, Scan
from .registry import register


class MeanBrainSettings(Frozen):
    """The mean has no settings."""


@register
class MeanBrain(Detector):
    """Voxel-wise mean of healthy training volumes.

    Attributes:
        mean: float32 [D, 1, H, W]; empty before `absorb`.

    Args:
        settings: empty.
    """

    info = MethodInfo(
        name="mean_brain",
        title="Mean brain",
        citation="Control row of this benchmark: the voxel-wise mean of the healthy training volumes.",
        year=None,
        rows=(Row("mean-brain", "Mean brain"),),
        control=True,
    )
    Settings = MeanBrainSettings
    trainable = False
    mean: Tensor

    def __init__(self, settings: MeanBrainSettings) -> None:
        super().__init__(settings)
        self.register_buffer("mean", torch.empty(0, 1, 0, 0))

    def absorb(self, volumes: Iterable[Tensor]) -> None:
        """Learn the mean of volumes [D, 1, H, W], one at a time.

        Raises:
            ValueError: there is no volume.
        """
        total, count = torch.zeros((), dtype=torch.float64), 0
        for volume in volumes:
            total = total.to(volume.device) + volume.double()
            count += 1
        if count == 0:
            raise ValueError("the mean brain needs at least one training volume, and got none")
        self.mean = (total / count).float().to(self.mean.device)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Return the mean brain, [D, 1, H, W].

        Raises:
            ValueError: the volume has another shape than the training volumes.
        """
        if volume.shape != self.mean.shape:
            raise ValueError(
                f"the mean brain has shape {tuple(self.mean.shape)}, the volume {tuple(volume.shape)}: "
                "train on volumes of the shape to be scored"
            )
        return self.mean.clone()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Take the shape of the stored mean first: a fresh module does not know how many slices a volume has."""
        stored = state_dict.get(f"{prefix}mean")
        if isinstance(stored, Tensor):
            self.mean = torch.empty_like(stored, device=self.mean.device)
        super()._load_from_state_dict(state_dict, prefix, *args)
