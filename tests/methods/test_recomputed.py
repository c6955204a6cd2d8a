"""Activation checkpointing: bitwise the same loss and gradients, and less that is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from uadbench.methods import Batch, Detector, methods
from uadbench.methods.ae import AE
from uadbench.methods.maediff import MAEDiff
from uadbench.methods.parts.recomputed import Recomputing, recompute_activations

from cases import awake

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
RECOMPUTING = ["anoddpm", "cddpm", "maediff", "mddpm", "pddpm", "pddpm_iqa"]


def gradients(net: Detector, batch: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss = net.training_step(batch, 0)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def test_these_methods_recompute(make: Make) -> None:
    with torch.device("meta"):
        found = [
            name for name, cls in methods().items() if any(isinstance(m, Recomputing) for m in make(cls).modules())
        ]
    assert found == RECOMPUTING


@pytest.mark.parametrize("name", RECOMPUTING)
@pytest.mark.parametrize("attention", [False, True])
def test_gradients_are_bitwise_the_same(make: Make, blobs: Blobs, name: str, attention: bool) -> None:
    cls, batch = methods()[name], blobs(3, 0)
    plain = awake(make(cls, {"unet.attention": attention}))
    again = make(cls, {"unet.attention": attention})
    again.load_state_dict(plain.state_dict())
    recompute_activations(again)
    (loss, wanted), (loss_again, got) = gradients(plain, batch), gradients(again, batch)
    assert torch.equal(loss, loss_again)
    assert wanted.keys() == got.keys() and len(wanted) > 20
    for parameter, gradient in wanted.items():
        assert gradient.any() or "pretrainer" in parameter, parameter
        assert torch.equal(gradient, got[parameter]), parameter


def test_blocks_run_twice_in_training_and_once_without_gradients(make: Make, blobs: Blobs) -> None:
    net, batch = make(MAEDiff), blobs(2, 0)
    recompute_activations(net)
    runs: list[object] = []
    for block in (net.unet.encoder[0], net.mae.encoder.blocks[0], net.mae.decoder.blocks[0], net.unet.decoder[-1]):
        block.register_forward_pre_hook(lambda module, _inputs: runs.append(module))
    net.training_step(batch, 0).backward()
    assert len(runs) == 8
    runs.clear()
    with torch.no_grad():
        net.validation_step(batch, 0)
    assert len(runs) == 4


def test_a_network_without_blocks_to_recompute_says_so(make: Make) -> None:
    with pytest.raises(ValueError, match=r"AE has no network .* train.checkpoint_activations"):
        recompute_activations(make(AE))
