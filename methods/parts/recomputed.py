"""Activation checkpointing: less memory in training for a third more time, and the same numbers.

A training step keeps what every layer saw until its gradient is known; in a U-Net on 96×96 images that is most of the
memory. A recomputing network keeps only what enters its blocks, and runs a block once more when its gradient is due
(Chen et al. 2016, "Training deep nets with sublinear memory cost"). The published U-Net does so (Behrendt et al. 2023,
`DDPM_2D_patched.py`, `use_checkpoint=True`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Recomputing(nn.Module):
    """Base of networks whose blocks can be computed twice; off until `recompute_activations`.

    Attributes:
        recomputes: whether it does so in training.
        blocks: all blocks that it runs by `run`.
    """

    recomputes = False
    blocks: nn.ModuleList

    def run(self, block: nn.Module, *arguments: Any) -> Any:
        """Return `block(*arguments)`; where gradients are wanted, only the arguments are kept."""
        if not (self.recomputes and torch.is_grad_enabled()):
            return block(*arguments)
        # No block draws random numbers: noise is a function of seeds. So no generator's state has to be put back.
        return checkpoint(block, *arguments, use_reentrant=False, preserve_rng_state=False)


def recomputing_networks(module: nn.Module) -> list[Recomputing]:
    """The networks in a module whose blocks can be computed twice."""
    return [part for part in module.modules() if isinstance(part, Recomputing)]


def recompute_activations(module: nn.Module) -> None:
    """Let every network in a module that can do so compute its blocks twice.

    Raises:
        ValueError: there is none.
    """
    networks = recomputing_networks(module)
    if not networks:
        raise ValueError(
            f"{type(module).__name__} has no network that train.checkpoint_activations applies to; set it to false"
        )
    for network in networks:
        network.recomputes = True
