"""Lesions of the phantom: tumours with oedema and mass effect, and multiple-sclerosis lesions.

A tumour has an irregular core, partly necrotic, and an oedema that follows white matter: its front arrives first where
the travel time through the tissue is shortest (fast marching, Sethian 1996), and the level of the travel time is chosen
so that the whole lesion has the volume that was drawn. The mass pushes tissue away before anything is painted.

MS lesions are ovoids in white matter: around the ventricles with the long axis across their wall (Dawson's fingers),
below the cortex, and between. Number and load are drawn from the quantiles of the 30 consensus masks of MSLUB (Lesjak et
al., Neuroinformatics 2018), the largest lesions confluent along the ventricles as there.

Every lesion brain shows lesion near the centre of the volume: tumours and the largest MS lesion have their centre within
SLAB_REACH of the middle of the brain's box, so that also a slab of central slices holds some of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .phantom_anatomy import Anatomy, Push, load_atlas
from .phantom_fields import Array, Shape, evaluate, linear_basis, random_field, smooth_step, stream
from .phantom_scanner import Paint

Mask = NDArray[np.bool_]

SLAB_REACH = 9.0
MARCH_STEP = 2
TUMOUR_MEDIAN_ML, TUMOUR_SPREAD = 90.0, 0.75
TUMOUR_RANGE_ML = (5.0, 250.0)
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
MS_LOAD_ML = (0.3, 1.8, 13.9, 28.2, 52.2)
MERGED = 1.6
MS_COMPONENTS = (17.0, 31.0, 79.0, 116.0, 392.0)


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
    from scipy.stats import norm

    volume = TUMOUR_MEDIAN_ML * np.exp(TUMOUR_SPREAD * norm.ppf(np.clip(quantile, 1e-6, 1 - 1e-6)))
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
    volume, share = tumour_volume(quantile), float(rng.uniform(0.25, 0.6))
    hemisphere = (atlas.white_odds > 0) & (atlas.depth > 14) & (atlas.ventricle_distance > 6) & (atlas.iron < 0.1)
    middle = (atlas.shape[0] - 1) / 2
    heights = np.abs(np.arange(atlas.shape[0]) - middle) <= SLAB_REACH + 0.7 * _ball_radius(1000 * volume * share)
    places = np.argwhere(hemisphere & heights[:, None, None])
    z, y, x = (int(part) for part in places[rng.integers(len(places))])
    radius = _ball_radius(1000 * volume * share)
    push = Push((float(z), float(y), float(x)), 1.2 * radius, float(rng.uniform(0.2, 0.45)))
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
    march.SetStoppingValue(120.0 / MARCH_STEP)
    arrival = sitk.GetArrayFromImage(march.Execute(sitk.GetImageFromArray(speed.astype(np.float32))))
    arrival = np.minimum(arrival, 120.0 / MARCH_STEP).astype(np.float32) * MARCH_STEP
    shape = anatomy.brain.shape
    bases = [linear_basis(np.arange(n) / MARCH_STEP, m) for n, m in zip(shape, arrival.shape, strict=True)]
    return np.where(core, np.float32(0), evaluate(arrival, bases))


def _shape(volume: Mask) -> Shape:
    z, y, x = volume.shape
    return (z, y, x)


def grow_tumour(anatomy: Anatomy, plan: TumourPlan, subject: str, seed: int) -> Lesions:
    """Return the tumour of a brain that was grown with the plan's push.

    Args:
        anatomy: the pushed brain.
        plan: place, size and share of the core.
        subject: the subject's id.
        seed: the seed of the cohort.
    """
    rng = stream(seed, subject, "tumour")
    shape = _shape(anatomy.brain)
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
    """Return weights and grey values.

    Args:
        anatomy: the brain.
        rng: the tumour's generator.
        inside_core: about the depth inside the core in mm, negative outside.
        inside_front: travel time left until the front of the oedema, negative beyond.
    """
    shape = _shape(anatomy.brain)
    coarse, fine = random_field(rng, shape, 14.0), random_field(rng, shape, 5.0)
    solid = float(rng.uniform(*SOLID)) + 0.10 * coarse + 0.07 * fine
    necrosis = float(rng.uniform(*NECROSIS)) + 0.06 * coarse
    oedema = float(rng.uniform(*OEDEMA)) + 0.05 * coarse + 0.03 * fine
    # Deep in the core tissue dies first; some tumours have no necrosis, some little else.
    threshold = float(rng.uniform(*NECROSIS_DEPTH))
    dead = smooth_step(inside_core / 10 + 0.7 * random_field(rng, shape, 10.0) - np.float32(threshold), 0.5)
    core = smooth_step(inside_core, 2.5)
    spread = smooth_step(inside_front - 2, 14.0)
    # Oedema swells white matter; grey matter takes up little, and fluid stays what it is.
    reach = spread * (anatomy.white + 0.45 * anatomy.grey)
    weight = np.maximum(core, reach) * anatomy.brain
    inner = solid + dead * (necrosis - solid)
    brightness = oedema + core * (inner - oedema)
    return Paint(weight.astype(np.float32), np.clip(brightness, 0.02, 1.0).astype(np.float32))


SOLID = (0.04, 0.34)
NECROSIS = (0.55, 0.85)
NECROSIS_DEPTH = (0.3, 1.6)
OEDEMA = (0.14, 0.40)
MS_PEAK = (0.25, 0.80)


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
    """Where lesions may begin, as voxel indices [N, 3]."""

    periventricular: NDArray[np.int64]
    juxtacortical: NDArray[np.int64]
    deep: NDArray[np.int64]
    central: NDArray[np.int64]


def _sites(anatomy: Anatomy) -> _Sites:
    white = (anatomy.white > 0.6) & anatomy.brain
    away = anatomy.ventricle_distance
    near_cortex = white & (ndimage.uniform_filter(anatomy.grey, 5) > 0.3) & (anatomy.cortex > 0.5)
    beside = white & (away > 1.5) & (away < 7)
    bottom, top = (np.flatnonzero(anatomy.brain.any(axis=(1, 2)))[[0, -1]]).tolist()
    places = np.argwhere(beside)
    middle = np.abs(places[:, 0] - (bottom + top) / 2) <= SLAB_REACH
    deep = white & (away > 6) & (away < 22) & (anatomy.depth > 15)
    return _Sites(places, np.argwhere(near_cortex), np.argwhere(deep), places[middle])


def _choose_site(rng: np.random.Generator, sites: _Sites, rank: int, volume: int) -> tuple[NDArray[np.int64], bool]:
    """Return the centre of a lesion, and whether it is periventricular. Large lesions are, so are half the others."""
    draw = float(rng.random())
    if rank == 0:
        pool, ventricular = sites.central, True
    elif volume > 1500 or draw < 0.45:
        pool, ventricular = sites.periventricular, True
    else:
        pool, ventricular = (sites.juxtacortical if draw < 0.8 else sites.deep), False
    return pool[rng.integers(len(pool))], ventricular


def _ovoid(
    box: tuple[slice, slice, slice], centre: NDArray[np.int64], axis: NDArray[np.float64], aspect: float
) -> Array:
    """Return the distance to the centre in the metric of an ovoid with its long axis along `axis`."""
    z, y, x = (
        np.arange(part.start, part.stop, dtype=np.float32) - float(c) for part, c in zip(box, centre, strict=True)
    )
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    along = axis[0] * z + axis[1] * y + axis[2] * x
    squared = z * z + y * y + x * x - along**2 * (1 - 1 / aspect**2)
    return np.sqrt(np.maximum(squared, 0)).astype(np.float32)


def _long_axis(anatomy: Anatomy, centre: NDArray[np.int64], random: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the unit vector across the ventricle's wall, a little off."""
    z, y, x = (int(part) for part in centre)
    patch = anatomy.ventricle_distance[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3]
    slope = np.array([float(part[2, 2, 2]) for part in np.gradient(patch)])
    axis = slope / max(float(np.linalg.norm(slope)), 1e-6) + 0.3 * random
    return np.asarray(axis / np.linalg.norm(axis))


def grow_ms(anatomy: Anatomy, plan: MsPlan, subject: str, seed: int) -> Lesions:
    """Return the MS lesions of a brain.

    Args:
        anatomy: the brain.
        plan: load and number.
        subject: the subject's id.
        seed: the seed of the cohort.
    """
    rng = stream(seed, subject, "ms")
    shape = _shape(anatomy.brain)
    sites = _sites(anatomy)
    host = anatomy.brain & (anatomy.fluid < 0.45) & (anatomy.white + 0.5 * anatomy.grey > 0.45) & (anatomy.iron < 0.2)
    ragged = np.exp(0.2 * random_field(rng, shape, 5.0))
    mask = np.zeros(shape, np.bool_)
    peak = np.zeros(shape, np.float32)
    missing = 0
    for rank, volume in enumerate(_lesion_volumes(plan, rng)):
        centre, ventricular = _choose_site(rng, sites, rank, int(volume))
        axis = rng.standard_normal(3)
        axis = _long_axis(anatomy, centre, axis) if ventricular else axis / np.linalg.norm(axis)
        aspect, brightness = float(rng.uniform(1.3, 2.4)), float(rng.uniform(*MS_PEAK))
        wanted = int(volume) + missing
        reach = int(np.ceil(2.2 * _ball_radius(wanted) * (2.0 if ventricular and volume > 1500 else 1.0))) + 2
        low, high = np.maximum(centre - reach, 0), np.minimum(centre + reach + 1, shape)
        box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
        cost = _ovoid(box, centre, axis, aspect) * ragged[box]
        if ventricular:  # lesions merge along the ventricle rather than grow across the white matter
            cost = cost + 0.12 * anatomy.ventricle_distance[box] ** 2
        lesion, _ = _lowest(cost, host[box] & ~mask[box], wanted)
        missing = wanted - int(lesion.sum())
        mask[box] |= lesion
        peak[box][lesion] = brightness
    return Lesions(mask, _paint_ms(mask, peak, 0.08 * random_field(rng, shape, 4.0)))


def _paint_ms(mask: Mask, peak: Array, texture: Array) -> Paint:
    """Return soft-edged lesions: brightest inside, fading to white matter at the border, as a hand-drawn mask is wide."""
    softness = 1.1
    coverage = ndimage.gaussian_filter(mask.astype(np.float32), softness, truncate=2.5)
    brightness = ndimage.gaussian_filter(peak, softness, truncate=2.5) / np.maximum(coverage, np.float32(1e-3))
    weight = smooth_step(coverage - 0.5, 1.0)
    return Paint(weight, np.clip(brightness + texture, 0.02, 1.0).astype(np.float32))
