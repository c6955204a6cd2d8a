"""Ranks of methods by their means, and how they change when volumes and trainings are drawn anew."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..checks import require_at_least
from .draws import Floats, resampled_means
from .intervals import RESAMPLES


@dataclass(frozen=True)
class Ranks:
    """Ranks of methods, in their order; 1 is the best, and equal means share the mean of their ranks.

    Attributes:
        rank: by the scores as they are.
        mean: of the rank over resamples.
        low: the rank that 2.5 % of the resamples do not exceed.
        high: the rank that 97.5 % of the resamples do not exceed.
        first: share of the resamples in which the method is first; equal ones share it.
    """

    rank: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    first: tuple[float, ...]


def rank_stability(scores: ArrayLike, *, higher: bool = True, resamples: int = RESAMPLES, seed: int = 0) -> Ranks:
    """Rank methods by their means, and again on each of many resamples.

    Volumes are drawn alike for all methods, since all scored the same; trainings (folds, or seeds) for each method
    apart. Means are ranked, not ranks averaged, as the table does; Wiesenfarth et al. 2021 ("Methods and open-source
    toolkit for analyzing and visualizing challenge results", Scientific Reports 11:2369) judge rankings so.

    Args:
        scores: [methods, volumes], or [methods, trainings, volumes]; finite or NaN, and what one method lacks of a
            volume altogether is left out for all.
        higher: whether more is better.
        resamples: how many times they are drawn anew.
        seed: makes the ranks repeatable.

    Raises:
        ValueError: the array has another shape, or the methods share no volume.
    """
    require_at_least("resamples", resamples, 1)
    array = np.asarray(scores, dtype=np.float64)
    array = array[:, None] if array.ndim == 2 else array
    if array.ndim != 3:
        raise ValueError(f"scores must be [methods, volumes] or [methods, trainings, volumes], not {array.shape}")
    array = array[:, :, np.isfinite(array).any(axis=1).all(axis=0)]
    if 0 in array.shape:
        raise ValueError("the methods share no volume, so that they have no ranks")
    signed = array if higher else -array
    now = _ranks(np.nanmean(signed, axis=(1, 2))[None])[0]
    drawn = _ranks(np.stack([_means(one, resamples, seed, number) for number, one in enumerate(signed)], axis=1))
    first = drawn == drawn.min(axis=1, keepdims=True)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0, method="inverted_cdf")
    shares = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return Ranks(*(tuple(map(float, one)) for one in (now, drawn.mean(axis=0), low, high, shares)))


def _means(scores: Floats, resamples: int, seed: int, method: int) -> Floats:
    """Means of a method on resamples; -infinity, the last place, where a resample has no score of it."""
    own = scores[np.isfinite(scores).any(axis=1)]
    means = resampled_means(own[None], resamples, seed, seed + 1 + method)[:, 0]
    return np.where(np.isfinite(means), means, -math.inf)


def _ranks(means: Floats) -> Floats:
    """Rank 1 for the greatest of each line."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(-means, axis=1))
