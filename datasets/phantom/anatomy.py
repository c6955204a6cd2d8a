"""One healthy brain of the phantom: tissue fractions grown from the MNI152 maps that nilearn ships.

The maps (Fonov et al., "Unbiased average age-appropriate atlases", NeuroImage 2011) are an average of 152 people: real
anatomy, but with sulci blurred. A subject is made individual and crisp again in two steps.

1. Its own affine and its own deformation at three scales move everything; a part of the velocity field points out of
   the ventricles and widens them with age.
2. The log-odds of the tissues, plus smooth random fields (where this person's sulci are open) and thin random sheets
   (sulci of its own), go through a softmax of low temperature. Age raises the odds of fluid in the cortex.

The fractions stay fractions: a voxel is never forced to one label, so partial volume survives to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fields import (
    Array,
    Shape,
    evaluate,
    integrate,
    linear_basis,
    random_field,
    smooth_step,
    spline_basis,
    stream,
    volume_shape,
)

MARGIN = 8
RIM = 1.1
LATTICE = 4
SUBLATTICE = 2
ODDS_FLOOR = 0.015
TEMPERATURE = 0.4
VENTRICLE_REACH = 8.0

# Structures that hold iron and are dark on T2: centre and semi-axes (x, y, z) in MNI millimetres, darkness.
IRON = (
    ((18.0, -3.0, -1.0), (5.0, 9.0, 5.5), 1.0),
    ((5.0, -20.0, -8.0), (3.0, 3.0, 4.0), 0.9),
    ((10.0, -17.0, -12.0), (5.0, 4.0, 2.5), 0.9),
    ((15.0, -57.0, -34.0), (5.0, 8.0, 4.0), 0.7),
    ((26.0, 2.0, 1.0), (4.5, 12.0, 8.0), 0.25),
)


@dataclass(frozen=True)
class Atlas:
    """What all subjects are grown from, at 1 mm in RAS order, cropped to the brain with a margin.

    Attributes:
        origin: MNI coordinates (x, y, z) of voxel (0, 0, 0), millimetres.
        fluid_odds: log-odds of cerebrospinal fluid against grey matter.
        white_odds: log-odds of white against grey matter.
        depth: signed distance to the brain's surface, positive inside, millimetres.
        cortex: 1 in the cerebral cortex, 0 in deep grey matter, cerebellum and brain stem.
        iron: 1 in the globus pallidus, less in other dark nuclei.
        ventricle_distance: distance to the lateral and third ventricles, millimetres; 0 inside.
        outward: unit-sized velocity (at its maximum) out of the ventricles on the control lattice, [3, Z, Y, X].
    """

    origin: tuple[float, float, float]
    fluid_odds: Array
    white_odds: Array
    depth: Array
    cortex: Array
    iron: Array
    ventricle_distance: Array
    outward: Array

    @property
    def shape(self) -> Shape:
        """The volume's shape, (Z, Y, X)."""
        return volume_shape(self.depth)


@dataclass(frozen=True)
class Anatomy:
    """A healthy brain at 1 mm: fractions of a voxel, each float32 [Z, Y, X].

    They sum to 1, but for a rim of the mask that skull stripping leaves in place: there the rest is dark membrane.

    Attributes:
        brain: True inside the brain.
        fluid: cerebrospinal fluid.
        grey: grey matter.
        white: white matter.
        iron: iron content of dark nuclei, 0 to 1.
        cortex: 1 in the cerebral cortex.
        ventricle_distance: distance to the ventricles, millimetres; 0 inside.
        depth: distance below the brain's surface, millimetres.
    """

    brain: NDArray[np.bool_]
    fluid: Array
    grey: Array
    white: Array
    iron: Array
    cortex: Array
    ventricle_distance: Array
    depth: Array

    @property
    def shape(self) -> Shape:
        """The volume's shape, (Z, Y, X)."""
        return volume_shape(self.brain)


@dataclass(frozen=True)
class Push:
    """A mass that pushes tissue away: centre (z, y, x) in voxels, radius of the pushed zone in mm, strength."""

    centre: tuple[float, float, float]
    radius: float
    strength: float


def _signed_distance(mask: NDArray[np.bool_], reach: float) -> Array:
    """Return the distance to the mask's border, positive inside, clipped to +-reach."""
    inside = ndimage.distance_transform_edt(mask)
    outside = ndimage.distance_transform_edt(~mask)
    distance: Array = np.clip(inside - outside, -reach, 4 * reach).astype(np.float32)
    return distance


def _ventricles(fluid: Array, depth: Array, mni: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Return the lateral and third ventricles: deep fluid, without the cisterns behind the third ventricle."""
    z, y, x = mni
    above = (z > -8)[:, None, None] & (z < 40)[:, None, None]
    cistern = (y < -34)[None, :, None] & (np.abs(x) < 13)[None, None, :] & (z < 22)[:, None, None]
    between = (np.abs(x) < 38)[None, None, :] & (y > -62)[None, :, None] & (y < 42)[None, :, None]
    return np.asarray((fluid > 0.5) & (depth > 22) & above & between & ~cistern)


def _iron(shape: Shape, origin: tuple[float, float, float]) -> Array:
    """Return the soft ellipsoids of IRON on both sides."""
    z, y, x = (np.arange(n, dtype=np.float32) + o for n, o in zip(shape, origin[::-1], strict=True))
    iron = np.zeros(shape, np.float32)
    for (cx, cy, cz), (rx, ry, rz), darkness in IRON:
        sideways = ((np.abs(x) - cx) / rx)[None, None, :] ** 2
        radius = sideways + (((y - cy) / ry) ** 2)[None, :, None] + (((z - cz) / rz) ** 2)[:, None, None]
        np.maximum(iron, np.float32(darkness) * smooth_step((1.2 - radius).astype(np.float32), 1.0), out=iron)
    return iron


def _outward(ventricles: NDArray[np.bool_]) -> Array:
    """Return the field that points out of the ventricles, on the control lattice, largest vector of length 1."""
    blurred = ndimage.gaussian_filter(ventricles.astype(np.float32), VENTRICLE_REACH)
    gradient = np.stack(np.gradient(-blurred))
    bases = [linear_basis((np.arange(spline_basis(n, LATTICE).shape[1]) - 1.0) * LATTICE, n) for n in ventricles.shape]
    coarse = evaluate(gradient, bases)
    return coarse / np.float32(np.sqrt((coarse**2).sum(axis=0)).max())


@cache
def load_atlas() -> Atlas:
    """Return the atlas, loaded and derived once per process (about two seconds)."""
    from nilearn import datasets as nilearn_data

    loaders = (
        nilearn_data.load_mni152_brain_mask,
        nilearn_data.load_mni152_gm_template,
        nilearn_data.load_mni152_wm_template,
    )
    images = [load(resolution=1) for load in loaders]
    volumes = [np.asanyarray(image.dataobj).transpose(2, 1, 0) for image in images]
    box = ndimage.find_objects((volumes[0] > 0).astype(np.int8))[0]
    inside, grey, white = (np.pad(volume[box], MARGIN).astype(np.float32) for volume in volumes)
    corner = images[0].affine[:3, 3] + [part.start - MARGIN for part in reversed(box)]
    origin = (float(corner[0]), float(corner[1]), float(corner[2]))
    brain = inside > 0
    fluid = np.clip(1 - grey - white, 0, 1) * brain
    depth = _signed_distance(brain, 15.0)
    z, y, x = (np.arange(n, dtype=np.float32) + o for n, o in zip(brain.shape, origin[::-1], strict=True))
    ventricles = _ventricles(fluid, depth, (z, y, x))
    away = ndimage.distance_transform_edt(~ventricles).astype(np.float32)
    # The tentorium, roughly: a plane that rises towards the front separates the cerebellum from the cerebrum.
    above = smooth_step((z[:, None] - (-22 + 0.45 * (y + 60))[None, :]).astype(np.float32), 8.0)[:, :, None]
    front = smooth_step((y + 15).astype(np.float32), 10.0)[None, :, None]
    cortex = smooth_step(28 - depth, 10.0) * smooth_step(away - 14, 8.0) * np.maximum(above, front)
    return Atlas(
        origin=origin,
        fluid_odds=np.log((fluid + ODDS_FLOOR) / (grey + ODDS_FLOOR)),
        white_odds=np.log((white + ODDS_FLOOR) / (grey + ODDS_FLOOR)),
        depth=depth,
        cortex=cortex.astype(np.float32),
        iron=_iron(volume_shape(brain), origin),
        ventricle_distance=np.minimum(away, 60),
        outward=_outward(ventricles),
    )


def seniority(age: float) -> float:
    """Return 0 at 20 years and 1 at 86, the range of the cohort, faster towards the end as atrophy is."""
    share = float(np.clip((age - 20) / 66, 0, 1))
    return 0.45 * share + 0.55 * share**2


def _velocity(atlas: Atlas, subject: str, seed: int, age: float, push: Push | None) -> Array:
    """Return the pull-back velocity on the control lattice, [3, Z, Y, X] in lattice units."""
    rng = stream(seed, subject, "warp")
    shape = volume_shape(atlas.outward[0])
    velocity = np.zeros(atlas.outward.shape, np.float32)
    for spacing, millimetres in ((40.0, 2.2), (18.0, 1.3), (9.0, 0.7)):
        parts = [random_field(rng, shape, spacing / LATTICE) for _ in range(3)]
        velocity += np.float32(millimetres) * np.stack(parts)
    widening = -0.6 + 6.5 * seniority(age) + 0.8 * float(rng.standard_normal())
    velocity -= np.float32(widening) * atlas.outward
    if push is not None:
        velocity -= _push_velocity(shape, push)
    return velocity / np.float32(LATTICE)


def _push_velocity(shape: Shape, push: Push) -> Array:
    """Return the velocity that carries tissue away from a mass, in millimetres: growing, then fading with distance."""
    lattice = (np.indices(shape, dtype=np.float32) - 1) * LATTICE
    offset = lattice - np.array(push.centre, np.float32)[:, None, None, None]
    squared = (offset**2).sum(axis=0) / np.float32(push.radius**2)
    velocity: Array = (np.float32(push.strength) * offset * np.exp(-squared / 2)).astype(np.float32)
    return velocity


def _affine(subject: str, seed: int) -> NDArray[np.float32]:
    """Return what registration leaves over: a matrix [3, 4] near the identity (its last column: millimetres)."""
    rng = stream(seed, subject, "affine")
    tilt = np.deg2rad(rng.normal(0, 1.0, 3))
    skew = np.array([[0, -tilt[2], tilt[1]], [tilt[2], 0, -tilt[0]], [-tilt[1], tilt[0], 0]])
    matrix = np.eye(3) + skew + skew @ skew / 2 + np.diag(rng.normal(0, 0.025, 3)) + rng.normal(0, 0.008, (3, 3))
    return np.hstack([matrix, rng.normal(0, 1.0, (3, 1))]).astype(np.float32)


def coordinates(subject: str, seed: int, age: float, push: Push | None = None) -> Array:
    """Return where in the atlas each voxel of the subject's brain comes from, float32 [3, Z, Y, X], voxels."""
    atlas = load_atlas()
    displacement = integrate(_velocity(atlas, subject, seed, age, push)) * np.float32(LATTICE)
    moved = evaluate(displacement, [spline_basis(n, LATTICE) for n in atlas.shape])
    matrix = _affine(subject, seed)
    centre: Array = (np.array(atlas.shape, np.float32) - 1) / np.float32(2)
    for axis, length in enumerate(atlas.shape):
        line = np.arange(length, dtype=np.float32) - centre[axis]
        moved[axis] += line.reshape([-1 if other == axis else 1 for other in range(3)])
    shift: Array = (matrix[:, 3] + centre).reshape(3, 1)
    flat: Array = matrix[:, :3] @ moved.reshape(3, -1)
    return (flat + shift).reshape(moved.shape)


def _smooth_sample(channel: Array, where: Array) -> Array:
    """Return a smooth channel at `where`, sampled every second voxel and interpolated: eight times cheaper."""
    every = where[:, ::SUBLATTICE, ::SUBLATTICE, ::SUBLATTICE]
    sampled = ndimage.map_coordinates(channel, every, order=1, mode="nearest")
    bases = [linear_basis(np.arange(n) / SUBLATTICE, m) for n, m in zip(where.shape[1:], sampled.shape, strict=True)]
    return evaluate(sampled, bases)


def _sulcal_odds(subject: str, seed: int, age: float, cortex: Array) -> Array:
    """Return what this person's age and individuality add to the log-odds of fluid, float32 [Z, Y, X]."""
    rng = stream(seed, subject, "sulci")
    shape = volume_shape(cortex)
    opening = 0.7 + 1.4 * seniority(age) + 0.2 * float(rng.standard_normal())
    openness = 0.4 * random_field(rng, shape, 24.0) + 0.45 * random_field(rng, shape, 9.0)
    openness += 0.35 * random_field(rng, shape, 4.5)
    # Where a random field crosses zero lies a sheet; a coarser field decides where the sheet is an open sulcus.
    sheet = np.exp(-((random_field(rng, shape, 10.0) / np.float32(0.14)) ** 2))
    sheet *= smooth_step(random_field(rng, shape, 14.0) + 0.7, 1.0)
    odds: Array = cortex * (np.float32(opening) + openness + 2.6 * sheet) + (1 - cortex) * 0.4 * openness
    return odds


def _softmax(fluid: Array, white: Array, cortex: Array) -> tuple[Array, Array, Array]:
    """Return the fractions (fluid, grey, white) of log-odds against grey; deep nuclei keep their soft white matter."""
    fluid_weight = np.exp(np.clip(fluid / TEMPERATURE, -30, 30))
    white_weight = np.exp(np.clip(white / (1 - (1 - TEMPERATURE) * cortex), -30, 30))
    total = 1 + fluid_weight + white_weight
    return fluid_weight / total, 1 / total, white_weight / total


def grow(subject: str, seed: int, age: float, push: Push | None = None) -> Anatomy:
    """Return the subject's healthy brain.

    Args:
        subject: the subject's id, which with the seed determines all random numbers.
        seed: the seed of the cohort.
        age: years.
        push: a mass that pushes the tissue, or None.
    """
    atlas = load_atlas()
    where = coordinates(subject, seed, age, push)
    rng = stream(seed, subject, "surface")
    depth = _smooth_sample(atlas.depth, where)
    surface = depth - 0.5 - 0.4 * random_field(rng, atlas.shape, 10.0)
    brain = surface > 0
    cortex = _smooth_sample(atlas.cortex, where)
    sulci = _sulcal_odds(subject, seed, age, cortex)
    texture = 0.45 * random_field(rng, atlas.shape, 6.0)
    points = where[:, brain]
    odds = [ndimage.map_coordinates(part, points, order=1) for part in (atlas.fluid_odds, atlas.white_odds)]
    fractions = _softmax(odds[0] + sulci[brain], odds[1] + (texture * cortex)[brain], cortex[brain])
    covered = smooth_step(surface - RIM, 1.0)[brain]
    fluid, grey, white = (_scatter(part * covered, brain) for part in fractions)
    return Anatomy(
        brain=brain,
        fluid=fluid,
        grey=grey,
        white=white,
        iron=_smooth_sample(atlas.iron, where),
        cortex=cortex,
        ventricle_distance=_smooth_sample(atlas.ventricle_distance, where),
        depth=depth,
    )


def _scatter(values: Array, brain: NDArray[np.bool_]) -> Array:
    """Return a volume that holds the values inside the brain and 0 outside."""
    volume = np.zeros(brain.shape, np.float32)
    volume[brain] = values
    return volume
