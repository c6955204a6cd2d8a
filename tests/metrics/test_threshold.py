"""Threshold searches against brute force over every cut, and against the protocol's text written out naively."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from uadbench.metrics import best_threshold, dice, greedy_threshold, pooled_thresholds


@st.composite
def scored_lesions(draw, low=0.0):
    """Scores full of ties, or almost without, and labels with at least one lesion voxel (or nothing else)."""
    size = draw(st.integers(1, 30))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    tied = st.sampled_from([v for v in (-1.5, -0.25, 0.0, 0.0, 0.1, 0.5, 0.7, 1.0) if v >= low])
    free = st.floats(low, 1.0, width=32, allow_subnormal=False)
    scores = draw(hnp.arrays(dtype, size, elements=draw(st.sampled_from([tied, free]))))
    labels = draw(hnp.arrays(bool, size))
    labels[draw(st.integers(0, size - 1))] = True
    return scores, labels


def f1(scores, labels, value):
    found = set(np.flatnonzero(scores > value))
    true = set(np.flatnonzero(labels))
    return 2 * len(found & true) / (len(found) + len(true))


def best_by_brute_force(scores, labels):
    cuts = [-np.inf, *np.unique(scores).tolist()]
    return max(f1(scores, labels, cut) for cut in cuts)


def greedy_by_the_book(scores, labels, steps):
    lo, hi = 0.0, float(scores.max())
    seen = []
    for _ in range(steps):
        width = hi - lo
        points = [float(scores.dtype.type(lo + share * width)) for share in (0.25, 0.75)]
        quality = [f1(scores, labels, point) for point in points]
        winner = 0 if quality[0] >= quality[1] else 1
        seen.append((quality[winner], points[winner]))
        lo, hi = [(lo, lo + width / 2), (lo + width / 2, hi)][winner]
    highest = max(quality for quality, _ in seen)
    return next((point, quality) for quality, point in seen if quality == highest)


def two_peaks():
    """100 lesion voxels, 70 of them faint but brighter than the 400 normal ones; one bright outlier."""
    scores = np.repeat(np.array([0.3, 0.4, 0.8, 1.0], np.float32), [400, 70, 30, 1])
    labels = np.repeat([False, True, True, False], [400, 70, 30, 1])
    return scores, labels


@settings(deadline=None)
@given(scored_lesions(low=-2.0))
def test_best_equals_brute_force(case):
    scores, labels = case
    found = best_threshold(scores, labels)
    assert found.dice == pytest.approx(best_by_brute_force(scores, labels), abs=1e-12)
    assert dice(scores > found.value, labels) == found.dice


@settings(deadline=None)
@given(scored_lesions(low=-2.0))
def test_best_is_the_lowest_of_equally_good_cuts(case):
    scores, labels = case
    found = best_threshold(scores, labels)
    good = [cut for cut in np.unique(scores) if dice(scores > cut, labels) == found.dice]
    if dice(np.ones_like(labels), labels) == found.dice:
        assert found.value < scores.min()
    else:
        assert found.value == min(good)


@settings(deadline=None)
@given(scored_lesions(), st.integers(1, 12))
def test_greedy_follows_the_protocol(case, steps):
    scores, labels = case
    found = greedy_threshold(scores, labels, steps)
    value, quality = greedy_by_the_book(scores, labels, steps)
    assert found.value == value
    assert found.dice == pytest.approx(quality, abs=1e-12)


@settings(deadline=None)
@given(scored_lesions())
def test_greedy_never_beats_the_optimum(case):
    scores, labels = case
    found = greedy_threshold(scores, labels)
    assert found.dice <= best_threshold(scores, labels).dice
    assert dice(scores > found.value, labels) == found.dice


def test_greedy_is_trapped_by_two_peaks():
    """The upper quarter point looks better, so the search leaves the half that holds the optimum, for ever."""
    scores, labels = two_peaks()
    assert greedy_threshold(scores, labels).dice == 2 * 30 / (31 + 100)
    optimum = best_threshold(scores, labels)
    assert optimum.dice == 2 * 100 / (101 + 100)
    assert optimum.value == np.float32(0.3)


def test_greedy_by_hand():
    # Quarter points of [0, 1]: 0.25 (Dice 2/3) and 0.75 (Dice 1); then of [0.5, 1]: 0.625 (1) and 0.875 (2/3).
    scores = np.array([0.1, 0.5, 0.6, 0.8, 1.0])
    labels = np.array([False, False, False, True, True])
    assert greedy_threshold(scores, labels, steps=1).value == 0.75
    assert greedy_threshold(scores, labels, steps=1).dice == 1.0
    assert greedy_threshold(scores, labels, steps=2).value == 0.75


def test_greedy_takes_the_lower_half_on_a_tie():
    scores = np.array([0.0, 1.0])
    labels = np.array([False, True])
    assert greedy_threshold(scores, labels, steps=10).value == 0.25


def test_a_score_at_the_threshold_is_not_lesion():
    # 0.25 is the first quarter point: it leaves out the other voxel that scores exactly that.
    found = greedy_threshold(np.array([0.25, 1.0]), np.array([False, True]), steps=1)
    assert (found.value, found.dice) == (0.25, 1.0)


def test_ties_cannot_be_separated():
    scores = np.full(10, 0.5, np.float32)
    labels = np.arange(10) < 4
    for found in (best_threshold(scores, labels), greedy_threshold(scores, labels)):
        assert found.dice == 2 * 4 / (10 + 4)
        assert found.value < 0.5


def test_all_lesion_and_all_zero():
    labels = np.ones(5, bool)
    zeros = np.zeros(5, np.float32)
    below_all = best_threshold(zeros, labels)
    assert (below_all.value, below_all.dice) == (-1.0, 1.0)
    assert json.loads(json.dumps(below_all.value)) == -1.0
    blind = greedy_threshold(zeros, labels)
    assert (blind.value, blind.dice) == (0.0, 0.0)


@pytest.mark.parametrize("lowest", [-0.25, -7.0, -1e30])
def test_below_all_is_below_negative_scores(lowest):
    scores = np.array([lowest, lowest / 2], np.float32)
    found = best_threshold(scores, np.array([True, True]))
    assert np.isfinite(found.value)
    assert (scores > found.value).all()


def test_value_means_the_same_in_float32_and_float64():
    scores = np.array([0.1, 0.2, 0.3, 0.7], np.float32)
    labels = np.array([False, True, False, True])
    for found in (greedy_threshold(scores, labels), best_threshold(scores, labels)):
        assert float(np.float32(found.value)) == found.value
        assert np.array_equal(scores > found.value, scores.astype(np.float64) > found.value)


def test_pools_volumes_of_any_shape_without_touching_them():
    rng = np.random.default_rng(0)
    scores = rng.random((3, 4, 5, 6), dtype=np.float32)
    labels = rng.random(scores.shape) < 0.2
    scores.setflags(write=False)
    labels.setflags(write=False)
    turned = scores.transpose(3, 1, 2, 0), labels.transpose(3, 1, 2, 0)
    for search in (greedy_threshold, best_threshold):
        assert search(scores, labels) == search(scores.ravel(), labels.ravel()) == search(*turned)


@pytest.mark.parametrize("search", [greedy_threshold, best_threshold])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_scores_that_are_not_finite(search, bad):
    with pytest.raises(ValueError, match="scores must be finite"):
        search(np.array([0.0, bad, 1.0]), np.array([True, False, True]))


@pytest.mark.parametrize("search", [greedy_threshold, best_threshold])
def test_refuses_what_cannot_be_scored(search):
    scores, labels = np.array([0.2, 0.4]), np.array([False, True])
    with pytest.raises(ValueError, match="labels mark no lesion voxel"):
        search(scores, labels & False)
    with pytest.raises(ValueError, match=r"scores has shape \(2,\) but labels has shape \(1,\)"):
        search(scores, labels[:1])
    with pytest.raises(ValueError, match="labels must be a bool"):
        search(scores, labels.astype(int))
    with pytest.raises(ValueError, match="scores must be a float32 or float64"):
        search(labels, labels)
    with pytest.raises(ValueError, match="scores holds no voxel"):
        search(scores[:0], labels[:0])


def test_greedy_refuses_negative_scores_and_no_steps():
    labels = np.array([False, True])
    with pytest.raises(ValueError, match="negative"):
        greedy_threshold(np.array([-0.1, 0.4]), labels)
    with pytest.raises(ValueError, match="steps must be at least 1, not 0"):
        greedy_threshold(np.array([0.1, 0.4]), labels, steps=0)


@settings(deadline=None)
@given(scored_lesions(), st.integers(1, 12), st.data())
def test_volumes_read_one_by_one_give_the_thresholds_of_their_pool(case, steps, data):
    scores, labels = case
    cuts = sorted(data.draw(st.sets(st.integers(1, scores.size - 1), max_size=4))) if scores.size > 1 else []
    parts = list(zip(np.split(scores, cuts), np.split(labels, cuts), strict=True))
    greedy, exact = pooled_thresholds(lambda: iter(parts), steps)
    assert (greedy.value, greedy.dice) == greedy_by_the_book(scores, labels, steps)
    assert exact == best_threshold(scores, labels)
    assert exact.dice == pytest.approx(best_by_brute_force(scores, labels), abs=1e-12)


def test_the_pool_takes_the_memory_of_its_positive_scores_once():
    """Thirty volumes of half a million voxels, a third of them positive: 20 MB of positive scores, 60 MB of scores."""

    def volumes():
        for number in range(30):
            rng = np.random.default_rng(number)
            scores = rng.random(500_000, dtype=np.float32)
            scores[rng.random(scores.size) > 1 / 3] = 0
            yield scores, scores > 0.98

    positive = 4 * sum(int((scores > 0).sum()) for scores, _ in volumes())
    tracemalloc.start()
    try:
        pooled_thresholds(volumes)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < positive + 30 * 500_000  # and some arrays of one volume


def test_a_pool_without_a_lesion_is_refused():
    with pytest.raises(ValueError, match="no lesion voxel"):
        pooled_thresholds(lambda: [(np.ones(3, np.float32), np.zeros(3, bool))] * 2)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        pooled_thresholds(lambda: [(np.ones(3, np.float32), np.ones(3, bool))], 0)
