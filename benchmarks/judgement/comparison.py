"""Two lines, volume by volume: `compare`; and every pair of many: `pairwise`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...metrics.inference import RESAMPLES, differences_of, holm, paired_family
from .by_volume import cube_of
from .measures import METRICS

if TYPE_CHECKING:
    import pandas as pd

#: Differences count as such where chance alone would make them less often.
ALPHA = 0.05
COMPARED = (
    *("set", "metric", "n", "folds", "first", "second", "difference", "low", "high", "method", "doubtful"),
    *("p", "p_crossed", "p_holm", "wins", "ties", "losses", "false_claim"),
)


def compare(
    volumes: pd.DataFrame,
    first: str,
    second: str,
    numbers: Iterable[tuple[str, str]],
    *,
    line: str = "title",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare two lines by the folds that both have; see `metrics.inference.paired` for each statistic.

    Args:
        volumes: the frame of scored volumes (`Results.volumes`) of one seed per line.
        first: name of a line; `difference` is its mean less the other's, and it has the `wins`.
        second: name of the other.
        numbers: (set, metric), see `measures.measured`; all of them are the family of Holm's adjustment.
        line: the column that tells the lines apart.
        resamples: of the bootstrap.
        seed: makes it repeatable.

    Returns:
        One row per number with a volume that both have scored, its columns are `COMPARED`: means and differences as
        the frame has them (fractions), `p` of the signed-rank test, `p_crossed` of the test that knows that trainings
        differ, and `p_holm`, the larger of both, adjusted for the family.

    Raises:
        ValueError: a line has several seeds, or the two share no fold.
    """
    import pandas as pd

    own = volumes[volumes[line].isin([first, second])]
    if not set(own.loc[own[line] == first, "fold"]) & set(own.loc[own[line] == second, "fold"]):
        raise ValueError(f"{first} and {second} share no fold")
    words = {"resamples": resamples, "seed": seed}
    rows = [row for key, metric in numbers for row in _rows(own, key, metric, line, [(first, second)], words)]
    return _with_holm(pd.DataFrame([row for row in rows if row["n"]], columns=list(COMPARED)))


def pairwise(
    volumes: pd.DataFrame, key: str, metric: str, *, line: str = "title", resamples: int = RESAMPLES, seed: int = 0
) -> pd.DataFrame:
    """Compare every line with every other on one number, all folds of each averaged first.

    Args:
        volumes: as in `compare`.
        key: of the set.
        metric: name of the number.
        line: the column that tells the lines apart.
        resamples: of the bootstrap.
        seed: makes it repeatable.

    Returns:
        One row per pair: `row` and `column`, its lines, then `COMPARED`; each pair stands there once, and all of them
        are the family of Holm's adjustment.

    Raises:
        ValueError: a line has several seeds.
    """
    import pandas as pd

    words = {"resamples": resamples, "seed": seed}
    pairs = list(combinations(volumes.loc[volumes["set"] == key, line].unique(), 2))
    rows = _rows(volumes, key, metric, line, pairs, words)
    named = [{"row": one, "column": other, **row} for (one, other), row in zip(pairs, rows, strict=True)]
    return _with_holm(pd.DataFrame(named, columns=["row", "column", *COMPARED]))


def _rows(
    volumes: pd.DataFrame,
    key: str,
    metric: str,
    line: str,
    pairs: Sequence[tuple[str, str]],
    words: Mapping[str, int],
) -> Iterator[dict[str, Any]]:
    """One row per pair; none where a line has no volume of the set."""
    cube = cube_of(volumes, key, metric, line=line)
    if not pairs or not {name for pair in pairs for name in pair} <= set(cube.lines):
        return
    differences = np.stack([differences_of(cube.of(one), cube.of(other)) for one, other in pairs])
    found = paired_family(differences, higher=METRICS[metric].higher is not False, **words)
    for (one, other), both, each in zip(pairs, np.isfinite(differences), found, strict=True):
        yield {
            **{"set": key, "metric": metric, "n": each.n, "folds": int(both.any(axis=1).sum())},
            **{"first": _mean(cube.of(one), both), "second": _mean(cube.of(other), both)},
            **{"difference": each.difference, "low": each.interval.low, "high": each.interval.high},
            **{"method": each.interval.method, "doubtful": each.interval.doubtful},
            **{"p": each.p, "p_crossed": each.p_crossed},
            **{"wins": each.wins, "ties": each.ties, "losses": each.losses, "false_claim": each.false_claim},
        }


def _mean(scores: NDArray[np.float64], both: NDArray[np.bool_]) -> float:
    """Mean of a line's scores, of the folds and volumes that both lines have."""
    return float(scores[both].mean()) if both.any() else math.nan


def _with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    frame["p_holm"] = holm(frame[["p", "p_crossed"]].astype(float).max(axis=1))
    return frame


def tells_apart(p_holm: float, low: float, high: float) -> bool:
    """Whether a comparison shows a difference: its adjusted p is below `ALPHA`, and its interval leaves out zero.

    The adjusted p is of the stricter of two tests: one asks about ranks and knows these trainings alone, the other
    knows that trainings differ. The interval is of the mean, of which sentences speak.
    """
    return p_holm < ALPHA and (low > 0 or high < 0)


def better_rows(frame: pd.DataFrame) -> Iterator[tuple[Any, bool | None]]:
    """Each row of a comparison, and whether the first line is better there; None where nothing tells them apart."""
    for row in frame.itertuples():
        found: Any = row
        higher = METRICS[found.metric].higher is not False
        yield found, (found.difference > 0) == higher if tells_apart(found.p_holm, found.low, found.high) else None
