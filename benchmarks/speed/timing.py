"""Time of optimiser steps and of volumes, as the training and the scoring run them.

A step is what training does with a batch: loss, gradients, clipping, Adam (the method's own optimiser, without the
learning-rate schedule), in the preset's precision, on random slices that already lie on the device. The first step is
not timed: it pays for caches, and its FLOPs are counted, by operations as they are written, so that a compiled network
takes two more, of which the first compiles it. A volume is reconstruction and raw anomaly score, as the scoring times
them.

Adversarial methods do different things at different steps. The median tells what most of them cost, and the FLOPs are
those of the first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch

from ...errors import UserError
from ...methods import Batch, Detector, OptimizerSettings
from ..engine.arithmetic import autocast
from ..plan.settings import TrainSettings
from .counting import FlopCounter
from .workload import batch_of, random_volume, scan_of


@dataclass(frozen=True)
class Timing:
    """How long something takes.

    Attributes:
        seconds: wall-clock time.
        flop: FLOPs of the first step; 0 where none were counted.
        peak_bytes: most memory allocated on the GPU at once; None on the CPU, where the growth of the process would
            tell of other things too.
    """

    seconds: float
    flop: int
    peak_bytes: int | None


def time_steps(
    detector: Detector,
    train: TrainSettings,
    batch_size: int,
    side: int,
    *,
    steps: int,
    seed: int,
    advance: Callable[[], None],
    compiled: bool = False,
) -> Timing:
    """Time optimiser steps of a detector that lies on its device.

    Args:
        detector: trainable; its weights change.
        train: precision and parts of a batch.
        batch_size: slices per step.
        side: height and width of a slice.
        steps: timed steps, after one that is not.
        seed: seed of the slices.
        advance: called after each step.
        compiled: whether PyTorch compiles its networks.

    Returns:
        The median step.
    """
    volume = random_volume(batch_size, side, seed, detector.device)
    batch = batch_of(volume, detector.context)
    step = Stepper(detector.train(), train.precision, batch, train.accumulate)
    _reset_peak(detector.device)
    with _as_written(compiled), FlopCounter() as counter:
        step(0)
    advance()
    for index in range(-2, 0) if compiled else ():
        step(index)
    seconds = []
    for index in range(1, steps + 1):
        seconds.append(seconds_of(partial(step, index), detector.device))
        advance()
    return Timing(statistics.median(seconds), counter.get_total_flops(), _peak(detector.device))


def time_volume(
    detector: Detector,
    precision: str,
    batch_size: int,
    side: int,
    *,
    depth: int,
    seed: int,
    compiled: bool = False,
) -> Timing:
    """Time reconstruction and raw score of one volume, after a slice (on a GPU: a volume) that is not timed.

    Args:
        detector: on its device; one that learns without gradients has seen a volume of this depth.
        precision: the preset's.
        batch_size: images per forward pass.
        side: height and width of a slice.
        depth: slices.
        seed: seed of the slices.
        compiled: whether PyTorch compiles its networks, which it does anew for another number of images.
    """
    volume = random_volume(depth, side, seed, detector.device)
    read = volume_reader(detector, precision, batch_size)
    # A GPU chooses its kernels by the size of a batch: there the whole volume goes through once before it is timed.
    read(volume[:1] if detector.trainable and detector.device.type == "cpu" and not compiled else volume)
    _reset_peak(detector.device)
    return Timing(seconds_of(partial(read, volume), detector.device), 0, _peak(detector.device))


def volume_reader(detector: Detector, precision: str, batch_size: int) -> Callable[[torch.Tensor], None]:
    """A function that reconstructs and scores a volume, as the scoring does.

    Args:
        detector: on its device; it is put into evaluation.
        precision: the preset's.
        batch_size: images per forward pass.
    """
    detector.eval()

    def read(volume: torch.Tensor) -> None:
        scan = scan_of(volume, batch_size)
        with torch.inference_mode(), autocast(detector.device, precision):
            detector.anomaly_score(volume, detector.reconstruct(volume, scan), scan)

    return read


class Stepper:
    """One optimiser step, as Lightning's automatic optimisation makes it.

    Args:
        detector: in training mode.
        precision: the preset's.
        batch: what every step sees.
        accumulate: parts of the batch that go through the network one after the other.
    """

    def __init__(self, detector: Detector, precision: str, batch: Batch, accumulate: int) -> None:
        settings = _optimizer_settings(detector)
        self._detector, self._precision = detector, precision
        self._parts = [Batch(*part) for part in zip(*(whole.chunk(accumulate) for whole in batch), strict=True)]
        self._optimizer = detector.make_optimizer(settings)
        self._clip = settings.gradient_clip
        self._scaler = torch.amp.GradScaler(detector.device.type, enabled=precision == "16-mixed")

    def prepare(self) -> None:
        """Let the optimiser make its moments, as its first step does."""
        for parameter in self._detector.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._optimizer.step()

    def __call__(self, index: int) -> None:
        """Make step number `index`."""
        self._optimizer.zero_grad()
        for part in self._parts:
            with autocast(self._detector.device, self._precision):
                loss = self._detector.training_step(part, index)
            torch.autograd.backward(self._scaler.scale(loss / len(self._parts)))
        if self._clip:
            self._scaler.unscale_(self._optimizer)
            torch.nn.utils.clip_grad_norm_(self._detector.parameters(), self._clip)
        self._scaler.step(self._optimizer)
        self._scaler.update()


def _optimizer_settings(detector: Detector) -> OptimizerSettings:
    settings = getattr(detector.settings, "optimizer", None)
    if not isinstance(settings, OptimizerSettings):
        raise UserError(
            f"{type(detector).__name__}.Settings needs a field `optimizer: OptimizerSettings` to be trained"
        )
    return settings


def _as_written(compiled: bool) -> AbstractContextManager[object]:
    """Run networks as they are written; a compiler that meets a counter of operations gives up its code for good."""
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds until the device has done the work."""
    _wait(device)
    started = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - started


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
