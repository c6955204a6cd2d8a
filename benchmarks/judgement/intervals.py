"""The interval of every number of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.inference import RESAMPLES, two_level_interval
from .by_volume import cube_of

if TYPE_CHECKING:
    import pandas as pd

INTERVALS = ("line", "set", "metric", "mean", "low", "high", "method", "n", "folds", "doubtful")


def intervals_of(
    volumes: pd.DataFrame,
    numbers: Iterable[tuple[str, str]],
    *,
    line: str = "title",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """95 % intervals of means: over volumes, and over trainings where a line has several folds.

    The folds of a line that learns nothing do not differ and add nothing.

    Args:
        volumes: the frame of scored volumes, see `Results.volumes`.
        numbers: (set, metric), see `scan_numbers.measured`.
        line: the column that tells the lines apart; a line has one seed.
        resamples: of the bootstrap.
        seed: makes the intervals repeatable.

    Returns:
        One row per line and number: mean, low and high as the frame has them (fractions), method ("BCa", "percentile"
        or "none"), n volumes, folds, doubtful (few volumes).

    Raises:
        ValueError: a line has several seeds.
    """
    import pandas as pd

    rows = [row for key, metric in numbers for row in _rows(volumes, key, metric, line, resamples, seed)]
    return pd.DataFrame(rows, columns=list(INTERVALS))


def _rows(
    volumes: pd.DataFrame, key: str, metric: str, line: str, resamples: int, seed: int
) -> Iterator[tuple[Any, ...]]:
    cube = cube_of(volumes, key, metric, line=line)
    for name, scores in zip(cube.lines, cube.scores, strict=True):
        found = two_level_interval(scores, resamples=resamples, seed=seed)
        folds = int(np.isfinite(scores).any(axis=1).sum())
        mean = float(np.nanmean(scores)) if folds else math.nan
        yield name, key, metric, mean, found.low, found.high, found.method, found.n, folds, found.doubtful
