"""Which lines of a column are not significantly worse than its best: what stands in a table beside bold.

The best by its mean is compared with every other, by the Wilcoxon signed-rank test on shared volumes with the folds
averaged first; Holm's adjustment is over these comparisons of the column. A line is worse where its adjusted p is below
5 % and its mean is worse, too. Of few volumes hardly any line is: that says how little they tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...metrics.inference import holm
from ...metrics.inference.paired import differences_of, signed_rank
from .comparison import ALPHA

if TYPE_CHECKING:
    import pandas as pd


def near_best(scores: pd.DataFrame, *, higher: bool) -> dict[str, float]:
    """The lines that are not significantly worse than the best, which is among them, with their adjusted p.

    Args:
        scores: index volume, one column per line, see `by_volume.volume_scores`.
        higher: whether more is better.

    Returns:
        Line to Holm's p against the best; 1 for the best itself. Empty of fewer than two lines.
    """
    means = scores.mean().dropna()
    if len(means) < 2:
        return {}
    best = means.idxmax() if higher else means.idxmin()
    others = [name for name in means.index if name != best]
    differences = {name: differences_of(scores[best], scores[name]) for name in others}
    tests = [signed_rank(one) if one.size else math.nan for one in differences.values()]
    adjusted = dict(zip(others, holm(tests), strict=True))
    near = {
        str(name): float(adjusted[name])
        for name, one in differences.items()
        if one.size and not (adjusted[name] < ALPHA and (one.mean() > 0) == higher)
    }
    return {str(best): 1.0, **near}
