"""Coarse noise: what the denoising autoencoder of Kascenas et al. (MIDL 2022) learns to remove.

Normal numbers on a coarse grid are enlarged to the image by bilinear interpolation, the grid's corner nodes falling on
the image's corner pixels, and rolled around by a random offset in both axes, so that no pixel is favoured by the grid.
The blobs that result are about as large as lesions, which pixel-wise noise is not.

At a node the standard deviation is `std`; in between it is less, since a mean of independent numbers varies less: at
fractions (u, v) of a grid cell it is std·√(((1-u)² + u²)·((1-v)² + v²)), half of it in a cell's centre.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ..base import Frozen
from .seeds import Stream, normal, uniform_int


class CoarseNoiseSettings(Frozen):
    """Coarse noise (preset section `coarse_noise`).

    Attributes:
        std: standard deviation at the nodes of the grid, in units of an image whose intensities span [0, 1].
        resolution: nodes of the grid along each axis.
    """

    std: float = Field(ge=0, le=1000)
    resolution: int = Field(ge=2, le=512)


def coarse_noise(seeds: Tensor, side: int, settings: CoarseNoiseSettings) -> Tensor:
    """Return one noise image a seed.

    Args:
        seeds: int64 [B].
        side: height and width of an image in pixels.
        settings: strength and resolution.

    Returns:
        float32 [B, 1, side, side]; not clipped, not masked.
    """
    nodes = settings.resolution
    grid = settings.std * normal(seeds, Stream.NOISE, nodes**2).view(-1, 1, nodes, nodes)
    image = F.interpolate(grid, size=(side, side), mode="bilinear", align_corners=True)
    offsets = uniform_int(seeds, Stream.SHIFT, side**2)
    return roll_each(image, offsets // side, offsets % side)


def roll_each(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Roll each image by its own offsets; what leaves at one edge comes in at the opposite one.

    Args:
        images: [B, C, H, W].
        down: pixels by which an image moves along H, int64 [B].
        right: pixels by which an image moves along W, int64 [B].

    Returns:
        [B, C, H, W].
    """
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - down[:, None]) % height
    columns = (torch.arange(width, device=images.device) - right[:, None]) % width
    which = torch.arange(len(images), device=images.device)[:, None, None]
    return images[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
