"""Volume by volume: strips of points, pairs of rows, Dice against lesion volume, and what a script redraws by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from ....judgement.measures import Metric
from ..html import Figure, Section
from ..judged import Judgements, SetJudgement, scores_of
from ..study import SetOf, Study, StudyRow
from ..svg.axis import linear, logarithmic
from ..svg.legend import legend
from ..svg.marks import line, points
from ..svg.paired import LEFT, MOST, RIGHT, paired_plot
from ..svg.plot import Plot
from ..svg.strip import Strip, centres, strip_plot

if TYPE_CHECKING:
    import pandas as pd

#: Volumes in each window of a running median.
_WINDOW = 0.2
#: Rows that have a line of their own; there are so many colours and dashes that are told apart.
_LINES = 5


def scaled(study: Study, one: SetOf, metric: Metric) -> pd.DataFrame:
    """A score by volume and row, in its printed unit."""
    return study.by_volume(one.key, metric.name) * metric.scale


def volumes_section(study: Study, judgements: Judgements) -> Section:
    """The figures of single volumes."""
    found = [judged for one in study.sets if (judged := judgements.main(one)) is not None]
    strips = [_strips(study, judged) for judged in found]
    best = best_rows(study, study.lesion_sets[0], 2) if study.lesion_sets else []
    pairs = [_pair(study, one, best) for one in study.lesion_sets] if len(best) == 2 else []
    sizes = [_against_size(study, one, best[0]) for one in study.lesion_sets] if best else []
    return Section(
        "volumes",
        "Volume by volume",
        "volumes.html.j2",
        lead=(
            "A dot is a test volume: its score, averaged over the folds of a row first, since folds share their test "
            "volumes and are no independent evidence. The tall tick is the mean, the bar its 95 % interval.",
        ),
        content={
            "strips": [figure for figure in strips if figure],
            "pairs": [figure for figure in pairs if figure],
            "sizes": [figure for figure in sizes if figure],
            "rows": [(row.place, row.title) for row in study.rows],
            "sets": [(one.key, one.title) for one in study.sets],
            "dots": best[0] if best else 0,
        },
    )


def volume_data(study: Study) -> Mapping[str, Any]:
    """What the page's script knows: per set the volumes, and per score and row a number per volume."""
    return {
        "rows": [row.title for row in study.rows],
        "sets": [_set_data(study, one) for one in study.sets],
        "pair": [LEFT, RIGHT, MOST],
    }


def _set_data(study: Study, one: SetOf) -> Mapping[str, Any]:
    metrics = scores_of(one)
    frames = {metric.name: scaled(study, one, metric) for metric in metrics}
    subjects = sorted({str(name) for frame in frames.values() for name in frame.index})
    millilitres = study.lesion_ml(one.key).reindex(subjects)
    return {
        "key": one.key,
        "title": one.title,
        "subjects": subjects,
        "ml": [_short(value) for value in millilitres],
        "scores": [
            {
                "name": metric.name,
                "label": metric.heading,
                "rows": [[_short(value) for value in column] for column in frame.reindex(subjects).to_numpy().T],
            }
            for metric, frame in zip(metrics, frames.values(), strict=True)
        ],
    }


def _short(value: float) -> float | None:
    """Four digits are enough for a dot."""
    return None if math.isnan(value) else float(f"{value:.4g}")


def _strips(study: Study, judged: SetJudgement) -> Figure:
    one, metric = judged.one, judged.metric
    values = judged.scores.to_numpy() * metric.scale
    strips = [_strip(row, values[:, row.place], judged) for row in study.rows]
    says = f"{metric.label} of every volume of {one.title}, a row of dots per method"
    picture = strip_plot(strips, f"{metric.label} ({metric.unit})", says, name=f"strip-{one.key}")
    whole = Markup('<div data-centres="{}">{}</div>').format(" ".join(map(str, centres(len(strips)))), picture)
    few = "; few, so that intervals are doubtful (†)" if judged.doubtful else ""
    return Figure(whole, f"{len(values)} volumes{few}.", f"{one.title}: {metric.label}")


def _strip(row: StudyRow, values: np.ndarray, judged: SetJudgement) -> Strip:
    """A row of dots, its mean and its interval."""
    faint, found = not row.competes, judged.means.get(row.place)
    if found is None or math.isnan(found.mean):
        return Strip(row.title, values, math.nan, math.nan, math.nan, "–", faint)
    mark = " †" if found.doubtful else ""
    interval = "" if math.isnan(found.low) else f" ({found.low:.1f} to {found.high:.1f}){mark}"
    return Strip(row.title, values, found.mean, found.low, found.high, f"{found.mean:.1f}{interval}", faint)


def _mean(values: np.ndarray) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else math.nan


def best_rows(study: Study, one: SetOf, count: int) -> list[int]:
    """The competing rows with the highest mean Dice on a set, the best first; others follow where there are too few."""
    frame = scaled(study, one, scores_of(one)[0])
    means = {row.place: _mean(frame[row.place].to_numpy()) for row in study.rows}
    order = sorted(
        (place for place, mean in means.items() if not math.isnan(mean)),
        key=lambda place: (not study.rows[place].competes, -means[place]),
    )
    return order[:count]


def _pair(study: Study, one: SetOf, best: list[int]) -> Figure:
    """The two rows that do best on the first lesion set, on any set: a script draws any other two."""
    first, second = best
    metric = scores_of(one)[0]
    frame = scaled(study, one, metric)
    names = study.rows[second].title, study.rows[first].title
    says = f"{metric.label} of every volume of {one.title}: {names[0]} and {names[1]}, joined by lines"
    left, right = frame[second].to_numpy(), frame[first].to_numpy()
    picture = paired_plot(left, right, names, f"{metric.label} ({metric.unit})", says, name=f"pair-{one.key}")
    both = int((np.isfinite(left) & np.isfinite(right)).sum())
    shown = f"{MOST} of {both} volumes, evenly spread over their scores; means of all." if both > MOST else ""
    return Figure(picture, shown, one.title)


def _against_size(study: Study, one: SetOf, dots: int) -> Figure | None:
    metric = scores_of(one)[0]
    frame = scaled(study, one, metric)
    best = best_rows(study, one, _LINES)
    sizes = study.lesion_ml(one.key).reindex(frame.index).to_numpy()
    if not best or not np.isfinite(sizes).any():
        return None
    plot = Plot(
        logarithmic("lesion volume (ml)", sizes),
        linear(f"{metric.label} ({metric.unit})", frame.to_numpy().ravel()),
        height=300,
    )
    marks = points(plot.across(sizes), plot.up(frame[dots]), "volume size-dots")
    curves = [
        line(*_running_median(sizes, frame[place].to_numpy(), plot), f"c{rank}")
        for rank, place in reversed(list(enumerate(best)))
    ]
    says = f"{metric.label} against lesion volume, {one.title}"
    picture = plot.svg([marks, *curves], says, name=f"size-{one.key}")
    names = [study.rows[place].title for place in best]
    return Figure(Markup("{}{}").format(picture, legend(names)), "", one.title)


def _running_median(sizes: np.ndarray, values: np.ndarray, plot: Plot) -> tuple[list[float], list[float]]:
    """Places of the median over windows of a fifth of the volumes, by size."""
    there = np.isfinite(sizes) & np.isfinite(values) & (sizes > 0)
    order = np.argsort(sizes[there], kind="stable")
    by_size, scores = sizes[there][order], values[there][order]
    width = max(3, round(_WINDOW * len(scores)))
    if len(scores) < width:
        return [], []
    starts = np.unique(np.linspace(0, len(scores) - width, 24).astype(int))
    middles = [float(np.exp(np.mean(np.log(by_size[s : s + width])))) for s in starts]
    medians = [float(np.median(scores[s : s + width])) for s in starts]
    return plot.across(middles).tolist(), plot.up(medians).tolist()
