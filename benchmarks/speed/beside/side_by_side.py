"""Ours beside the straightforward way, alternating in one run: ratios hold where other work runs on the machine, too.

The straightforward way is what documentation of SciPy, scikit-learn and opensimplex suggests (see `straightforward`).
Every pair is also compared in what it computes. One thread does the work on either side, so that a ratio is one of a
core.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from .... import metrics
from ....methods.parts.simplex import FractalSimplex, NoiseSettings
from ...plan.preset import Preset, common_numbers
from ...plan.settings import ScoreSettings
from ..words import significant
from . import straightforward

RATIO_HEADS = ("work", "ours (ms)", "straightforward (ms)", "ratio", "largest difference")
_IMAGES = (1, 8, 32)
_POOLED = 10
_LESION = 0.03  # share of the brain's voxels above the threshold


@dataclass(frozen=True)
class Pair:
    """One piece of work, done both ways.

    Attributes:
        name: what it is.
        ours: does it; returns numbers.
        theirs: does it the straightforward way; returns the same numbers.
    """

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]


@dataclass(frozen=True)
class Ratio:
    """What a pair took.

    Attributes:
        name: of the pair.
        ours: median seconds.
        theirs: median seconds of the straightforward way.
        difference: the largest between their numbers, absolute.
        rounds: how often each was timed.
    """

    name: str
    ours: float
    theirs: float
    difference: float
    rounds: int

    @property
    def times(self) -> float:
        """How many times as long the straightforward way takes."""
        return self.theirs / self.ours


@dataclass(frozen=True)
class _Case:
    """A made-up volume to measure: float32 [D, H, W], bool [D, H, W] twice, and a threshold."""

    residual: NDArray[np.float32]
    brain: NDArray[np.bool_]
    lesions: NDArray[np.bool_]
    score_map: NDArray[np.float32]
    threshold: float

    def pooled_scores(self) -> NDArray[np.float32]:
        """The scores of several volumes in a row, which differ by a little."""
        return np.concatenate([self.score_map.ravel() * np.float32(1 + number / 100) for number in range(_POOLED)])

    def pooled_labels(self) -> NDArray[np.bool_]:
        """The lesions of several volumes in a row."""
        return np.tile(self.lesions.ravel(), _POOLED)


def pairs(preset: Preset, seed: int = 0) -> tuple[Pair, ...]:
    """The pieces of work at a preset's sizes; noise only where opensimplex is installed.

    Args:
        preset: the shape of a volume, the post-processing and the noise.
        seed: of the volume.
    """
    data, preparation = common_numbers(preset)
    score = ScoreSettings.model_validate(preset.sections["score"])
    _, height, width = preparation.settings.shape
    case = _case((data.slices, height, width), score, seed)
    noise = NoiseSettings.model_validate(preset.sections["noise"])
    return (*_measuring(case, score), *_noise(noise, height, width))


def compare(pairs: tuple[Pair, ...], rounds: int, advance: Callable[[], None] = lambda: None) -> Iterator[Ratio]:
    """Time each pair, first one way and then the other, in turns; what is compiled or cached is there before.

    Args:
        pairs: see `pairs`.
        rounds: how often each is timed.
        advance: called after each pair.
    """
    with _one_thread():
        for pair in pairs:
            difference = _difference(pair.ours(), pair.theirs())
            ours: list[float] = []
            theirs: list[float] = []
            for number in range(rounds):
                ways = [(pair.ours, ours), (pair.theirs, theirs)]
                for work, seconds in ways if number % 2 else reversed(ways):
                    seconds.append(_seconds(work))
            advance()
            yield Ratio(pair.name, statistics.median(ours), statistics.median(theirs), difference, rounds)


def ratio_words(ratio: Ratio) -> tuple[str, ...]:
    """A ratio as it is read, in the order of `RATIO_HEADS`."""
    seconds = (significant(1000 * value, 3) for value in (ratio.ours, ratio.theirs))
    return ratio.name, *seconds, f"{significant(ratio.times, 3)}×", f"{ratio.difference:.1e}"


def _case(shape: tuple[int, int, int], score: ScoreSettings, seed: int) -> _Case:
    """A residual as rough as a network's: noise in two sizes within a disc, and lesions where it is highest."""
    rng = np.random.default_rng(seed)
    _, height, width = shape
    y, x = np.ogrid[:height, :width]
    disc = np.hypot(y - height / 2, x - width / 2) < 0.4 * min(height, width)
    brain = np.broadcast_to(disc, shape).copy()
    coarse = ndimage.gaussian_filter(rng.standard_normal(shape), 3)
    rough = np.abs(coarse / coarse.std() + 0.3 * rng.standard_normal(shape))
    residual = (rough * brain / rough.max()).astype(np.float32)
    score_map = metrics.postprocess(residual, brain, erosion=score.erosion, median=score.median)
    threshold = float(np.quantile(score_map[brain], 1 - _LESION))
    lesions = ndimage.binary_dilation(score_map > threshold) & (rng.random(shape) < 0.8)
    return _Case(residual, brain, lesions, score_map, threshold)


def _measuring(case: _Case, score: ScoreSettings) -> tuple[Pair, ...]:
    found = case.score_map > case.threshold
    size, pool = f"{len(case.brain)} slices", (case.pooled_scores(), case.pooled_labels())
    return (
        Pair(
            f"post-processing, {size}",
            partial(_postprocess, case, score),
            partial(straightforward.postprocess, case.residual, case.brain, score.erosion, score.median),
        ),
        Pair(
            f"components, {size}",
            partial(metrics.remove_small_components, found, score.min_voxels),
            partial(straightforward.components, found, score.min_voxels),
        ),
        Pair(
            f"average precision, {size}",
            partial(metrics.average_precision, case.score_map, case.lesions),
            partial(straightforward.average_precision, case.score_map, case.lesions),
        ),
        Pair(
            f"exact threshold of {_POOLED} pooled volumes, {size}",
            partial(_best_dice, *pool),
            partial(straightforward_best_dice, *pool),
        ),
        Pair(f"a whole volume, {size}", partial(_whole, case, score), partial(_whole_straightforward, case, score)),
    )


def _postprocess(case: _Case, score: ScoreSettings) -> NDArray[np.float32]:
    return metrics.postprocess(case.residual, case.brain, erosion=score.erosion, median=score.median)


def _whole(case: _Case, score: ScoreSettings) -> tuple[float, float]:
    """Dice at a threshold and average precision, from the residual on, as the scoring does."""
    score_map = _postprocess(case, score)
    found = metrics.remove_small_components(score_map > case.threshold, score.min_voxels)
    return metrics.dice(found, case.lesions), metrics.average_precision(score_map, case.lesions)


def _whole_straightforward(case: _Case, score: ScoreSettings) -> tuple[float, float]:
    score_map = straightforward.postprocess(case.residual, case.brain, score.erosion, score.median)
    found = straightforward.components(score_map > case.threshold, score.min_voxels)
    return straightforward.dice(found, case.lesions), straightforward.average_precision(score_map, case.lesions)


def _best_dice(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    return float(metrics.best_threshold(scores, labels).dice)


def straightforward_best_dice(scores: NDArray[np.float32], labels: NDArray[np.bool_]) -> float:
    """The best Dice of any threshold, by scikit-learn's curve of precision and recall.

    Args:
        scores: any one shape.
        labels: the same shape, at least one True.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    return float(np.max(2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)))


def _noise(settings: NoiseSettings, height: int, width: int) -> tuple[Pair, ...]:
    if importlib.util.find_spec("opensimplex") is None:
        return ()
    noise = FractalSimplex(settings, height, width)
    return tuple(
        Pair(
            f"{count} noise image{'s' if count > 1 else ''} {height}×{width}",
            partial(_drawn, noise, count),
            partial(straightforward_noise, settings, count, height, width),
        )
        for count in _IMAGES
    )


def _drawn(noise: FractalSimplex, count: int) -> NDArray[np.float32]:
    drawn: NDArray[np.float32] = noise(torch.arange(count))[:, 0].numpy()
    return drawn


def straightforward_noise(settings: NoiseSettings, count: int, height: int, width: int) -> NDArray[np.float64]:
    """Images of seeds 0, 1, … by the package opensimplex, octave by octave; numba compiles it where it is installed.

    Args:
        settings: frequency, octaves, decay.
        count: of the images.
        height: of an image.
        width: of an image.

    Returns:
        Float64 [count, height, width].
    """
    import opensimplex

    images = np.zeros((count, height, width))
    for seed in range(count):
        generator = opensimplex.OpenSimplex(seed)
        for octave in range(settings.octaves):
            frequency = settings.frequency * 2**octave
            grid = (np.arange(width) * frequency, np.arange(height) * frequency)
            images[seed] += settings.decay**octave * generator.noise2array(*grid)
    return images


def _difference(ours: Any, theirs: Any) -> float:
    return float(np.max(np.abs(np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64))))


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
