"""The structural similarity index as a differentiable map (Wang et al. 2004).

    SSIM(x, y) = (2·μx·μy + C1)(2·σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2))

Means, variances and covariance are weighted by a Gaussian window around each pixel. SSIM is 1 where two images agree
and falls with their differences in mean, contrast and structure; relative differences count, so that the same step
weighs more in a dark region than in a bright one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .full_precision import full_precision

#: (k·L)² with Wang's k and intensities in [0, 1], L = 1: they keep empty and flat regions from dividing by zero.
C1 = 0.01**2
C2 = 0.03**2


def gaussian_window(size: int, sigma: float) -> Tensor:
    """Return a separable Gaussian's one-dimensional weights, which sum to one.

    Args:
        size: pixels across, odd.
        sigma: standard deviation, pixels.

    Returns:
        float32 [size].
    """
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return (weights / weights.sum()).float()


def ssim_map(x: Tensor, y: Tensor, window: Tensor) -> Tensor:
    """Return SSIM at every pixel; beyond the image's edge both images are zero.

    It is computed in single precision even under autocast: variances are differences of nearly equal numbers, of which
    half precision would leave nothing.

    Args:
        x: images in [0, 1], [B, 1, H, W].
        y: like x.
        window: one-dimensional weights, see `gaussian_window`.

    Returns:
        float32 [B, 1, H, W], at most 1 but for rounding, symmetric in x and y.
    """
    with full_precision(x):
        x, y, window = x.float(), y.float(), window.to(x.device)
        moments = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1), window)
        mean_x, mean_y, square_x, square_y, product = moments.chunk(5, dim=1)
        squares, mixed = mean_x**2 + mean_y**2, mean_x * mean_y
        numerator = (2 * mixed + C1) * (2 * (product - mixed) + C2)
        return numerator / ((squares + C1) * (square_x + square_y - squares + C2))


def _blur(images: Tensor, window: Tensor) -> Tensor:
    """Weight every channel [B, C, H, W] by the window, along rows and then along columns; same shape."""
    channels, half = images.shape[1], len(window) // 2
    rows = window.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    columns = window.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    across = F.conv2d(images, rows, padding=(0, half), groups=channels)
    return F.conv2d(across, columns, padding=(half, 0), groups=channels)
