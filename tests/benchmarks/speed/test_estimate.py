"""The estimate before a run: whole optimiser steps in the run's precision, timed until the device is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.speed import timing
from uadbench.benchmarks.speed.estimate import estimate_seconds
from uadbench.datasets.cohort import Data
from uadbench.methods import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan, card_of, methods

from cases import TINY

TRAINABLE = sorted(name for name, cls in methods().items() if cls.trainable)


class Section(Frozen):
    optimizer: OptimizerSettings


class Watched(Detector):
    """One weight; what each call saw is kept on the class."""

    info = MethodInfo("watched", "Watched", "nobody", None, (Row("watched", "Watched"),))
    Settings = Section
    seen: list[tuple[str, object]]

    def __init__(self, settings: Section) -> None:
        super().__init__(settings)
        self.weight = nn.Parameter(torch.tensor(0.5))

    def make_optimizer(self, settings: OptimizerSettings) -> torch.optim.Optimizer:
        self.seen.append(("rate", settings.learning_rate))
        return torch.optim.SGD(self.parameters(), lr=settings.learning_rate)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append(("weight", self.weight.item()))
        self.seen.append(("size", tuple(batch.image.shape)))
        self.seen.append(("step in", self.precision_now))
        return (self.weight * batch.image).mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.training_step(batch, batch_idx)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        self.seen.append(("volume in", self.precision_now))
        self.seen.append(("gradients beside it", self.weight.grad))
        return volume * self.weight

    @property
    def precision_now(self) -> object:
        return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


@pytest.fixture
def seen_by(tiny_data: Data, tmp_path: Path) -> Callable[..., dict[str, list[object]]]:
    """What the method sees while a cell with these changes is estimated."""

    def estimate(*changes: str) -> dict[str, list[object]]:
        Watched.seen = []
        preset = load_preset(str(TINY), list(changes))
        (job,) = jobs_for((SuiteRow(Watched.info.rows[0], card_of(Watched)),), (0,), tiny_data, preset, 0)
        assert estimate_seconds(job, tmp_path, "cpu", 1) > 0
        return {key: [value for name, value in Watched.seen if name == key] for key, _ in Watched.seen}

    return estimate


def test_a_step_is_a_whole_optimiser_step(seen_by: Callable[..., dict[str, list[object]]]) -> None:
    """The weight that the second step begins with is the first one after a step of the preset's learning rate."""
    seen = seen_by("optimizer.learning_rate=0.25", "optimizer.gradient_clip=0")
    assert seen["rate"] == [0.25]
    first, second = seen["weight"]
    assert first - second == pytest.approx(0.25 * 0.5, rel=0.05)  # the gradient is the mean of uniform noise
    assert seen["size"] == [(4, 1, 96, 96)] * 2
    assert seen["gradients beside it"] == [None] * len(seen["gradients beside it"])


def test_steps_and_volumes_are_timed_in_the_run_s_precision(seen_by: Callable[..., dict[str, list[object]]]) -> None:
    plain, mixed = seen_by(), seen_by("train.precision=bf16-mixed")
    assert set(plain["step in"]) == set(plain["volume in"]) == {torch.float32}
    assert set(mixed["step in"]) == set(mixed["volume in"]) == {torch.bfloat16}


def test_a_gpu_is_waited_for_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: order.append(f"wait for {device}"))
    timing.seconds_of(lambda: order.append("work"), torch.device("cuda"))
    timing.seconds_of(lambda: order.append("work"), torch.device("cpu"))
    assert order == ["wait for cuda", "work", "wait for cuda", "work"]


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_method_takes_such_a_step_without_a_trainer(name: str, tiny_data: Data, tmp_path: Path) -> None:
    cls = methods()[name]
    job: Job = jobs_for((SuiteRow(cls.info.rows[0], card_of(cls)),), (0,), tiny_data, load_preset(str(TINY)), 0)[0]
    assert estimate_seconds(job, tmp_path, "cpu", 1) > 0
