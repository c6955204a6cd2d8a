"""For whom: scores by lesion size, site, age and sex, and false positives of healthy scans by site, age and sex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from ....judgement.measures import METRICS, Metric
from ....judgement.strata import FALSE_RATE, healthy_strata, lesion_strata, strata_sentences
from ...console import counted
from ..html import Figure, Section, table_of_words
from ..study import SetOf, Study
from ..svg.forest import Group, Mean, forest_plot
from ..svg.legend import legend
from .volumes import best_rows

if TYPE_CHECKING:
    import pandas as pd

_DICE = METRICS["dice"]
#: Rows that are drawn; the table below the figures has all.
_DRAWN = 5
_HEADS = ("Method", "Set", "Factor", "Stratum", "Scans", "Mean", "95 % interval", "Others", "p (Holm)")


def strata_section(study: Study, detections: pd.DataFrame, people: pd.DataFrame) -> Section:
    """Figures of the rows with the highest Dice, sentences on strata that are worse, a table of all.

    Args:
        study: the study.
        detections: see `Results.detections`; may be empty.
        people: see `judgement.people`; may be empty.
    """
    lesions = lesion_strata(study.volumes, people, _DICE.name, line="line")
    healthy = healthy_strata(detections, people, line="line") if len(detections) else lesions.iloc[:0]
    titles = {one.key: one.title for one in study.sets}
    figures = [figure for one in study.lesion_sets for figure in _figures(study, one, lesions, healthy)]
    worse = (*_worse(lesions, _DICE, titles), *_worse(healthy, FALSE_RATE, titles))
    lines = [*_lines(lesions, _DICE, titles), *_lines(healthy, FALSE_RATE, titles)]
    tables = [{"title": "Every row and stratum", **table_of_words(_HEADS, lines)}] if lines else []
    return Section(
        "strata",
        "For whom",
        lead=(_LEAD, *_summary(worse, lines)),
        figures=tuple(figures),
        notes=worse,
        content={"tables": tables, "folded": True},
    )


_LEAD = (
    "Means with 95 % intervals, the folds of a scan averaged first. A stratum is held against all other scans of its "
    "set (Mann-Whitney, Holm over the strata of a row on the set). Factors are taken one by one: a site with smaller "
    "lesions looks worse for their sake. Sites, ages and sexes appear where the data say them."
)


def _worse(strata: pd.DataFrame, metric: Metric, titles: dict[str, str]) -> Iterator[str]:
    """A sentence per stratum that is worse than the rest: of one row as it is, of several in one."""
    flagged = strata[strata["worse"].astype(bool)]
    for (key, factor, stratum), own in flagged.groupby(["set", "factor", "stratum"], sort=False):
        title = titles[str(key)]
        first, *others = strata_sentences(own, metric, titles)
        if not others:
            yield first
            continue
        rows = strata[(strata["set"] == key) & (strata["factor"] == factor) & (strata["stratum"] == stratum)]
        where = f"in healthy scans at the threshold of {title}" if metric is FALSE_RATE else f"on {title}"
        yield (
            f"{len(own)} of {len(rows)} rows are significantly worse {where} for {factor} {stratum} than for the rest. "
            f"The surest: {first}"
        )


def _summary(worse: Sequence[str], lines: Sequence[object]) -> Iterator[str]:
    if not lines:
        yield "Nothing here tells the scans of a set apart."
    elif not worse:
        yield "No stratum is significantly worse than the rest."


def _figures(study: Study, one: SetOf, lesions: pd.DataFrame, healthy: pd.DataFrame) -> Iterator[Figure]:
    rows = best_rows(study, one, _DRAWN)
    for frame, metric, what in ((lesions, _DICE, ""), (healthy, FALSE_RATE, "Healthy scans at the threshold of ")):
        own = frame[frame["set"] == one.key]
        groups = list(_groups(study, own, rows, metric))
        if groups:
            label = f"{metric.label} ({metric.unit})"
            picture = forest_plot(groups, label, f"{label} by stratum: {what}{one.title}")
            names = [study.rows[place].title for place in rows]
            yield Figure(Markup("{}{}").format(picture, legend(names)), "", f"{what}{one.title}")


def _groups(study: Study, strata: pd.DataFrame, rows: Sequence[int], metric: Metric) -> Iterator[Group]:
    places = {study.rows[place].title: number for number, place in enumerate(rows)}
    for (factor, stratum), own in strata.groupby(["factor", "stratum"], sort=False):
        lines = sorted(own.to_dict("records"), key=lambda line: places.get(line["line"], len(places)))
        means = [_mean(line, places[line["line"]], metric.scale) for line in lines if line["line"] in places]
        if means:
            yield Group(f"{factor}: {stratum}", counted(int(own["n"].max()), "scan"), tuple(means))


def _mean(line: Mapping[Any, Any], number: int, scale: float) -> Mean:
    mean, low, high = (scale * float(line[name]) for name in ("mean", "low", "high"))
    return Mean(number, mean, low, high, bool(line["worse"]))


def _lines(strata: pd.DataFrame, metric: Metric, titles: dict[str, str]) -> Iterator[tuple[str, ...]]:
    for line in strata.to_dict("records"):
        yield tuple(_words(line, metric, titles))


def _words(line: Any, metric: Metric, titles: dict[str, str]) -> Iterator[str]:
    mean, low, high, rest = (metric.scale * float(line[name]) for name in ("mean", "low", "high", "rest"))
    where = titles.get(line["set"], line["set"])
    yield str(line["line"])
    yield f"healthy, at {where}" if metric is FALSE_RATE else where
    yield from (str(line["factor"]), str(line["stratum"]), str(line["n"]))
    yield f"{mean:.2f} {metric.unit}"
    yield "–" if low != low else f"{low:.2f} to {high:.2f}{' †' if line['doubtful'] else ''}"  # noqa: PLR0124 - NaN
    yield "–" if rest != rest else f"{rest:.2f} ({line['others']})"  # noqa: PLR0124 - NaN
    p = float(line["p_holm"])
    yield "–" if p != p else f"{'< 0.001' if p < 0.001 else f'{p:.3f}'}{', worse' if line['worse'] else ''}"  # noqa: PLR0124 - NaN
