"""What measuring a volume costs, the straightforward way and ours, in turn in one process: the ratios.

    python tests/trials/measuring_trial.py [--rounds 15] [--threads 1]

Volumes are those of the paper's size (50 x 96 x 96): a brain-shaped residual with lesions, drawn anew for each round.
The straightforward way is SciPy and scikit-learn (`benchmarks/speed/beside/straightforward.py`). Both give the same
numbers, which is checked in every round. Threads are those of our median filter; the other way knows none.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from uadbench import metrics
from uadbench.benchmarks.speed.beside import straightforward

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Volume:
    """A residual, its brain and its lesions."""

    residual: Floats
    brain: Mask
    lesions: Mask


def draw(seed: int, shape: tuple[int, int, int] = (50, 96, 96)) -> Volume:
    """A volume as scoring sees it: a smooth residual, noise, lesions that stand out a little."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    brain = (z / 1.5) ** 2 + (y / 0.9) ** 2 + (x / 0.75) ** 2 < 1
    residual = 0.1 * rng.random(shape, dtype=np.float32) * (1 + np.sin(5 * x + rng.random()) * np.cos(4 * y))
    lesions = np.zeros(shape, bool)
    for _ in range(4):
        centre = rng.uniform(-0.5, 0.5, 3)
        near = ((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) < rng.uniform(0.05, 0.2) ** 2
        lesions |= near & brain
    residual = np.where(lesions, residual + 0.08, residual).astype(np.float32)
    return Volume(residual, brain, lesions)


def ours(volume: Volume, threshold: float, threads: int) -> straightforward.Measured:
    """A volume measured our way."""
    score_map = metrics.postprocess(volume.residual, volume.brain, threads=threads)
    found = metrics.remove_small_components(score_map > threshold)
    return straightforward.Measured(
        metrics.dice(found, volume.lesions), metrics.average_precision(score_map, volume.lesions)
    )


@dataclass(frozen=True)
class Pair:
    """One piece of work, both ways."""

    name: str
    theirs: Callable[[], object]
    ours: Callable[[], object]


def pairs(volume: Volume, threads: int) -> list[Pair]:
    """The pieces of a volume's measuring, and the whole."""
    residual, brain, lesions = volume.residual, volume.brain, volume.lesions
    score_map = metrics.postprocess(residual, brain)
    threshold = float(np.quantile(score_map[brain], 0.95))
    found = score_map > threshold
    return [
        Pair(
            "post-processing",
            lambda: straightforward.postprocess(residual, brain),
            lambda: metrics.postprocess(residual, brain, threads=threads),
        ),
        Pair(
            "components",
            lambda: straightforward.components(found),
            lambda: metrics.remove_small_components(found),
        ),
        Pair(
            "average precision",
            lambda: straightforward.average_precision(score_map, lesions),
            lambda: metrics.average_precision(score_map, lesions),
        ),
        Pair(
            "whole volume",
            lambda: straightforward.measure_volume(residual, brain, lesions, threshold),
            lambda: ours(volume, threshold, threads),
        ),
    ]


def seconds(work: Callable[[], object]) -> tuple[float, object]:
    """Wall-clock seconds of a piece of work, and its result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def same(one: object, other: object) -> bool:
    """Whether both ways agree: arrays in every value, numbers but for the order of a sum."""
    if isinstance(one, straightforward.Measured) and isinstance(other, straightforward.Measured):
        return one.dice == other.dice and abs(one.average_precision - other.average_precision) < 1e-12
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 1e-12
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {}
    for number in range(options.rounds):
        for pair in pairs(draw(number), options.threads):
            theirs, expected = seconds(pair.theirs)
            own, found = seconds(pair.ours)
            assert same(expected, found), f"{pair.name}: the two ways do not agree in round {number}"
            taken.setdefault(pair.name, []).append((theirs, own))
    for name, times in taken.items():
        theirs, own = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
        ratio = statistics.median(one / other for one, other in times)
        print(f"{name:20s} {theirs:8.1f} ms {own:8.2f} ms {ratio:6.1f}x")
    print(f"{options.rounds} rounds, {options.threads} thread(s) of the median filter; all numbers equal")


if __name__ == "__main__":
    main()
