"""How images lie in memory while a network works on them: channel after channel, or pixel after pixel.

Pixel after pixel ("channels last") convolutions are quicker on a CPU, and so is group norm where a group has few
channels: else a volume of the demo's MAEDiff takes 1.09 times as long, a step of its AE 1.04 times (two idle cores,
tests/trials/training_trial.py). On a GPU that layout was slower (one H200, paper preset: pDDPM 0.210 s per step against
0.163, MAEDiff 0.444 against 0.407; results/speed): group norm has no kernel for it there. The numbers are the same up
to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn


def layout(device: torch.device) -> torch.memory_format:
    """The layout of images and of the weights of convolutions on a device: pixel after pixel on a CPU alone."""
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def lay_out(network: nn.Module) -> None:
    """Bring the weights of all convolutions into the layout of the device that they are on, values unchanged."""
    for weight in network.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=layout(weight.device))


class LaidOut(nn.Module):
    """Base of convolutional networks that are laid out for the device that they are moved to.

    Its constructor ends in `lay_out(self)`.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or cast the network, which is what PyTorch calls this for, and lay its weights out for where it is."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        lay_out(self)
        return self
