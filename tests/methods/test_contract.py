"""Every registered row keeps the contract: two steps, a checkpoint, a fresh detector, the same reconstruction."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from uadbench.benchmarks.contract.checks import ContractError, check_detector, invented_heads, make_detector
from uadbench.methods import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan, methods

from cases import TINY


@pytest.mark.parametrize("preset", [str(TINY), "demo"], ids=["tiny", "demo"])
@pytest.mark.parametrize("name", methods())
def test_every_method_keeps_the_contract(name: str, preset: str) -> None:
    """In the sizes of a run, too: kernels of other batch sizes round otherwise, and deep networks make much of it."""
    check_detector(methods()[name], preset=preset)


class Section(Frozen):
    optimizer: OptimizerSettings


class Scale(Detector):
    """Learns one factor; keeps it where it will be saved, or not."""

    info = MethodInfo("scale", "Scale", "nobody", None, (Row("scale", "Scale"),))
    Settings = Section

    def __init__(self, settings: Section) -> None:
        super().__init__(settings)
        self.weight = nn.Parameter(torch.tensor(0.5))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return (self.weight * batch.image - batch.image).abs().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.training_step(batch, batch_idx)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        return self.weight * volume


class Forgetful(Scale):
    """What it learns is no part of its state dict."""

    steps = 0

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.steps += 1
        return super().training_step(batch, batch_idx)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        return self.weight * volume + self.steps


class NeedsTrainer(Scale):
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return super().training_step(batch, batch_idx) * (1 + self.trainer.current_epoch)


def test_an_honest_method_passes() -> None:
    check_detector(Scale, preset=str(TINY))


def test_what_is_learnt_must_be_saved() -> None:
    with pytest.raises(ContractError, match="Forgetful reconstructs otherwise after its weights were saved and loaded"):
        check_detector(Forgetful, preset=str(TINY))


def test_a_step_must_do_without_a_trainer() -> None:
    with pytest.raises(ContractError, match=r"NeedsTrainer.training_step failed: .*Trainer"):
        check_detector(NeedsTrainer, preset=str(TINY))


def test_make_detector_takes_changes() -> None:
    detector = make_detector(Scale, preset=str(TINY), changes=["optimizer.learning_rate=0.5"])
    assert detector.settings.optimizer.learning_rate == 0.5  # type: ignore[attr-defined]


def test_invented_heads_are_a_volume_with_its_neighbours() -> None:
    heads = invented_heads(4, 32, 2)
    assert heads.image.shape == heads.brain_mask.shape == (4, 1, 32, 32) and heads.stack.shape == (4, 5, 32, 32)
    for index in range(4):
        for offset in range(-2, 3):
            neighbour = min(max(index + offset, 0), 3)
            assert torch.equal(heads.stack[index, offset + 2], heads.image[neighbour, 0])
    assert not torch.equal(heads.image[0], heads.image[1])
    assert float(heads.image.min()) >= 0 and float(heads.image.max()) <= 1
