"""Affine registration of a stripped brain to an atlas.

Mutual information between the scan and the atlas (Mattes et al. 2003) is climbed from coarse to fine, starting from the
centroids and the volumes of the two brain masks. A brain is nearly round, so a turned head can be caught in a local
optimum; so at the coarsest resolution many turns are compared, and the climb starts from the best few. No climb ends
below its start; a gradient descent of fixed first step was tried and left good places for worse ones. Some points of a
fine resolution, chosen once at random, beat all points of a coarse one: the smoothing that a coarse one needs moves the
rim of the brain, and with it the scale. The resolutions between keep thick slices from stopping short of the optimum.
`tests/trials/registration_trial.py` measures all this.
All work is done on the two brains alone: with the skull gone there is nothing else to align. The result is one matrix
from atlas world to scan world, so that image, mask and labels are each resampled once, straight from their own grid.

The quality figure is the normalised mutual information (Studholme et al. 1999) of atlas and registered scan inside the
atlas brain, beside the Dice of the two brain masks; both are compared over a whole set to find outliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ...errors import DataError
from .intensities import CLEAR_OF_BACKGROUND, canonical
from .preparation import bounding_box
from .space import Affine, Grid, from_sitk_transform, isotropic_grid, resample, to_sitk

#: Below this Dice of the brains, or with a brain beyond these millilitres, a registration is not believed: see
#: `doubt_about`. `tests/trials/registration_limit_trial.py` measures what good and bad ones have.
LEAST_DICE = 0.9
USUAL_BRAIN_ML = (800.0, 2100.0)
_BINS = 32
_SEED = 1
_STEPS = (1.0, 0.2)  # voxels, the first step of a line search; the second where the first led astray
_AIR = 30.0  # mm


@dataclass(frozen=True)
class Atlas:
    """The space that scans are brought to.

    Attributes:
        name: what the manifest calls it.
        image: a stripped T1 or T2 image, 0 outside the brain, float32 [Z, Y, X].
        mask: its brain, bool [Z, Y, X].
        grid: where it lies.
        sha256: hash of what it was read from.
        file: name of the file that its image is.
        modality: what kind of image that is, "t1" or "t2"; None where nobody said.
    """

    name: str
    image: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid
    sha256: str
    file: str = ""
    modality: str | None = None


@dataclass(frozen=True)
class RegistrationSettings:
    """The numbers of the registration.

    Attributes:
        voxels: voxel edge of the atlas at each resolution, mm, coarse to fine.
        points: largest number of points of the atlas that are compared at a resolution.
        iterations: largest number of line searches at each resolution.
        margin: millimetres around the atlas brain that still count.
        turns: angles that are tried about every axis before the first climb, degrees.
        starts: of these, how many are climbed from.
    """

    voxels: tuple[float, ...] = (10.0, 5.0, 3.0, 2.0)
    points: int = 50_000
    iterations: int = 40
    margin: float = 6.0
    turns: tuple[float, ...] = (-20.0, -10.0, 0.0, 10.0, 20.0)
    starts: int = 4


@dataclass(frozen=True)
class Registration:
    """Where a scan lies with respect to the atlas.

    Attributes:
        to_scan: matrix from atlas world to scan world, RAS+ mm [4, 4].
        mutual_information: normalised mutual information inside the atlas brain, 1 (none) to 2 (the same image).
        mask_dice: Dice of the atlas brain and the registered brain mask.
    """

    to_scan: Affine
    mutual_information: float
    mask_dice: float


def register_affine(
    image: NDArray[np.float32], brain: NDArray[np.bool_], grid: Grid, atlas: Atlas, settings: RegistrationSettings
) -> Registration:
    """Find the affine that brings a brain onto the atlas.

    Args:
        image: the scan, any contrast, scale and offset, float32 [Z, Y, X].
        brain: its brain mask, bool [Z, Y, X].
        grid: where both lie.
        atlas: the target.
        settings: the numbers.

    Raises:
        DataError: an empty mask, or brains that do not overlap.
    """
    if not brain.any():
        raise DataError("the brain mask is empty, so there is nothing to register; repeat the skull stripping")
    box = _around(brain, grid)
    image, brain, grid = image[box], brain[box], grid.cropped(box)
    stripped = canonical(image, brain, CLEAR_OF_BACKGROUND)
    starts = _starts(brain, grid, atlas, settings.turns)
    for voxel in settings.voxels:
        level = _Level.of(stripped, grid, atlas, settings, voxel)
        best = sorted(starts, key=level.cost)[: settings.starts]
        starts = [min(map(level.climb, best), key=level.cost)]
    return quality_at(from_sitk_transform(starts[0]), stripped, brain, grid, atlas)


def quality_at(
    to_scan: Affine, stripped: NDArray[np.float32], brain: NDArray[np.bool_], grid: Grid, atlas: Atlas
) -> Registration:
    """A matrix from atlas world to scan world with its figures; see `register_affine` for the rest."""
    moved = resample(stripped, grid, atlas.grid, to_scan)
    moved_mask = resample(brain, grid, atlas.grid, to_scan)
    information = normalised_mutual_information(atlas.image[atlas.mask], moved[atlas.mask])
    return Registration(to_scan, information, _dice(atlas.mask, moved_mask))


def doubt_about(mask_dice: float, brain_ml: float) -> str:
    """Why a registration is not to be believed, in some words; empty if its figures are those of good ones.

    Args:
        mask_dice: Dice of the atlas brain and the registered brain mask; not-a-number where nothing was registered.
        brain_ml: volume of the brain mask in the scan's own space; not-a-number where that is not known.
    """
    words = []
    if mask_dice < LEAST_DICE:
        words.append(f"Dice of the brains with the atlas {mask_dice:.3f}, below {LEAST_DICE:g}")
    low, high = USUAL_BRAIN_ML
    if brain_ml < low or brain_ml > high:
        words.append(f"a brain of {brain_ml:.0f} ml, beyond {low:.0f} to {high:.0f}")
    return "; ".join(words)


def normalised_mutual_information(one: NDArray[np.float32], other: NDArray[np.float32], bins: int = 64) -> float:
    """(H(A) + H(B)) / H(A, B) of paired intensities; 1 for independent, 2 for one-to-one ones (Studholme 1999)."""
    joint, _, _ = np.histogram2d(one, other, bins=bins)
    probability = joint / joint.sum()
    together = _entropy(probability)
    return (_entropy(probability.sum(0)) + _entropy(probability.sum(1))) / together if together > 0 else 1.0


def _entropy(probability: NDArray[np.float64]) -> float:
    positive = probability[probability > 0]
    return float(-(positive * np.log(positive)).sum())


def _around(brain: NDArray[np.bool_], grid: Grid) -> tuple[slice, ...]:
    """The part of the array that holds the brain and some air around it: the rest of a head only costs time."""
    edges = np.ceil(_AIR / grid.spacing[::-1]).astype(int).tolist()
    sides = zip(bounding_box(brain), edges, strict=True)
    return tuple(slice(max(0, side.start - edge), side.stop + edge) for side, edge in sides)


def _dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def _starts(brain: NDArray[np.bool_], grid: Grid, atlas: Atlas, turns: tuple[float, ...]) -> list[Any]:
    """Centroid on centroid, scaled so that both brains have the same volume, in every combination of turns."""
    import SimpleITK as sitk

    centre, volume = _moments(atlas.mask, atlas.grid)
    scan_centre, scan_volume = _moments(brain, grid)
    lps = np.array([-1.0, -1.0, 1.0])
    starts = []
    for angles in product(np.radians(turns), repeat=3):
        start = sitk.AffineTransform(3)
        start.SetCenter((lps * centre).tolist())
        start.SetMatrix((np.cbrt(scan_volume / volume) * Rotation.from_rotvec(angles).as_matrix()).ravel().tolist())
        start.SetTranslation((lps * (scan_centre - centre)).tolist())
        starts.append(start)
    return starts


def _moments(mask: NDArray[np.bool_], grid: Grid) -> tuple[NDArray[np.float64], float]:
    """Centroid in world mm and volume in ml."""
    voxels = np.argwhere(mask).astype(np.float64)
    return grid.world(voxels).mean(axis=0), len(voxels) * grid.voxel_ml


@dataclass(frozen=True)
class _Level:
    """Atlas, the part of it that counts, and scan at one resolution, as SimpleITK images.

    Attributes:
        atlas: smoothed.
        around: the atlas's brain and its margin.
        scan: smoothed.
        share: of the voxels in `around` that are compared.
        iterations: largest number of line searches.
    """

    atlas: Any
    around: Any
    scan: Any
    share: float
    iterations: int

    @classmethod
    def of(
        cls, stripped: NDArray[np.float32], grid: Grid, atlas: Atlas, settings: RegistrationSettings, voxel: float
    ) -> _Level:
        """Smooth both and sample them on voxels of that size."""
        coarse = isotropic_grid(atlas.grid, voxel)
        away = ndimage.distance_transform_edt(~resample(atlas.mask, atlas.grid, coarse), sampling=voxel)
        around = away <= settings.margin
        images = (_coarse(atlas.image, atlas.grid, voxel), _coarse(stripped, grid, voxel))
        share = min(1.0, settings.points / float(around.sum()))
        return cls(images[0], to_sitk(around, coarse), images[1], share, settings.iterations)

    def cost(self, transform: Any) -> float:
        """The negative mutual information at a transform.

        Raises:
            DataError: the brains do not overlap there.
        """
        method = self._method(transform)
        try:
            return float(method.MetricEvaluate(self.atlas, self.scan))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DataError(
                f"the registration failed ({reason}); check orientation and brain mask of the scan"
            ) from error

    def climb(self, start: Any) -> Any:
        """The place that is reached from another, which is never worse.

        A line search can leap far beyond its step, out of the image or to a place that is worse than its start; it is
        tried again with smaller steps, and if that leaps, too, the start is kept.

        Raises:
            DataError: the brains do not overlap at the start.
        """
        lowest = self.cost(start)
        for share in _STEPS:
            end = self._search(start, share * self.atlas.GetSpacing()[0])
            if end is not None and self._cost_or_worst(end) < lowest:
                return end
        return start

    def _search(self, start: Any, step: float) -> Any:
        """Where line searches of a first step in mm lead; None if out of the image."""
        import SimpleITK as sitk

        end = sitk.AffineTransform(start)
        method = self._method(end)
        method.SetOptimizerAsConjugateGradientLineSearch(
            learningRate=1.0,
            numberOfIterations=self.iterations,
            convergenceMinimumValue=1e-5,
            convergenceWindowSize=5,
            lineSearchMaximumIterations=8,
            estimateLearningRate=method.EachIteration,
            maximumStepSizeInPhysicalUnits=step,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        try:
            method.Execute(self.atlas, self.scan)
        except RuntimeError:
            return None
        return end

    def _cost_or_worst(self, transform: Any) -> float:
        try:
            return self.cost(transform)
        except DataError:
            return float("inf")

    def _method(self, transform: Any) -> Any:
        """Mattes mutual information at a transform, which an optimiser changes in place."""
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricFixedMask(self.around)
        if self.share < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(self.share, _SEED)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(transform, inPlace=True)
        return method


def _coarse(image: NDArray[np.float32], grid: Grid, voxel: float) -> Any:
    """Smoothed by half a coarse voxel and sampled on coarse voxels."""
    smooth = ndimage.gaussian_filter(image, (voxel / 2 / grid.spacing)[::-1], output=np.float32, mode="constant")
    coarse = isotropic_grid(grid, voxel)
    return to_sitk(resample(smooth, grid, coarse), coarse)
