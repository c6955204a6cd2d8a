"""How far the surface of what was found lies from the surface of the lesions: HD95 and surface Dice.

The surface of a mask is its voxels with a face neighbour outside the mask; beyond the border of the volume is outside.
A distance is that between centres of voxels. HD95 is the larger of the two directed 95th percentiles (Huttenlocher et
al. 1993 have the largest distance in place of a percentile) and surface Dice the share of both surfaces within a
tolerance of the other (Nikolov et al. 2021). The latter's code, which BraTS uses, weighs surface voxels by the area of
a mesh through them; panoptica takes one percentile of both directions together and averages the two surfaces' shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..checks import BoolArray, require_mask, require_same_shape, require_volume
from ..postprocess import bounding_box

_Floats = NDArray[np.float64]
_FACES = ndimage.generate_binary_structure(3, 1)


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between two surfaces, both directions; an empty surface has no voxel, and every distance to it is inf.

    Attributes:
        found: of each surface voxel of what was found to the surface of the lesions, mm, float64 [F].
        truth: the other way round, [T].
    """

    found: _Floats
    truth: _Floats

    @property
    def hd95(self) -> float:
        """The 95th percentile, of the direction where it is larger, mm; NaN if a mask is empty."""
        if not self.found.size or not self.truth.size:
            return float("nan")
        return float(max(np.percentile(self.found, 95), np.percentile(self.truth, 95)))

    def dice_within(self, tolerance_mm: float) -> float:
        """The share of both surfaces that lies within a tolerance of the other, in [0, 1].

        Two empty masks give 1, one empty mask 0.

        Args:
            tolerance_mm: distance that counts as none, mm; a distance equal to it does, too.

        Raises:
            ValueError: the tolerance is negative.
        """
        if not tolerance_mm >= 0:
            raise ValueError(f"tolerance_mm must be a distance that is not negative, not {tolerance_mm}")
        voxels = self.found.size + self.truth.size
        near = np.count_nonzero(self.found <= tolerance_mm) + np.count_nonzero(self.truth <= tolerance_mm)
        return float(near / voxels) if voxels else 1.0


def surface_distances(found: BoolArray, truth: BoolArray, spacing_mm: tuple[float, float, float]) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks.

    Args:
        found: True on what was marked, bool [D, H, W].
        truth: True in lesions, bool [D, H, W].
        spacing_mm: edges of a voxel along D, H and W, mm.

    Raises:
        ValueError: a mask is no bool volume, the shapes differ, or an edge is not positive.
    """
    for name, mask in (("found", found), ("truth", truth)):
        require_mask(name, mask)
        require_volume(name, mask)
    require_same_shape("found", found, "truth", truth)
    if len(spacing_mm) != 3 or not all(edge > 0 for edge in spacing_mm):
        raise ValueError(f"spacing_mm must be three positive edges of a voxel, not {spacing_mm}")
    ours, theirs = _surface(found, spacing_mm), _surface(truth, spacing_mm)
    return SurfaceDistances(_nearest(ours, theirs), _nearest(theirs, ours))


def hd95(found: BoolArray, truth: BoolArray, spacing_mm: tuple[float, float, float]) -> float:
    """95th percentile of the surface distances, mm; NaN if either mask is empty. See `surface_distances`."""
    return surface_distances(found, truth, spacing_mm).hd95


def surface_dice(
    found: BoolArray, truth: BoolArray, spacing_mm: tuple[float, float, float], tolerance_mm: float
) -> float:
    """Share of both surfaces within `tolerance_mm` of the other; 1 if both masks are empty, 0 if one is.

    See `surface_distances` and `SurfaceDistances.dice_within`.
    """
    return surface_distances(found, truth, spacing_mm).dice_within(tolerance_mm)


def _surface(mask: BoolArray, spacing_mm: tuple[float, float, float]) -> _Floats:
    """The centres of the surface voxels, mm, [N, 3]."""
    box = bounding_box(mask)
    inner = mask[box]
    shell = inner & ~ndimage.binary_erosion(inner, _FACES) if inner.size else inner
    places = np.argwhere(shell) + [side.start for side in box]
    centres: _Floats = places * np.asarray(spacing_mm, np.float64)
    return centres


def _nearest(points: _Floats, others: _Floats) -> _Floats:
    """The distance of each point to the nearest of the others."""
    if not len(others) or not len(points):
        return np.full(len(points), np.inf)
    from scipy.spatial import cKDTree  # here, as it takes as long to import as all else

    # A tree of the surfaces: a distance transform would visit each voxel of a box that scattered finds make a brain.
    distances: _Floats = cKDTree(others).query(points)[0]
    return distances
