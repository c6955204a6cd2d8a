"""A number that is saved with the weights and read without waiting for a GPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HostNumber(nn.Module):
    """A whole number that tells a training where it is, e.g. in which phase.

    A branch on a buffer that lies on a GPU waits for everything that was asked of the GPU before. So the number is kept
    in Python, and a buffer beside it carries it into checkpoints and back.

    Attributes:
        value: the number.
    """

    saved: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.value = 0
        self.register_buffer("saved", torch.tensor(0))
        self.register_load_state_dict_post_hook(_recall)  # type: ignore[no-untyped-call]

    def set(self, value: int) -> None:
        """Change the number."""
        self.value = int(value)
        self.saved.fill_(self.value)


def _recall(number: HostNumber, *keys: object) -> None:
    """Take the number from the buffer that a checkpoint was read into."""
    number.value = int(number.saved)
