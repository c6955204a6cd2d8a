"""How cost grows: a volume with its slices, patches and side, a step with its batch, thresholds with pooled volumes.

Each point is measured here and now, on random slices; a size that a method's numbers do not allow is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import lightning as L
import numpy as np
import torch

from ... import metrics
from ...errors import UserError
from ...out_of_memory import free_memory, is_out_of_memory
from ..engine.arithmetic import arithmetic
from ..plan.preset import Preset
from ..plan.suite import SuiteRow
from .counting import count_cost
from .timing import time_steps, time_volume
from .workload import Workload, workloads

_SIDES = (48, 72, 96, 144, 192)
_STRIDES = (48, 24, 16, 12, 8)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
_POOLED = (1, 2, 4, 8, 16)
_VOLUME = "seconds of a volume"
_LONG = 5.0  # s
_LONGEST = 30.0  # s; a size that took longer is the last of its curve


@dataclass(frozen=True)
class Curve:
    """Seconds against a size.

    Attributes:
        title: what is done.
        size: what grows.
        sizes: ascending.
        seconds: of each.
    """

    title: str
    size: str
    sizes: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """The slope of the curve's upper half on log axes: 1 where twice the size costs twice the time."""
        half = max(0, len(self.sizes) // 2 - 1)
        slope, _ = np.polyfit(np.log(self.sizes[half:]), np.log(self.seconds[half:]), 1)
        return float(slope)


@dataclass(frozen=True)
class Bench:
    """What the curves of a row are measured with.

    Attributes:
        entry: the row.
        preset: its numbers.
        device: "cpu" or "cuda".
        seed: of weights and slices.
    """

    entry: SuiteRow
    preset: Preset
    device: str
    seed: int

    def work(self, changes: Mapping[str, Any] = MappingProxyType({}), side: int = 0) -> Workload:
        """The row with changed numbers, those that it fixes itself among them.

        Args:
            changes: by name, such as "patch.stride".
            side: of a slice, pixels; 0 keeps the preset's.

        Raises:
            UserError: the numbers do not fit together.
        """
        row = replace(self.entry.row, settings={**self.entry.row.settings, **changes})
        preset = self._with_side(side) if side else self.preset
        work = workloads([replace(self.entry, row=row)], preset)[0]
        with torch.device("meta"):
            work.detector()
        return work

    def _with_side(self, side: int) -> Preset:
        sections = self.preset.sections
        preparation = {**sections["preparation"], "side": side * self.preset.preparation.factor}
        image = {**sections.get("image", {}), "side": side}
        return self.preset.model_copy(update={"sections": {**sections, "preparation": preparation, "image": image}})


def curves(bench: Bench) -> Iterator[Curve]:
    """Measure every curve of a row that has more than one point."""
    work = bench.work()
    depths = [depth for depth in (1, 2, 4, 8, 16, 32) if depth < work.plan.data.slices]
    yield from _curve(_VOLUME, "slices", [*depths, work.plan.data.slices], lambda n: _volume(bench, work, n))
    yield from _patches(bench)
    yield from _sides(bench)
    if work.method.trainable:
        most = max(work.plan.train.batch_size, 2)
        batches = [size for size in _BATCHES if size <= most]
        yield from _curve("seconds of a training step", "slices of a batch", batches, lambda n: _step(bench, work, n))
    shape = (work.plan.data.slices, work.side, work.side)
    yield from _curve("seconds of the exact threshold", "pooled volumes", _POOLED, lambda n: _threshold(shape, n))


def _curve(title: str, size: str, sizes: Sequence[int], measure: Callable[[int], float]) -> Iterator[Curve]:
    """Measure sizes in order until one takes too long or too much memory; those that are not allowed are left out."""
    points = []
    for number in sizes:
        try:
            points.append((float(number), _best(measure, number)))
        except (UserError, ValueError):
            continue
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            break
        if points[-1][1] > _LONGEST:
            break
    free_memory()
    if len(points) > 1:
        yield Curve(title, size, *(tuple(values) for values in zip(*points, strict=True)))


def _best(measure: Callable[[int], float], number: int) -> float:
    """The shorter of two times, since whatever disturbs makes it longer; a long one is taken once."""
    first = measure(number)
    return first if first > _LONG else min(first, measure(number))


def _patches(bench: Bench) -> Iterator[Curve]:
    """A volume against the patches of a slice; none for a method without patches."""
    found: dict[int, Workload] = {}
    for stride in _STRIDES:
        with suppress(UserError, ValueError):
            work = bench.work({"patch.stride": stride, "patch.grid": stride})
            found.setdefault(round(count_cost(work).passes), work)
    if len(found) > 1:
        yield from _curve(_VOLUME, "patches of a slice", sorted(found), lambda n: _volume(bench, found[n]))


def _sides(bench: Bench) -> Iterator[Curve]:
    """A volume against the side of a slice, attention staying at the same depths of the network."""
    usual, found = bench.work(), {}
    attends = "unet" in usual.method.Settings.model_fields
    attention = bench.preset.sections["unet"]["attention_sides"] if attends else []
    for side in _SIDES:
        grown = {"unet.attention_sides": [one * side // usual.side for one in attention]} if attends else {}
        with suppress(UserError, ValueError):
            found[side] = bench.work(grown, side)
    if len(found) > 1:
        yield from _curve(_VOLUME, "side of a slice", sorted(found), lambda n: _volume(bench, found[n]))


def _volume(bench: Bench, work: Workload, depth: int | None = None) -> float:
    L.seed_everything(bench.seed, verbose=False)
    train, depth = work.plan.train, depth or work.plan.data.slices
    with arithmetic(train, bench.device):
        detector = work.detector().to(bench.device)
        if not detector.trainable:
            raise UserError("nothing to time")
        size = work.plan.score.batch_size
        return time_volume(detector, train.precision, size, work.side, depth=depth, seed=bench.seed).seconds


def _step(bench: Bench, work: Workload, size: int) -> float:
    L.seed_everything(bench.seed, verbose=False)
    train = work.plan.train.model_copy(update={"batch_size": size, "accumulate": 1})
    with arithmetic(train, bench.device):
        detector = work.detector().to(bench.device)
        return time_steps(detector, train, size, work.side, steps=2, seed=bench.seed, advance=lambda: None).seconds


def _threshold(shape: tuple[int, int, int], count: int) -> float:
    """Seconds to find the best threshold of random maps, of which a twentieth is lesion."""
    rng = np.random.default_rng(0)
    scores = rng.random((count, *shape), dtype=np.float32)
    labels = rng.random(scores.shape, dtype=np.float32) < 0.05 + 0.1 * (scores > 0.9)
    started = time.perf_counter()
    metrics.best_threshold(scores.ravel(), labels.ravel())
    return time.perf_counter() - started
