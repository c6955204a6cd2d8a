"""`bench report --diff A B`: what differs between two results folders, row by row, on scans that both have scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import UserError
from ....files import write_text
from ....metrics.inference import holm
from ...judgement.comparison import compare, tells_apart
from ...judgement.measures import METRICS, Metric
from ..console import counted
from ..results import Results
from .html import Figure, Page, Section, render, table_of_words
from .judged import scores_of
from .report import banner_of, made_now
from .sections.provenance import facts_of, numbers_of
from .study import Question, SetOf, Study, StudyRow, study_of
from .svg.forest import Group, Mean, forest_plot


@dataclass(frozen=True)
class Change:
    """How a row's score on a set differs between two folders: B less A, in the printed unit.

    Attributes:
        one: the set.
        metric: the score.
        title: the row's.
        scans: that both folders have scored.
        before: mean in A.
        after: mean in B.
        difference: of the means.
        low: of its 95 % interval; NaN where there is none.
        high: likewise.
        doubtful: whether few scans stand behind it.
        p: of the stricter of two tests, see `judgement.comparison`; after Holm's rule over all changes.
        wins: scans on which B is better.
        ties: on which both are equal.
        losses: on which A is better.
    """

    one: SetOf
    metric: Metric
    title: str
    scans: int
    before: float
    after: float
    difference: float
    low: float
    high: float
    doubtful: bool
    p: float
    wins: int
    ties: int
    losses: int

    @property
    def is_change(self) -> bool:
        """Whether chance does not explain it."""
        return tells_apart(self.p, self.low, self.high)


def write_difference(
    folders: tuple[Path, Path], results: tuple[Results, Results], question: Question, path: Path
) -> int:
    """Write a page on what differs between two results folders.

    Args:
        folders: what they are called.
        results: their run records.
        question: which study, the same in both.
        path: the file; written whole or not at all.

    Returns:
        Its size in bytes.

    Raises:
        UserError: one of them has no finished cell of the study, or they share no row, or the file cannot be written.
    """
    first, second = (study_of(one, question) for one in results)
    text = render(difference_of(first, second, (str(folders[0]), str(folders[1]))))
    write_text(path, text)
    return len(text.encode())


def difference_of(first: Study, second: Study, names: tuple[str, str]) -> Page:
    """The page before it is rendered.

    Raises:
        UserError: the two share no row.
    """
    pairs = [(row, other) for row in first.rows for other in second.rows if row.name == other.name]
    if not pairs:
        raise UserError(f"{names[0]} and {names[1]} share no row of this study, so there is nothing to compare")
    changes = changes_between(first, second, pairs)
    return Page(
        title="What differs between two results folders",
        conditions=f"A: {names[0]}. B: {names[1]}. {first.tables[0].caption}",
        banner=banner_of(first) or banner_of(second),
        made=made_now(),
        sections=(
            _verdict(first, second, pairs, changes),
            _numbers(changes),
            _environments(first, second, names),
        ),
        data={},
    )


def changes_between(first: Study, second: Study, pairs: Sequence[tuple[StudyRow, StudyRow]]) -> tuple[Change, ...]:
    """Every score of every row that both folders have, on the folds and scans that both have scored."""
    found = [change for row, other in pairs for change in _changes(first, second, row, other)]
    adjusted = holm([change.p for change in found])
    return tuple(replace(change, p=float(p)) for change, p in zip(found, adjusted, strict=True))


def _changes(first: Study, second: Study, row: StudyRow, other: StudyRow) -> Iterator[Change]:
    import pandas as pd

    sides = [(first, row.place, "A"), (second, other.place, "B")]
    frames = [study.volumes[study.volumes["place"] == place].assign(line=side, seed=0) for study, place, side in sides]
    sets = {one.key: one for one in first.sets}
    keys = [one.key for one in second.sets if one.key in sets]
    numbers = [(key, metric.name) for key in keys for metric in scores_of(sets[key])]
    try:
        compared = compare(pd.concat(frames, ignore_index=True), "B", "A", numbers, line="line")
    except ValueError:  # the two share no fold
        return
    for line in compared.to_dict("records"):
        metric = METRICS[str(line["metric"])]
        after, before, difference, low, high = (
            metric.scale * float(line[name]) for name in ("first", "second", "difference", "low", "high")
        )
        p = float(np.fmax(line["p"], line["p_crossed"]))
        wins, ties, losses = (int(line[name]) for name in ("wins", "ties", "losses"))
        one, scans, doubtful = sets[line["set"]], int(line["n"]), bool(line["doubtful"])
        yield Change(
            one, metric, row.title, scans, before, after, difference, low, high, doubtful, p, wins, ties, losses
        )


def _verdict(
    first: Study, second: Study, pairs: Sequence[tuple[StudyRow, StudyRow]], changes: Sequence[Change]
) -> Section:
    return Section("verdict", "Verdict", lead=tuple(_sentences(first, second, pairs, changes)))


def _sentences(
    first: Study, second: Study, pairs: Sequence[tuple[StudyRow, StudyRow]], changes: Sequence[Change]
) -> Iterator[str]:
    cells = [
        {record.config.cell: numbers_of(record) for row in study.rows for record in row.records}
        for study in (first, second)
    ]
    shared = cells[0].keys() & cells[1].keys()
    same = sum(cells[0][cell] == cells[1][cell] for cell in shared)
    yield (
        f"{counted(len(pairs), 'row')} in both. A has {counted(len(cells[0]), 'cell')}, B {len(cells[1])}; of the "
        f"{len(shared)} that are the same by their ids, {same} have the very same numbers."
    )
    moved = [change for change in changes if change.is_change]
    equal = [change for change in changes if not change.wins and not change.losses]
    yield (
        f"Of {counted(len(changes), 'number')}, {len(equal)} agree on every scan; {len(moved)} differ significantly "
        "(as bench compare tests, Holm over all of them)."
    )
    for change in sorted(moved, key=lambda one: one.p)[:8]:
        better = (change.difference > 0) == (change.metric.higher is not False)
        yield (
            f"{change.title} is {'better' if better else 'worse'} in B on {change.one.title}: {change.metric.label} "
            f"{change.before:.2f} → {change.after:.2f} {change.metric.unit} ({_signed(change.difference)}, 95 % "
            f"{_signed(change.low)} to {_signed(change.high)}, {change.scans} scans)."
        )
    if {*first.cells["fingerprint"]} != {*second.cells["fingerprint"]}:
        yield "The data are two versions, so that scans of one name are compared that may not be the same."
    for name, one, other in (("A", first, second), ("B", second, first)):
        missing = [row.title for row in one.rows if row.name not in {other_row.name for other_row in other.rows}]
        if missing:
            yield f"In {name} alone: {', '.join(missing)}."


def _numbers(changes: Sequence[Change]) -> Section:
    heads = (
        "Method",
        "Set",
        "Number",
        "Scans",
        "A",
        "B",
        "B − A",
        "95 % interval",
        "p (Holm)",
        "B better / equal / worse",
    )
    mains = [_of_main_score(changes, key) for key in dict.fromkeys(change.one.key for change in changes)]
    differing = [own for own in mains if any(change.wins or change.losses for change in own)]
    equal = [own[0] for own in mains if own not in differing]
    tables = [{"title": "Every number", **table_of_words(heads, [_line(change) for change in changes])}]
    return Section(
        "numbers",
        "The numbers",
        lead=tuple(f"{one.one.title}: {one.metric.label} of every row agrees on every scan." for one in equal),
        figures=tuple(_figure(own) for own in differing),
        content={"tables": tables},
    )


def _of_main_score(changes: Sequence[Change], key: str) -> list[Change]:
    """The changes of a set's main score, a row each."""
    own = [change for change in changes if change.one.key == key]
    return [change for change in own if change.metric is own[0].metric]


def _figure(changes: Sequence[Change]) -> Figure:
    """B less A, a line per row; the changes are of one score of one set."""
    main, title = changes[0].metric, changes[0].one.title
    groups = [
        Group(
            change.title,
            _signed(change.difference),
            (Mean(0, change.difference, change.low, change.high, change.is_change),),
        )
        for change in changes
    ]
    label = f"{main.label}, B less A ({main.unit})"
    return Figure(forest_plot(groups, label, f"{label}, {title}", flag="differs"), "", title)


def _line(change: Change) -> tuple[str, ...]:
    few = " †" if change.doubtful else ""
    return (
        change.title,
        change.one.title,
        change.metric.heading,
        str(change.scans),
        f"{change.before:.2f}",
        f"{change.after:.2f}",
        _signed(change.difference),
        "–" if np.isnan(change.low) else f"{_signed(change.low)} to {_signed(change.high)}{few}",
        "< 0.001" if change.p < 0.001 else f"{change.p:.3f}",
        f"{change.wins} / {change.ties} / {change.losses}",
    )


def _environments(first: Study, second: Study, names: tuple[str, str]) -> Section:
    facts: list[Mapping[str, str]] = [facts_of(first), facts_of(second)]
    lines: list[tuple[Any, ...]] = [
        (
            name,
            *(one.get(name, "unknown") for one in facts),
            "" if facts[0].get(name) == facts[1].get(name) else "differs",
        )
        for name in dict.fromkeys([*facts[0], *facts[1]])
    ]
    tables = [{"title": "Machines, versions and data", **table_of_words(("What", "A", "B", "Note"), lines)}]
    return Section("environments", "Where they were computed", content={"tables": tables})


def _signed(number: float) -> str:
    """Two digits with their sign; nothing is no sign's."""
    return "0.00" if abs(number) < 0.005 else f"{number:+.2f}".replace("-", "−")
