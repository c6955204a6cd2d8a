"""Strips of slices: the right slices, the right way up, in the right grey; outlines where a mask ends."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from uadbench.benchmarks.reports.page.pictures import (
    FOUND,
    chosen_slices,
    grey_strip,
    map_strip,
    outline_strip,
    webp_of_png,
)


def opened(address: str) -> np.ndarray:
    head, _, content = address.partition(",")
    assert head in ("data:image/webp;base64", "data:image/png;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))


def test_all_slices_are_shown_or_those_around_the_lesion() -> None:
    lesions = np.zeros((50, 4, 4), bool)
    assert chosen_slices(lesions, 50, 60) == list(range(50))
    lesions[20:25, 1, 1] = True
    assert chosen_slices(lesions, 50, 24) == list(range(18, 27))
    lesions[5:45, 1, 1] = True
    few = chosen_slices(lesions, 50, 10)
    assert len(few) == 10
    assert (few[0], few[-1]) == (3, 46)
    lesions[:] = True
    assert (chosen_slices(lesions, 50, 10)[0], chosen_slices(lesions, 50, 10)[-1]) == (0, 49)
    assert chosen_slices(None, 50, 1) == [0]


def test_a_strip_has_the_front_of_the_head_up() -> None:
    volume = np.zeros((3, 16, 16), np.float32)
    volume[2, 12:, :8] = 1.0  # the front, on the left
    strip = opened(grey_strip(volume, [0, 2]))
    assert strip.shape == (32, 16, 4)
    assert strip[:16, :, 0].max() < 20
    assert strip[17:19, :7, 0].min() > 230
    assert strip[22:, :, 0].max() < 30
    assert strip[17:19, 10:, 0].max() < 30


def test_the_threshold_is_the_middle_grey() -> None:
    scores = np.full((1, 16, 16), 0.2, np.float32)
    assert abs(int(opened(map_strip(scores, [0], 0.2))[8, 8, 0]) - 128) < 4
    assert opened(map_strip(scores, [0], 0.05))[8, 8, 0] > 250
    assert opened(map_strip(np.zeros((1, 16, 16), np.float32), [0], 0.0))[8, 8, 0] < 4


def test_an_outline_lies_on_the_edge_and_the_rest_is_clear() -> None:
    mask = np.zeros((2, 20, 20), bool)
    mask[1, 5:15, 5:15] = True
    drawn = opened(outline_strip(mask, [0, 1], FOUND))
    assert drawn.shape == (80, 40, 4)
    assert not drawn[:40, :, 3].any()
    assert drawn[40 + 20, 10].tolist() == [*FOUND, 255]
    assert drawn[40 + 20, 20, 3] == 0
    assert drawn[40 + 20, 4, 3] == 0


def test_a_figure_of_a_record_becomes_small() -> None:
    held = io.BytesIO()
    Image.new("RGB", (1200, 600), (10, 200, 30)).save(held, "png")
    assert opened(webp_of_png(held.getvalue(), 300)).shape == (150, 300, 4)
