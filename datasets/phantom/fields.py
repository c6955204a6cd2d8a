"""Random numbers, smooth random fields and invertible deformations: the mathematics below the phantom.

A smooth random field is a cubic B-spline whose control points are independent N(0, 1) numbers: the spacing of the
control points is the scale of the field, and evaluating one on a whole volume is three small matrix products. A
deformation is the flow of a stationary velocity field, integrated by scaling and squaring (Arsigny et al., "A
log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006), hence smooth and invertible.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Shape = tuple[int, int, int]

GOLDEN_RATIO = (5**0.5 - 1) / 2
SQUARINGS = 6


def stream(seed: int, subject: str, topic: str) -> np.random.Generator:
    """Return the generator of one topic of one subject.

    Every topic has its own stream, so that drawing one number more for the noise does not move a lesion. SHA-256
    stands in for Python's `hash`, which differs from process to process.

    Args:
        seed: the seed of the cohort.
        subject: the subject's id.
        topic: what the numbers are for, e.g. "warp".
    """
    digest = hashlib.sha256(f"{subject}/{topic}".encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.default_rng(np.random.SeedSequence([seed, *words]))


def spread(index: int, seed: int, topic: str) -> float:
    """Return the index-th number of a low-discrepancy sequence in [0, 1) (multiples of the golden ratio).

    Ages, lesion volumes and loads are quantiles at these numbers, so that a cohort of four already spans the range of
    the real one. The start of the sequence depends on the seed and the topic only.
    """
    start = float(stream(seed, "cohort", topic).random())
    return float((start + index * GOLDEN_RATIO) % 1.0)


def volume_shape(volume: NDArray[Any]) -> Shape:
    """Return the shape of a volume, (Z, Y, X)."""
    z, y, x = volume.shape
    return z, y, x


def spline_basis(length: int, spacing: float) -> Array:
    """Return the cubic B-spline matrix from control points `spacing` voxels apart to `length` voxels.

    Returns:
        float32 [length, controls]; control point j sits at voxel (j - 1) * spacing.
    """
    controls = int(np.ceil((length - 1) / spacing)) + 3
    distance = np.abs(np.arange(length)[:, None] / spacing - (np.arange(controls)[None, :] - 1))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def evaluate(controls: Array, bases: Sequence[Array]) -> Array:
    """Return the tensor-product spline of `controls` [..., Kz, Ky, Kx] on the voxels of the bases, [..., Z, Y, X]."""
    z, y, x = bases
    along_x = controls @ x.T
    along_y = np.matmul(y, along_x)
    flat = along_y.reshape(*along_y.shape[:-2], -1)
    field: Array = np.matmul(z, flat).reshape(*controls.shape[:-3], z.shape[0], y.shape[0], x.shape[0])
    return field


def control_shape(shape: Shape, spacing: float) -> Shape:
    """Return how many control points each axis of a volume of this shape has."""
    counts = [int(np.ceil((length - 1) / spacing)) + 3 for length in shape]
    return (counts[0], counts[1], counts[2])


def random_field(rng: np.random.Generator, shape: Shape, spacing: float) -> Array:
    """Return a smooth random field of mean 0 and variance near 1, float32 [Z, Y, X], with the given scale in voxels."""
    bases = [spline_basis(length, spacing) for length in shape]
    controls = rng.standard_normal(control_shape(shape, spacing), dtype=np.float32)
    # A spline averages its control points: the sum of the squared weights, over a knot interval, is its variance.
    deviation = float(np.prod([np.sqrt(np.mean(np.sum(basis**2, axis=1))) for basis in bases]))
    field: Array = evaluate(controls, bases) / np.float32(deviation)
    return field


def linear_basis(targets: NDArray[Any], length: int) -> Array:
    """Return the linear interpolation matrix, float32 [len(targets), length], from voxels 0..length-1 to `targets`."""
    distance = np.abs(np.clip(targets, 0, length - 1)[:, None] - np.arange(length)[None, :])
    matrix: Array = np.clip(1 - distance, 0, None).astype(np.float32)
    return matrix


def integrate(velocity: Array) -> Array:
    """Return the displacement of the flow of a stationary velocity field after unit time (scaling and squaring).

    Args:
        velocity: float32 [3, Z, Y, X], in voxels of its own grid.

    Returns:
        displacement u, float32 [3, Z, Y, X]: the flow takes x to x + u(x).
    """
    grid = np.indices(velocity.shape[1:], dtype=np.float32)
    displacement = velocity / np.float32(2**SQUARINGS)
    for _ in range(SQUARINGS):
        where = grid + displacement
        moved = [ndimage.map_coordinates(part, where, order=1, mode="nearest") for part in displacement]
        displacement = displacement + np.stack(moved)
    return displacement


def jacobian_determinant(coordinates: Array) -> Array:
    """Return the Jacobian determinant of a map of voxels, float32 [Z, Y, X]; positive everywhere = invertible.

    Args:
        coordinates: where each voxel goes, float32 [3, Z, Y, X].
    """
    a, b, c = (np.gradient(part) for part in coordinates)
    first = a[0] * (b[1] * c[2] - b[2] * c[1])
    second = a[1] * (b[0] * c[2] - b[2] * c[0])
    third = a[2] * (b[0] * c[1] - b[1] * c[0])
    determinant: Array = first - second + third
    return determinant


def smooth_step(values: NDArray[Any], width: float) -> Array:
    """Return 0 far below zero, 1 far above and a cubic ramp of the given width around it."""
    ramp = np.clip(values / width + 0.5, 0, 1)
    step: Array = (ramp * ramp * (3 - 2 * ramp)).astype(np.float32)
    return step
