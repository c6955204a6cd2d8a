"""Lesions of the phantom: tumours with oedema and mass effect, and multiple-sclerosis lesions.

A tumour has an irregular core, partly necrotic, and an oedema that follows white matter: its front arrives first where
the travel time through the tissue is shortest (fast marching, Sethian 1996), and the level of the travel time is chosen
so that the whole lesion has the volume that was drawn. The mass pushes tissue away before anything is painted.

MS lesions are ovoids in white matter: around the ventricles with the long axis across their wall (Dawson's fingers),
below the cortex, and between. Number and load are drawn from the quantiles of the 30 consensus masks of MSLUB (Lesjak
et al., Neuroinformatics 2018), the largest lesions confluent along the ventricles as there.

Every lesion brain shows lesion near the centre of the volume, so that a slab of central slices holds some of each: the
largest MS lesion has its centre within SLAB_REACH of the middle of the brain's box, and a tumour within SLAB_REACH and
the radius of its core, though not in the very middle, lest the slab hold far more tumour than the volume in proportion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from .anatomy import Anatomy, Push, load_atlas
from .fields import Array, Shape, evaluate, linear_basis, random_field, smooth_step, stream
from .scanner import Paint

Mask = NDArray[np.bool_]
Voxels = NDArray[np.int64]

SLAB_REACH = 9.0  # mm from the middle of the brain's box
SLAB_CLEARANCE = 0.3  # share of a tumour's reach that its centre keeps clear
MARCH_STEP = 2  # mm, the grid of the fast marching
MARCH_LIMIT = 120.0  # mm of white matter
TUMOUR_MEDIAN_ML, TUMOUR_SPREAD = 90.0, 0.75
TUMOUR_RANGE_ML = (5.0, 250.0)
CORE_SHARE = (0.25, 0.6)
PUSH_STRENGTH = (0.2, 0.45)

QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
MS_LOAD_ML = (0.3, 1.8, 13.9, 28.2, 52.2)
MS_COMPONENTS = (17.0, 31.0, 79.0, 116.0, 392.0)
MERGED = 1.2  # lesions begun for each component that is left, since neighbours merge
CONFLUENT = 1500  # mm^3, from here on lesions are periventricular and merge along the ventricle
MS_SOFTNESS = 1.1  # mm

# Water of lesions, from that of white matter (0) to that of fluid (1): calibrated, see `phantom`.
SOLID = (0.08, 0.33)
NECROSIS = (0.50, 0.82)
NECROSIS_DEPTH = (0.5, 1.8)
OEDEMA = (0.13, 0.36)
MS_PEAK = (0.18, 0.74)


@dataclass(frozen=True)
class Lesions:
    """The lesions of one brain: where they are, and what they look like."""

    mask: Mask
    paint: Paint


@dataclass(frozen=True)
class TumourPlan:
    """What is decided about a tumour before the brain is grown.

    Attributes:
        centre: voxel (z, y, x).
        volume_ml: of the whole lesion, oedema included.
        core_share: volume of the core as a share of the whole.
        push: the mass effect.
    """

    centre: tuple[int, int, int]
    volume_ml: float
    core_share: float
    push: Push


@dataclass(frozen=True)
class MsPlan:
    """What is decided about MS lesions before the brain is grown: the load and how many lesions share it."""

    load_ml: float
    lesions: int


def tumour_volume(quantile: float) -> float:
    """Return the whole-lesion volume in ml at a quantile: log-normal with median 90, clipped to 5..250."""
    deviate = float(special.ndtri(np.clip(quantile, 1e-6, 1 - 1e-6)))
    volume = TUMOUR_MEDIAN_ML * np.exp(TUMOUR_SPREAD * deviate)
    return float(np.clip(volume, *TUMOUR_RANGE_ML))


def plan_tumour(subject: str, seed: int, quantile: float) -> TumourPlan:
    """Return where a tumour sits and how large it is.

    Args:
        subject: the subject's id.
        seed: the seed of the cohort.
        quantile: of the distribution of volumes, 0 to 1.
    """
    atlas = load_atlas()
    rng = stream(seed, subject, "tumour plan")
    volume, share = tumour_volume(quantile), float(rng.uniform(*CORE_SHARE))
    radius = _ball_radius(1000 * volume * share)
    hemisphere = (atlas.white_odds > 0) & (atlas.depth > 14) & (atlas.ventricle_distance > 6) & (atlas.iron < 0.1)
    limit = SLAB_REACH + radius
    heights = np.abs(np.arange(atlas.shape[0]) - (atlas.shape[0] - 1) / 2)
    near = (heights >= SLAB_CLEARANCE * limit) & (heights <= limit)
    places = np.argwhere(hemisphere & near[:, None, None])
    z, y, x = (int(part) for part in places[rng.integers(len(places))])
    push = Push((float(z), float(y), float(x)), 1.2 * radius, float(rng.uniform(*PUSH_STRENGTH)))
    return TumourPlan((z, y, x), volume, share, push)


def _ball_radius(cubic_millimetres: float) -> float:
    return float((3 * cubic_millimetres / (4 * np.pi)) ** (1 / 3))


def _lowest(cost: Array, allowed: Mask, count: int) -> tuple[Mask, float]:
    """Return the `count` allowed voxels of lowest cost, and the highest cost among them."""
    costs = cost[allowed]
    count = min(count, costs.size)
    if count == 0:
        return np.zeros_like(allowed), 0.0
    level = float(np.partition(costs, count - 1)[count - 1])
    return allowed & (cost <= level), level


def _travel_time(anatomy: Anatomy, core: Mask) -> Array:
    """Return the time at which a front that leaves the core reaches each voxel, in millimetres of white matter."""
    import SimpleITK as sitk

    coarse = slice(None, None, MARCH_STEP)
    part = (coarse, coarse, coarse)
    speed = 0.02 + 0.98 * anatomy.white[part] + 0.22 * anatomy.grey[part] + 0.03 * anatomy.fluid[part]
    speed *= np.where(anatomy.brain[part], 1, np.float32(1e-3))
    seeds = core[part] & ~ndimage.binary_erosion(core[part])
    march = sitk.FastMarchingImageFilter()
    march.SetTrialPoints([[int(x), int(y), int(z)] for z, y, x in np.argwhere(seeds)])
    march.SetStoppingValue(MARCH_LIMIT / MARCH_STEP)
    arrival = sitk.GetArrayFromImage(march.Execute(sitk.GetImageFromArray(speed.astype(np.float32))))
    arrival = np.minimum(arrival, MARCH_LIMIT / MARCH_STEP).astype(np.float32) * MARCH_STEP
    shape = anatomy.brain.shape
    bases = [linear_basis(np.arange(n) / MARCH_STEP, m) for n, m in zip(shape, arrival.shape, strict=True)]
    return np.where(core, np.float32(0), evaluate(arrival, bases))


def grow_tumour(anatomy: Anatomy, plan: TumourPlan, subject: str, seed: int) -> Lesions:
    """Return the tumour of a brain that was grown with the plan's push.

    Args:
        anatomy: the pushed brain.
        plan: place, size and share of the core.
        subject: the subject's id.
        seed: the seed of the cohort.
    """
    rng = stream(seed, subject, "tumour")
    shape = anatomy.shape
    lines = [(np.arange(n, dtype=np.float32) - c) ** 2 for n, c in zip(shape, plan.centre, strict=True)]
    distance = np.sqrt(lines[0][:, None, None] + lines[1][None, :, None] + lines[2][None, None, :])
    ragged = 0.22 * random_field(rng, shape, 20.0) + 0.10 * random_field(rng, shape, 8.0)
    cost = distance * np.exp(ragged)
    tissue = anatomy.brain & (anatomy.fluid < 0.5)
    in_ventricle = anatomy.ventricle_distance < 1
    whole_voxels = round(1000 * plan.volume_ml)
    core, edge = _lowest(cost, anatomy.brain & ~in_ventricle, round(whole_voxels * plan.core_share))
    arrival = _travel_time(anatomy, core)
    mask, front = _lowest(arrival, tissue | core, whole_voxels)
    paint = _paint_tumour(anatomy, rng, (edge - cost).astype(np.float32), (front - arrival).astype(np.float32))
    return Lesions(mask, paint)


def _paint_tumour(anatomy: Anatomy, rng: np.random.Generator, inside_core: Array, inside_front: Array) -> Paint:
    """Return weights and water.

    Args:
        anatomy: the brain.
        rng: the tumour's generator.
        inside_core: about the depth inside the core in mm, negative outside.
        inside_front: travel time left until the front of the oedema, negative beyond.
    """
    shape = anatomy.shape
    coarse, fine = random_field(rng, shape, 14.0), random_field(rng, shape, 5.0)
    solid = float(rng.uniform(*SOLID)) + 0.12 * coarse + 0.08 * fine
    necrosis = float(rng.uniform(*NECROSIS)) + 0.06 * coarse
    oedema = float(rng.uniform(*OEDEMA)) + 0.05 * coarse + 0.03 * fine
    # Deep in the core tissue dies first; some tumours have no necrosis, some little else.
    threshold = float(rng.uniform(*NECROSIS_DEPTH))
    dead = smooth_step(inside_core / 10 + 0.7 * random_field(rng, shape, 10.0) - np.float32(threshold), 0.5)
    core = smooth_step(inside_core, 2.5)
    spread = smooth_step(inside_front - 2, 14.0)
    # Oedema swells white matter; grey matter takes up little, and fluid stays what it is.
    reach = spread * (anatomy.white + 0.25 * anatomy.grey)
    weight = np.maximum(core, reach) * anatomy.brain
    inner = solid + dead * (necrosis - solid)
    water = oedema + core * (inner - oedema)
    return Paint(weight.astype(np.float32), np.clip(water, 0.04, 1.0).astype(np.float32))


def plan_ms(subject: str, seed: int, quantile: float) -> MsPlan:
    """Return load and number of MS lesions at a quantile of the measured loads; the number follows the load loosely.

    Args:
        subject: the subject's id.
        seed: the seed of the cohort.
        quantile: of the distribution of loads, 0 to 1.
    """
    rng = stream(seed, subject, "ms plan")
    load = float(np.exp(np.interp(quantile, QUARTILES, np.log(MS_LOAD_ML))))
    drifted = quantile + 0.2 * float(rng.standard_normal())
    folded = 1 - abs(1 - abs(drifted) % 2)
    return MsPlan(load, round(float(np.exp(np.interp(folded, QUARTILES, np.log(MS_COMPONENTS))))))


def _lesion_volumes(plan: MsPlan, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the voxels of each lesion, largest first: log-normal, a few hold most of the load, none below 4 mm^3."""
    relative = np.exp(1.7 * rng.standard_normal(round(MERGED * plan.lesions)))
    volumes = 1000 * plan.load_ml * relative / relative.sum()
    return np.sort(np.maximum(np.round(volumes), 4).astype(np.int64))[::-1]


@dataclass(frozen=True)
class _Sites:
    """Where lesions may begin, as voxel indices [N, 3]; `central` are the periventricular ones of the central slab."""

    periventricular: Voxels
    juxtacortical: Voxels
    deep: Voxels
    central: Voxels


def _sites(anatomy: Anatomy) -> _Sites:
    white = (anatomy.white > 0.6) & anatomy.brain
    away = anatomy.ventricle_distance
    near_cortex = white & (ndimage.uniform_filter(anatomy.grey, 5) > 0.3) & (anatomy.cortex > 0.5)
    beside = np.argwhere(white & (away > 1.5) & (away < 7))
    deep = white & (away > 6) & (away < 22) & (anatomy.depth > 15)
    bottom, top = np.flatnonzero(anatomy.brain.any(axis=(1, 2)))[[0, -1]]
    central = np.abs(beside[:, 0] - (bottom + top) / 2) <= SLAB_REACH
    return _Sites(beside, np.argwhere(near_cortex), np.argwhere(deep), beside[central])


@dataclass(frozen=True)
class _Ovoid:
    """One MS lesion before it meets the tissue: centre (z, y, x), unit long axis, long over short axis, water."""

    centre: NDArray[np.int64]
    axis: NDArray[np.float64]
    aspect: float
    water: float
    ventricular: bool


def _draw_ovoid(rng: np.random.Generator, anatomy: Anatomy, sites: _Sites, volume: int, *, largest: bool) -> _Ovoid:
    """Return a lesion: the largest lies in the central slab; confluent ones are periventricular, and half the rest."""
    draw = float(rng.random())
    ventricular = largest or volume > CONFLUENT or draw < 0.45
    if ventricular:
        pool = sites.central if largest else sites.periventricular
    else:
        pool = sites.juxtacortical if draw < 0.8 else sites.deep
    centre = pool[rng.integers(len(pool))]
    axis = rng.standard_normal(3)
    if ventricular:
        axis = _across_wall(anatomy, centre) + 0.3 * axis
    axis = axis / np.linalg.norm(axis)
    aspect, water = float(rng.uniform(1.3, 2.4)), float(rng.uniform(*MS_PEAK))
    return _Ovoid(centre, axis, aspect, water, ventricular)


def _across_wall(anatomy: Anatomy, centre: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the unit vector that points away from the ventricle."""
    z, y, x = (int(part) for part in centre)
    patch = anatomy.ventricle_distance[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3]
    slopes: list[Array] = list(np.gradient(patch))
    slope = np.array([float(part[2, 2, 2]) for part in slopes])
    return np.asarray(slope / max(float(np.linalg.norm(slope)), 1e-6))


def _box(ovoid: _Ovoid, volume: int, shape: Shape) -> tuple[slice, slice, slice]:
    """Return a box that a lesion of this volume does not leave, within the brain's volume."""
    elongated = 2.0 if ovoid.ventricular and volume > CONFLUENT else 1.0
    reach = int(np.ceil(2.2 * elongated * _ball_radius(volume))) + 2
    z, y, x = (
        slice(max(int(c) - reach, 0), min(int(c) + reach + 1, n)) for c, n in zip(ovoid.centre, shape, strict=True)
    )
    return z, y, x


def _distance(ovoid: _Ovoid, box: tuple[slice, slice, slice]) -> Array:
    """Return the distance to the centre in the ovoid's metric, on a box."""
    z, y, x = (
        np.arange(part.start, part.stop, dtype=np.float32) - float(c) for part, c in zip(box, ovoid.centre, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    along = ovoid.axis[0] * z + ovoid.axis[1] * y + ovoid.axis[2] * x
    squared = z * z + y * y + x * x - along**2 * (1 - 1 / ovoid.aspect**2)
    distance: Array = np.sqrt(np.maximum(squared, 0)).astype(np.float32)
    return distance


def grow_ms(anatomy: Anatomy, plan: MsPlan, subject: str, seed: int) -> Lesions:
    """Return the MS lesions of a brain.

    Args:
        anatomy: the brain.
        plan: load and number.
        subject: the subject's id.
        seed: the seed of the cohort.
    """
    rng = stream(seed, subject, "ms")
    sites = _sites(anatomy)
    host = anatomy.brain & (anatomy.fluid < 0.45) & (anatomy.white + 0.5 * anatomy.grey > 0.45) & (anatomy.iron < 0.2)
    ragged = np.exp(0.2 * random_field(rng, anatomy.shape, 5.0))
    mask = np.zeros(anatomy.shape, np.bool_)
    peak = np.zeros(anatomy.shape, np.float32)
    missing = 0  # what a lesion finds no room for goes to the next
    for rank, volume in enumerate(_lesion_volumes(plan, rng)):
        wanted = int(volume) + missing
        ovoid = _draw_ovoid(rng, anatomy, sites, int(volume), largest=rank == 0)
        box = _box(ovoid, wanted, anatomy.shape)
        cost = _distance(ovoid, box) * ragged[box]
        if ovoid.ventricular:  # lesions merge along the ventricle rather than grow across the white matter
            cost = cost + 0.12 * anatomy.ventricle_distance[box] ** 2
        lesion, _ = _lowest(cost, host[box] & ~mask[box], wanted)
        missing = wanted - int(lesion.sum())
        mask[box] |= lesion
        peak[box][lesion] = ovoid.water
    return Lesions(mask, _paint_ms(mask, peak, 0.10 * random_field(rng, anatomy.shape, 4.0)))


def _paint_ms(mask: Mask, peak: Array, texture: Array) -> Paint:
    """Return soft-edged lesions: brightest inside, fading to white matter at the border of a mask drawn generously."""
    coverage = ndimage.gaussian_filter(mask.astype(np.float32), MS_SOFTNESS, truncate=2.5)
    water = ndimage.gaussian_filter(peak, MS_SOFTNESS, truncate=2.5) / np.maximum(coverage, np.float32(1e-3))
    weight = smooth_step(coverage - 0.5, 1.0)
    return Paint(weight, np.clip(water + texture, 0.02, 1.0).astype(np.float32))
