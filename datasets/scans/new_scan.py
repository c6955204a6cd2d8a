"""One scan from anywhere, made ready for a trained method, with the way back to its own space.

The steps are those of `scan_preparation`, then those of `preparation`; a step that is done already is not done again:

    brain mask     a given mask is taken; a scan whose rim is empty is stripped already
    registration   a stripped scan that a short search finds less than 2 mm from its place in the atlas stays where it
                   is; moving it again would only blur it
    N4             a scan that is cropped to its brain, too, has been through the whole preparation
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...workers import one_itk_thread
from .bias import correct_bias
from .intensities import canonical, without_background
from .native import NativeSpace, OpenedScan
from .nifti import as_mask, read_volume
from .preparation import PreparationSettings, PreparedVolume, bounding_box, prepare_volume, prepared_grid
from .registration import Atlas, Registration, doubt_about, register_affine
from .scan_header import HEADS, ReadLimits
from .scan_preparation import PreparedScan, RawVolumes, ScanSettings, prepare_scan, refuse_constant, refuse_not_finite
from .skull_strip import AUTO, MASK_FILE, MaskFile, SkullStripper, Stripped, make_stripper
from .space import Affine, Grid, resample

_IN_PLACE_MM = 2.0  # mean displacement in the brain below which a scan counts as registered
_VOXEL_TOLERANCE = 0.02  # of 1 mm


@dataclass(frozen=True)
class ReadyScan:
    """A scan as methods see it, and where it came from.

    Attributes:
        volume: prepared volume and brain mask, [D, H, W].
        grid: where the prepared volume lies, in atlas space.
        to_scan: matrix from atlas world to the scan's world, RAS+ mm [4, 4]; the identity where nothing was moved.
        native: the scan's own space.
        registration: its quality; None where the scan was in its place already.
        brain_ml: volume of the brain in the scan's own space.
        steps: what was done or skipped, in order, a sentence each.
        image: the scan as it was read, but for a background as dark as its brain's darkest voxel and finite, float32
            [Z, Y, X] of axes near RAS.
        image_grid: where that lies.
    """

    volume: PreparedVolume
    grid: Grid
    to_scan: Affine
    native: NativeSpace
    registration: Registration | None
    brain_ml: float
    steps: tuple[str, ...]
    image: NDArray[np.float32]
    image_grid: Grid

    @property
    def from_scan(self) -> Affine:
        """Matrix from the scan's world to atlas world."""
        return np.asarray(np.linalg.inv(self.to_scan))

    @property
    def doubt(self) -> str:
        """Why its place in the atlas is not to be believed, see `registration.doubt_about`; empty if it is."""
        return doubt_about(float("nan") if self.registration is None else self.registration.mask_dice, self.brain_ml)

    @property
    def volume_factor(self) -> float:
        """Millilitres in the scan's world for each millilitre in atlas space."""
        return float(abs(np.linalg.det(self.to_scan[:3, :3])))


def ready_scan(
    scan: OpenedScan,
    mask_path: Path | None,
    atlas: Atlas,
    choice: str,
    scan_settings: ScanSettings,
    settings: PreparationSettings,
    limits: ReadLimits = HEADS,
) -> ReadyScan:
    """Prepare a scan.

    Args:
        scan: of any orientation and voxel size, see `native.open_scan`.
        mask_path: its brain mask, on the same grid; None where it has none.
        atlas: the space to bring it to.
        choice: "auto" (stripped scans are recognised, others go to the first learned stripper that is installed), or
            what `make_stripper` takes.
        scan_settings: the numbers of the preparation of raw scans.
        settings: the numbers of the preparation at load.
        limits: which masks are refused unread.

    Raises:
        DataError: the scan makes no sense, its mask cannot be read or is another's, or no skull stripper is there.
    """
    refuse_constant(scan.image, scan.title)
    brain, stripper, by = _brain(scan, mask_path, choice, limits)
    with one_itk_thread():
        whole = scan.image if brain is None else _canonical(scan, brain)
        prepared, steps = _prepared(whole, scan.grid, brain, stripper, atlas, scan_settings)
        volume = prepare_volume(prepared.image, prepared.brain, None, settings)
    to_scan = prepared.registration.to_scan
    in_scan = resample(prepared.brain, prepared.grid, scan.grid, np.asarray(np.linalg.inv(to_scan)))
    in_place = bool(np.array_equal(to_scan, np.eye(4)))
    return ReadyScan(
        volume=volume,
        grid=prepared_grid(prepared.grid, prepared.brain, settings),
        to_scan=to_scan,
        native=scan.native,
        registration=None if in_place else prepared.registration,
        brain_ml=float(np.count_nonzero(in_scan)) * scan.grid.voxel_ml,
        steps=(*_assumption(scan.native), by, *steps),
        image=without_background(scan.image, in_scan),
        image_grid=scan.grid,
    )


def _canonical(scan: OpenedScan, brain: NDArray[np.bool_]) -> NDArray[np.float32]:
    try:
        return canonical(scan.image, brain)
    except DataError as error:
        raise DataError(f"{scan.title}: {error}") from error


def _assumption(native: NativeSpace) -> tuple[str, ...]:
    return () if native.remark is None else (native.remark,)


def _brain(
    scan: OpenedScan, mask_path: Path | None, choice: str, limits: ReadLimits
) -> tuple[NDArray[np.bool_] | None, SkullStripper, str]:
    """The brain where it is known already, who finds it where not, and a sentence on it."""
    if mask_path is not None:
        mask = _read_mask(mask_path, scan, limits)
        refuse_not_finite(scan.image, mask, scan.title)
        return mask, MaskFile(), "skull strip: the given mask"
    if choice == MASK_FILE:
        raise DataError(f"{scan.title}: --skull-strip mask-file needs the mask; give it with --mask")
    if choice == AUTO:
        try:
            return (
                Stripped().brain_mask(scan.image, scan.grid),
                Stripped(),
                "skull strip: skipped, the scan is stripped",
            )
        except DataError:
            pass  # a head with a skull, as most scans are
    try:
        stripper = make_stripper(choice)
    except DataError as error:
        raise DataError(
            f"{scan.title} needs its skull stripped: {error}, or give its brain mask with --mask"
        ) from error
    return None, stripper, f"skull strip: {stripper.name}"


def _read_mask(mask_path: Path, scan: OpenedScan, limits: ReadLimits) -> NDArray[np.bool_]:
    mask = as_mask(*read_volume(mask_path, limits), str(mask_path), Path(scan.title).name, scan.grid)
    if not mask.any():
        raise DataError(f"{mask_path} is empty; repeat the skull stripping of {Path(scan.title).name}")
    return mask


def _prepared(
    image: NDArray[np.float32],
    grid: Grid,
    brain: NDArray[np.bool_] | None,
    stripper: SkullStripper,
    atlas: Atlas,
    settings: ScanSettings,
) -> tuple[PreparedScan, tuple[str, ...]]:
    """The scan in atlas space, and what was done to it."""
    if brain is not None and _is_in_place(image, brain, grid, atlas, settings):
        return _kept_in_place(image, brain, grid, settings)
    raw = RawVolumes(image, grid, None if brain is None else (brain, grid), None)
    scan = prepare_scan(raw, atlas, stripper, settings)
    found = scan.registration
    return scan, (
        f"registration: affine to {atlas.name}, mutual information {found.mutual_information:.3f}, "
        f"Dice of the brains {found.mask_dice:.3f}",
        _bias_step(settings),
    )


def _bias_step(settings: ScanSettings) -> str:
    return "N4 in the brain mask" if settings.bias.iterations else "N4: left out"


def _is_in_place(
    image: NDArray[np.float32], brain: NDArray[np.bool_], grid: Grid, atlas: Atlas, settings: ScanSettings
) -> bool:
    """Whether a stripped 1 mm scan lies in atlas space: the nearest optimum of the registration is where it is."""
    axes = grid.affine[:3, :3]
    if not np.allclose(axes, settings.voxel * np.eye(3), atol=_VOXEL_TOLERANCE):
        return False
    nearest = replace(settings.registration, turns=(0.0,), starts=1)
    try:
        found = register_affine(image, brain, grid, atlas, nearest)
    except DataError:
        return False
    points = grid.world(np.argwhere(brain)[::97].astype(np.float64))
    moved = points @ found.to_scan[:3, :3].T + found.to_scan[:3, 3]
    return float(np.linalg.norm(moved - points, axis=1).mean()) < _IN_PLACE_MM


def _kept_in_place(
    image: NDArray[np.float32], brain: NDArray[np.bool_], grid: Grid, settings: ScanSettings
) -> tuple[PreparedScan, tuple[str, ...]]:
    """Crop and correct a scan that lies in atlas space; one that is cropped to its brain needs neither."""
    skipped = "registration: skipped, the scan lies in atlas space"
    nowhere = Registration(np.eye(4), float("nan"), float("nan"))
    box = bounding_box(brain)
    if all(part.stop - part.start == size for part, size in zip(box, grid.shape, strict=True)):
        scan = PreparedScan(image, brain, None, grid, nowhere, {})
        return scan, (skipped, "N4: skipped, the scan is cropped to its brain, so it is prepared")
    cropped = grid.cropped(box)
    corrected = correct_bias(image[box], brain[box], cropped, settings.bias)
    return PreparedScan(corrected, brain[box], None, cropped, nowhere, {}), (skipped, _bias_step(settings))
