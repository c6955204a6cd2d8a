"""`bench table --ci`: how sure each number of a table is, and which are no worse than the column's best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ....metrics.inference import FEW, IntervalOfMean, two_level_interval
from ...judgement.by_volume import Cube, cube_of
from ...judgement.family import near_best
from ..columns import Column
from ..console import counted

if TYPE_CHECKING:
    import pandas as pd

#: Beside a number whose interval stands on few volumes; beside one that is not significantly worse than the best.
FEW_SIGN, NEAR_SIGN = "†", "≈"


@dataclass(frozen=True)
class Sureness:
    """What is known of one number.

    Attributes:
        low: lower end of its 95 % interval, in the column's unit.
        high: upper end.
        n: volumes behind it.
        near: whether it is not significantly worse than the best of its column; the best itself is near.
    """

    low: float
    high: float
    n: int
    near: bool = False

    @property
    def doubtful(self) -> bool:
        """Whether few volumes stand behind it."""
        return self.n < FEW


@dataclass(frozen=True)
class Certainty:
    """How sure the numbers of a table are.

    Attributes:
        found: by place of the line and name of the column; nothing where there are no volumes here.
        folds: the most that stand behind an interval.
    """

    found: Mapping[tuple[int, str], Sureness] = field(default_factory=dict)
    folds: int = 0

    def at(self, place: int, column: str) -> Sureness | None:
        """What is known of the number of a line and a column."""
        return self.found.get((place, column))


@dataclass(frozen=True)
class CertainLine:
    """A line of a table, as far as its certainty goes.

    Attributes:
        place: in the table, from 0.
        cells: ids of its cells.
        competes: whether it may be the best of its column.
    """

    place: int
    cells: frozenset[str]
    competes: bool


def certainty_of(lines: Sequence[CertainLine], columns: Sequence[Column], volumes: pd.DataFrame) -> Certainty:
    """The intervals of a table's numbers, and what is not significantly worse than the best of each column.

    Args:
        lines: our own.
        columns: those that are measured on volumes.
        volumes: the frame of their scored volumes, see `reports.cells.volumes_of_records`.
    """
    places = {cell: str(line.place) for line in lines for cell in line.cells}
    own = volumes[volumes["id"].isin(places)]
    own = own.assign(line=own["id"].map(places))
    found: dict[tuple[int, str], Sureness] = {}
    for column in columns:
        if column.metric.name in own and (own["set"] == column.key).any():
            cube = cube_of(own, column.key, column.metric.name, line="line")
            found |= {(place, column.name): sure for place, sure in _of_column(cube, column, lines)}
    return Certainty(found, int(own["fold"].nunique()))


def _of_column(cube: Cube, column: Column, lines: Sequence[CertainLine]) -> Iterator[tuple[int, Sureness]]:
    rivals = {str(line.place) for line in lines if line.competes}
    competing = [place for place, name in enumerate(cube.lines) if name in rivals]
    higher = column.metric.higher
    near: Mapping[str, float] = {}
    if higher is not None:
        part = Cube(tuple(cube.lines[place] for place in competing), cube.folds, cube.subjects, cube.scores[competing])
        near = near_best(part, higher=higher)
    for name, scores in zip(cube.lines, cube.scores, strict=True):
        interval = two_level_interval(scores)
        if not math.isnan(interval.low):
            yield int(name), _scaled(interval, column.metric.scale, near=name in near)


def _scaled(interval: IntervalOfMean, scale: float, *, near: bool) -> Sureness:
    low, high = np.sort([scale * interval.low, scale * interval.high])
    return Sureness(float(low), float(high), interval.n, near)


def certainty_notes(certainty: Certainty, lines: int) -> Iterator[str]:
    """What intervals and signs mean.

    Args:
        certainty: of a table.
        lines: of ours.
    """
    places = {place for place, _ in certainty.found}
    if len(places) < lines:
        yield f"No interval: the volumes of {counted(lines - len(places), 'line')} are not in the run records here."
    if not places:
        return
    both = "volumes and trainings" if certainty.folds > 1 else "volumes"
    yield f"Intervals: 95 %, BCa bootstrap over {both}; ± is the deviation over folds."
    if any(one.near for one in certainty.found.values()):
        yield (
            f"{NEAR_SIGN}: not significantly worse than the column's best (Wilcoxon's signed-rank test on volumes, "
            "folds averaged first, and a test that knows that trainings differ; Holm over the column's pairs)."
        )
    if any(one.doubtful for one in certainty.found.values()):
        yield (
            f"{FEW_SIGN}: fewer than {FEW} volumes; such an interval covers the truth less often than it says, and "
            "hardly any difference can be shown."
        )
