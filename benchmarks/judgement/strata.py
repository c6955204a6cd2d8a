"""For whom a method works: scores of the test scans by lesion size, site, age and sex, and false positives of healthy ones.

A scan's score is its mean over folds, which are not independent. A stratum is held against the other scans of which the
factor is known, by the Mann-Whitney test (Mann and Whitney, Annals of Mathematical Statistics 18, 1947), two-sided, with
Holm's rule over all strata of a row on a set. Factors are taken one by one: a site with smaller lesions looks worse for
their sake.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import HEALTHY
from ...metrics.inference import holm, interval_of_mean
from ...metrics.lesions import SIZE_NAMES, size_class
from .people import with_people

if TYPE_CHECKING:
    import pandas as pd

#: What tells one line of a table from another; folds and cells are not among it.
LINE = ("row", "title", "preset", "changes", "data", "modality", "seed")
AGE_EDGES = (40.0, 60.0)
AGE_NAMES = ("below 40 years", "40 to 59 years", "60 years and above")
FACTORS = ("lesion size", "site", "age", "sex")
#: Strata of fewer scans, or with fewer others, are shown and not tested.
LEAST = 5
_ALPHA = 0.05
_RESAMPLES = 2000


@dataclass(frozen=True)
class Measure:
    """What is looked at by stratum.

    Attributes:
        name: of the column.
        label: in words.
        unit: of the printed number.
        scale: from the stored number to the printed one.
        higher: whether more is better.
    """

    name: str
    label: str
    unit: str
    scale: float
    higher: bool


DICE = Measure("dice", "DICE", " %", 100, True)
AUPRC = Measure("auprc", "AUPRC", " %", 100, True)
FALSE_RATE = Measure("false_rate", "share of the brain that is marked", " %", 100, False)


@dataclass(frozen=True)
class Stratum:
    """The scans of one level of a factor.

    Attributes:
        set: key of the set; of healthy scans that of the lesion set whose threshold was used.
        factor: one of `FACTORS`.
        stratum: the level.
        n: scans.
        mean: of their scores, unscaled.
        low: of its 95 % interval; NaN of a single scan.
        high: likewise.
        doubtful: whether too few scans stand behind the interval.
        rest: mean of the others of which the factor is known.
        others: how many these are.
        p: of no difference, two-sided; NaN where either side has fewer than `LEAST` scans.
        p_holm: after Holm's rule over the strata of the row on the set.
        worse: whether p_holm < 0.05, and the stratum's scores are the worse ones.
    """

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


def lesion_strata(volumes: pd.DataFrame, people: pd.DataFrame, measure: Measure = DICE) -> pd.DataFrame:
    """Scores of lesion scans by stratum.

    Args:
        volumes: see `Results.volumes`.
        people: see `judgement.people`.
        measure: a column of it.

    Returns:
        A row per line (`LINE`), set and stratum, with the fields of `Stratum`.
    """
    own = volumes[volumes["set"] != HEALTHY]
    return _strata(own, people, measure)


def healthy_strata(detections: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """False positives of healthy scans by stratum: the share of the brain that is marked, at each lesion set's threshold.

    Args:
        detections: see `Results.detections`.
        people: see `judgement.people`.

    Returns:
        As `lesion_strata`, `set` being the lesion set.
    """
    own = detections[detections["set"] == HEALTHY]
    rates = own.assign(false_rate=own["found_ml"].astype(float) / own["brain_ml"].astype(float), set=own["at"])
    return _strata(rates, people, FALSE_RATE)


def strata_sentences(strata: pd.DataFrame, measure: Measure, titles: dict[str, str]) -> tuple[str, ...]:
    """A sentence per stratum that is worse than the rest, the surest first.

    Args:
        strata: see `lesion_strata` and `healthy_strata`.
        measure: what was looked at.
        titles: key of a set to what people call it.
    """
    worse = strata[strata["worse"].astype(bool)].sort_values("p_holm", kind="stable")
    return tuple(_sentence(line, measure, titles) for line in worse.to_dict("records"))


def _sentence(line: Any, measure: Measure, titles: dict[str, str]) -> str:
    mean, rest = (f"{measure.scale * line[name]:.2f}{measure.unit}" for name in ("mean", "rest"))
    where = titles.get(line["set"], line["set"])
    healthy = " on healthy scans at the threshold of" if measure is FALSE_RATE else " on"
    p = "p < 0.001" if line["p_holm"] < 0.001 else f"p = {line['p_holm']:.3f}"
    return (
        f"{line['title']} is worse{healthy} {where} for {line['factor']} {line['stratum']}: {measure.label} {mean} in "
        f"{line['n']} scans, {rest} in the {line['others']} others ({p} by Holm's rule)."
    )


# ------------------------------------------------------------------------------------------------------ the strata


def _strata(volumes: pd.DataFrame, people: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    import pandas as pd

    names = [*LINE, *Stratum.__dataclass_fields__]
    scans = _scans(volumes, measure)
    if not len(scans):
        return pd.DataFrame(columns=names)
    known = with_people(scans, people)
    levels = pd.DataFrame(
        {
            "lesion size": [SIZE_NAMES[size_class(ml)] if ml > 0 else "" for ml in known["lesion_ml"]],
            "site": known["site"],
            "age": [AGE_NAMES[bisect_right(AGE_EDGES, age)] if age == age else "" for age in known["age"]],  # noqa: PLR0124 - not NaN
            "sex": known["sex"],
        }
    )
    lines = [
        line for key, own in known.groupby("set") for line in _of_set(str(key), own, levels.loc[own.index], measure)
    ]
    return pd.DataFrame(lines, columns=names)


def _scans(volumes: pd.DataFrame, measure: Measure) -> pd.DataFrame:
    """A row per line, set and scan, folds averaged; scans without a score are left out."""
    lesion = volumes["lesion_ml"] if "lesion_ml" in volumes else float("nan")
    own = volumes.assign(lesion_ml=lesion).astype({measure.name: float, "lesion_ml": float})
    by = [*LINE, "set", "cohort", "subject"]
    means = own.groupby(by, sort=False)[[measure.name, "lesion_ml"]].mean().reset_index()
    found: pd.DataFrame = means.dropna(subset=[measure.name]).reset_index(drop=True)
    return found


def _of_set(key: str, scans: pd.DataFrame, levels: pd.DataFrame, measure: Measure) -> Iterator[dict[str, Any]]:
    """The strata of every line on a set; a factor of a single level makes none.

    Strata are the outer loop: lines on the same scans then share the draws of their intervals.
    """
    lines = scans.groupby(list(LINE), sort=False).ngroup().to_numpy()
    scores = scans[measure.name].to_numpy()
    found: dict[int, list[Stratum]] = {int(line): [] for line in np.unique(lines)}
    for factor in FACTORS:
        words = levels[factor].to_numpy(dtype=str)
        several = sorted(set(words) - {""}, key=lambda word: _place(factor, word))
        for word in several if len(several) > 1 else ():
            for line, strata in found.items():
                own = (lines == line) & (words != "")
                one = _stratum((key, factor, word), scores[own & (words == word)], scores[own & (words != word)])
                strata.extend([one] if one is not None else [])
    heads = scans[list(LINE)].assign(line=lines).drop_duplicates("line").set_index("line")
    for line, strata in found.items():
        for one in _judged(strata, measure):
            yield {**heads.loc[line].to_dict(), **asdict(one)}


def _place(factor: str, word: str) -> tuple[int, str]:
    """Sizes and ages ascend; sites and sexes go by name."""
    order = {"lesion size": SIZE_NAMES, "age": AGE_NAMES}.get(factor, ())
    return (order.index(word) if word in order else len(order)), word


def _stratum(what: tuple[str, str, str], scores: NDArray[np.float64], others: NDArray[np.float64]) -> Stratum | None:
    """A stratum of a line; None where the line has no scan of it."""
    if not scores.size:
        return None
    interval = interval_of_mean(scores, resamples=_RESAMPLES)
    return Stratum(
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


def _mann_whitney(scores: NDArray[np.float64], others: NDArray[np.float64]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(scores, others).pvalue)


def _judged(strata: Sequence[Stratum], measure: Measure) -> Iterator[Stratum]:
    for one, p in zip(strata, holm(one.p for one in strata), strict=True):
        behind = one.mean < one.rest if measure.higher else one.mean > one.rest
        yield replace(one, p_holm=float(p), worse=bool(p < _ALPHA and behind))
