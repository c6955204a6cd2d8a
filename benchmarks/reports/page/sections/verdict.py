"""The verdict: what the study says, in sentences, before any table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ....judgement.measures import Metric
from ..html import Section
from ..judged import Judgements, SetJudgement
from ..study import Study

#: Names in a list before the rest are counted.
_NAMED = 6
_SECONDS = "cost/volume_seconds"


def verdict_section(study: Study, judgements: Judgements) -> Section:
    """What a reader should take home."""
    return Section("verdict", "Verdict", lead=tuple(_sentences(study, judgements)), notes=_NOTES)


_NOTES = (
    "Intervals: 95 %, BCa bootstrap over volumes and trainings. “Not told apart”: not significantly worse than the "
    "best, by the stricter of Wilcoxon's signed-rank test on paired volumes (folds averaged first) and a test that "
    "knows that trainings differ, Holm over the rows of the column.",
)


def _sentences(study: Study, judgements: Judgements) -> Iterator[str]:
    found = [judged for one in study.sets if (judged := judgements.main(one)) is not None and judged.best is not None]
    for judged in found:
        yield from _of_set(study, judged)
    with_lesions = [judged for judged in found if judged.one.has_lesions]
    yield from _across(study, with_lesions)
    yield from _cheapest(study, with_lesions)


def _of_set(study: Study, judged: SetJudgement) -> Iterator[str]:
    best, metric = judged.best, judged.metric
    if best is None:
        return
    found = judged.means[best]
    superlative = "highest" if judged.higher else "lowest"
    few = ", few enough to make the interval doubtful" if found.doubtful else ""
    yield (
        f"On {judged.one.title}, {study.rows[best].title} has the {superlative} mean {metric.label}: {found.mean:.1f}"
        f"{_unit(metric)} (95 % interval {found.low:.1f} to {found.high:.1f}; {found.n} volumes{few}). "
        f"{_rivals(study, judged, best)}"
    )


def _unit(metric: Metric) -> str:
    return f"e{metric.unit.partition('e')[2]}" if metric.unit.startswith("1e") else f" {metric.unit}"


def _rivals(study: Study, judged: SetJudgement, best: int) -> str:
    """Who cannot be told from the best, and how firmly it is first."""
    others = [study.rows[place].title for place in judged.order() if place != best and place in judged.near]
    beaten = len(judged.order()) - 1 - len(others)
    first = 100 * judged.ranks[best].first
    stays = f"It stays first in {first:.0f} % of resamples of volumes and trainings"
    if len(judged.order()) < 2:
        return "It has no rival here."
    if not others:
        return f"Every other row is significantly worse. {stays}."
    if not beaten:
        none = f"None of the other {len(others)} rows is" if len(others) > 1 else "The other row is not"
        return f"{none} significantly worse. {stays}."
    rest = f"the other {beaten} are" if beaten > 1 else "the other one is"
    return f"Not told apart from it: {_listed(others)}; {rest} significantly worse. {stays}."


def _across(study: Study, found: Sequence[SetJudgement]) -> Iterator[str]:
    """Whether one row is among the best everywhere."""
    if len(found) < 2:
        return
    everywhere = set.intersection(*(set(judged.near) for judged in found))
    rivals = set.intersection(*(set(judged.order()) for judged in found))
    names = [study.rows[place].title for place in found[0].order() if place in everywhere]
    if not names:
        yield "No row is among the best on every lesion set."
    elif everywhere == rivals and len(rivals) > 1:
        few = " The sets are so small that hardly any difference could." if any(one.doubtful for one in found) else ""
        yield f"So none of the {len(rivals)} rows is shown to be worse than the best on any lesion set.{few}"
    else:
        yield f"Among the best on every lesion set: {_listed(names)}."


def _cheapest(study: Study, found: Sequence[SetJudgement]) -> Iterator[str]:
    """Which of the best rows on the first lesion set takes least time, where records hold bills."""
    for judged in found[:1]:
        seconds = {place: float(np.mean(study.rows[place].cells[_SECONDS])) for place in judged.near}
        known = {place: value for place, value in seconds.items() if value > 0}
        if len(known) > 1:
            place = min(known, key=known.__getitem__)
            yield (
                f"Of the rows not told apart on {judged.one.title}, {study.rows[place].title} takes least time: "
                f"{known[place]:.2g} s per volume."
            )


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        shown.append(f"{len(names) - _NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
