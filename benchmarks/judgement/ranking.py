"""Ranks of lines, and how firmly they stand when volumes and trainings are drawn anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.inference import RESAMPLES, rank_stability
from .by_volume import cube_of
from .scan_numbers import COMPARABLE

if TYPE_CHECKING:
    import pandas as pd

RANKS = ("line", "set", "metric", "rank", "mean", "low", "high", "first")


def ranks_of(
    volumes: pd.DataFrame,
    numbers: Iterable[tuple[str, str]],
    *,
    line: str = "title",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank the lines by each number; see `metrics.inference.rank_stability`.

    Args:
        volumes: the frame of scored volumes (`Results.volumes`) of one seed per line.
        numbers: (set, metric), see `scan_numbers.measured`.
        line: the column that tells the lines apart.
        resamples: of volumes and folds.
        seed: makes the ranks repeatable.

    Returns:
        One row per line and number: `rank` as it is, its `mean` over resamples, the ranks from `low` to `high` that
        hold 95 % of them, and `first`, the share of them in which the line is first.

    Raises:
        ValueError: a line has several seeds, the lines of a set share no volume, or a number ranks nobody.
    """
    import pandas as pd

    rows = [row for key, metric in numbers for row in _rows(volumes, key, metric, line, resamples, seed)]
    return pd.DataFrame(rows, columns=list(RANKS))


def _rows(
    volumes: pd.DataFrame, key: str, metric: str, line: str, resamples: int, seed: int
) -> Iterator[tuple[Any, ...]]:
    cube = cube_of(volumes, key, metric, line=line)
    there = np.isfinite(cube.scores).reshape(len(cube.lines), -1).any(axis=1)
    if not there.any():
        return
    known = [cube.lines[place] for place in np.flatnonzero(there)]
    higher = COMPARABLE[metric].higher
    if higher is None:
        raise ValueError(f"{metric} ranks nobody: neither more nor less of it is better")
    found = rank_stability(cube.scores[there], higher=higher, resamples=resamples, seed=seed)
    columns = zip(known, found.rank, found.mean, found.low, found.high, found.first, strict=True)
    for name, rank, mean, low, high, first in columns:
        yield name, key, metric, rank, mean, low, high, first
