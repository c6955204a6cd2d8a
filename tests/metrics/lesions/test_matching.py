"""Matching against the rule written out with sets of voxels, and against cases made by hand."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from uadbench.metrics.lesions import (
    DICE_RULE,
    IOU_RULE,
    MatchRule,
    match_lesions,
    match_overlaps,
    overlaps_of,
)

RULES = [DICE_RULE, IOU_RULE, MatchRule("dice", 0.5), MatchRule("iou", 0.05)]


def pieces(mask):
    """Sets of voxels that touch by face, edge or corner, the largest first, then in order of their first voxel."""
    left = {tuple(map(int, place)) for place in np.argwhere(mask)}
    found = []
    while left:
        piece, front = set(), [left.pop()]
        while front:
            z, y, x = front.pop()
            piece.add((z, y, x))
            near = {(z + a, y + b, x + c) for a, b, c in product((-1, 0, 1), repeat=3)} & left
            left -= near
            front += near
        found.append(piece)
    return sorted(found, key=lambda piece: (-len(piece), min(piece)))


def quality(a, b, measure):
    return Fraction(2 * len(a & b), len(a) + len(b)) if measure == "dice" else Fraction(len(a & b), len(a | b))


def by_the_rule(found, lesions, rule):
    """Pairs (lesion, component): again and again the best pair of those that are left."""
    pairs = {}
    while True:
        left = [
            (-quality(a, b, "dice"), -len(a & b), i, j)
            for (i, a), (j, b) in product(enumerate(lesions), enumerate(found))
            if i not in pairs and j not in pairs.values() and a & b and float(quality(a, b, rule.measure)) >= rule.least
        ]
        if not left:
            return pairs
        *_, i, j = min(left)
        pairs[i] = j


def blobs(rng, shape, number, size):
    """Boxes at random places; some touch."""
    mask = np.zeros(shape, bool)
    for _ in range(number):
        corner = [rng.integers(0, side) for side in shape]
        mask[tuple(slice(at, at + rng.integers(1, size + 1)) for at in corner)] = True
    return mask


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_matching_is_the_rule_written_out(seed, rule):
    rng = np.random.default_rng(seed)
    shape = (8, 15, 13)
    lesions, found = blobs(rng, shape, 9, 4), blobs(rng, shape, 9, 4)
    found |= lesions & (rng.random(shape) < 0.4)
    matching = match_lesions(found, lesions, rule)
    true, marked = pieces(lesions), pieces(found)
    assert [lesion.voxels for lesion in matching.lesions] == [len(piece) for piece in true]
    assert [component.voxels for component in matching.components] == [len(piece) for piece in marked]
    pairs = by_the_rule(marked, true, rule)
    assert matching.hits == len(pairs)
    for i, (lesion, piece) in enumerate(zip(matching.lesions, true, strict=True)):
        match = pairs.get(i)
        assert lesion.number == i + 1
        assert lesion.component == (None if match is None else match + 1)
        other = marked[match] if match is not None else set()
        assert lesion.overlap == len(piece & other)
        assert lesion.dice == float(quality(piece, other, "dice"))
        assert lesion.iou == float(quality(piece, other, "iou"))
        assert lesion.touched == pytest.approx(sum(found[place] for place in piece) / len(piece))
        swallowed = any(marked[j] & piece for j in pairs.values())
        assert lesion.merged == (match is None and swallowed)
    back = {j: i for i, j in pairs.items()}
    for j, (component, piece) in enumerate(zip(matching.components, marked, strict=True)):
        assert component.number == j + 1
        assert component.lesion == (back[j] + 1 if j in back else None)
        assert component.touches == any(piece & lesion for lesion in true)
        assert component.split == (j not in back and any(piece & true[i] for i in pairs))
    assert matching.merged == sum(lesion.merged for lesion in matching.lesions)
    assert matching.split == sum(component.split for component in matching.components)


def line(*spans, length=60):
    """A row of voxels, True in each span [start, stop)."""
    mask = np.zeros((1, 1, length), bool)
    for start, stop in spans:
        mask[0, 0, start:stop] = True
    return mask


def test_one_component_over_two_lesions_is_one_hit_and_one_merged():
    matching = match_lesions(line((0, 20)), line((0, 10), (12, 18)))
    assert (matching.hits, matching.merged, matching.split) == (1, 1, 0)
    larger, smaller = matching.lesions
    assert (larger.component, larger.overlap, larger.dice) == (1, 10, 2 * 10 / 30)
    assert (smaller.component, smaller.dice, smaller.touched, smaller.merged) == (None, 0.0, 1.0, True)


def test_one_lesion_in_two_components_is_one_hit_and_one_split():
    matching = match_lesions(line((0, 8), (12, 16), (40, 45)), line((0, 20)))
    assert (matching.hits, matching.merged, matching.split) == (1, 0, 1)
    assert matching.lesions[0].touched == 12 / 20
    assert [(one.lesion, one.touches, one.split) for one in matching.components] == [
        (1, True, False),
        (None, False, False),
        (None, True, True),
    ]
    assert matching.false_sizes(voxel_ml=0.008) == (1, 0, 0, 0)


def test_the_better_pair_goes_first_though_it_costs_a_hit():
    """Component 1 could find either lesion and component 2 only the first; greedily it takes the first itself."""
    lesions = line((0, 10), (11, 15))
    found = line((2, 14), (0, 1))
    matching = match_lesions(found, lesions)
    assert [lesion.component for lesion in matching.lesions] == [1, None]
    assert (matching.merged, matching.split) == (1, 1)


def test_the_bar_itself_is_enough():
    exactly = match_lesions(line((0, 10)), line((9, 19)))
    assert exactly.lesions[0].dice == 0.1
    assert exactly.hits == 1
    assert match_lesions(line((0, 10)), line((9, 20))).hits == 0
    half = match_lesions(line((0, 10)), line((0, 5)), IOU_RULE)
    assert (half.hits, half.lesions[0].iou) == (1, 0.5)
    assert match_lesions(line((0, 11)), line((0, 5)), IOU_RULE).hits == 0


def test_an_unmatched_lesion_keeps_what_is_marked_of_it():
    matching = match_lesions(line((0, 2)), line((0, 40)))
    assert (matching.hits, matching.merged, matching.split) == (0, 0, 0)
    assert (matching.lesions[0].dice, matching.lesions[0].touched) == (0.0, 2 / 40)
    assert (matching.components[0].lesion, matching.components[0].touches) == (None, True)
    assert matching.false_sizes(0.008) == (0, 0, 0, 0)


def test_corners_connect_and_neighbours_that_share_no_voxel_do_not_touch():
    lesions = np.zeros((2, 4, 4), bool)
    lesions[0, 0, 0] = lesions[1, 1, 1] = True
    found = np.zeros_like(lesions)
    found[0, 0, 1] = True
    matching = match_lesions(found, lesions)
    assert [lesion.voxels for lesion in matching.lesions] == [2]
    assert not matching.components[0].touches


def test_nothing_there_and_nothing_found():
    empty, some = line(), line((3, 7))
    assert match_lesions(empty, empty).lesions == match_lesions(empty, empty).components == ()
    missed = match_lesions(empty, some)
    assert (missed.hits, len(missed.lesions), missed.components) == (0, 1, ())
    invented = match_lesions(some, empty)
    assert (invented.hits, invented.lesions, len(invented.components)) == (0, (), 1)
    assert invented.false_sizes(1.0) == (0, 0, 1, 0)


def test_false_components_are_counted_by_size():
    found = line((0, 9), (10, 19), (20, 21), (30, 55))
    assert match_lesions(found, line((20, 21))).false_sizes(0.1) == (0, 2, 1, 0)
    assert match_lesions(found, line()).false_sizes(1.0) == (0, 0, 3, 1)


def test_both_rules_from_one_count_of_overlaps():
    rng = np.random.default_rng(5)
    lesions, found = blobs(rng, (8, 15, 13), 9, 4), blobs(rng, (8, 15, 13), 9, 4)
    overlaps = overlaps_of(found, lesions)
    for rule in RULES:
        assert match_overlaps(overlaps, rule) == match_lesions(found, lesions, rule)


def test_refuses_what_cannot_be_matched():
    with pytest.raises(ValueError, match="found must be a bool"):
        match_lesions(line().astype(int), line())
    with pytest.raises(ValueError, match="they must be equal"):
        match_lesions(line(), line(length=61))
    with pytest.raises(ValueError, match="must be one volume"):
        match_lesions(line()[0], line()[0])
    with pytest.raises(ValueError, match=r"least must lie in \(0, 1\]"):
        match_lesions(line(), line(), MatchRule("dice", 0.0))
