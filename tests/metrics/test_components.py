"""Components of a binary map against a flood fill written out by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from uadbench.metrics import find_components


def flood(mask: np.ndarray) -> list[set[tuple[int, int, int]]]:
    """Pieces of a mask whose voxels touch by face, edge or corner."""
    left = {tuple(map(int, place)) for place in np.argwhere(mask)}
    pieces = []
    while left:
        piece, front = set(), [left.pop()]
        while front:
            z, y, x = front.pop()
            piece.add((z, y, x))
            near = {(z + a, y + b, x + c) for a, b, c in product((-1, 0, 1), repeat=3)} & left
            left -= near
            front += near
        pieces.append(piece)
    return pieces


@pytest.mark.parametrize("seed", range(3))
def test_components_are_those_of_a_flood_fill(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((7, 12, 11)) < 0.08
    score = rng.random(mask.shape).astype(np.float32)
    found = find_components(mask, score)
    pieces = flood(mask)
    assert [one.voxels for one in found] == sorted(map(len, pieces), reverse=True)
    by_peak = {one.peak: one for one in found}
    assert len(by_peak) == len(pieces) > 10
    for piece in pieces:
        best = max(piece, key=lambda place: score[place])
        one = by_peak[best]
        assert one.voxels == len(piece)
        assert one.max_score == score[best]
        assert one.mean_score == pytest.approx(sum(float(score[place]) for place in piece) / len(piece), rel=1e-6)
        centre = [sum(place[axis] for place in piece) / len(piece) for axis in range(3)]
        assert one.centre == pytest.approx(centre)


def test_nothing_found_is_no_component():
    empty = np.zeros((2, 3, 4), dtype=bool)
    assert find_components(empty, np.zeros(empty.shape, dtype=np.float32)) == ()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shape"):
        find_components(np.zeros((2, 3, 4), dtype=bool), np.zeros((2, 3, 5), dtype=np.float32))
