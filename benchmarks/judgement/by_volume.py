"""From the frame of scored volumes to what is compared: one number per volume and line, the folds averaged first.

Folds of one split share their test volumes, so five folds of twenty volumes are twenty volumes and not a hundred; a
test that took them for a hundred would call chance a result. Seeds are no folds: they are never averaged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...datasets.cohort import HEALTHY

if TYPE_CHECKING:
    import pandas as pd

_PAPER_ORDER = ("tumours", "ms")


def volume_scores(volumes: pd.DataFrame, key: str, metric: str, *, line: str = "title") -> pd.DataFrame:
    """Scores by volume, the mean over the folds of each line.

    Args:
        volumes: the frame of scored volumes, see `Results.volumes`.
        key: of the set.
        metric: name of the number, as in the frame.
        line: the column that tells the lines apart; a line has one seed.

    Returns:
        Index subject, one column per line, both in the order in which they are met; NaN where a line lacks a volume.

    Raises:
        ValueError: a line has several seeds.
    """
    own = _of_set(volumes, key, line)
    means = own.pivot_table(index="subject", columns=line, values=metric, aggfunc="mean")
    return means.reindex(index=own["subject"].unique(), columns=own[line].unique())


def fold_scores(volumes: pd.DataFrame, key: str, metric: str, *, line: str = "title") -> dict[str, pd.DataFrame]:
    """Scores by fold and volume of each line: [folds, volumes]; args and errors are those of `volume_scores`."""
    own = _of_set(volumes, key, line)
    return {str(name): _unfolded(part, metric) for name, part in own.groupby(line, sort=False)}


def sets_of(volumes: pd.DataFrame) -> list[str]:
    """Keys of the sets in a frame of volumes: the paper's in its order, others by name, healthy scans last."""
    known = [str(key) for key in volumes["set"].unique()]
    first = [key for key in _PAPER_ORDER if key in known]
    return [*first, *sorted(set(known) - {*first, HEALTHY}), *([HEALTHY] if HEALTHY in known else [])]


def _unfolded(part: pd.DataFrame, metric: str) -> pd.DataFrame:
    means = part.pivot_table(index="fold", columns="subject", values=metric, aggfunc="mean")
    return means.reindex(index=part["fold"].unique(), columns=part["subject"].unique())


def _of_set(volumes: pd.DataFrame, key: str, line: str) -> pd.DataFrame:
    own = volumes[volumes["set"] == key]
    mixed = own.groupby(line, sort=False)["seed"].nunique()
    if (mixed > 1).any():
        raise ValueError(f"{mixed.index[mixed > 1][0]} has several seeds; seeds are no folds: compare them one by one")
    return own
