"""Free-response ROC: the share of lesions that is found against the false components that this costs per scan.

Sources: the curve is that of Bunch et al. 1978 and of Chakraborty 1989; one number of it, the sensitivity at 1/8, 1/4,
1/2, 1, 2, 4 and 8 false positives per scan on average, is LUNA16's competition performance metric (Setio et al. 2017,
after Niemeijer et al. 2011), whose points are joined by straight lines.

There a detector gives each candidate a score, so that a lower threshold adds candidates and takes none away. Here a
threshold cuts a map. Lower it, and there are more components, until they grow together: half a brain in one piece is no
false component where it touches a lesion, and may even match a large one. So the curve *ends* where false components
are the most (`Froc.end`), and the sensitivity *at* a number of them is the greatest before, with at most so many.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Floats = NDArray[np.float64]
#: False components per scan at which LUNA16 averages the sensitivity.
CPM_AT = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class Froc:
    """A FROC curve, from the highest threshold to the lowest.

    Attributes:
        sensitivity: share of all lesions that is found at each threshold, float64 [T].
        false_per_scan: false components per scan there, float64 [T].
    """

    sensitivity: _Floats
    false_per_scan: _Floats

    @property
    def end(self) -> int:
        """The threshold that has the most false components, the lowest of several: beyond, components grow together.

        Raises:
            ValueError: the curve has no threshold.
        """
        if not self.false_per_scan.size:
            raise ValueError("a curve without a threshold has no end")
        return self.false_per_scan.size - 1 - int(np.argmax(self.false_per_scan[::-1]))


def froc_of(hits: ArrayLike, false: ArrayLike, lesions: float, scans: int) -> Froc:
    """The curve from counts, summed over scans.

    Args:
        hits: lesions found at each threshold, the highest threshold first, [T].
        false: false components there, [T].
        lesions: all lesions of the scans.
        scans: how many, those without a lesion too.

    Raises:
        ValueError: the two are not equally long, a count is negative, there are more hits than lesions, or no scan.
    """
    found, wrong = np.asarray(hits, np.float64), np.asarray(false, np.float64)
    if found.ndim != 1 or found.shape != wrong.shape:
        raise ValueError(f"hits and false must be equally long rows, not of shapes {found.shape} and {wrong.shape}")
    if scans < 1:
        raise ValueError(f"scans must be at least 1, not {scans}")
    if not ((found >= 0).all() and (wrong >= 0).all() and (found <= lesions).all()):
        raise ValueError(f"counts must not be negative, and hits not more than the {lesions} lesions")
    sensitivity = found / lesions if lesions else np.full(found.size, np.nan)
    return Froc(sensitivity, wrong / scans)


def sensitivity_at(curve: Froc, false_per_scan: float) -> float:
    """The greatest sensitivity that a curve reaches before its end with at most so many false components per scan.

    Neighbouring thresholds are joined by straight lines, and the first one to the origin, where nothing is marked. Of a
    curve that never has so many false components it is the greatest before its end.

    Args:
        curve: the curve; NaN in it, or no threshold at all, gives NaN.
        false_per_scan: on average.

    Raises:
        ValueError: false_per_scan is negative or NaN.
    """
    if not false_per_scan >= 0:
        raise ValueError(f"false_per_scan must not be negative, but it is {false_per_scan}")
    if not curve.sensitivity.size or np.isnan(curve.sensitivity).any():
        return float("nan")
    rising = slice(curve.end + 1)
    false = np.concatenate([[0.0], curve.false_per_scan[rising]])
    found = np.concatenate([[0.0], curve.sensitivity[rising]])
    reached = [float(found[false <= false_per_scan].max())]
    for left, right in zip(range(false.size - 1), range(1, false.size), strict=True):
        low, high = sorted((false[left], false[right]))
        if low < false_per_scan < high:  # a line that crosses; at its crossing it has exactly so many
            part = (false_per_scan - false[left]) / (false[right] - false[left])
            reached.append(float(found[left] + part * (found[right] - found[left])))
    return max(reached)


def mean_sensitivity(curve: Froc, at: Sequence[float] = CPM_AT) -> float:
    """The mean of `sensitivity_at` over numbers of false components per scan; by default LUNA16's seven."""
    return float(np.mean([sensitivity_at(curve, false_per_scan) for false_per_scan in at]))
