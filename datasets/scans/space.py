"""Volumes and where they lie: arrays with a world affine, and resampling from one grid to another in one step.

Arrays are (z, y, x); affines map voxel (x, y, z) to RAS+ world millimetres, as in NIfTI. SimpleITK counts its world in
LPS, so both flip two axes on the way in and out, and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError

_LPS = np.diag([-1.0, -1.0, 1.0])
_SHEAR_TOLERANCE = 1e-3

Affine = NDArray[np.float64]
_ScalarT = TypeVar("_ScalarT", np.float32, np.bool_)


@dataclass(frozen=True)
class Grid:
    """Where a volume lies: its array shape (z, y, x) and its RAS+ affine over (x, y, z), in mm."""

    shape: tuple[int, ...]
    affine: Affine

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel sizes (x, y, z) in mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def is_sheared(self) -> bool:
        """Whether its axes do not stand at right angles, which neither ITK nor a scanner makes."""
        direction = self.affine[:3, :3] / self.spacing
        return not np.allclose(direction.T @ direction, np.eye(3), atol=_SHEAR_TOLERANCE)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000

    def cropped(self, box: tuple[slice, ...]) -> Grid:
        """The grid of `array[box]`: the affine moves with the first voxel, so that world points stay put."""
        start = np.array([box[2].start, box[1].start, box[0].start], dtype=np.float64)
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ start
        return Grid(tuple(part.stop - part.start for part in box), affine)

    def world(self, voxels: NDArray[np.float64]) -> NDArray[np.float64]:
        """World points [N, 3] in RAS+ mm of voxel coordinates [N, 3] given as (z, y, x)."""
        return np.asarray(voxels[:, ::-1] @ self.affine[:3, :3].T + self.affine[:3, 3])


def isotropic_grid(grid: Grid, size: float = 1.0) -> Grid:
    """The axis-aligned RAS grid of isotropic voxels that just covers another grid, whatever its orientation.

    Args:
        grid: the grid to cover.
        size: voxel edge in mm.
    """
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape], indexing="ij")).reshape(3, -1).T
    world = grid.world(corners)
    low, high = world.min(axis=0), world.max(axis=0)
    counts = np.maximum(1, np.ceil((high - low) / size - 1e-6)).astype(int)
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = (low + high) / 2 - (counts - 1) * size / 2
    return Grid((int(counts[2]), int(counts[1]), int(counts[0])), affine)


def to_sitk(array: NDArray[Any], grid: Grid) -> Any:
    """A SimpleITK image of an array (float32; bool as uint8).

    Raises:
        DataError: the affine is sheared or singular, which neither ITK nor a scanner makes.
    """
    import SimpleITK as sitk

    spacing = grid.spacing
    if not np.all(spacing > 0) or not np.isfinite(grid.affine).all():
        raise DataError(f"the affine has voxels of {spacing.tolist()} mm; correct the header")
    direction = grid.affine[:3, :3] / spacing
    if grid.is_sheared:
        raise DataError("the affine is sheared: its axes do not stand at right angles; resample the scan first")
    values = array.astype(np.uint8) if array.dtype == np.bool_ else np.ascontiguousarray(array, dtype=np.float32)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((_LPS @ direction).ravel().tolist())
    image.SetOrigin((_LPS @ grid.affine[:3, 3]).tolist())
    return image


def to_sitk_transform(matrix: Affine) -> Any:
    """A SimpleITK transform of a RAS+ world matrix [4, 4]."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix((_LPS @ matrix[:3, :3] @ _LPS).ravel().tolist())
    transform.SetTranslation((_LPS @ matrix[:3, 3]).tolist())
    return transform


def from_sitk_transform(transform: Any) -> Affine:
    """The RAS+ world matrix [4, 4] of an affine SimpleITK transform, wherever its centre is."""
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = _LPS @ linear @ _LPS
    matrix[:3, 3] = _LPS @ (np.array(transform.GetTranslation()) + centre - linear @ centre)
    return matrix


def resample(array: NDArray[_ScalarT], grid: Grid, target: Grid, to_source: Affine | None = None) -> NDArray[_ScalarT]:
    """Sample a volume on another grid: linear for images, nearest for masks, zero beyond its edge.

    Args:
        array: float32 image or bool mask [Z, Y, X].
        grid: where it lies.
        target: where it is wanted.
        to_source: matrix from the target's world to the array's world [4, 4]; None is the identity.
    """
    import SimpleITK as sitk

    is_mask = array.dtype == np.bool_
    filter_ = sitk.ResampleImageFilter()
    filter_.SetReferenceImage(to_sitk(np.zeros(target.shape, dtype=np.bool_), target))
    filter_.SetInterpolator(sitk.sitkNearestNeighbor if is_mask else sitk.sitkLinear)
    filter_.SetTransform(to_sitk_transform(np.eye(4) if to_source is None else to_source))
    filter_.SetDefaultPixelValue(0)
    filter_.SetOutputPixelType(sitk.sitkUInt8 if is_mask else sitk.sitkFloat32)
    moved = sitk.GetArrayFromImage(filter_.Execute(to_sitk(array, grid)))
    return moved.astype(array.dtype)
