"""Random masks over slices, in the image and in the frequency domain (Iqbal et al. 2023, mDDPM).

Three ways to spoil a slice. *image*: random rectangles in the brain are set to zero. *frequency*: a square of low
frequencies is cut out of the spectrum, or everything but that square. *cutmix*: random rectangles show the slice with
masked frequencies, the rest shows the slice itself.

The square of half-width b holds the frequencies with |k_y| < b and |k_x| < b, in cycles a slice. It is symmetric about
zero, so a filtered slice is real without discarding anything. Rectangles lie inside the brain's bounding box and
scale with its height. All choices are functions of the image's own seed.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ..base import Frozen
from .seeds import Stream, uniform

_CHOICES_A_SLICE = 3
_CHOICES_A_RECTANGLE = 4


class MaskingSettings(Frozen):
    """Which masks, how many and how large (preset section `masking`).

    Attributes:
        kind: "image", "frequency" or "cutmix", see the module.
        rectangles: most rectangles a slice; their number is uniform over {0, ..., rectangles}.
        extent: longest side of a rectangle as a share of the brain's height, rounded down; the shortest is half of it.
        margin: pixels that rectangles keep from the edges of the brain's bounding box.
        band_min: smallest half-width of the square of low frequencies, cycles a slice.
        band_max: largest half-width.
    """

    kind: Literal["image", "frequency", "cutmix"]
    rectangles: int = Field(ge=1, le=1000)
    extent: float = Field(gt=0, lt=1)
    margin: int = Field(ge=0, le=1024)
    band_min: int = Field(ge=1, le=1024)
    band_max: int = Field(ge=1, le=1024)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.band_min > self.band_max:
            raise ValueError(f"masking.band_min ({self.band_min}) must not exceed masking.band_max ({self.band_max})")
        return self


def masked(image: Tensor, brain_mask: Tensor, seed: Tensor, settings: MaskingSettings) -> Tensor:
    """Return the slices as a network in training sees them.

    Args:
        image: [B, 1, H, W], zero outside the brain.
        brain_mask: bool [B, 1, H, W]; nothing changes outside it.
        seed: int64 [B].
        settings: which masks.
    """
    choices = uniform(seed, Stream.MASK, _CHOICES_A_SLICE + _CHOICES_A_RECTANGLE * settings.rectangles)
    per_slice, per_rectangle = choices[:, :_CHOICES_A_SLICE], choices[:, _CHOICES_A_SLICE:]
    changed = brain_mask
    if settings.kind != "frequency":
        boxes = torch.unflatten(per_rectangle, 1, (settings.rectangles, _CHOICES_A_RECTANGLE))
        changed = brain_mask & rectangles(brain_mask, per_slice[:, 0], boxes, settings)
    if settings.kind == "image":
        return torch.where(changed, 0, image)
    half_width = _integer(per_slice[:, 1], settings.band_min, settings.band_max)
    return torch.where(changed, filtered(image, half_width, per_slice[:, 2] < 0.5), image)


def filtered(image: Tensor, half_width: Tensor, keep_low: Tensor) -> Tensor:
    """Keep only a square of low frequencies of each slice, or everything but that square.

    Args:
        image: [B, 1, H, W].
        half_width: b of each slice, int64 [B].
        keep_low: True keeps the square, False removes it, bool [B].
    """
    height, width = image.shape[-2:]
    row = (torch.fft.fftfreq(height, device=image.device) * height).round().abs()[:, None]
    column = (torch.fft.rfftfreq(width, device=image.device) * width).round()[None, :]
    inside = torch.maximum(row, column) < half_width[:, None, None, None]
    kept = inside == keep_low[:, None, None, None]
    return torch.fft.irfft2(torch.fft.rfft2(image.float()) * kept, s=(height, width))  # type: ignore[no-any-return]


def rectangles(brain_mask: Tensor, number: Tensor, boxes: Tensor, settings: MaskingSettings) -> Tensor:
    """Turn uniform numbers into a union of rectangles in each slice.

    Args:
        brain_mask: bool [B, 1, H, W].
        number: decides how many rectangles, uniform over (0, 1), [B].
        boxes: decide height, width, top and left of each possible rectangle, uniform over (0, 1), [B, n, 4].
        settings: their number, size and margin.

    Returns:
        True inside a rectangle, bool [B, 1, H, W].
    """
    top, bottom = _bounds(brain_mask.any(3).squeeze(1))
    left, right = _bounds(brain_mask.any(2).squeeze(1))
    longest = ((bottom + 1 - top) * settings.extent).long()[:, None]  # an empty slice has no rows: no rectangles
    present = torch.arange(boxes.shape[1], device=boxes.device) < _integer(number, 0, settings.rectangles)[:, None]
    rows = _spans(boxes[..., 0], boxes[..., 2], longest, top, bottom, settings.margin, brain_mask.shape[2])
    columns = _spans(boxes[..., 1], boxes[..., 3], longest, left, right, settings.margin, brain_mask.shape[3])
    rows = rows & present[:, :, None]
    return (rows[:, :, :, None] & columns[:, :, None, :]).any(1, keepdim=True)


def _spans(
    length: Tensor, place: Tensor, longest: Tensor, first: Tensor, last: Tensor, margin: int, side: int
) -> Tensor:
    """Return which pixels of an axis each rectangle covers, bool [B, n, side].

    Where the brain is too small for the margins, a rectangle begins at the first margin.
    """
    lengths = _integer(length, longest // 2, longest)
    lowest = (first + margin)[:, None]
    start = _integer(place, lowest, torch.maximum((last - margin)[:, None] - longest, lowest))[:, :, None]
    pixel = torch.arange(side, device=length.device)
    return (pixel >= start) & (pixel < start + lengths[:, :, None])


def _bounds(present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first and last True of each row of [B, n]; (0, -1) where there is none."""
    place = torch.arange(present.shape[1], device=present.device)
    last = torch.where(present, place, -1).amax(1)
    first = torch.where(present, place, present.shape[1]).amin(1)
    return torch.where(last < 0, 0, first), last


def _integer(number: Tensor, low: Tensor | int, high: Tensor | int) -> Tensor:
    """Map numbers of [0, 1] to the integers low to high, both included, each equally often."""
    span = high - low + 1
    return low + (number * span).long().clamp(max=span - 1)
