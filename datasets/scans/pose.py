"""Does a brain lie the way its header says? A look at the shape of its mask, whatever its size and place.

A header that lies about the axes does not show in any number of a scan; the brain then stands on its head for every
method. The mask tells: drawn on a coarse grid about its centre, in units of the cube root of its volume, it is compared
with the brain of MNI152 in every way to lay a box on its sides. Left and right look alike in a mask, so a mirrored scan
cannot be told this way, and the 48 ways are 24 pairs of which one is looked at.

Measured on the phantom, two MSLUB patients and SRI24: the true way has a Dice of 0.89 to 0.97 with MNI152, the next
best loses 0.06 to 0.10.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from .space import Grid

_CELLS = 24
_BRAIN_CELLS = (_CELLS / 2) ** 3
_ENOUGH_VOXELS = 400_000

_AXES = ("left-right", "front-back", "up-down")
_Way = tuple[tuple[int, ...], tuple[int, int]]


@dataclass(frozen=True)
class Pose:
    """How alike a mask and the brain of MNI152 are.

    Attributes:
        likeness: Dice as the header has it.
        best: Dice in the way that fits best.
        way: what would have to be done to get there; empty where nothing.
    """

    likeness: float
    best: float
    way: str


def mask_shape(mask: NDArray[np.bool_], grid: Grid) -> bytes:
    """The shape of a brain mask without size and place, 1.7 kB: what `pose_of` reads.

    Args:
        mask: not empty, [Z, Y, X].
        grid: where it lies.
    """
    # Every second voxel tells the same of a large mask, in an eighth of the time.
    step = 2 if np.count_nonzero(mask) > _ENOUGH_VOXELS else 1
    points = grid.world(step * np.argwhere(mask[::step, ::step, ::step]).astype(np.float64))
    volume = len(points) * step**3 * grid.voxel_ml * 1000
    cell = float((volume / _BRAIN_CELLS) ** (1 / 3))
    places = np.floor((points - points.mean(axis=0)) / cell + _CELLS / 2).astype(int)
    places = places[((places >= 0) & (places < _CELLS)).all(axis=1)]
    counts = np.bincount(np.ravel_multi_index(tuple(places.T), (_CELLS,) * 3), minlength=_CELLS**3)
    full = cell**3 / (step**3 * grid.voxel_ml * 1000)
    return np.packbits(counts > full / 2).tobytes()


def pose_of(shape: bytes) -> Pose:
    """Compare a mask's shape with MNI152 in all ways it could have been laid."""
    brain = np.unpackbits(np.frombuffer(shape, dtype=np.uint8), count=_CELLS**3).astype(bool)
    volume = brain.reshape((_CELLS,) * 3)
    names, ways = _reference_ways()
    overlap = ways @ volume.ravel().astype(np.float32)
    dices = 2 * overlap / (ways.sum(axis=1) + brain.sum())
    best = int(np.argmax(dices))
    return Pose(float(dices[0]), float(dices[best]), names[best])


@cache
def _reference_ways() -> tuple[list[str], NDArray[np.float32]]:
    """The brain of MNI152 in every way, [ways, cells]; the first is upright."""
    from .atlases import load_mni152

    atlas = load_mni152(2)
    upright = np.unpackbits(np.frombuffer(mask_shape(atlas.mask, atlas.grid), dtype=np.uint8), count=_CELLS**3)
    volume = upright.reshape((_CELLS,) * 3)
    names, laid = [], []
    for order, flips in product(permutations(range(3)), product((1, -1), (1, -1))):
        names.append(_name((order, flips)))
        laid.append(volume.transpose(order)[:, :: flips[0], :: flips[1]].ravel())
    return names, np.array(laid, dtype=np.float32)


def _name(way: _Way) -> str:
    order, flips = way
    if order != (0, 1, 2):
        return "axes exchanged"
    turned = [name for name, flip in zip(_AXES[1:], flips, strict=True) if flip < 0]
    return f"{' and '.join(turned)} turned round" if turned else ""
