"""Two scans of one person under two names: other voxels, the same folds.

A second scan of a person is a leak as much as a second copy of a file, but no hash finds it. Brains that were brought
to one atlas differ in how their gyri run, and that hardly changes from day to day. So a print is taken of each: grey
values become ranks (another gain, offset or contrast curve leaves them), structures between some 2 and 8 mm are kept
(noise and the bias field lie outside), sampled every 6 mm. What all brains of a set have in common is subtracted, and
what is left of two scans is correlated.

A pair is told where its correlation is high and stands out from that of all other pairs so far that chance would not
give one such pair in a hundred directories of that size, were correlations normally distributed. That is a hint and no
proof: twins are alike, too, and a copy of an atlas or a badly registered scan may fool it. A person whose brain changed
much in between, by surgery or a growing tumour, may be missed.

Measured on 35 real T1 heads of 30 healthy people, five of whom were scanned on two days, and on four of patients: 0.97
to 0.99 for the five pairs, at most 0.23 for the other 736 (tests/trials/real_t1_trial.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..outliers import FEWEST_TO_COMPARE
from ..scans.nifti import VOXEL_TOLERANCE
from ..scans.space import Grid

#: Correlation of two prints above which a pair may be one person.
ALIKE = 0.5
_EXPECTED_BY_CHANCE = 0.01  # pairs in the whole directory
_BLOCK = 2  # mm, over which voxels are averaged first
_STEP = 6  # mm between the points of a print
_FINE, _BROAD = 2.0, 8.0  # mm, standard deviations of the Gaussians whose difference is kept
_FEWEST_POINTS = 1000  # of a brain there are 8000; fewer tell no brain from another
_SHARED = 0.8  # of all scans that must show a point
_SCALE = 40  # of a standard deviation in a byte
_OUTSIDE = -128
_TINY = 1e-6

Key = tuple[str, str]


@dataclass(frozen=True)
class BrainPrint:
    """The middle-sized structures of a brain, 20 kB.

    Attributes:
        start: place of its first point on a lattice of 6 mm in the world (z, y, x).
        shape: how many points there are along each axis.
        content: a signed byte per point, a fortieth of a standard deviation each; -128 outside the brain.
    """

    start: tuple[int, int, int]
    shape: tuple[int, ...]
    content: bytes

    @property
    def values(self) -> NDArray[np.int8]:
        """The points, [Z, Y, X]."""
        return np.frombuffer(self.content, dtype=np.int8).reshape(self.shape)


@dataclass(frozen=True)
class AlikePair:
    """Two scans that may show one person.

    Attributes:
        scans: set and name of each.
        correlation: of their prints.
        next_best: the highest correlation among the pairs that are not told.
    """

    scans: tuple[Key, Key]
    correlation: float
    next_best: float


def brain_print(image: NDArray[np.float32], brain: NDArray[np.bool_], grid: Grid) -> BrainPrint | None:
    """Take the print of a scan; None of one that has no voxels of 1 mm along the axes, or nothing but one grey value.

    Args:
        image: stripped scan in atlas space, [Z, Y, X].
        brain: its brain mask.
        grid: where both lie.
    """
    if not _is_plain(grid) or not brain.any():
        return None
    start = np.rint(grid.affine[:3, 3])[::-1].astype(int)
    before = start % _STEP
    after = -(before + image.shape) % _STEP
    padding = list(zip(before.tolist(), after.tolist(), strict=True))
    inside = np.pad(brain & np.isfinite(image), padding)
    grey = np.where(inside, np.pad(image, padding), 0)
    weight = _block_means(inside)
    mask = weight > 0.5
    if not mask.any():
        return None
    means = np.asarray(_block_means(grey) / np.maximum(weight, _TINY), dtype=np.float32)
    band = _band(_ranks(means, mask), mask)
    spread = float(band[mask].std())
    if spread < _TINY:
        return None
    thin = (slice(None, None, _STEP // _BLOCK),) * 3
    steps = np.clip(np.rint(_SCALE * band[thin] / spread), 1 - 128, 127)
    z, y, x = ((start - before) // _STEP).tolist()
    return BrainPrint((z, y, x), steps.shape, np.where(mask[thin], steps, _OUTSIDE).astype(np.int8).tobytes())


def _is_plain(grid: Grid) -> bool:
    return bool(np.allclose(grid.affine[:3, :3], np.eye(3), atol=VOXEL_TOLERANCE))


def _block_means(array: NDArray[np.generic]) -> NDArray[np.float32]:
    z, y, x = (size // _BLOCK for size in array.shape)
    blocks = array.reshape(z, _BLOCK, y, _BLOCK, x, _BLOCK)
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def _ranks(grey: NDArray[np.floating[Any]], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Ranks of the brain's grey values from 0 to 1."""
    order = np.argsort(grey[mask], kind="stable")
    ranks = np.empty(len(order), dtype=np.float32)
    ranks[order] = np.linspace(0, 1, len(order), dtype=np.float32)
    result = np.zeros(grey.shape, dtype=np.float32)
    result[mask] = ranks
    return result


def _band(values: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What a fine Gaussian keeps and a broad one does not, both of the brain's voxels alone."""
    fine, broad = (_smoothed(values, mask, size / _BLOCK) for size in (_FINE, _BROAD))
    return np.where(mask, fine - broad, np.float32(0))


def _smoothed(values: NDArray[np.float32], mask: NDArray[np.bool_], size: float) -> NDArray[np.float32]:
    from scipy import ndimage

    weights = ndimage.gaussian_filter(mask.astype(np.float32), size, mode="constant")
    return np.asarray(ndimage.gaussian_filter(values, size, mode="constant") / np.maximum(weights, _TINY))


# ----------------------------------------------------------------------------------------------------------- comparison


def alike_pairs(prints: Mapping[Key, BrainPrint]) -> tuple[AlikePair, ...]:
    """The pairs of scans that may show one person, the most alike first; none among too few scans to compare.

    Args:
        prints: by set and name of the scan.
    """
    if len(prints) < FEWEST_TO_COMPARE:
        return ()
    keys = list(prints)
    values = _aligned([prints[key] for key in keys])
    if values.shape[1] < _FEWEST_POINTS:
        return ()
    residuals = _without_common(values, [owner for owner, _ in keys])
    correlations = residuals @ residuals.T
    first, second = np.triu_indices(len(keys), 1)
    of_pairs = correlations[first, second]
    told = of_pairs > _bound(of_pairs)
    next_best = float(of_pairs[~told].max()) if not told.all() else 0.0
    order = sorted(np.flatnonzero(told).tolist(), key=lambda pair: -of_pairs[pair])
    return tuple(AlikePair((keys[first[pair]], keys[second[pair]]), float(of_pairs[pair]), next_best) for pair in order)


def _aligned(prints: Sequence[BrainPrint]) -> NDArray[np.float32]:
    """The prints on the points that most of them show, [scans, points]; 0, no structure, where one has none."""
    low = np.min([one.start for one in prints], axis=0)
    high = np.max([np.add(one.start, one.shape) for one in prints], axis=0)
    boxes = [
        tuple(slice(a - b, a - b + size) for a, b, size in zip(one.start, low, one.shape, strict=True))
        for one in prints
    ]
    shown = np.zeros(high - low, dtype=np.int32)
    for one, box in zip(prints, boxes, strict=True):
        shown[box] += one.values != _OUTSIDE
    points = shown >= _SHARED * len(prints)
    result = np.zeros((len(prints), int(points.sum())), dtype=np.float32)
    for row, one, box in zip(result, prints, boxes, strict=True):
        whole = np.zeros(points.shape, dtype=np.float32)
        whole[box] = np.where(one.values == _OUTSIDE, 0, one.values)
        row[:] = whole[points]
    return result


def _without_common(values: NDArray[np.float32], owners: Sequence[str]) -> NDArray[np.float32]:
    """Rows without the mean of their set, or of all where a set is too small for one, and of unit length."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, owner in enumerate(owners):
        rows[owner].append(row)
    rest = values - values.mean(axis=0)
    for own in rows.values():
        if len(own) >= FEWEST_TO_COMPARE:
            rest[own] = values[own] - values[own].mean(axis=0)
    rest -= rest.mean(axis=1, keepdims=True)
    return np.asarray(rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), _TINY))


def _bound(correlations: NDArray[np.float32]) -> float:
    """The correlation that a pair must exceed: by the spread of all pairs, robustly, and never below `ALIKE`."""
    from scipy import stats

    middle = float(np.median(correlations))
    spread = 1.4826 * float(np.median(np.abs(correlations - middle)))
    return max(ALIKE, middle + spread * float(stats.norm.isf(_EXPECTED_BY_CHANCE / len(correlations))))
