"""Which lines of a column are not significantly worse than its best: what stands in a table beside bold.

Lines are compared as `comparison.pairwise` does, and one is worse where that tells it from the best. Holm's adjustment
is over all pairs of the column, since the best is chosen by the same volumes and may owe its place to luck: over the
comparisons with it alone, 14 of 100 simulated columns of equal methods had a worse one. Of few volumes hardly any line
is worse: that says how little they tell.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from ...metrics.inference import RESAMPLES, differences_of, holm, paired_family
from .by_volume import Cube
from .comparison import tells_apart


def near_best(cube: Cube, *, higher: bool, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, float]:
    """The lines that are not significantly worse than the best, which is among them, with their adjusted p.

    Args:
        cube: the scores of one number, of the lines that compete.
        higher: whether more is better.
        resamples: of the bootstrap.
        seed: makes it repeatable.

    Returns:
        Line to Holm's p against the best; 1 for the best itself. Empty of fewer than two lines.
    """
    means = {
        name: float(np.nanmean(one))
        for name, one in zip(cube.lines, cube.scores, strict=True)
        if np.isfinite(one).any()
    }
    if len(means) < 2:
        return {}
    best = (max if higher else min)(means, key=means.__getitem__)
    pairs = list(combinations(means, 2))
    differences = np.stack([differences_of(cube.of(one), cube.of(other)) for one, other in pairs])
    found = paired_family(differences, higher=higher, resamples=resamples, seed=seed)
    adjusted = holm(one.p_strict for one in found)
    near = {
        one if other == best else other: float(p)
        for (one, other), each, p in zip(pairs, found, adjusted, strict=True)
        if best in (one, other) and each.n and not tells_apart(float(p), each.interval.low, each.interval.high)
    }
    return {best: 1.0, **near}
