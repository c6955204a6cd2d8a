"""Two lines, volume by volume: `compare`; and every pair of many: `pairwise`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ...metrics.inference import RESAMPLES, Paired, holm, paired
from .by_volume import volume_scores
from .measures import METRICS

if TYPE_CHECKING:
    import pandas as pd

#: Differences count as such where chance alone would make them less often.
ALPHA = 0.05
COMPARED = (
    *("set", "metric", "n", "folds", "first", "second", "difference", "low", "high", "method", "doubtful"),
    *("p", "p_holm", "wins", "ties", "losses", "false_claim"),
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
        the frame has them (fractions), p as it is and `p_holm` for the family.

    Raises:
        ValueError: a line has several seeds, or the two share no fold.
    """
    import pandas as pd

    own = volumes[volumes[line].isin([first, second])]
    folds = set(own.loc[own[line] == first, "fold"]) & set(own.loc[own[line] == second, "fold"])
    if not folds:
        raise ValueError(f"{first} and {second} share no fold")
    shared = own[own["fold"].isin(folds)]
    rows = []
    for key, metric in numbers:
        scores = volume_scores(shared, key, metric, line=line)
        if {first, second} <= set(scores):
            rows.append(_row(scores[first], scores[second], key, metric, len(folds), resamples, seed))
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

    scores = volume_scores(volumes, key, metric, line=line)
    folds = volumes[volumes["set"] == key].groupby(line)["fold"].nunique()
    rows = [
        {"row": one, "column": other, **_row(scores[one], scores[other], key, metric, most, resamples, seed)}
        for one, other in combinations(scores, 2)
        for most in [int(max(folds[one], folds[other]))]
    ]
    return _with_holm(pd.DataFrame(rows, columns=["row", "column", *COMPARED]))


def _row(
    first: pd.Series, second: pd.Series, key: str, metric: str, folds: int, resamples: int, seed: int
) -> dict[str, Any]:
    both = first.notna() & second.notna()
    found: Paired = paired(
        first[both].to_numpy(),
        second[both].to_numpy(),
        higher=METRICS[metric].higher is not False,
        resamples=resamples,
        seed=seed,
    )
    words = {name: value for name, value in asdict(found).items() if name != "interval"}
    return {
        **{"set": key, "metric": metric, "folds": folds, "first": first[both].mean(), "second": second[both].mean()},
        **words,
        **{"low": found.interval.low, "high": found.interval.high, "method": found.interval.method},
        "doubtful": found.interval.doubtful,
    }


def _with_holm(frame: pd.DataFrame) -> pd.DataFrame:
    frame["p_holm"] = holm(frame["p"].astype(float))
    return frame


def tells_apart(row: Any) -> bool:
    """Whether a row of a comparison is a difference: Holm's p below `ALPHA`, and an interval that leaves out zero.

    The test asks about ranks and the interval about the mean: only where both agree a sentence about means is true.
    """
    return bool(row.p_holm < ALPHA and (row.low > 0 or row.high < 0))


def better_rows(frame: pd.DataFrame) -> Iterator[tuple[Any, bool | None]]:
    """Each row of a comparison, and whether the first line is better there; None where nothing tells them apart."""
    for row in frame.itertuples():
        higher = METRICS[str(row.metric)].higher is not False
        yield row, ((float(row.difference) > 0) == higher) if tells_apart(row) else None  # type: ignore[arg-type]
