"""The one architecture of Baur et al. (2021), "Autoencoders for unsupervised anomaly segmentation in brain MR images".

Encoder: 5×5 convolutions of stride 2 with batch norm and leaky ReLU, a 1×1 convolution to an eighth of the channels, a
dense layer to the code. Decoder: its mirror image with transposed convolutions, and a 1×1 convolution to the image. As
in the authors' published code (StefanDenn3r/Unsupervised_Anomaly_Detection_Brain_MRI, `models/customlayers.py`), batch
norm and a plain ReLU come before the first transposed convolution too, and the leaky ReLU has Keras' slope of 0.3.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator
from torch import Tensor, nn

from ..base import Frozen
from .layout import LaidOut, lay_out

_SQUEEZE = 8


class AutoencoderSettings(Frozen):
    """The shape of the autoencoder (preset section `autoencoder`).

    Attributes:
        filters: channels of each halving convolution of the encoder; the decoder mirrors them.
        kernel: their kernel, an odd number.
        latent: numbers in the code.
        leaky_slope: slope of the leaky ReLU below zero.
    """

    filters: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(min_length=1, max_length=10)
    kernel: int = Field(ge=3, le=31)
    latent: int = Field(ge=1, le=65_536)
    leaky_slope: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _centred(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"autoencoder.kernel must be odd, so that a map halves exactly, got {self.kernel}")
        return self


class ConvEncoder(LaidOut):
    """Maps slices to codes.

    Args:
        settings: the shape.
        side: height and width of a slice; each convolution halves it.
        outputs: numbers out: the code's length, or what a variational code needs.
    """

    def __init__(self, settings: AutoencoderSettings, side: int, outputs: int) -> None:
        super().__init__()
        squeezed, small = _bottleneck(settings, side)
        steps = pairwise((1, *settings.filters))
        convolutions = (
            nn.Conv2d(inputs, filters, settings.kernel, stride=2, padding=settings.kernel // 2)
            for inputs, filters in steps
        )
        activated = _activated(convolutions, settings.leaky_slope)
        self.features = nn.Sequential(*activated, nn.Conv2d(settings.filters[-1], squeezed, 1))
        self.dense = nn.Linear(squeezed * small**2, outputs)
        lay_out(self)

    def forward(self, image: Tensor) -> Tensor:
        """Map [B, 1, H, W] to [B, outputs]."""
        return self.dense(self.features(image).flatten(1))  # type: ignore[no-any-return]


class ConvDecoder(LaidOut):
    """Maps codes to slices.

    Args:
        settings: the shape.
        side: height and width of a slice.
    """

    def __init__(self, settings: AutoencoderSettings, side: int) -> None:
        super().__init__()
        squeezed, small = _bottleneck(settings, side)
        widest = settings.filters[-1]
        steps = pairwise((widest, *reversed(settings.filters)))
        convolutions = (
            nn.ConvTranspose2d(inputs, filters, settings.kernel, 2, settings.kernel // 2, output_padding=1)
            for inputs, filters in steps
        )
        self.dense = nn.Linear(settings.latent, squeezed * small**2)
        self.unflatten = nn.Unflatten(1, (squeezed, small, small))
        self.features = nn.Sequential(
            nn.Sequential(nn.Conv2d(squeezed, widest, 1), nn.BatchNorm2d(widest), nn.ReLU()),
            *_activated(convolutions, settings.leaky_slope),
            nn.Conv2d(settings.filters[0], 1, 1),
        )
        lay_out(self)

    def forward(self, code: Tensor) -> Tensor:
        """Map [B, latent] to [B, 1, H, W]."""
        return self.features(self.unflatten(self.dense(code)))  # type: ignore[no-any-return]


def _bottleneck(settings: AutoencoderSettings, side: int) -> tuple[int, int]:
    """Return channels and side of the smallest feature map."""
    factor = 2 ** len(settings.filters)
    if side % factor or settings.filters[-1] % _SQUEEZE:
        raise ValueError(
            f"an autoencoder with filters {settings.filters} needs image.side divisible by {factor}, not {side}, "
            f"and a last filter count divisible by {_SQUEEZE}"
        )
    return settings.filters[-1] // _SQUEEZE, side // factor


def _activated(convolutions: Iterable[nn.Conv2d | nn.ConvTranspose2d], slope: float) -> list[nn.Module]:
    """Follow each convolution by batch norm and leaky ReLU."""
    return [
        nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.LeakyReLU(slope))
        for convolution in convolutions
    ]
