"""The hierarchical partition of an image: overlapping p×p patches over non-overlapping r×r grid cells.

Paper, section 3.2: patches lie at stride s, K = ((H - p + s)/s)·((W - p + s)/s) of them; the image has N = H·W/r² grid
cells. A patch masks the cells it covers; the rest are visible. Patches and cells are numbered row by row.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from ..base import Frozen


class ImageSettings(Frozen):
    """The images a network is built for (preset section `image`).

    Attributes:
        side: height and width of a slice in pixels.
    """

    side: int = Field(ge=1, le=1024)


class PatchSettings(Frozen):
    """The hierarchical partition (preset section `patch`; paper, section 4.3).

    Attributes:
        size: p, side of a patch in pixels.
        stride: s, distance of neighbouring patches in pixels.
        grid: r, side of a grid cell in pixels; divides size and stride, so that a patch covers whole cells.
    """

    size: int = Field(ge=1, le=1024)
    stride: int = Field(ge=1, le=1024)
    grid: int = Field(ge=1, le=1024)


class PatchGrid(nn.Module):
    """Index tables of the patches and grid cells of a square image.

    Attributes:
        masks: True inside each patch, bool [K, H, W] (M_p of Eq. 8).
        pixels: flat positions of each patch's pixels, row by row, int64 [K, p·p].
        masked_cells: the grid cells each patch covers, ascending, int64 [K, (p/r)²].
        visible_cells: the other grid cells, ascending, int64 [K, N - (p/r)²].

    Args:
        settings: p, s, r.
        side: height and width of the image, in pixels.

    Raises:
        ValueError: the patches do not tile the image, or do not cover whole cells.
    """

    masks: Tensor
    pixels: Tensor
    masked_cells: Tensor
    visible_cells: Tensor

    def __init__(self, settings: PatchSettings, side: int) -> None:
        super().__init__()
        self.side, self.size = side, settings.size
        _check(settings, side)
        starts = range(0, side - settings.size + 1, settings.stride)
        self.corners = tuple((top, left) for top in starts for left in starts)
        count, cells = len(self.corners), side // settings.grid
        masks = np.zeros((count, side, side), dtype=np.bool_)
        for mask, (top, left) in zip(masks, self.corners, strict=True):
            mask[top : top + self.size, left : left + self.size] = True
        # A patch covers whole cells, so a cell's first pixel speaks for it.
        covered = masks[:, :: settings.grid, :: settings.grid].reshape(count, cells**2)
        self.register_buffer("masks", torch.from_numpy(masks), persistent=False)
        self.register_buffer("pixels", _true_columns(masks.reshape(count, -1)), persistent=False)
        self.register_buffer("masked_cells", _true_columns(covered), persistent=False)
        self.register_buffer("visible_cells", _true_columns(~covered), persistent=False)

    def __len__(self) -> int:
        """K, the number of patches."""
        return len(self.corners)

    def crop(self, images: Tensor, patch: Tensor) -> Tensor:
        """Cut one patch out of each image.

        Args:
            images: [B, 1, H, W].
            patch: which patch of each image, int64 [B].

        Returns:
            [B, p, p].
        """
        return images.flatten(1).gather(1, self.pixels[patch]).view(-1, self.size, self.size)

    def assemble(self, crops: Tensor) -> Tensor:
        """Put all patches of some images back in place; where patches overlap, take the mean (Algorithm 2, line 13).

        Args:
            crops: [B, K, p, p].

        Returns:
            [B, 1, H, W].
        """
        total = crops.new_zeros(len(crops), self.side, self.side)
        for k, (top, left) in enumerate(self.corners):  # a fixed order of additions, whatever the batches were
            total[:, top : top + self.size, left : left + self.size] += crops[:, k]
        return (total / self.masks.sum(0)).unsqueeze(1)


def _true_columns(table: NDArray[np.bool_]) -> Tensor:
    """Return the positions of True in each row; every row holds equally many."""
    return torch.from_numpy(table.nonzero()[1].reshape(len(table), -1))


def _check(settings: PatchSettings, side: int) -> None:
    size, stride, grid = settings.size, settings.stride, settings.grid
    if size > side or (side - size) % stride or stride > size:
        raise ValueError(
            f"patches of {size} pixels at stride {stride} do not cover an image of side {side}: "
            "patch.stride must divide image.side - patch.size and must not exceed patch.size"
        )
    if side % grid or size % grid or (stride % grid and size != side):
        raise ValueError(
            f"patch.grid ({grid}) must divide image.side ({side}), patch.size ({size}) and patch.stride ({stride})"
        )
