"""Preparation at load: from a skull-stripped 1 mm scan to the 50×96×96 volume that methods see.

The order is the benchmark's protocol (Behrendt et al., "Patched diffusion models for unsupervised anomaly detection in
brain MRI", MIDL 2023, and the papers that build on it): crop to the brain, curvature-flow smoothing, crop or zero-pad
around the centre to 192×192×100, intensities to [0, 1] by the 1st and 99th percentile inside the brain, downsample by 2
(cubic B-spline for the image, nearest for the masks). Before it, grey values get the form of `intensities`, so that
neither scale nor offset nor what lies outside the brain mask counts: the protocol strips, so 0 is all that lies there.

The coarse grid is centred on the fine one: with factor f the centre of coarse voxel i lies at fine coordinate
f·i + (f-1)/2, so a coarse voxel covers exactly f×f×f fine ones and image and masks stay aligned. For an even factor
several fine voxels are equally near that centre; like ITK we take the upper one (f·i + f/2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .intensities import canonical
from .space import Grid

PREPARATION_VERSION = 2  # raise it when a change below changes the numbers: stores are then built anew

_ScalarT = TypeVar("_ScalarT", np.float32, np.bool_)


@dataclass(frozen=True)
class PreparationSettings:
    """The numbers of the preparation at load; the defaults are the protocol.

    Attributes:
        side: in-plane size before downsampling, mm.
        depth: number of axial millimetres kept around the centre (160 less 30 at the top and at the bottom).
        iterations: iterations of curvature flow.
        time_step: time step of curvature flow.
        lower_percentile: percentile inside the brain that becomes 0.
        upper_percentile: percentile inside the brain that becomes 1.
        factor: downsampling factor; divides side and depth.
    """

    side: int = 192
    depth: int = 100
    iterations: int = 3
    time_step: float = 0.125
    lower_percentile: float = 1.0
    upper_percentile: float = 99.0
    factor: int = 2

    def __post_init__(self) -> None:
        if min(self.side, self.depth, self.factor) < 1 or self.iterations < 0:
            raise DataError("side, depth and factor must be at least 1, iterations at least 0")
        if not 0 < self.time_step < float("inf"):
            raise DataError(f"time_step must be a number above 0, got {self.time_step}")
        if self.side % self.factor or self.depth % self.factor:
            raise DataError(f"side {self.side} and depth {self.depth} must be multiples of the factor {self.factor}")
        if not 0 <= self.lower_percentile < self.upper_percentile <= 100:
            raise DataError("percentiles must satisfy 0 <= lower_percentile < upper_percentile <= 100")

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        """(D, H, W) before downsampling."""
        return self.depth, self.side, self.side

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W) of a prepared volume."""
        return self.depth // self.factor, self.side // self.factor, self.side // self.factor


@dataclass(frozen=True)
class PreparedVolume:
    """A scan as methods see it.

    Attributes:
        volume: intensities in [0, 1], 0 outside the brain, float32 [D, H, W] in (z, y, x) of RAS+.
        brain_mask: True inside the brain, bool [D, H, W].
        lesion_mask: True on lesions, bool [D, H, W]; None for a healthy scan.
        ignored_mask: True where something else is marked that counts neither as lesion nor as background; None where
            nothing is.
    """

    volume: NDArray[np.float32]
    brain_mask: NDArray[np.bool_]
    lesion_mask: NDArray[np.bool_] | None
    ignored_mask: NDArray[np.bool_] | None = None


def prepare_volume(
    t2: NDArray[np.float32],
    brain_mask: NDArray[np.bool_],
    lesion_mask: NDArray[np.bool_] | None,
    settings: PreparationSettings,
    ignored_mask: NDArray[np.bool_] | None = None,
) -> PreparedVolume:
    """Prepare one scan: crop, smooth, crop or pad, normalise, downsample.

    Args:
        t2: skull-stripped T2 image, 1 mm isotropic, [Z, Y, X] in RAS order; any intensity scale.
        brain_mask: True inside the brain, same shape.
        lesion_mask: True on lesions, same shape; None for a healthy scan.
        settings: the numbers.
        ignored_mask: True where something else is marked, which scoring leaves out; same shape, None if nothing is.

    Raises:
        DataError: shapes differ, not-a-number inside the brain, an empty mask, or a brain of one grey value.
    """
    _check_input(t2, brain_mask, lesion_mask, ignored_mask)
    box = bounding_box(brain_mask)
    brain = brain_mask[box].astype(np.bool_)
    image = canonical(t2[box], brain)
    image = _smooth_what_is_kept(image, settings)
    image, brain = crop_or_pad(image, settings.fine_shape), crop_or_pad(brain, settings.fine_shape)
    image = scale_to_percentiles(image, brain, settings.lower_percentile, settings.upper_percentile)
    coarse_brain = downsample_mask(brain, settings.factor)
    coarse = np.clip(downsample_image(np.where(brain, image, np.float32(0)), settings.factor), 0, 1)
    lesions, ignored = (
        None if mask is None else _prepared_mask(mask[box], settings) for mask in (lesion_mask, ignored_mask)
    )
    return PreparedVolume(np.where(coarse_brain, coarse, np.float32(0)), coarse_brain, lesions, ignored)


def prepared_grid(grid: Grid, brain_mask: NDArray[np.bool_], settings: PreparationSettings) -> Grid:
    """Where the volume that `prepare_volume` makes of a scan lies: its shape and its affine.

    Args:
        grid: where the scan and its brain mask lie, 1 mm.
        brain_mask: True inside the brain, [Z, Y, X].
        settings: the numbers.

    Raises:
        DataError: the mask is empty.
    """
    factor = settings.factor
    centre_of_first = []
    for part, want in zip(bounding_box(brain_mask), settings.fine_shape, strict=True):
        first, place = _ends(part.stop - part.start, want)
        centre_of_first.append(part.start + first - place + (factor - 1) / 2)
    to_fine = np.diag([factor, factor, factor, 1.0])
    to_fine[:3, 3] = centre_of_first[::-1]
    return Grid(settings.shape, grid.affine @ to_fine)


def _prepared_mask(mask: NDArray[np.bool_], settings: PreparationSettings) -> NDArray[np.bool_]:
    return downsample_mask(crop_or_pad(mask.astype(np.bool_), settings.fine_shape), settings.factor)


def _smooth_what_is_kept(image: NDArray[np.float32], settings: PreparationSettings) -> NDArray[np.float32]:
    """Curvature flow, sparing the slices that are cropped anyway.

    An iteration looks one voxel far, so a margin of one voxel an iteration leaves the kept part exactly as it would be.
    """
    margin = 2 * settings.iterations
    shape = tuple(min(have, kept + margin) for have, kept in zip(image.shape, settings.fine_shape, strict=True))
    return curvature_flow(crop_or_pad(image, shape), settings.iterations, settings.time_step)


def _check_input(
    t2: NDArray[np.float32],
    brain_mask: NDArray[np.bool_],
    lesion_mask: NDArray[np.bool_] | None,
    ignored_mask: NDArray[np.bool_] | None,
) -> None:
    if t2.ndim != 3:
        raise DataError(f"the image has {t2.ndim} dimensions {t2.shape}; give one 3-D volume")
    named = (("brain mask", brain_mask), ("lesion mask", lesion_mask), ("mask of what is ignored", ignored_mask))
    for name, mask in named:
        if mask is not None and mask.shape != t2.shape:
            raise DataError(f"the {name} has shape {mask.shape}, the image {t2.shape}; resample the mask to the image")
    if not brain_mask.any():
        raise DataError("the brain mask is empty; repeat the skull stripping of this scan")
    if not np.isfinite(t2[brain_mask]).all():
        raise DataError("the image holds not-a-number or infinite values inside the brain; prepare this scan again")


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """The smallest box that holds every True voxel of a mask, one slice an axis.

    Raises:
        DataError: the mask has no True voxel.
    """
    axes = range(mask.ndim)
    occupied = [np.flatnonzero(mask.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    if any(len(where) == 0 for where in occupied):
        raise DataError("the mask is empty and has no bounding box; repeat the skull stripping of this scan")
    return tuple(slice(int(where[0]), int(where[-1]) + 1) for where in occupied)


def curvature_flow(image: NDArray[np.float32], iterations: int, time_step: float) -> NDArray[np.float32]:
    """Edge-preserving smoothing: level sets move by their curvature (Sethian 1996), as ITK implements it."""
    import SimpleITK as sitk

    if iterations == 0:
        return image
    smooth = sitk.CurvatureFlow(sitk.GetImageFromArray(image), timeStep=time_step, numberOfIterations=iterations)
    return np.asarray(sitk.GetArrayFromImage(smooth), dtype=np.float32)


def crop_or_pad(array: NDArray[_ScalarT], shape: tuple[int, ...]) -> NDArray[_ScalarT]:
    """Crop or zero-pad around the centre, axis by axis; an odd difference leaves the extra voxel at the upper end."""
    result = np.zeros(shape, dtype=array.dtype)
    source, target = [], []
    for have, want in zip(array.shape, shape, strict=True):
        kept = min(have, want)
        first, place = _ends(have, want)
        source.append(slice(first, first + kept))
        target.append(slice(place, place + kept))
    result[tuple(target)] = array[tuple(source)]
    return result


def _ends(have: int, want: int) -> tuple[int, int]:
    """Along one axis: the first voxel that a crop keeps, and the place that it gets."""
    kept = min(have, want)
    return (have - kept) // 2, (want - kept) // 2


def scale_to_percentiles(
    image: NDArray[np.float32], mask: NDArray[np.bool_], lower: float, upper: float
) -> NDArray[np.float32]:
    """Map two percentiles of the intensities inside the mask to 0 and 1, and clip what lies beyond.

    Raises:
        DataError: the mask is empty or both percentiles are the same grey value.
    """
    inside = image[mask]
    if inside.size == 0:
        raise DataError("no brain is left within the field of view; check the orientation and the mask of this scan")
    low, high = (float(value) for value in np.percentile(inside, [lower, upper]))
    if not high > low:
        raise DataError(f"the image is constant inside the brain (value {low:g}); this scan cannot be normalised")
    scaled: NDArray[np.float32] = np.clip((image - np.float32(low)) / np.float32(high - low), 0, 1)
    return scaled


def downsample_image(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Sample an image with cubic B-splines at the centres of the coarse voxels (see the module's text)."""
    import SimpleITK as sitk

    if factor == 1:
        return image
    fine = sitk.GetImageFromArray(image)
    resample = sitk.ResampleImageFilter()
    resample.SetSize([size // factor for size in fine.GetSize()])
    resample.SetOutputSpacing([float(factor)] * 3)
    resample.SetOutputOrigin([(factor - 1) / 2] * 3)
    resample.SetInterpolator(sitk.sitkBSpline)
    return np.asarray(sitk.GetArrayFromImage(resample.Execute(fine)), dtype=np.float32)


def downsample_mask(mask: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    """Sample a mask at the fine voxel nearest to the centre of each coarse voxel, the upper one of equals."""
    picked = slice(factor // 2, None, factor)
    return np.ascontiguousarray(mask[picked, picked, picked])
