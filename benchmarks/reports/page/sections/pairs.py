"""The pairwise matrix: each row of a study against each other, by the same volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....judgement.comparison import tells_apart
from ..html import Section
from ..judged import Judgements, SetJudgement
from ..study import Study


@dataclass(frozen=True)
class PairCell:
    """How the row at the left does against the one above.

    Attributes:
        words: the difference, with its sign.
        says: difference, interval, p, wins and losses, in a sentence.
        style: "better", "worse", "alike" or "self".
    """

    words: str
    says: str
    style: str


@dataclass(frozen=True)
class Matrix:
    """A score on a set, every row against every other.

    Attributes:
        title: set and score.
        names: of the rows, the best first.
        lines: cell by cell; the first row's stand first.
        notes: on the number of volumes, and on ranks.
    """

    title: str
    names: tuple[str, ...]
    lines: tuple[tuple[PairCell, ...], ...]
    notes: tuple[str, ...]


def pairs_section(study: Study, judgements: Judgements) -> Section:
    """Matrices of every score that is judged; those of Dice are open."""
    matrices = [_matrix(study, judged) for judged in judgements.found.values() if len(judged.order()) > 1]
    return Section(
        "pairs",
        "Who is better than whom",
        "pairs.html.j2",
        lead=(
            "The row at the left less the row above, on the volumes that both have scored. Bold and coloured: "
            "significantly different, by the stricter of Wilcoxon's signed-rank test (folds averaged first) and a "
            "test that knows that trainings differ, Holm over all pairs of the matrix, p < 0.05, and an interval "
            "without zero. Rows stand in the order of their means; hover over a cell, or open the list below, for "
            "interval, p and wins.",
        ),
        content={"matrices": matrices},
    )


def _matrix(study: Study, judged: SetJudgement) -> Matrix:
    order = judged.order()
    cells = {}
    for pair in judged.pairs.to_dict("records"):
        row, column = int(pair["row"]), int(pair["column"])
        cells[row, column] = _cell(study, judged, pair, row, column, 1)
        cells[column, row] = _cell(study, judged, pair, column, row, -1)
    lines = tuple(tuple(cells.get((row, column), PairCell("", "", "self")) for column in order) for row in order)
    metric, found = judged.metric, judged.means[order[0]]
    few = " Few: every interval is doubtful." if found.doubtful else ""
    return Matrix(
        f"{judged.one.title}: {metric.label}",
        tuple(study.rows[place].title for place in order),
        lines,
        (f"{found.n} volumes, in {metric.unit}.{few}", _ranks(study, judged, order)),
    )


def _cell(study: Study, judged: SetJudgement, pair: Mapping[Any, Any], row: int, column: int, sign: int) -> PairCell:
    """The cell of a row and a column; `sign` is -1 where the comparison was made the other way round."""
    difference, *ends = (judged.metric.scale * sign * float(pair[name]) for name in ("difference", "low", "high"))
    low, high = sorted(ends)
    wins, losses = (pair["wins"], pair["losses"])[::sign]
    better = (difference > 0) == judged.higher
    says = (
        f"{study.rows[row].title} less {study.rows[column].title}: {_signed(difference)} ({_signed(low)} to "
        f"{_signed(high)}), p {_p(float(pair['p_holm']))}; better on {wins}, equal on {pair['ties']}, worse on "
        f"{losses} of {pair['n']}"
    )
    apart = tells_apart(float(pair["p_holm"]), low, high)
    return PairCell(_signed(difference), says, ("better" if better else "worse") if apart else "alike")


def _ranks(study: Study, judged: SetJudgement, order: Sequence[int]) -> str:
    """Between which ranks each row lies when volumes and trainings are drawn anew."""
    words = []
    for place in order:
        rank = judged.ranks[place]
        span = f"{rank.low:g}" if rank.low == rank.high else f"{rank.low:g} to {rank.high:g}"
        words.append(f"{study.rows[place].title} {span}")
    return f"Ranks that hold 95 % of the resamples: {'; '.join(words)}."


def _signed(number: float) -> str:
    return f"{number:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
