"""Which lines of a column are not significantly worse than its best: what stands in a table beside bold.

The best by its mean is compared with every other as `comparison.compare` does, Holm's adjustment over these comparisons
of the column. A line is worse where that tells them apart. Of few volumes hardly any line is: that says how little they
tell. The best is chosen by the same volumes and may owe its place to luck; a line beside it is no worse for that.
"""

from __future__ import annotations

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
    others = [name for name in means if name != best]
    differences = np.stack([differences_of(cube.of(best), cube.of(name)) for name in others])
    found = paired_family(differences, higher=higher, resamples=resamples, seed=seed)
    adjusted = holm(one.p for one in found)
    near = {
        name: float(p)
        for name, one, p in zip(others, found, adjusted, strict=True)
        if one.n and not tells_apart(float(p), one.interval.low, one.interval.high)
    }
    return {best: 1.0, **near}
