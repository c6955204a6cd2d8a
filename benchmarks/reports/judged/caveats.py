"""How a comparison was made, and what its reader must know: the notes below `bench compare`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ....metrics.inference import FEW
from ...judgement.measures import set_title
from ...judgement.scan_numbers import COMPARABLE, SCAN_NUMBERS
from ..console import counted

if TYPE_CHECKING:
    import pandas as pd

#: Means over scans here, and over all lesions of a set in `bench table --detection`.
_POOLED_ELSEWHERE = frozenset({"lesion_recall", "lesion_precision", "lesion_f1", "lesion_recall_iou"})


def comparison_notes(
    own: pd.DataFrame, first: str, second: str, titles: Mapping[str, str], diagonals: Iterable[float]
) -> Iterator[str]:
    """What is to be said of the comparisons of one seed.

    Args:
        own: see `judgement.comparison.COMPARED`.
        first: title of the line that differences speak for.
        second: title of the other.
        titles: of the sets, by key.
        diagonals: of the volumes, mm; none where no HD95 is compared.
    """
    folds = int(own["folds"].max()) if len(own) else 0
    yield from method_notes(len(own), folds)
    for row in own.itertuples():
        yield from _missing(row, first, second, titles, max(diagonals, default=0.0))
    yield from _of_metrics(list(dict.fromkeys(own["metric"])), first)
    few = own[own["doubtful"].astype(bool)].drop_duplicates("set")
    if len(few):
        sets = ", ".join(f"{set_title(key, titles)} {n}" for key, n in zip(few["set"], few["n"], strict=True))
        yield f"†: fewer than {FEW} volumes ({sets}); such an interval covers the truth less often than it says."


def method_notes(comparisons: int, folds: int) -> Iterator[str]:
    """How comparisons are made.

    Args:
        comparisons: of the family.
        folds: behind them.
    """
    several = folds > 1
    first = f", {counted(folds, 'fold')} averaged first, since a fold is no second volume" if several else ""
    yield f"Paired by volume{first}. p: Wilcoxon's signed-rank test, two-sided, zeros by Pratt."
    if several:
        yield (
            "crossed: p of a test for which trainings are chance, too (min F', Clark 1973): on many volumes any two "
            "sets of trainings differ, and it does not follow that the methods do."
        )
    stricter = "the larger of both p" if several else "p, which knows one training of each"
    drawn = "volumes and trainings" if several else "volumes"
    yield (
        f"Holm: {stricter}, adjusted for {counted(comparisons, 'comparison')}. Interval: 95 %, BCa bootstrap over "
        f"{drawn}. Nothing is called better unless Holm's p is below 0.05 and the interval leaves out zero."
    )
    yield (
        "False claim: the probability that the one with the worse mean is at least as good (after Christodoulou et al. "
        "2025, arXiv:2505.04720), here the share of resamples in which the difference has the other sign."
    )


def _missing(row: Any, first: str, second: str, titles: Mapping[str, str], diagonal: float) -> Iterator[str]:
    """What became of the volumes of which a method has no such number."""
    metric = COMPARABLE[row.metric]
    what = f"{metric.label} on {set_title(row.set, titles)}"
    if row.worst_first or row.worst_second:
        worst = SCAN_NUMBERS[row.metric].worst + (f", {diagonal:.0f} mm" if row.metric == "hd95" else "")
        yield (
            f"{what}: {first} marks nothing in {counted(row.worst_first, 'volume')}, {second} in {row.worst_second}, "
            f"in one fold at least. Such a fold counts there as the worst there is ({worst}): leaving it out would "
            f"favour whoever finds nothing. {_both(row)}"
        )
    if row.n < row.scans:
        neither = row.scans - row.n - row.lacks_first - row.lacks_second
        rest = [
            f"{number} have it with {whom}"
            for number, whom in (
                (row.lacks_first, f"{second} alone"),
                (row.lacks_second, f"{first} alone"),
                (neither, "neither, as where no lesion is in view"),
            )
            if number
        ]
        yield f"{what}: {row.n} of {counted(row.scans, 'volume')} compared; of the rest {' and '.join(rest)}."


def _both(row: Any) -> str:
    if not row.n_both:
        return "There is no volume in which both mark something."
    metric = COMPARABLE[row.metric]
    difference = f"{metric.scale * row.difference_both:+.2f} {metric.unit}".replace("-", "−")
    return f"Where both mark something ({counted(row.n_both, 'volume')}) the difference is {difference}."


def _of_metrics(names: list[str], first: str) -> Iterator[str]:
    neither = [COMPARABLE[name].label for name in names if COMPARABLE[name].higher is None]
    if neither:
        yield (
            f"{', '.join(neither)}: neither more nor less is better; wins are volumes on which {first} has more, and a "
            "false claim is one of having more."
        )
    if "ceiling_dice" in names:
        yield "ceiling DICE is at each volume's own best threshold, which nobody knows: no result."
    if _POOLED_ELSEWHERE & {*names}:
        yield (
            "Lesion-wise rates are means over scans here, each scan counting once; bench table --detection pools the "
            "lesions of a set."
        )
