"""How sure the numbers are: intervals, ranks and paired comparisons of the study's rows, computed once for the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...judgement.by_volume import cube_of
from ...judgement.comparison import pairwise
from ...judgement.family import near_best
from ...judgement.intervals import intervals_of
from ...judgement.measures import METRICS, Metric
from ...judgement.ranking import ranks_of
from .study import SetOf, Study

if TYPE_CHECKING:
    import pandas as pd

#: Scores of a set that are judged; the first is the one that sentences speak of.
LESION_SCORES, HEALTHY_SCORES = ("dice", "auprc"), ("l1",)


def scores_of(one: SetOf) -> tuple[Metric, ...]:
    """The scores of a set's volumes that are judged; the first is its main one."""
    return tuple(METRICS[name] for name in (LESION_SCORES if one.has_lesions else HEALTHY_SCORES))


@dataclass(frozen=True)
class MeanOfRow:
    """A row's mean on a set, in the printed unit, and how sure it is.

    Attributes:
        mean: over folds and volumes.
        low: lower end of its 95 % interval; NaN where there is none.
        high: upper end.
        n: volumes.
        doubtful: whether few volumes stand behind the interval.
    """

    mean: float
    low: float
    high: float
    n: int
    doubtful: bool


@dataclass(frozen=True)
class RankOfRow:
    """A competing row's rank when volumes and trainings are drawn anew.

    Attributes:
        low: of the ranks that hold 95 % of the resamples.
        high: likewise.
        first: share of them in which it is first.
    """

    low: float
    high: float
    first: float


@dataclass(frozen=True, eq=False)
class SetJudgement:
    """What is to be said of one score on one set.

    Attributes:
        one: the set.
        metric: the score.
        scores: by volume and row (its place), folds averaged, in the frame's fractions.
        means: by place of the row.
        ranks: by place of the competing rows.
        pairs: every pair of competing rows, see `judgement.comparison.pairwise`; `row` and `column` are places.
        near: places of the competing rows that are not significantly worse than the best, with Holm's p.
    """

    one: SetOf
    metric: Metric
    scores: pd.DataFrame
    means: Mapping[int, MeanOfRow]
    ranks: Mapping[int, RankOfRow]
    pairs: pd.DataFrame
    near: Mapping[int, float]

    @property
    def higher(self) -> bool:
        """Whether more is better."""
        return self.metric.higher is not False

    @property
    def doubtful(self) -> bool:
        """Whether few volumes stand behind a number."""
        return any(mean.doubtful for mean in self.means.values())

    @property
    def best(self) -> int | None:
        """Place of the competing row with the best mean; None where there is none."""
        return next(iter(self.order()), None)

    def order(self) -> list[int]:
        """Places of the competing rows with a score, the best first."""
        known = [place for place in self.ranks if place in self.means and not math.isnan(self.means[place].mean)]
        return sorted(known, key=lambda place: self.means[place].mean, reverse=self.higher)


@dataclass(frozen=True)
class Judgements:
    """All that is judged, by key of the set and name of the score."""

    found: Mapping[tuple[str, str], SetJudgement]

    def main(self, one: SetOf) -> SetJudgement | None:
        """That of a set's main score; None where nothing was scored."""
        return self.found.get((one.key, scores_of(one)[0].name))


def judge(study: Study) -> Judgements:
    """Judge every score of every set; the slowest part of a report."""
    competing = [row.place for row in study.rows if row.competes]
    found = {}
    for one in study.sets:
        for metric in scores_of(one):
            scores = study.by_volume(one.key, metric.name)
            if len(scores):
                found[one.key, metric.name] = _judged(study, one, metric, scores, competing)
    return Judgements(found)


def _judged(study: Study, one: SetOf, metric: Metric, scores: pd.DataFrame, competing: list[int]) -> SetJudgement:
    volumes = study.volumes[study.volumes["set"] == one.key]
    rivals = volumes[volumes["place"].isin(competing)]
    number = [(one.key, metric.name)]
    near = near_best(cube_of(rivals, one.key, metric.name, line="place"), higher=metric.higher is not False)
    intervals, ranks = intervals_of(volumes, number, line="place"), ranks_of(rivals, number, line="place")
    return SetJudgement(
        one,
        metric,
        scores,
        {int(line["line"]): _mean_of(line, metric.scale) for line in intervals.to_dict("records")},
        {
            int(line["line"]): RankOfRow(float(line["low"]), float(line["high"]), float(line["first"]))
            for line in ranks.to_dict("records")
        },
        pairwise(rivals, one.key, metric.name, line="place"),
        {int(place): p for place, p in near.items()},
    )


def _mean_of(line: Mapping[Any, Any], scale: float) -> MeanOfRow:
    mean, low, high = (scale * float(line[name]) for name in ("mean", "low", "high"))
    return MeanOfRow(mean, low, high, int(line["n"]), bool(line["doubtful"]))
