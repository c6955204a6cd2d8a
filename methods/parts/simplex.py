"""Fractal 2-D OpenSimplex noise for a batch of seeds (paper, Algorithms 1 and 2: Simplex(ν, N, γ)).

OpenSimplex (Kurt Spencer, 2014) is gradient noise on a triangular lattice of edge √2. At a point q it is

    noise(q) = 1/47 · Σ over lattice points p with |q - p|² < 2 of (2 - |q - p|²)⁴ · g(p)·(q - p),

where g(p) is one of eight gradients, chosen by hashing the lattice coordinates of p with a seeded permutation. Only g
depends on the seed. The pixels of an image never move, so the lattice points near each pixel and their weights
(2 - d²)⁴·(q - p)/47 are computed once, for all octaves together, as one sparse linear map from gradients to pixels. A
batch of noise images is then: a permutation a seed, the gradients at some 1500 lattice points, one weighted sum.

Values equal those of the PyPI package `opensimplex` (function `noise2`, same seed) up to float32 rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ...stopwatch import spent
from ..base import Frozen
from .seeds import derive_seed

_SQUISH = (3**0.5 - 1) / 2  # lattice to plane: (x, y) += (x + y) * squish
_STRETCH = (1 / 3**0.5 - 1) / 2  # plane to lattice, its inverse
_RADIUS_SQUARED = 2.0
_NORM = 47.0
_NEIGHBOURS = 4  # no point of the plane has more than four lattice points within √2 of it
_TABLE = 256
_GRADIENTS = ((5, 2), (2, 5), (-5, 2), (-2, 5), (5, -2), (2, -5), (-5, -2), (-2, -5))
_LCG_FACTOR, _LCG_SHIFT, _LCG_WARM_UP = 6364136223846793005, 1442695040888963407, 3


class NoiseSettings(Frozen):
    """Fractal noise (preset section `noise`; paper, section 4.3).

    Attributes:
        frequency: ν, lattice units a pixel of the first octave.
        octaves: N; each octave doubles the frequency.
        decay: γ, the factor of the amplitude from an octave to the next.
        share: at test, "slice" draws one noise image per slice (paper, Algorithm 2: an image is a slice), "volume" one
            for all slices of a volume, as the published code does (Behrendt et al. 2023, `gen_noise`: one image,
            repeated over the batch, which is a volume). A 3-D median filter smooths the first more than the second.
    """

    frequency: float = Field(gt=0, le=16)
    octaves: int = Field(ge=1, le=16)
    decay: float = Field(gt=0, le=1)
    share: Literal["slice", "volume"]


def slice_seeds(seed: int, depth: int, share: Literal["slice", "volume"], device: torch.device) -> Tensor:
    """Return the seed of the noise of every slice of a test volume, int64 [D].

    Args:
        seed: the volume's.
        depth: number of slices.
        share: see `NoiseSettings`.
        device: where they are wanted.
    """
    return torch.tensor([derive_seed(seed, i if share == "slice" else 0) for i in range(depth)], device=device)


@dataclass(frozen=True)
class _LinearMap:
    """Noise as a linear function of gradients.

    Attributes:
        points: lattice coordinates (x, y) of the distinct lattice points that reach any pixel, int64 [P, 2].
        index: rows of the gradient table (2·point + component) that each pixel sums, int64 [H·W, n].
        weight: their weights, float64 [H·W, n]; unused places weigh zero.
    """

    points: NDArray[np.int64]
    index: NDArray[np.int64]
    weight: NDArray[np.float64]


class FractalSimplex(nn.Module):
    """Draws noise images of one size.

    Pixel (row i, column j) of octave o is `noise2(x=j·ν·2^o, y=i·ν·2^o)`, times γ^o; the octaves are added and not
    normalised. All octaves of an image use the image's one seed, as the field's code does with one OpenSimplex object.

    Args:
        settings: frequency, octaves, decay.
        height: rows of an image.
        width: columns of an image.
    """

    points: Tensor
    index: Tensor
    weight: Tensor
    gradients: Tensor
    lcg_factor: Tensor
    lcg_shift: Tensor

    def __init__(self, settings: NoiseSettings, height: int, width: int) -> None:
        super().__init__()
        self.shape = (height, width)
        linear = _fractal_map(settings, height, width)
        factor, shift = _lcg_powers()
        # Not persistent: a checkpoint holds what was learned, not what is computed from the settings.
        self.register_buffer("points", torch.from_numpy(linear.points), persistent=False)
        self.register_buffer("index", torch.from_numpy(linear.index), persistent=False)
        self.register_buffer("weight", torch.from_numpy(linear.weight).float(), persistent=False)
        self.register_buffer("gradients", torch.tensor(_GRADIENTS, dtype=torch.float32), persistent=False)
        self.register_buffer("lcg_factor", factor, persistent=False)
        self.register_buffer("lcg_shift", shift, persistent=False)

    @torch.no_grad()
    def forward(self, seeds: Tensor) -> Tensor:
        """Return the noise images of the seeds.

        Args:
            seeds: int64 [B], on this module's device.

        Returns:
            float32 [B, 1, H, W].
        """
        with spent("noise"):
            permutation = self._permutations(seeds)
            x, y = (self.points & (_TABLE - 1)).unbind(1)
            hashed = permutation.gather(0, (permutation[x] + y[:, None]) & (_TABLE - 1))
            table = self.gradients[(hashed & 14) >> 1].transpose(1, 2).flatten(0, 1)  # [2P, B]
            pixels = F.embedding_bag(self.index, table.contiguous(), mode="sum", per_sample_weights=self.weight)
            return pixels.t().reshape(-1, 1, *self.shape)

    def _permutations(self, seeds: Tensor) -> Tensor:
        """Return the permutation table of each seed, int64 [256, B]: a shuffle driven by a 64-bit LCG."""
        states = self.lcg_factor * seeds[:, None] + self.lcg_shift  # state before place 255, 254, ..., 0
        choices = torch.arange(_TABLE, 0, -1, device=seeds.device)
        picks = (states % choices + 31) % choices  # the package adds 31 first, in unbounded integers: same remainder
        return shuffled(picks.flip(1)).t().contiguous()


def shuffled(picks: Tensor) -> Tensor:
    """Return what Fisher-Yates shuffles of 0, 1, ..., n - 1 leave, without making their n swaps one after the other.

    A shuffle goes from the last place down; each place in its turn swaps its number with that of the place it picks.
    So what a place holds when its turn comes was brought by the last one to pick it, which held it at its own turn,
    and so on up to a place that nobody had picked: it holds its own number. All places follow these pointers at once,
    twice as far each time. (On a GPU a loop of swaps is a thousand small kernels.)

    Args:
        picks: which place each place picks, at most itself, int64 [B, n].

    Returns:
        int64 [B, n].
    """
    size = picks.shape[1]
    places = torch.arange(size, device=picks.device).expand_as(picks)
    # Who picks the same place lies together, in ascending order of their own places.
    turns, order = (picks * size + places).sort(dim=1)
    picked, again = turns // size, F.pad(turns[:, 1:] // size == turns[:, :-1] // size, (0, 1))
    # The lowest place above that picks the same; `places` stand for none.
    rival = torch.empty_like(picks).scatter_(1, order, torch.where(again, order.roll(-1, 1), order))
    # The lowest place above that picks this one: first of those who do, but for the place itself.
    lowest = (order > picked) & ~F.pad(again[:, :-1] & (order > picked)[:, :-1], (1, 0))
    aside = torch.where(lowest, picked, size)
    held = F.pad(places, (0, 1)).scatter_(1, aside, order)[:, :size]
    for _ in range((size - 1).bit_length()):
        held = held.gather(1, held)
    return torch.where(rival == places, picks, held.gather(1, rival))


def _lcg_powers() -> tuple[Tensor, Tensor]:
    """Return a and c, int64 [256] each, such that after 3 + 1 + k steps the generator is at a[k]·seed + c[k]."""
    factor, shift, factors, shifts = 1, 0, [], []
    for step in range(_LCG_WARM_UP + _TABLE):
        factor = factor * _LCG_FACTOR % 2**64
        shift = (shift * _LCG_FACTOR + _LCG_SHIFT) % 2**64
        if step >= _LCG_WARM_UP:
            factors.append(factor)
            shifts.append(shift)
    unsigned = np.array([factors, shifts], dtype=np.uint64)
    both = torch.from_numpy(unsigned.view(np.int64))
    return both[0], both[1]


def _fractal_map(settings: NoiseSettings, height: int, width: int) -> _LinearMap:
    """Return the linear map of all octaves together."""
    lattice, weights = [], []
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
    for octave in range(settings.octaves):
        points, weight = _neighbours(pixels * (settings.frequency * 2.0**octave))
        lattice.append(points)
        weights.append(weight * settings.decay**octave)
    points = np.concatenate(lattice, axis=1)  # [H·W, 4·octaves, 2]
    keys, inverse = np.unique((points[..., 0] << 32) + points[..., 1], return_inverse=True)
    y = (keys & (2**32 - 1)).astype(np.uint32).view(np.int32).astype(np.int64)
    index = 2 * inverse.reshape(points.shape[:2])[:, :, None] + np.arange(2)
    weight = np.concatenate(weights, axis=1)
    return _LinearMap(
        np.stack([(keys - y) >> 32, y], axis=1), index.reshape(len(pixels), -1), weight.reshape(len(pixels), -1)
    )


def _neighbours(positions: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the four lattice points that reach each position, and their weights.

    Args:
        positions: (x, y) in the plane, [N, 2].

    Returns:
        Lattice coordinates [N, 4, 2], and the factors of the gradient's two components [N, 4, 2].
    """
    cell = np.floor(positions + positions.sum(1, keepdims=True) * _STRETCH).astype(np.int64)
    around = np.stack(np.meshgrid(np.arange(-1, 3), np.arange(-1, 3), indexing="ij"), axis=-1).reshape(-1, 2)
    lattice = cell[:, None] + around  # [N, 16, 2]
    offset = positions[:, None] - (lattice + lattice.sum(2, keepdims=True) * _SQUISH)
    kernel = np.clip(_RADIUS_SQUARED - (offset**2).sum(2), 0.0, None) ** 4 / _NORM
    nearest = np.argsort(-kernel, axis=1, kind="stable")[:, :_NEIGHBOURS, None]
    weight = np.take_along_axis(kernel[:, :, None] * offset, nearest, axis=1)
    return np.take_along_axis(lattice, np.broadcast_to(nearest, (*nearest.shape[:2], 2)), axis=1), weight
