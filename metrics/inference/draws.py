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


def resampled_means(scores: Floats, resamples: int, seed: int, seed_of_trainings: int | None = None) -> Floats:
    """Means of resamples of volumes and of trainings, both drawn anew and independently.

    Folds share their test volumes, so they are no larger sample of volumes: rows and columns are drawn each for itself
    (Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1:386). Of F trainings F - 1 are drawn (Rao and
    Wu 1988, "Resampling inference with complex survey data", JASA 83:231): drawing F of so few would make their spread
    too small by a part in F. As they do, the draws are stretched, here by the 97.5 % quantile of Student's t of F - 1
    degrees over the normal one: five trainings are no firm estimate of how trainings differ. One training is no chance
    at all: then volumes alone are drawn.

    Args:
        scores: [tables, trainings, volumes]; NaN where a training did not score a volume. All tables share the draws.
        resamples: how often both are drawn anew.
        seed: makes the draws of volumes repeatable.
        seed_of_trainings: that of trainings, where methods on the same volumes are drawn each for itself.

    Returns:
        [resamples, tables]; NaN of a resample in which no score of the table is known.
    """
    tables, trainings, volumes = scores.shape
    known = np.isfinite(scores)
    filled = np.where(known, scores, 0.0).reshape(tables * trainings, volumes).T
    counted = known.astype(np.float64).reshape(tables * trainings, volumes).T
    other = seed + 1 if seed_of_trainings is None else seed_of_trainings
    rows = _stretched(np.concatenate(list(drawn_weights(trainings, resamples, other, max(1, trainings - 1)))))
    means, done = np.full((resamples, tables), np.nan), 0
    for weights in drawn_weights(volumes, resamples, seed):
        part = slice(done, done + len(weights))
        sums, numbers = (_by_table(weights @ one, rows[part], tables) for one in (filled, counted))
        np.divide(sums, numbers, out=means[part], where=numbers > 0)
        done += len(weights)
    return means


def _stretched(rows: Floats) -> Floats:
    """Weights of trainings [resamples, trainings], further from their mean the fewer there are."""
    from scipy.special import ndtri, stdtrit

    trainings = rows.shape[1]
    if trainings == 1:
        return rows
    factor = float(stdtrit(trainings - 1, 0.975) / ndtri(0.975))
    mean = (trainings - 1) / trainings
    return mean + factor * (rows - mean)


def _by_table(products: Floats, rows: Floats, tables: int) -> Floats:
    """Products with the volumes' weights [resamples, tables × trainings], added up by the trainings' weights."""
    return np.asarray(np.einsum("rtf,rf->rt", products.reshape(len(products), tables, -1), rows))
