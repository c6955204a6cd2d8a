"""The score histogram of a volume inside and outside lesions, and the curves that follow from it without a score map.

Bin 0 counts scores <= edges[0], bin i scores in (edges[i - 1], edges[i]], the last one all above. A threshold marks
score > threshold, strictly; so what an edge marks is the bins above it, exactly, whatever the width of the bins.
Histograms of volumes that were made with the same edges add up to that of the volumes pooled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checks import BoolArray, FloatArray
from ..counts import require_scores

Counts = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """What each edge of a histogram achieves as a threshold, each float64 [E].

    Attributes:
        thresholds: the edges, ascending.
        recall: share of lesion voxels marked; NaN if there is none.
        precision: share of marked voxels that are lesion; NaN where none is marked.
        dice: 2 |marked and lesion| / (|marked| + |lesion|); 1 where both are empty.
        false_positive_rate: share of other voxels marked; NaN if there is none.
    """

    thresholds: _Floats
    recall: _Floats
    precision: _Floats
    dice: _Floats
    false_positive_rate: _Floats


def histogram(scores: FloatArray, labels: BoolArray, edges: FloatArray) -> tuple[Counts, Counts]:
    """Count scores per bin, inside and outside lesions.

    Args:
        scores: post-processed scores, float, any shape.
        labels: True in lesions, bool, the same shape.
        edges: strictly ascending, float [E].

    Returns:
        Voxels inside and outside lesions, int64 [E + 1] each.

    Raises:
        ValueError: a type or shape is wrong, a score is not finite, or the edges do not ascend.
    """
    require_scores(scores, labels)
    _require_edges(edges)
    inside = _binned(scores[labels], edges)
    return inside, _binned(scores[~labels], edges)


def marked_at(counts: Counts, edges: FloatArray, threshold: float) -> int:
    """Voxels that a threshold marks: those above the first edge that is not below it; exact where it is an edge.

    Args:
        counts: voxels per bin, [E + 1].
        edges: of the bins, [E].
        threshold: a voxel is marked if its score is greater.

    Raises:
        ValueError: counts and edges do not belong together.
    """
    _require_bins(counts, edges)
    return int(counts[1 + np.searchsorted(edges, threshold, side="left") :].sum())


def dice_at(inside: Counts, outside: Counts, edges: FloatArray, threshold: float) -> float:
    """Dice of a threshold, exact where it is an edge, else that of the next edge above.

    1 if there is neither a lesion nor a marked voxel.

    Args:
        inside: lesion voxels per bin, [E + 1].
        outside: other voxels per bin, [E + 1].
        edges: of the bins, [E].
        threshold: a voxel is marked if its score is greater.

    Raises:
        ValueError: counts and edges do not belong together.
    """
    hits, false = marked_at(inside, edges, threshold), marked_at(outside, edges, threshold)
    voxels = hits + false + int(inside.sum())
    return 2 * hits / voxels if voxels else 1.0


def curve_of(inside: Counts, outside: Counts, edges: FloatArray) -> Curve:
    """Recall, precision, Dice and false-positive rate at each edge.

    Args:
        inside: lesion voxels per bin, of a volume or summed over volumes, [E + 1].
        outside: other voxels per bin, [E + 1].
        edges: of the bins, [E].

    Raises:
        ValueError: counts and edges do not belong together.
    """
    _require_bins(inside, edges)
    _require_bins(outside, edges)
    hits, false = _above(inside)[1:], _above(outside)[1:]
    lesions, others = int(inside.sum()), int(outside.sum())
    marked = hits + false
    return Curve(
        thresholds=np.asarray(edges, np.float64),
        recall=_share(hits, lesions),
        precision=_share(hits, marked),
        dice=np.where(marked + lesions == 0, 1.0, _share(2 * hits, marked + lesions)),
        false_positive_rate=_share(false, others),
    )


def ap_of(inside: Counts, outside: Counts) -> float:
    """Average precision from a histogram, Σ (R_n - R_{n-1}) P_n over bins from above; scores of a bin enter together.

    It is the average precision of scores rounded to their bins: with bins fine enough, that of the scores.

    Args:
        inside: lesion voxels per bin, [B].
        outside: other voxels per bin, [B].

    Returns:
        In (0, 1]; NaN if no voxel is a lesion.

    Raises:
        ValueError: the two have not the same bins.
    """
    if inside.ndim != 1 or inside.shape != outside.shape:
        raise ValueError(f"inside and outside must have the same bins, not shapes {inside.shape} and {outside.shape}")
    lesions = int(inside.sum())
    if not lesions:
        return float("nan")
    new = inside > 0
    precision = _above(inside)[new] / (_above(inside) + _above(outside))[new]
    return float(inside[new] @ precision) / lesions


def _above(counts: Counts) -> Counts:
    """Voxels in each bin or above it."""
    return counts[::-1].cumsum()[::-1]


def _binned(scores: FloatArray, edges: FloatArray) -> Counts:
    # As a rule most voxels score 0, outside the brain: they need no sorting. Few edges are then sought in many scores.
    above = np.sort(scores[scores > edges[0]]).astype(np.float64, copy=False)
    not_above = np.searchsorted(above, edges, side="right") + (scores.size - above.size)
    return np.diff(not_above, prepend=0, append=scores.size).astype(np.int64)


def _share(part: NDArray[Any], whole: NDArray[Any] | int) -> _Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        share: _Floats = np.true_divide(part, whole)
    return share


def _require_edges(edges: FloatArray) -> None:
    if edges.ndim != 1 or not edges.size or not (np.diff(edges) > 0).all():
        raise ValueError("edges must be at least one number, ascending without repetition")


def _require_bins(counts: Counts, edges: FloatArray) -> None:
    _require_edges(edges)
    if counts.shape != (edges.size + 1,):
        raise ValueError(f"{edges.size} edges make {edges.size + 1} bins, not an array of shape {counts.shape}")
