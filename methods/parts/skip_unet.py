"""The U-Net of Kascenas et al. (MIDL 2022): skips at every level, nothing that narrows the image to a code.

Levels of doubling width, each a pair of 3×3 convolutions with reflecting borders, halved by averaging on the way down
and doubled by transposed convolutions on the way up, where the level's own features from the way down are put beside
them. After each convolution SiLU, then group norm. As in the authors' published code, the 3×3 convolutions have
standardised weights (Qiao et al. 2019) and the groups of a norm are as many as they are large, or next to it: 8 for 64
channels, 16 for 128 and 256, 32 for 512.
"""

from __future__ import annotations

from itertools import pairwise
from math import isqrt

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..base import Frozen

_EPSILON = 1e-5


class SkipUNetSettings(Frozen):
    """The shape of the U-Net (preset section `skip_unet`).

    Attributes:
        depth: levels; the image is halved depth - 1 times.
        channels: channels of the first level; each deeper one has twice as many.
    """

    depth: int = Field(ge=2, le=8)
    channels: int = Field(ge=1, le=1024)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose filters are brought to mean 0 and standard deviation 1 before use (Qiao et al. 2019)."""

    def forward(self, input: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H', W']."""
        std, mean = torch.std_mean(self.weight, dim=(1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (std + _EPSILON)
        return self._conv_forward(input, weight, self.bias)  # type: ignore[no-any-return]


class SkipUNet(nn.Module):
    """Maps images to images of the same size.

    Args:
        settings: the shape.
        side: height and width of an image.

    Raises:
        ValueError: the side cannot be halved as often as the depth asks.
    """

    def __init__(self, settings: SkipUNetSettings, side: int) -> None:
        super().__init__()
        factor = 2 ** (settings.depth - 1)
        if side % factor:
            raise ValueError(
                f"a U-Net of depth {settings.depth} needs image.side divisible by {factor}, not {side}; "
                "change skip_unet.depth or image.side"
            )
        widths = [settings.channels * 2**level for level in range(settings.depth)]
        self.down = nn.ModuleList(_convolutions(*pair) for pair in pairwise((1, *widths)))
        upwards = list(pairwise(reversed(widths)))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(deep, width, 2, stride=2) for deep, width in upwards)
        self.up = nn.ModuleList(_convolutions(2 * width, width) for _, width in upwards)
        self.last = nn.Conv2d(settings.channels, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map [B, 1, H, W] to the same shape."""
        skips = [self.down[0](image)]
        for block in self.down[1:]:
            skips.append(block(F.avg_pool2d(skips[-1], 2)))
        x = skips.pop()
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            x = block(torch.cat([enlarge(x), skips.pop()], dim=1))
        return self.last(x)  # type: ignore[no-any-return]


def group_count(channels: int) -> int:
    """Return the smallest divisor of `channels` that is not below their square root."""
    floor = isqrt(channels - 1) + 1  # the square root, rounded up
    return next(count for count in range(floor, channels + 1) if channels % count == 0)


def _convolutions(inputs: int, outputs: int) -> nn.Sequential:
    """Build the pair of convolutions of a level."""
    parts: list[nn.Module] = []
    for channels in (inputs, outputs):
        convolution = StandardisedConv2d(channels, outputs, 3, padding=1, padding_mode="reflect")
        parts += [convolution, nn.SiLU(), nn.GroupNorm(group_count(outputs), outputs)]
    return nn.Sequential(*parts)
