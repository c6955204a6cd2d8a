"""Resamples as weights: how often each volume was drawn in each.

The mean of a resample is the product of its weights with the scores, so that a hundred comparisons on the same volumes
take one matrix of draws and a product each; and whatever is compared is compared on the same resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Weights that are kept for the next call: 64 MB of them; those of larger sets are drawn again, part by part.
_MOST_KEPT = 8_000_000


def drawn_weights(number: int, resamples: int, seed: int, size: int | None = None) -> Iterator[Floats]:
    """Weights of resamples with replacement, part by part, so that memory is bounded whatever the numbers.

    Args:
        number: of volumes that are drawn from.
        resamples: how often they are drawn anew.
        seed: makes the draws repeatable.
        size: of a resample; None for as many as there are.

    Yields:
        float64 [part of the resamples, number]; each line adds up to `size`. They are shared: change none.
    """
    if number * resamples <= _MOST_KEPT:
        yield _kept(number, resamples, seed, size)
        return
    yield from _parts(number, resamples, seed, size)


@lru_cache(maxsize=4)
def _kept(number: int, resamples: int, seed: int, size: int | None) -> Floats:
    weights = np.concatenate(list(_parts(number, resamples, seed, size)))
    weights.setflags(write=False)
    return weights


def _parts(number: int, resamples: int, seed: int, size: int | None) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    drawn = number if size is None else size
    lines = max(1, _MOST_KEPT // (8 * number))
    for begin in range(0, resamples, lines):
        count = min(lines, resamples - begin)
        chosen = rng.integers(number, size=(count, drawn)) + number * np.arange(count)[:, None]
        yield np.bincount(chosen.ravel(), minlength=count * number).reshape(count, number).astype(np.float64)


def resampled_means(values: Floats, resamples: int, seed: int) -> Floats:
    """Means of resamples of volumes.

    Args:
        values: finite scores [volumes] or [volumes, columns]; all columns share the draws.
        resamples: how often the volumes are drawn anew.
        seed: makes the draws repeatable.

    Returns:
        [resamples] or [resamples, columns].
    """
    number = len(values)
    return np.concatenate([weights @ values / number for weights in drawn_weights(number, resamples, seed)])
