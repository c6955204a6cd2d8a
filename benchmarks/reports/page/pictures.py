"""Slices of a volume as one small picture each way: a strip of slices below each other, inside an address.

The page shows one slice of a strip at a time and moves it by its style, so that a volume is a single picture and no
script is needed to see its most telling slice. Scans and maps are WebP; outlines are PNG of few colours, laid above.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .html import data_uri

#: Colours that people tell apart who see no red or no green: sky blue for the truth, orange for what was found.
TRUE, FOUND = (86, 180, 233), (255, 170, 0)
_QUALITY = 70
_FINER = 2  # outlines are drawn on so many pixels per voxel


def chosen_slices(lesions: NDArray[np.bool_] | None, depth: int, most: int) -> list[int]:
    """Which slices are shown: all, or as many as may be, evenly spread over those with a lesion and two beside them.

    Args:
        lesions: bool [D, H, W]; None for a healthy volume.
        depth: D.
        most: slices at most.
    """
    with_lesion = np.flatnonzero(lesions.any(axis=(1, 2))) if lesions is not None and lesions.any() else None
    low, high = (0, depth - 1) if with_lesion is None else (int(with_lesion[0]) - 2, int(with_lesion[-1]) + 2)
    low, high = (0, depth - 1) if depth <= most else (max(0, low), min(depth - 1, high))
    places = np.unique(np.linspace(low, high, min(most, high - low + 1)).round().astype(int))
    return [int(place) for place in places]


def grey_strip(volume: NDArray[np.float32], slices: Sequence[int]) -> str:
    """Intensities from 0 to 1 as a strip of grey slices."""
    levels = (np.clip(_upright(volume, slices), 0, 1) * 255).round().astype(np.uint8)
    return _webp(levels)


def map_strip(score_map: NDArray[np.float32], slices: Sequence[int], threshold: float) -> str:
    """An anomaly map as a strip of grey slices: the threshold is the middle grey, twice the threshold white."""
    return grey_strip(np.asarray(score_map / (2 * threshold or 1.0), dtype=np.float32), slices)


def outline_strip(mask: NDArray[np.bool_], slices: Sequence[int], colour: tuple[int, int, int]) -> str:
    """The outline of a mask on nothing: transparent but for its edge."""
    fine = np.repeat(np.repeat(mask[list(slices)][:, ::-1], _FINER, axis=1), _FINER, axis=2)
    inner = fine.copy()
    for axis in (1, 2):
        for step in (-2, -1, 1, 2):
            inner &= np.roll(fine, step, axis=axis)
    edge = (fine & ~inner).reshape(-1, fine.shape[2])
    return _outline_png(edge, colour)


def webp_of_png(content: bytes, width: int) -> str:
    """A picture that lies in a record, smaller, as an address."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        picture = opened.convert("RGB")
        if picture.width > width:
            picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        return _saved(picture, "webp", quality=_QUALITY)


def _upright(volume: NDArray[np.float32], slices: Sequence[int]) -> NDArray[np.float32]:
    """Slices below each other, each with the front of the head up, [n * H, W]."""
    chosen = volume[list(slices)][:, ::-1]
    flat: NDArray[np.float32] = chosen.reshape(-1, chosen.shape[2])
    return flat


def _webp(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    return _saved(Image.fromarray(pixels).convert("RGB"), "webp", quality=_QUALITY, method=4)


def _outline_png(edge: NDArray[np.bool_], colour: tuple[int, int, int]) -> str:
    from PIL import Image

    picture = Image.fromarray(edge.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, *colour])
    return _saved(picture, "png", transparency=0, bits=1, optimize=True)


def _saved(picture: object, kind: str, **how: object) -> str:
    held = io.BytesIO()
    picture.save(held, kind, **how)  # type: ignore[attr-defined]
    return data_uri(held.getvalue(), f"image/{kind}")
