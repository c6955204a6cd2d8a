"""Two lines, volume by volume: `compare`; and every pair of many: `pairwise`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...metrics.inference import RESAMPLES, differences_of, holm, paired_family
from .by_volume import Cube, cube_of
from .scan_numbers import COMPARABLE, SCAN_NUMBERS

if TYPE_CHECKING:
    import pandas as pd

#: Differences count as such where chance alone would make them less often.
ALPHA = 0.05
COMPARED = (
    *("set", "metric", "n", "folds", "first", "second", "difference", "low", "high", "method", "doubtful"),
    *("p", "p_crossed", "p_holm", "wins", "ties", "losses", "false_claim"),
    *("scans", "lacks_first", "lacks_second", "worst_first", "worst_second", "n_both", "difference_both"),
)
#: Which line a comparison speaks for; "more" and "less" of a number of which neither is better.
Verdict = Literal["first", "second", "more", "less", "nothing"]


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
        numbers: (set, metric), see `scan_numbers.measured`; all of them are the family of Holm's adjustment.
        line: the column that tells the lines apart.
        resamples: of the bootstrap.
        seed: makes it repeatable.

    Returns:
        One row per number with a volume that both have scored, its columns are `COMPARED`: means and differences as
        the frame has them (fractions), `p` of the signed-rank test, `p_crossed` of the test that knows that trainings
        differ, and `p_holm`, the larger of both, adjusted for the family; wins are volumes on which the first has more
        where neither is better. Of `scans` volumes `n` are compared; `lacks_first` are those of which the second alone
        has the number. `worst_first`: volumes in which the first marks nothing in some fold and got the worst value
        for it (see `scan_numbers`); `difference_both` is that of the `n_both` volumes in which both mark something.

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
    found = paired_family(differences, higher=COMPARABLE[metric].higher is not False, **words)
    has_worst = metric in SCAN_NUMBERS and bool(SCAN_NUMBERS[metric].worst)
    blanks = cube_of(volumes, key, "nothing_found", line=line) if has_worst else None
    for (one, other), each, found_differences in zip(pairs, found, differences, strict=True):
        both = np.isfinite(found_differences)
        yield {
            **{"set": key, "metric": metric, "n": each.n, "folds": int(both.any(axis=1).sum())},
            **{"first": _mean(cube.of(one), both), "second": _mean(cube.of(other), both)},
            **{"difference": each.difference, "low": each.interval.low, "high": each.interval.high},
            **{"method": each.interval.method, "doubtful": each.interval.doubtful},
            **{"p": each.p, "p_crossed": each.p_crossed},
            **{"wins": each.wins, "ties": each.ties, "losses": each.losses, "false_claim": each.false_claim},
            **_lacks(cube, one, other),
            **_worst(blanks, one, other, found_differences),
        }


def _lacks(cube: Cube, one: str, other: str) -> dict[str, int]:
    """How many volumes there are, and of how many a line alone lacks the number."""
    first, second = (np.isfinite(cube.of(name)).any(axis=0) for name in (one, other))
    return {
        "scans": len(cube.subjects),
        "lacks_first": int((second & ~first).sum()),
        "lacks_second": int((first & ~second).sum()),
    }


def _worst(blanks: Cube | None, one: str, other: str, differences: NDArray[np.float64]) -> dict[str, float]:
    """Volumes in which a line marks nothing, and the difference without these.

    Args:
        blanks: 1 where a line marks nothing in a scan with a lesion; None of a number that such a scan has, too.
        one: a line.
        other: another.
        differences: [folds, volumes]; NaN where there is none.
    """
    known = np.isfinite(differences)
    first, second = (np.zeros_like(known) if blanks is None else known & (blanks.of(name) > 0) for name in (one, other))
    left = np.where(first | second, np.nan, differences)
    volumes = np.isfinite(left).any(axis=0)
    return {
        "worst_first": int(first.any(axis=0).sum()),
        "worst_second": int(second.any(axis=0).sum()),
        "n_both": int(volumes.sum()),
        "difference_both": float(np.nanmean(left)) if volumes.any() else math.nan,
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


def judged_rows(frame: pd.DataFrame) -> Iterator[tuple[Any, Verdict]]:
    """Each row of a comparison, and which line it speaks for."""
    for row in frame.itertuples():
        found: Any = row
        yield found, _verdict(found)


def _verdict(row: Any) -> Verdict:
    if not tells_apart(row.p_holm, row.low, row.high):
        return "nothing"
    higher = COMPARABLE[row.metric].higher
    if higher is None:
        return "more" if row.difference > 0 else "less"
    return "first" if (row.difference > 0) == higher else "second"
