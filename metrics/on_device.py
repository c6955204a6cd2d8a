"""The post-processing where the map lies already: on tensors of any device, equal to `postprocess` value by value.

A median is a choice among values and an erosion one among voxels, so nothing is rounded. On a GPU every window is
simply laid out and sorted, some slices at a time: there the memory is fast enough for that. `Tensor.median` would do
without the sorting, but leaves to chance which of several equal values it points at, so that PyTorch refuses it where
a run is to repeat itself.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Values of windows that are laid out at a time: 64 MB of float32.
_LAID_OUT = 16 * 2**20


def postprocess_on_device(residual: Tensor, brain_mask: Tensor, erosion: int = 3, median: int = 5) -> Tensor:
    """Cut a residual to the eroded brain, then median-filter in 3-D; see `postprocess`.

    Args:
        residual: not negative, finite, float32 [D, H, W].
        brain_mask: True inside the brain, bool [D, H, W].
        erosion: voxels taken off the brain mask in each slice.
        median: side of the cube of the median filter in voxels, odd; 1 filters nothing.

    Returns:
        The score, [D, H, W], on the same device.
    """
    eroded = brain_mask
    for _ in range(erosion):
        before = F.pad(eroded, (1, 1, 1, 1))
        rows, columns = before[:, :, 1:-1], before[:, 1:-1]
        eroded = eroded & rows[:, 2:] & rows[:, :-2] & columns[:, :, 2:] & columns[:, :, :-2]
    return _median_filter(torch.where(eroded, residual, 0), median)


def _median_filter(volume: Tensor, size: int) -> Tensor:
    if size == 1:
        return volume
    padded = volume
    for axis, length in enumerate(volume.shape):
        padded = padded.index_select(axis, _mirrored(length, size // 2).to(volume.device))
    windows = padded.unfold(0, size, 1).unfold(1, size, 1).unfold(2, size, 1)
    slices = max(1, _LAID_OUT // windows[0].numel())
    middle = size**3 // 2
    return torch.cat([part.flatten(3).sort(dim=3).values[..., middle] for part in torch.split(windows, slices)])


def _mirrored(length: int, radius: int) -> Tensor:
    """Positions along an axis with `radius` more at each end, mirrored: c b a | a b c | c b a, as often as needed."""
    positions = torch.arange(-radius, length + radius).remainder(2 * length)
    return torch.where(positions < length, positions, 2 * length - 1 - positions)
