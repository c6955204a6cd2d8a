"""FROC: from the lines of `froc.csv` to the curve of a cell on a set, and the numbers of it.

A step of the ladder is a share of healthy validation voxels, so that the steps of all folds and rows are comparable and
no lesion label chose them. Lesions and components are pooled over the test scans of a set, as in `detection.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import HEALTHY
from ...metrics.lesions import Froc, froc_of, mean_sensitivity, sensitivity_at
from .found import FROC_AT

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("id", "set", "share", "scans", "lesions", "hits", "false", "healthy_scans", "healthy_components")


def froc_points(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The operating points of cells: a row per cell (`id`), lesion set (`set`) and step of the ladder (`share`).

    Beside the sums over test scans, `lesions`, `hits`, `false` and what is marked in healthy ones, stand `sensitivity`,
    `false_per_scan` and `healthy_per_scan`; NaN where there is no lesion or no healthy scan.

    Args:
        frames: see `Results.froc`; cells may be split over frames, so that not all of them are in memory at once.
    """
    import pandas as pd

    parts = [_summed(frame) for frame in frames if len(frame)]
    if not parts:
        return pd.DataFrame(columns=[*_COLUMNS, "sensitivity", "false_per_scan", "healthy_per_scan"])
    sums = pd.concat(parts, ignore_index=True)
    names = {"scans": "healthy_scans", "components": "healthy_components"}
    healthy = sums[sums["set"] == HEALTHY].rename(columns=names)
    own = sums[sums["set"] != HEALTHY].drop(columns="components")
    of_healthy = healthy[["id", "share", *names.values()]]
    points = own.merge(of_healthy, on=["id", "share"], how="left")[list(_COLUMNS)]
    return points.assign(
        sensitivity=points["hits"] / points["lesions"],
        false_per_scan=points["false"] / points["scans"],
        healthy_per_scan=points["healthy_components"] / points["healthy_scans"],
    )


def _summed(lines: pd.DataFrame) -> pd.DataFrame:
    """Sums over the scans of each cell, set and step; a scan without a lesion in view adds components and no lesion."""
    counts = lines[["id", "set", "share", "lesions", "hits", "false", "components"]].assign(scans=1.0)
    return counts.groupby(["id", "set", "share"], sort=False, as_index=False).sum()


def froc_curves(points: pd.DataFrame) -> Iterator[tuple[str, str, Froc]]:
    """The curve of each cell (its id) on each lesion set (its key), from the highest threshold to the lowest.

    Args:
        points: see `froc_points`.
    """
    ordered = points.sort_values("share", kind="stable")
    for (cell, key), own in ordered.groupby(["id", "set"], sort=False):
        first = own.iloc[0]
        yield str(cell), str(key), froc_of(own["hits"], own["false"], float(first["lesions"]), int(first["scans"]))


def froc_numbers(points: pd.DataFrame) -> dict[str, dict[str, float]]:
    """By cell, the numbers of its curves: `<set>/froc_at_1` … `_8` and `<set>/froc_mean`, fractions.

    `froc_mean` is the mean at 1/8 to 8 false components per scan, as LUNA16 has it.
    """
    found: dict[str, dict[str, float]] = {}
    for cell, key, curve in froc_curves(points):
        numbers = {f"{key}/froc_at_{at}": sensitivity_at(curve, at) for at in FROC_AT}
        found.setdefault(cell, {}).update(numbers | {f"{key}/froc_mean": mean_sensitivity(curve)})
    return found


def averaged(curves: Sequence[Froc], false_per_scan: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean sensitivity of curves at numbers of false components per scan: folds are averaged as tables average them.

    Args:
        curves: of the folds of a row; not none.
        false_per_scan: where, [N].
    """
    found = np.array([[sensitivity_at(curve, float(at)) for at in false_per_scan] for curve in curves])
    mean: NDArray[np.float64] = found.mean(axis=0)
    return mean
