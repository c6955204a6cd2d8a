"""For whom a method works: scores of test scans by lesion size, site, age and sex, and healthy false positives.

A scan's score is its mean over folds, which are not independent. A stratum is held against the other scans of which the
factor is known, by the Mann-Whitney test (Annals of Mathematical Statistics 18, 1947), two-sided, with Holm's rule over
all strata of a line on a set. Factors are taken one by one: a site with smaller lesions looks worse for their sake.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import HEALTHY
from ...metrics.inference import holm, interval_of_mean
from ...metrics.lesions import SIZE_NAMES, size_class
from .by_volume import sets_of, volume_scores
from .comparison import ALPHA
from .measures import METRICS, Metric
from .people import with_people
from .scan_numbers import COMPARABLE

if TYPE_CHECKING:
    import pandas as pd

AGE_EDGES = (40.0, 60.0)
AGE_NAMES = ("below 40 years", "40 to 59 years", "60 years and above")
FACTORS = ("lesion size", "site", "age", "sex")
#: Strata of fewer scans, or with fewer others, are shown and not tested.
LEAST = 5
#: False positives: the share of a healthy brain that is marked.
FALSE_RATE = COMPARABLE["healthy_false_rate"]
_RESAMPLES = 2000

_Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Stratum:
    """The scans of one level of a factor, on one line of a table.

    Attributes:
        line: what tells it from others, such as its title.
        set: key of the set; of healthy scans that of the lesion set whose threshold was used.
        factor: one of `FACTORS`.
        stratum: the level, such as "1 to 10 ml": all lesions of a scan together.
        n: scans.
        mean: of their scores, unscaled.
        low: of its 95 % interval over scans; NaN of a single one.
        high: likewise.
        doubtful: whether few scans stand behind the interval.
        rest: mean of the others of which the factor is known.
        others: how many these are.
        p: of no difference, two-sided; NaN where either side has fewer than `LEAST` scans.
        p_holm: after Holm's rule over the strata of the line on the set.
        worse: whether p_holm < 0.05, and the stratum has the worse mean.
    """

    line: str
    set: str
    factor: str
    stratum: str
    n: int
    mean: float
    low: float
    high: float
    doubtful: bool
    rest: float
    others: int
    p: float
    p_holm: float = float("nan")
    worse: bool = False


def lesion_strata(
    volumes: pd.DataFrame, people: pd.DataFrame, metric: str = "dice", *, line: str = "title"
) -> pd.DataFrame:
    """Scores of lesion scans by stratum.

    Args:
        volumes: see `Results.volumes`; of one data source.
        people: see `judgement.people`.
        metric: one of `METRICS`, of lesion sets.
        line: the column that tells the lines apart; a line has one seed.

    Returns:
        A row per `Stratum`, set by set; a factor of a single level makes none.

    Raises:
        ValueError: a line has several seeds.
    """
    return _strata(volumes[volumes["set"] != HEALTHY], people, METRICS[metric], line)


def healthy_strata(detections: pd.DataFrame, people: pd.DataFrame, *, line: str = "title") -> pd.DataFrame:
    """False positives of healthy scans by stratum, at each lesion set's threshold: the share of the brain marked.

    Args:
        detections: see `Results.detections`; of one data source.
        people: see `judgement.people`.
        line: the column that tells the lines apart; a line has one seed.

    Returns:
        As `lesion_strata`; `set` is the lesion set.

    Raises:
        ValueError: a line has several seeds.
    """
    own = detections[detections["set"] == HEALTHY]
    rates = own["found_ml"].astype(float) / own["brain_ml"].astype(float)
    return _strata(own.assign(**{FALSE_RATE.name: rates, "set": own["at"]}), people, FALSE_RATE, line)


def strata_sentences(strata: pd.DataFrame, metric: Metric, titles: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence per stratum that is worse than the rest, the surest first.

    Args:
        strata: see `lesion_strata` and `healthy_strata`.
        metric: what was looked at.
        titles: key of a set to what people call it.
    """
    worse = strata[strata["worse"].astype(bool)].sort_values("p_holm", kind="stable")
    return tuple(_sentence(found, metric, titles) for found in worse.to_dict("records"))


def _sentence(found: Mapping[Any, Any], metric: Metric, titles: Mapping[str, str]) -> str:
    mean, rest = (f"{metric.scale * found[name]:.2f} {metric.unit}" for name in ("mean", "rest"))
    title = titles.get(found["set"], found["set"])
    where = f"on healthy scans at the threshold of {title}" if metric is FALSE_RATE else f"on {title}"
    p = "p < 0.001" if found["p_holm"] < 0.001 else f"p = {found['p_holm']:.3f}"
    return (
        f"{found['line']} is worse {where} for {found['factor']} {found['stratum']}: {metric.label} {mean} in "
        f"{found['n']} scans, {rest} in the {found['others']} others ({p} by Holm's rule)."
    )


# ------------------------------------------------------------------------------------------------------ the strata


def _strata(volumes: pd.DataFrame, people: pd.DataFrame, metric: Metric, line: str) -> pd.DataFrame:
    import pandas as pd

    found = [
        asdict(one)
        for key in sets_of(volumes)
        for one in _of_set(
            key, volume_scores(volumes, key, metric.name, line=line), _levels(volumes, key, people), metric
        )
    ]
    return pd.DataFrame(found, columns=[field.name for field in fields(Stratum)])


def _levels(volumes: pd.DataFrame, key: str, people: pd.DataFrame) -> pd.DataFrame:
    """The level of each factor that a scan of a set has, by subject; "" where it is not known."""
    import pandas as pd

    scans = volumes[volumes["set"] == key].drop_duplicates("subject")
    known = with_people(scans[["cohort", "subject"]], people).set_index("subject")
    lesions = scans["lesion_ml"] if "lesion_ml" in scans else [float("nan")] * len(scans)
    return pd.DataFrame(
        {
            "lesion size": [SIZE_NAMES[size_class(float(ml))] if ml > 0 else "" for ml in lesions],
            "site": known["site"],
            "age": ["" if np.isnan(age) else AGE_NAMES[bisect_right(AGE_EDGES, age)] for age in known["age"]],
            "sex": known["sex"],
        },
        index=known.index,
    )


def _of_set(key: str, scores: pd.DataFrame, levels: pd.DataFrame, metric: Metric) -> Iterator[Stratum]:
    """The strata of every line on a set.

    Strata are the outer loop: lines on the same scans then share the draws of their intervals.
    """
    found: dict[str, list[Stratum]] = {str(line): [] for line in scores.columns}
    values = scores.to_numpy(float)
    for factor in FACTORS:
        words = levels[factor].reindex(scores.index).fillna("").to_numpy(dtype=str)
        several = sorted(set(words) - {""}, key=lambda word: _place(factor, word))
        for word in several if len(several) > 1 else ():
            own, others = words == word, (words != word) & (words != "")
            for place, (line, strata) in enumerate(found.items()):
                sides = (values[own, place], values[others, place])
                strata.extend(_stratum((line, key, factor, word), *(side[~np.isnan(side)] for side in sides)))
    for strata in found.values():
        yield from _judged(strata, metric)


def _place(factor: str, word: str) -> tuple[int, str]:
    """Sizes and ages ascend; sites and sexes go by name."""
    order = {"lesion size": SIZE_NAMES, "age": AGE_NAMES}.get(factor, ())
    return (order.index(word) if word in order else len(order)), word


def _stratum(what: tuple[str, str, str, str], scores: _Scores, others: _Scores) -> list[Stratum]:
    """A stratum of a line, not yet judged; none where the line has no score in it."""
    if not scores.size:
        return []
    interval = interval_of_mean(scores, resamples=_RESAMPLES)
    found = Stratum(
        *what,
        n=int(scores.size),
        mean=float(scores.mean()),
        low=interval.low,
        high=interval.high,
        doubtful=interval.doubtful,
        rest=float(others.mean()) if others.size else float("nan"),
        others=int(others.size),
        p=_mann_whitney(scores, others) if min(scores.size, others.size) >= LEAST else float("nan"),
    )
    return [found]


def _mann_whitney(scores: _Scores, others: _Scores) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(scores, others).pvalue)


def _judged(strata: Sequence[Stratum], metric: Metric) -> Iterator[Stratum]:
    """With Holm's rule over the line's tests; the two levels of a factor of two are one test."""
    levels = Counter(one.factor for one in strata)
    tests = [(one.factor, one.stratum if levels[one.factor] > 2 else "") for one in strata]
    family = dict(zip(tests, (one.p for one in strata), strict=True))
    adjusted = dict(zip(family, holm(family.values()), strict=True))
    for one, test in zip(strata, tests, strict=True):
        p = float(adjusted[test])
        behind = one.mean < one.rest if metric.higher else one.mean > one.rest
        yield replace(one, p_holm=p, worse=p < ALPHA and behind)
