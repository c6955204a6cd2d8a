"""A residual image encoder and its masked pretraining (He et al. 2016; Tian et al. 2023, SparK).

The encoder is a ResNet of bottleneck blocks (with 64 channels, blocks (3, 4, 6, 3) and expansion 4: ResNet-50), with
two changes. Group norm (Wu and He 2018) takes the place of batch norm, so that an image's latent does not depend on its
batch. And the blocks normalise before they convolve ("Identity mappings in deep residual networks", He et al. 2016),
with plain shortcuts: group norm after a convolution would erase how bright an image is, which batch norm does not; the
unnormalised sum of the branches carries it to the latent.

Pretraining hides square cells of an image and rebuilds them. SparK convolves only where something is visible. Here the
hidden cells are set to zero and convolved like the rest, a stand-in: what was hidden can seep a few pixels into the
features of visible cells as zeros, never as content. As in SparK, the features of every stage are handed to a light
decoder, a learned vector standing in for those of hidden cells, and the error counts in hidden cells only.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..base import Frozen
from .seeds import Stream, uniform

_GROUPS = 32  # as in Wu and He (2018), fewer in a leaner network
_CHANNELS_A_GROUP = 2  # ResNet-50's at its narrowest
_STEM_STRIDE = 4


class ResidualEncoderSettings(Frozen):
    """The shape of the encoder and of the decoder of its pretraining (preset section `resnet`).

    Attributes:
        channels: width of the first stage's bottlenecks; doubles from a stage to the next.
        blocks: blocks of each stage; each stage but the first halves the side.
        expansion: channels of a stage's output as a multiple of its bottlenecks' width.
        decoder_channels: width of the decoder at the coarsest side; halves as the side doubles.
    """

    channels: int = Field(ge=2, le=2048, multiple_of=2)
    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(min_length=1, max_length=8)
    expansion: int = Field(ge=1, le=16)
    decoder_channels: int = Field(ge=2, le=8192)


class Bottleneck(nn.Module):
    """A residual block: 1×1, 3×3 and 1×1 convolution, each after group norm and activation; a plain shortcut.

    Args:
        inputs: channels in.
        width: channels between the convolutions.
        outputs: channels out.
        stride: of the 3×3 convolution and of the shortcut.
    """

    def __init__(self, inputs: int, width: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        convolutions = (
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False),
            nn.Conv2d(width, outputs, 1, bias=False),
        )
        nn.init.zeros_(convolutions[-1].weight)  # the branch starts as no change at all
        norms = (_norm(convolution.in_channels) for convolution in convolutions)
        pairs = zip(norms, convolutions, strict=True)
        self.branch = nn.Sequential(*(layer for norm, conv in pairs for layer in (norm, nn.SiLU(), conv)))
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, h, w] to [B, outputs, h / stride, w / stride]."""
        return self.shortcut(x) + self.branch(x)  # type: ignore[no-any-return]


class ResidualEncoder(nn.Module):
    """Maps an image to a latent vector.

    Attributes:
        widths: channels of each stage's output.
        stride: pixels of the image a pixel of the last stage's output, and the side of a cell of the pretraining.

    Args:
        settings: the shape.
        latent: numbers in the latent vector.
    """

    def __init__(self, settings: ResidualEncoderSettings, latent: int) -> None:
        super().__init__()
        self.widths = tuple(settings.channels * settings.expansion * 2**stage for stage in range(len(settings.blocks)))
        self.stride: int = _STEM_STRIDE * 2 ** (len(settings.blocks) - 1)
        self.stem = nn.Sequential(nn.Conv2d(1, settings.channels, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1))
        self.stages = nn.ModuleList()
        for stage, (inputs, outputs) in enumerate(pairwise((settings.channels, *self.widths))):
            width = outputs // settings.expansion
            first = Bottleneck(inputs, width, outputs, 1 if stage == 0 else 2)
            rest = (Bottleneck(outputs, width, outputs) for _ in range(settings.blocks[stage] - 1))
            self.stages.append(nn.Sequential(first, *rest))
        self.dense = nn.Linear(self.widths[-1], latent)

    def features(self, image: Tensor) -> list[Tensor]:
        """Map images [B, 1, H, W] to the output of every stage, finest first."""
        x, outputs = self.stem(image), []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs

    def forward(self, image: Tensor) -> Tensor:
        """Map images [B, 1, H, W] to latents [B, latent]."""
        return self.dense(self.features(image)[-1].mean((2, 3)))  # type: ignore[no-any-return]


class MaskedPretraining(nn.Module):
    """Hides cells of images and rebuilds them from what the encoder makes of the rest.

    Args:
        settings: the encoder's shape and the decoder's width.
        encoder: what is to learn; its parameters are not this module's.
        side: height and width of an image.
        mask_ratio: share of hidden cells.

    Raises:
        ValueError: the cells do not tile the image, none or all would be hidden, or the decoder is too narrow.
    """

    def __init__(
        self, settings: ResidualEncoderSettings, encoder: ResidualEncoder, side: int, mask_ratio: float
    ) -> None:
        super().__init__()
        self.cell, doublings = encoder.stride, int(math.log2(encoder.stride))
        _check(settings, side, self.cell)
        self._grid = side // self.cell
        self._hidden = self._grid**2 - round(self._grid**2 * (1 - mask_ratio))
        if not 0 < self._hidden < self._grid**2:
            raise ValueError(
                f"a mask ratio of {mask_ratio} hides {self._hidden} of {self._grid**2} cells: some must be hidden, "
                "some visible"
            )
        channels = [settings.decoder_channels // 2**level for level in range(doublings + 1)]
        coarsest_first = encoder.widths[::-1]
        self.tokens = nn.ParameterList(torch.randn(1, width, 1, 1) * 0.02 for width in coarsest_first)
        self.lateral = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1) for inputs, outputs in zip(coarsest_first, channels, strict=False)
        )
        self.up = nn.ModuleList(Bottleneck(inputs, outputs, outputs) for inputs, outputs in pairwise(channels))
        self.out = nn.Conv2d(channels[-1], 1, 1)

    def hidden_cells(self, seed: Tensor) -> Tensor:
        """Return which cells of each image are hidden, equally many an image, bool [B, 1, grid, grid]."""
        order = torch.argsort(uniform(seed, Stream.MASK, self._grid**2), dim=1, stable=True)
        rank = torch.argsort(order, dim=1)
        return (rank < self._hidden).view(-1, 1, self._grid, self._grid)

    def rebuild(self, encoder: ResidualEncoder, image: Tensor, hidden: Tensor) -> Tensor:
        """Return images rebuilt from their visible cells, [B, 1, H, W] (`hidden`: bool [B, 1, grid, grid])."""
        visible = image.masked_fill(_enlarged(hidden, self.cell), 0)
        features = encoder.features(visible)[::-1]
        x = image.new_zeros(())
        for level, up in enumerate(self.up):
            if level < len(features):
                here = torch.where(_enlarged(hidden, 2**level), self.tokens[level], features[level])
                x = x + self.lateral[level](here)
            x = up(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.out(x)  # type: ignore[no-any-return]

    def forward(self, encoder: ResidualEncoder, image: Tensor, seed: Tensor) -> Tensor:
        """Return the mean squared error in the hidden cells, a scalar, for images [B, 1, H, W] with seeds [B]."""
        hidden = self.hidden_cells(seed)
        error = (self.rebuild(encoder, image, hidden).float() - image).square()
        weight = _enlarged(hidden, self.cell)
        return (error * weight).sum() / weight.sum()


def _enlarged(cells: Tensor, factor: int) -> Tensor:
    """Repeat every entry of [B, 1, g, g] to a square of `factor` pixels."""
    return cells.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(_GROUPS, max(1, channels // _CHANNELS_A_GROUP)), channels)


def _check(settings: ResidualEncoderSettings, side: int, cell: int) -> None:
    if side % cell:
        raise ValueError(
            f"an encoder of {len(settings.blocks)} stages needs an image.side divisible by {cell}, not {side}"
        )
    if settings.decoder_channels % cell:
        raise ValueError(
            f"resnet.decoder_channels ({settings.decoder_channels}) must be divisible by {cell}, "
            "as its width halves until the side is the image's"
        )
