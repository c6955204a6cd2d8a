"""From one raw scan to the shared layout: stripped, in atlas space at 1 mm, cropped to the brain, without bias.

The order is the protocol's: 1 mm and RAS, skull strip, affine to the atlas, crop, N4 in the mask. What is written is
interpolated once: the scan goes from its own grid straight to the atlas through one composed transform, image with
linear interpolation between voxels of the brain, brain mask and lesion labels with nearest neighbour through the very
same transform. Every grid that is cropped or resampled carries its own affine, so a world point stays where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .bias import BiasSettings, correct_bias
from .intensities import canonical, canonical_head
from .preparation import bounding_box
from .registration import Atlas, Registration, RegistrationSettings, register_affine
from .scan_header import refuse_span
from .skull_strip import LARGEST_BRAIN_ML, SkullStripper
from .space import Affine, Grid, isotropic_grid, resample

#: Raise it when a change of the code changes what is written: prepared scans are then made anew.
SCAN_PREPARATION_VERSION = 3

_SMALLEST_BRAIN_ML = 200.0
_LEAST_WEIGHT = 0.02  # of the brain in an interpolated voxel, below which it is background
_HALF_MAXIMUM = 2.355  # full width at half maximum of a Gaussian, in standard deviations


@dataclass(frozen=True)
class ScanSettings:
    """The numbers of the preparation of raw scans.

    Attributes:
        voxel: edge of the voxels that are written, mm.
        registration: see `RegistrationSettings`.
        bias: see `BiasSettings`.
    """

    voxel: float = 1.0
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    bias: BiasSettings = field(default_factory=BiasSettings)


@dataclass(frozen=True)
class RawVolumes:
    """A raw scan that has been read.

    Attributes:
        image: the head or brain, float32 [Z, Y, X].
        grid: where it lies.
        brain: a given brain mask and its grid; None where the skull stripper is to find it.
        lesions: lesion labels and their grid; None for a scan without.
        ignored: what is marked beside them and counts as nothing, on the grid of the lesions; None where nothing is.
    """

    image: NDArray[np.float32]
    grid: Grid
    brain: tuple[NDArray[np.bool_], Grid] | None
    lesions: tuple[NDArray[np.bool_], Grid] | None
    ignored: tuple[NDArray[np.bool_], Grid] | None = None


@dataclass(frozen=True)
class PreparedScan:
    """A scan in the shared layout's form, and how it got there.

    Attributes:
        image: stripped, without bias, positive inside the brain and 0 outside, float32 [Z, Y, X].
        brain: bool [Z, Y, X].
        lesions: bool [Z, Y, X]; None for a scan without labels.
        grid: where all of them lie: atlas space, cropped to the brain.
        registration: matrix from there to the scan's own world, with its quality.
        seconds: of each step.
        ignored: what is neither lesion nor background, bool [Z, Y, X]; None where nothing is marked so.
    """

    image: NDArray[np.float32]
    brain: NDArray[np.bool_]
    lesions: NDArray[np.bool_] | None
    grid: Grid
    registration: Registration
    seconds: dict[str, float]
    ignored: NDArray[np.bool_] | None = None


def prepare_scan(raw: RawVolumes, atlas: Atlas, stripper: SkullStripper, settings: ScanSettings) -> PreparedScan:
    """Strip, register, crop and correct one scan.

    Args:
        raw: the scan as it was read.
        atlas: the space to bring it to.
        stripper: finds the brain where none is given.
        settings: the numbers.

    Raises:
        DataError: not-a-number, voxel sizes or a brain that no human has, a failed registration, or no lesion left.
    """
    clock = _Clock()
    _refuse_nonsense(raw)
    refuse_span(raw.grid)
    fine = isotropic_grid(raw.grid, settings.voxel)
    mask, mask_grid = _find_brain(raw, fine, stripper)
    brain = resample(mask, mask_grid, fine)
    _refuse_size(brain, fine, "after skull stripping")
    clock.note("strip")
    inside = resample(mask, mask_grid, raw.grid)
    whole = canonical(raw.image, inside)
    image = _sampled(whole, raw.grid, fine, None)
    clock.note("resample")
    found = register_affine(image, brain, fine, atlas, settings.registration)
    clock.note("register")
    target = isotropic_grid(atlas.grid, settings.voxel)
    moved_mask = resample(mask, mask_grid, target, found.to_scan)
    _refuse_size(moved_mask, target, "in atlas space")
    box = bounding_box(moved_mask)
    grid, moved_mask = target.cropped(box), moved_mask[box]
    moved = sampled_inside(whole, inside, raw.grid, grid, found.to_scan)
    lesions = _moved_lesions(raw, grid, found.to_scan)
    ignored = None if raw.ignored is None else resample(*raw.ignored, grid, found.to_scan)
    clock.note("move")
    corrected = correct_bias(moved, moved_mask, grid, settings.bias)
    clock.note("bias")
    return PreparedScan(corrected, moved_mask, lesions, grid, found, clock.seconds, ignored)


def _find_brain(raw: RawVolumes, fine: Grid, stripper: SkullStripper) -> tuple[NDArray[np.bool_], Grid]:
    """The brain mask and the grid that it was made on."""
    if raw.brain is not None:
        return raw.brain
    if stripper.native:
        return stripper.brain_mask(raw.image, raw.grid), raw.grid
    return stripper.brain_mask(_sampled(canonical_head(raw.image), raw.grid, fine, None), fine), fine


def _moved_lesions(raw: RawVolumes, target: Grid, to_scan: Affine) -> NDArray[np.bool_] | None:
    if raw.lesions is None:
        return None
    lesions = resample(*raw.lesions, target, to_scan)
    if raw.lesions[0].any() and not lesions.any():
        raise DataError("every lesion voxel is lost in atlas space; check that segmentation and scan belong together")
    return lesions


def _sampled(image: NDArray[np.float32], grid: Grid, target: Grid, to_source: Affine | None) -> NDArray[np.float32]:
    """Linear interpolation; axes finer than the target are smoothed first, so that fine detail does not alias."""
    from scipy import ndimage

    wanted = float(target.spacing.mean())
    widths = np.sqrt(np.maximum(0, (wanted / grid.spacing) ** 2 - 1)) / _HALF_MAXIMUM
    smooth = image if not widths.any() else ndimage.gaussian_filter(image, widths[::-1])
    return resample(smooth.astype(np.float32), grid, target, to_source)


def sampled_inside(
    image: NDArray[np.float32], inside: NDArray[np.bool_], grid: Grid, target: Grid, to_source: Affine
) -> NDArray[np.float32]:
    """As `_sampled`, but of the brain's voxels alone, their weights put right where others have a share.

    Otherwise the empty background of a stripped scan would darken the rim of the brain, and with it the 1st percentile
    of its intensities; or the skull would brighten it.
    """
    values = _sampled(np.where(inside, image, np.float32(0)), grid, target, to_source)
    weights = _sampled(inside.astype(np.float32), grid, target, to_source)
    return np.where(weights > _LEAST_WEIGHT, values / np.maximum(weights, _LEAST_WEIGHT), 0).astype(np.float32)


def _refuse_nonsense(raw: RawVolumes) -> None:
    refuse_constant(raw.image, "the image")
    for name, part in (("brain mask", raw.brain), ("segmentation", raw.lesions)):
        if part is not None and part[0].shape != raw.image.shape:
            raise DataError(
                f"the {name} has shape {part[0].shape}, the image {raw.image.shape}; they do not belong together"
            )

    if raw.brain is not None:
        refuse_not_finite(raw.image, raw.brain[0], "the image")


def refuse_constant(image: NDArray[np.float32], name: str) -> None:
    """Refuse an image without two grey values.

    Raises:
        DataError: what is wrong with it.
    """
    values = image[np.isfinite(image)]
    if not values.size:
        raise DataError(f"{name} holds nothing but not-a-number or infinite voxels; export it again")
    if values.min() == values.max():
        raise DataError(f"{name} is constant (value {values.min():g}); export it again")


def refuse_not_finite(image: NDArray[np.float32], brain: NDArray[np.bool_], name: str) -> None:
    """Refuse an image with not-a-number inside a brain mask; outside it is background.

    Raises:
        DataError: how many voxels.
    """
    count = int(np.count_nonzero(~np.isfinite(image[brain])))
    if count:
        raise DataError(f"{name} holds {count} not-a-number or infinite voxels inside the brain; export it again")


def _refuse_size(brain: NDArray[np.bool_], grid: Grid, when: str) -> None:
    volume = float(brain.sum()) * grid.voxel_ml
    if volume < _SMALLEST_BRAIN_ML:
        raise DataError(
            f"the brain has only {volume:.0f} ml {when}, a human one has about 1300; look at the scan, its orientation "
            "and its mask, or choose another --skull-strip"
        )
    if volume > LARGEST_BRAIN_ML:
        raise DataError(
            f"the brain has {volume:.0f} ml {when}, a human one has about 1300; its mask holds more than the brain, so "
            "correct it or choose another --skull-strip"
        )


class _Clock:
    """Seconds of each step, in order."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def note(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step] = round(now - self._since, 3)
        self._since = now
