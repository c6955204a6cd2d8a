"""The diffusion U-Net of Dhariwal and Nichol (2021), "Diffusion models beat GANs on image synthesis".

Residual blocks with scale-shift normalisation (adaptive group norm) by the timestep, residual blocks that halve or
double the side, multi-head self-attention in the middle block and, by choice, at some sides of the encoder and the
decoder. With 128 channels, multipliers (1, 2, 2) and three blocks a level it has 37.51 M parameters and takes
149.1 GFLOP for one 96×96 image; with attention at 48×48 and 24×24, 41.21 M and 200.1 GFLOP.

A space-to-depth stem of factor k (1 = none, the paper's) runs the whole network at 1/k of the side: the lean form for
processors without much arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, Self, TypeVar

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from ..base import Frozen
from .layout import LaidOut, lay_out, layout
from .recomputed import Recomputing

_GROUPS = 32
_CHANNELS_A_GROUP = 4  # the original's, at its base width of 128
_MAX_PERIOD = 10_000.0

Resize = Literal["down", "up"]
_ModuleT = TypeVar("_ModuleT", bound=nn.Module)


class UNetSettings(Frozen):
    """The shape of the U-Net (preset section `unet`).

    Attributes:
        channels: base width.
        multipliers: width of each level as a multiple of `channels`; the side halves from a level to the next.
        blocks: residual blocks a level in the encoder (one more in the decoder).
        head_channels: channels an attention head.
        attention: whether encoder and decoder have attention at `attention_sides` (the middle block always has it).
        attention_sides: sides of the feature maps that are attended to.
        stem: space-to-depth factor before the first convolution, undone after the last; 1 is none.
    """

    channels: int = Field(ge=4, le=2048, multiple_of=4)
    multipliers: tuple[Annotated[int, Field(ge=1, le=16)], ...] = Field(min_length=1, max_length=10)
    blocks: int = Field(ge=1, le=16)
    head_channels: int = Field(ge=1, le=8192)
    attention: bool
    attention_sides: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = Field(max_length=10)
    stem: int = Field(ge=1, le=1024)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.attention and not self.attention_sides:
            raise ValueError("unet.attention is on but unet.attention_sides is empty")
        attended = self.multipliers if self.attention else self.multipliers[-1:]
        for multiplier in attended:
            if self.channels * multiplier % self.head_channels:
                raise ValueError(f"unet.head_channels ({self.head_channels}) must divide {self.channels * multiplier}")
        return self


@dataclass(frozen=True)
class Encoded:
    """What the encoder hands to the decoder.

    Attributes:
        features: f, the encoder's output, [B, C, h, w].
        skips: the output of the first convolution and of every encoder block, first to last.
        embedding: the activated timestep embedding, [B, 4·channels], with the condition behind it if there is one.
    """

    features: Tensor
    skips: tuple[Tensor, ...]
    embedding: Tensor


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Return the sinusoidal embedding of timesteps: cosines, then sines, of t at geometric frequencies.

    Args:
        t: [B].
        width: number of components, even.

    Returns:
        float32 [B, width].
    """
    half = width // 2
    frequency = torch.exp(-math.log(_MAX_PERIOD) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angle = t.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class _Norm(nn.GroupNorm):
    """Group norm: 32 groups as in the original, fewer in a leaner network, so that none has fewer channels than there.

    With one channel a group the mean of every feature map, hence how bright the slice is, would be lost.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(_GROUPS, channels // _CHANNELS_A_GROUP), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, h, w], in the layout of the device."""
        return super().forward(x.contiguous(memory_format=layout(x.device)))


class ResidualBlock(nn.Module):
    """Normalise, activate, convolve, twice; the timestep scales and shifts the second normalisation.

    Args:
        inputs: channels in.
        outputs: channels out.
        embedding: width of the timestep embedding and what is conditioned on besides.
        resize: "down" halves the side (mean of 2×2), "up" doubles it (nearest), None keeps it.
    """

    def __init__(self, inputs: int, outputs: int, embedding: int, resize: Resize | None = None) -> None:
        super().__init__()
        self.resize = resize
        self.norm_in = _Norm(inputs)
        self.conv_in = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.norm_out = _Norm(outputs)
        self.conv_out = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map [B, inputs, h, w] to [B, outputs, h', w'].

        `embedding` is the activated timestep embedding.
        """
        h = self.conv_in(self._resized(F.silu(self.norm_in(x))))
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm_out(h), 1 + scale)
        return self.shortcut(self._resized(x)) + self.conv_out(F.silu(h))  # type: ignore[no-any-return]

    def _resized(self, x: Tensor) -> Tensor:
        if self.resize == "down":
            return F.avg_pool2d(x, 2)
        if self.resize == "up":
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return x


class SpatialAttention(nn.Module):
    """Multi-head self-attention between all positions of a feature map, added to it.

    Args:
        channels: channels in and out.
        head_channels: channels a head.
    """

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        self.head_channels = head_channels
        self.norm = _Norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = _zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, C, h, w] to the same shape."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        heads = self.qkv(tokens).unflatten(2, (3, -1, self.head_channels)).permute(2, 0, 3, 1, 4)
        # Taken apart at once: the gradient of three indices is three tensors of zeros, filled and added up.
        query, key, value = heads.unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return x + self.project(mixed).transpose(1, 2).unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


class _Stage(nn.Module):
    """A residual block, then perhaps attention, then perhaps a residual block that doubles the side.

    In the decoder the residual block takes a skip connection too, as further channels.
    """

    def __init__(
        self, block: ResidualBlock, attention: SpatialAttention | None, up: ResidualBlock | None = None
    ) -> None:
        super().__init__()
        self.block = block
        self.attention = attention
        self.up = up

    def forward(self, x: Tensor, embedding: Tensor, skip: Tensor | None = None) -> Tensor:
        x = self.block(x if skip is None else torch.cat([x, skip], dim=1), embedding)
        if self.attention is not None:
            x = self.attention(x)
        return x if self.up is None else self.up(x, embedding)


class UNet(LaidOut, Recomputing):
    """Predicts the clean image from a noised one and its timestep.

    `forward` is `decode(encode(x, t))`; the two halves are public so that something may act on the encoder's output
    between them.

    Attributes:
        feature_channels: channels of the encoder's output.
        feature_side: side of the encoder's output.

    Args:
        settings: the shape.
        side: height and width of the images.
        condition: numbers in a vector that, beside the timestep, scales and shifts every block; 0 is none.

    Raises:
        ValueError: the side cannot be halved that often, or an attended side is no level's side.
    """

    def __init__(self, settings: UNetSettings, side: int, condition: int = 0) -> None:
        super().__init__()
        self.settings = settings
        self._sides = _level_sides(settings, side)
        self._widths = [settings.channels * multiplier for multiplier in settings.multipliers]
        self.feature_channels, self.feature_side = self._widths[-1], self._sides[-1]
        width = 4 * settings.channels
        self.time = nn.Sequential(nn.Linear(settings.channels, width), nn.SiLU(), nn.Linear(width, width))
        self._embedding = width + condition
        self.conv_in = nn.Conv2d(settings.stem**2, settings.channels, 3, padding=1)
        self.encoder, skips = self._build_encoder()
        deepest = self.feature_channels
        self.middle = nn.ModuleList(
            [
                _Stage(self._residual(deepest, deepest), SpatialAttention(deepest, settings.head_channels)),
                _Stage(self._residual(deepest, deepest), None),
            ]
        )
        self.decoder = self._build_decoder(skips)
        self.norm_out = _Norm(self._widths[0])
        self.conv_out = _zero(nn.Conv2d(self._widths[0], settings.stem**2, 3, padding=1))
        lay_out(self)

    @property
    def silent(self) -> bool:
        """Whether the answer is zero whatever is shown: the last layer is zero until a training moves it."""
        return not any(bool(parameter.any()) for parameter in self.conv_out.parameters())

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """Estimate x0.

        Args:
            x: noised images [B, 1, H, W].
            t: their timesteps [B].
            condition: a vector an image, [B, condition]; none for a network without.

        Returns:
            float32 [B, 1, H, W].
        """
        encoded = self.encode(x, t, condition)
        return self.decode(encoded, encoded.features)

    def encode(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Encoded:
        """Run the encoder on noised images [B, 1, H, W] at timesteps [B], given a condition [B, condition] or none."""
        embedding = F.silu(self.time(timestep_embedding(t, self.settings.channels)))
        if condition is not None:
            embedding = torch.cat([embedding, F.silu(condition)], dim=1)
        x = F.pixel_unshuffle(x, self.settings.stem).contiguous(memory_format=layout(x.device))
        skips = [self.conv_in(x)]
        for stage in self.encoder:
            skips.append(self.run(stage, skips[-1], embedding))
        return Encoded(skips[-1], tuple(skips), embedding)

    def decode(self, encoded: Encoded, features: Tensor) -> Tensor:
        """Run middle block and decoder.

        Args:
            encoded: the encoder's skips and timestep embedding.
            features: what enters the middle block, shaped like `encoded.features`.

        Returns:
            Estimate of x0, float32 [B, 1, H, W].
        """
        h = features
        for stage in self.middle:
            h = self.run(stage, h, encoded.embedding)
        for stage, skip in zip(self.decoder, reversed(encoded.skips), strict=True):
            h = self.run(stage, h, encoded.embedding, skip)
        h = self.conv_out(F.silu(self.norm_out(h)))
        return F.pixel_shuffle(h, self.settings.stem).float()

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """All blocks, first to last."""
        return nn.ModuleList([*self.encoder, *self.middle, *self.decoder])

    def _build_encoder(self) -> tuple[nn.ModuleList, list[int]]:
        """Return the encoder's stages and the channels of all skips."""
        stages = nn.ModuleList()
        skips = [self.settings.channels]
        for level, width in enumerate(self._widths):
            for _ in range(self.settings.blocks):
                stages.append(_Stage(self._residual(skips[-1], width), self._attention(level)))
                skips.append(width)
            if level < len(self._widths) - 1:
                stages.append(_Stage(self._residual(width, width, "down"), None))
                skips.append(width)
        return stages, skips

    def _build_decoder(self, skips: list[int]) -> nn.ModuleList:
        """Return the decoder's stages; each takes one skip, the last encoder stage's first."""
        stages = nn.ModuleList()
        skips, current = list(skips), self.feature_channels
        for level, width in reversed(list(enumerate(self._widths))):
            for block in range(self.settings.blocks + 1):
                last = block == self.settings.blocks and level > 0
                up = self._residual(width, width, "up") if last else None
                stages.append(_Stage(self._residual(current + skips.pop(), width), self._attention(level), up))
                current = width
        return stages

    def _residual(self, inputs: int, outputs: int, resize: Resize | None = None) -> ResidualBlock:
        return ResidualBlock(inputs, outputs, self._embedding, resize)

    def _attention(self, level: int) -> SpatialAttention | None:
        if not self.settings.attention or self._sides[level] not in self.settings.attention_sides:
            return None
        return SpatialAttention(self._widths[level], self.settings.head_channels)


def _level_sides(settings: UNetSettings, side: int) -> list[int]:
    """Return the feature maps' side at each level."""
    levels = len(settings.multipliers)
    coarsest = settings.stem * 2 ** (levels - 1)
    if side % coarsest:
        raise ValueError(
            f"unet.stem {settings.stem} and {levels} levels need an image.side divisible by {coarsest}, not {side}"
        )
    sides = [side // (settings.stem * 2**level) for level in range(levels)]
    absent = set(settings.attention_sides) - set(sides)
    if settings.attention and absent:
        raise ValueError(f"unet.attention_sides names {sorted(absent)}, but the feature maps have sides {sides}")
    return sides


def _zero(module: _ModuleT) -> _ModuleT:
    """Set all parameters to zero: the branch that ends in this module starts as no change at all."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module
