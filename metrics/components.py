"""What was found in one volume: its connected components, each with size, place and score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .checks import BoolArray, FloatArray, require_floats, require_mask, require_same_shape, require_volume
from .postprocess import TOUCHING_IN_3D


@dataclass(frozen=True)
class Component:
    """A connected piece of a binary map.

    Attributes:
        voxels: its size.
        centre: mean voxel position (z, y, x).
        mean_score: mean score of its voxels.
        max_score: highest score of its voxels.
        peak: position (z, y, x) of the voxel with that score, the first of equals.
    """

    voxels: int
    centre: tuple[float, float, float]
    mean_score: float
    max_score: float
    peak: tuple[int, int, int]


def find_components(mask: BoolArray, score: FloatArray) -> tuple[Component, ...]:
    """The 3-D components of a binary map, voxels that share a corner being connected; the largest first.

    Args:
        mask: True on what was found, bool [D, H, W].
        score: the score that it was found by, [D, H, W].

    Raises:
        ValueError: a type or shape is wrong.
    """
    require_mask("mask", mask)
    require_volume("mask", mask)
    require_floats("score", score)
    require_same_shape("mask", mask, "score", score)
    labels, _ = ndimage.label(mask, TOUCHING_IN_3D)
    boxes = ndimage.find_objects(labels)
    found = [_component(labels[box] == number, score[box], box) for number, box in enumerate(boxes, start=1)]
    return tuple(sorted(found, key=lambda one: (-one.voxels, -one.max_score, one.peak)))


def _component(piece: BoolArray, score: FloatArray, box: tuple[slice, ...]) -> Component:
    places = np.argwhere(piece) + [side.start for side in box]
    scores = score[piece]
    best = int(np.argmax(scores))
    z, y, x = (float(value) for value in places.mean(axis=0))
    peak = tuple(int(value) for value in places[best])
    return Component(len(places), (z, y, x), float(scores.mean()), float(scores[best]), (peak[0], peak[1], peak[2]))
