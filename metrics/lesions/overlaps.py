"""How the connected pieces of two masks overlap: all that a rule of matching needs to know of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..checks import BoolArray, require_mask, require_same_shape, require_volume
from ..postprocess import TOUCHING_IN_3D, bounding_box

_Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Overlaps:
    """The pieces of two masks and every pair of them that shares a voxel.

    Pieces are counted from 0 here, the largest first; of equally large ones first the one whose first voxel comes
    first in the array.

    Attributes:
        lesions: voxels of each lesion, int64 [L].
        components: voxels of each marked component, int64 [C].
        lesion: of each pair, int64 [P].
        component: of each pair, int64 [P].
        shared: voxels that both have, int64 [P], at least 1.
    """

    lesions: _Ints
    components: _Ints
    lesion: _Ints
    component: _Ints
    shared: _Ints

    @property
    def dice(self) -> NDArray[np.float64]:
        """Dice of each pair, [P]."""
        dice: NDArray[np.float64] = 2 * self.shared / (self.lesions[self.lesion] + self.components[self.component])
        return dice

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each pair, [P]."""
        either = self.lesions[self.lesion] + self.components[self.component] - self.shared
        iou: NDArray[np.float64] = self.shared / either
        return iou


def overlaps_of(found: BoolArray, lesions: BoolArray) -> Overlaps:
    """Connect the voxels of both masks, those that share a corner included, and count what the pieces share.

    Args:
        found: True on what was marked, bool [D, H, W].
        lesions: True in lesions, bool [D, H, W].

    Raises:
        ValueError: a mask is no bool volume, or the shapes differ.
    """
    for name, mask in (("found", found), ("lesions", lesions)):
        require_mask(name, mask)
        require_volume(name, mask)
    require_same_shape("found", found, "lesions", lesions)
    true_box, found_box = bounding_box(lesions), bounding_box(found)
    lesion_of, lesion_voxels = pieces(lesions[true_box])
    component_of, component_voxels = pieces(found[found_box])
    common = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(true_box, found_box, strict=True))
    if any(side.stop <= side.start for side in common):
        none = np.zeros(0, np.int64)
        return Overlaps(lesion_voxels, component_voxels, none, none, none)
    lesion = lesion_of[_within(common, true_box)]
    component = component_of[_within(common, found_box)]
    return counted(lesion, lesion_voxels, component, component_voxels)


def counted(lesion: _Ints, lesion_voxels: _Ints, component: _Ints, component_voxels: _Ints) -> Overlaps:
    """The overlaps of pieces whose voxels are numbered.

    Args:
        lesion: the lesion that each voxel belongs to, -1 for none, of whatever shape.
        lesion_voxels: voxels of each lesion, [L].
        component: the component that the same voxels belong to, -1 for none, the same shape.
        component_voxels: voxels of each component, [C].
    """
    both = (lesion >= 0) & (component >= 0)
    pairs, shared = np.unique(lesion[both] * component_voxels.size + component[both], return_counts=True)
    first, second = np.divmod(pairs, max(component_voxels.size, 1))
    return Overlaps(lesion_voxels, component_voxels, first, second, shared.astype(np.int64))


def _within(box: tuple[slice, ...], outer: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, outer, strict=True))


def pieces(mask: BoolArray) -> tuple[_Ints, _Ints]:
    """The piece that each voxel belongs to, -1 for none, and the voxels of each piece; the largest is piece 0."""
    labels, number = ndimage.label(mask, TOUCHING_IN_3D)
    voxels = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    order = np.argsort(-voxels, kind="stable")
    rank = np.full(number + 1, -1, np.int64)
    rank[1 + order] = np.arange(number)
    return rank[labels], voxels[order].astype(np.int64)
