"""One score map at many thresholds: lesions that are hit and components that are false at each, for FROC.

The same steps as at a single threshold, so that the numbers are the same: score above threshold, small components go,
ignored voxels go, and what is left is matched one to one (see `matching`). Lesions are connected once, and each
threshold connects its voxels once, within the box of the lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..checks import (
    BoolArray,
    FloatArray,
    require_at_least,
    require_floats,
    require_mask,
    require_same_shape,
    require_volume,
)
from ..postprocess import TOUCHING_IN_3D, bounding_box
from .matching import DICE_RULE, MatchRule, matched_pairs
from .overlaps import counted, pieces

_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class OperatingCounts:
    """What a threshold finds in a volume.

    Attributes:
        components: marked.
        hits: lesions that are matched to one of them.
        false: components that share no voxel with any lesion.
    """

    components: int
    hits: int
    false: int


def operating_counts(
    scores: FloatArray,
    lesions: BoolArray,
    thresholds: Sequence[float],
    min_voxels: int,
    ignored: BoolArray | None = None,
    rule: MatchRule = DICE_RULE,
) -> tuple[OperatingCounts, ...]:
    """Hits and false components of a score map at each threshold; of equal thresholds one is worked out.

    Args:
        scores: the score map after post-processing, float [D, H, W].
        lesions: True in lesions, bool [D, H, W]; there may be none.
        thresholds: a voxel is marked if its score is greater; in any order.
        min_voxels: the smallest component that stays, see `remove_small_components`.
        ignored: True where nothing counts, bool [D, H, W]: such voxels are taken out of lesions, and of what is marked
            once the small components are gone.
        rule: from what overlap on a lesion counts as found.

    Returns:
        A line per threshold, in their order.

    Raises:
        ValueError: a type or shape is wrong, a score is not finite, or min_voxels < 0.
    """
    require_floats("scores", scores)
    require_volume("scores", scores)
    require_mask("lesions", lesions)
    require_same_shape("lesions", lesions, "scores", scores)
    require_at_least("min_voxels", min_voxels, 0)
    if ignored is not None:
        require_mask("ignored", ignored)
        require_same_shape("ignored", ignored, "scores", scores)
    if not thresholds:
        return ()
    true = lesions if ignored is None else lesions & ~ignored
    marked_box = bounding_box(scores > min(thresholds))
    lesion_of, lesion_voxels = _lesions(true, marked_box)
    within = None if ignored is None else ignored[marked_box]
    inside = scores[marked_box]
    known: dict[float, OperatingCounts] = {}
    for threshold in thresholds:
        if threshold in known:
            continue
        places, component, voxels = _components(inside > threshold, min_voxels, within)
        overlaps = counted(lesion_of[places], lesion_voxels, component, voxels)
        touching = np.unique(overlaps.component).size
        known[threshold] = OperatingCounts(voxels.size, len(matched_pairs(overlaps, rule)), voxels.size - touching)
    return tuple(known[threshold] for threshold in thresholds)


def _lesions(lesions: BoolArray, box: tuple[slice, ...]) -> tuple[_Ints, _Ints]:
    """The lesion of each voxel of a box, in a row, and the voxels that each lesion has, in the box or not."""
    own = bounding_box(lesions)
    of, voxels = pieces(lesions[own])
    everywhere = np.full(lesions.shape, -1, np.int64)
    everywhere[own] = of
    return everywhere[box].ravel(), voxels


def _components(mask: BoolArray, min_voxels: int, ignored: BoolArray | None) -> tuple[_Ints, _Ints, _Ints]:
    """Places of the marked voxels, the component of each (-1 where it went), and the voxels of each component."""
    places, of, voxels = _connected(mask)
    kept = voxels >= min_voxels
    if ignored is not None:  # what is left of a component may be in pieces
        left = np.zeros(mask.size, dtype=bool)
        left[places[kept[of]]] = True
        places, of, voxels = _connected(left.reshape(mask.shape) & ~ignored)
        kept = voxels > 0
    # The largest first, as everywhere: of pairs with the same overlap the larger component is matched.
    order = np.argsort(-voxels, kind="stable")[: np.count_nonzero(kept)]
    rank = np.full(voxels.size, -1, np.int64)
    rank[order] = np.arange(order.size)
    return places, rank[of], voxels[order]


def _connected(mask: BoolArray) -> tuple[_Ints, _Ints, _Ints]:
    """Places of the voxels of a mask, the component of each, from 0, and the voxels of each component."""
    labels, number = ndimage.label(mask, TOUCHING_IN_3D)
    places = np.flatnonzero(mask)
    of = labels.ravel()[places].astype(np.int64) - 1
    return places, of, np.bincount(of, minlength=number).astype(np.int64)
