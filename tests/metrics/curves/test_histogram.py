"""Histograms bin by bin, and curves against scikit-learn on the same scores and against counts by threshold."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from uadbench.metrics import average_precision, best_threshold, dice
from uadbench.metrics.curves import ap_of, ceiling_dice, ceiling_of, curve_of, dice_at, histogram, marked_at


@st.composite
def scored(draw):
    """Scores full of ties with the edges, labels perhaps without a lesion, and edges."""
    values = [-1.0, -0.25, 0.0, 0.1, 0.25, 0.5, 0.7, 1.0, 2.0]
    size = draw(st.integers(1, 40))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    either = st.sampled_from(values) | st.floats(-1, 2, width=32, allow_subnormal=False)
    scores = draw(hnp.arrays(dtype, size, elements=either))
    labels = draw(hnp.arrays(bool, size))
    edges = np.unique(draw(st.lists(either, min_size=1, max_size=12)) + scores[:1].astype(float).tolist())
    return scores, labels, edges


@settings(deadline=None)
@given(scored())
def test_bins_are_open_below_and_closed_above(case):
    scores, labels, edges = case
    bounds = [-np.inf, *edges, np.inf]
    inside, outside = histogram(scores, labels, edges)
    assert inside.dtype == outside.dtype == np.int64
    for number, (low, high) in enumerate(pairwise(bounds)):
        within = (scores.astype(float) > low) & (scores.astype(float) <= high)
        assert inside[number] == (within & labels).sum()
        assert outside[number] == (within & ~labels).sum()
    assert inside.size == edges.size + 1


@settings(deadline=None)
@given(scored())
def test_edges_are_exact_thresholds(case):
    scores, labels, edges = case
    inside, outside = histogram(scores, labels, edges)
    curve = curve_of(inside, outside, edges)
    for number, edge in enumerate(edges):
        marked = scores.astype(float) > edge
        assert dice_at(inside, outside, edges, edge) == dice(marked, labels) == pytest.approx(curve.dice[number])
        assert marked_at(inside, edges, edge) == (marked & labels).sum()
        shares = [
            (curve.recall, (marked & labels).sum(), labels.sum()),
            (curve.precision, (marked & labels).sum(), marked.sum()),
            (curve.false_positive_rate, (marked & ~labels).sum(), (~labels).sum()),
        ]
        for values, part, whole in shares:
            assert values[number] == pytest.approx(part / whole if whole else math.nan, nan_ok=True)


def test_curves_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = rng.random(400) < 0.2
    scores = np.round(rng.random(400) + 0.3 * labels, 2)
    edges = np.unique(scores)
    inside, outside = histogram(scores, labels, edges)
    curve = curve_of(inside, outside, edges)
    # scikit-learn marks score >= threshold: its cut at one score is ours at the score below.
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert curve.precision[:-1] == pytest.approx(precision[1:-1])
    assert curve.recall[:-1] == pytest.approx(recall[1:-1])
    assert math.isnan(curve.precision[-1])
    false, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    assert curve.false_positive_rate == pytest.approx(false[::-1][1:])
    assert curve.recall == pytest.approx(hits[::-1][1:])
    assert ap_of(inside, outside) == pytest.approx(average_precision_score(labels, scores))


def test_average_precision_of_bins_is_that_of_rounded_scores():
    rng = np.random.default_rng(1)
    labels = rng.random(5000) < 0.05
    scores = (rng.random(5000) ** 3 + 0.2 * labels).astype(np.float32)
    edges = np.linspace(0, 1, 41)
    rounded = np.searchsorted(edges, scores.astype(float), side="left").astype(float)
    coarse = ap_of(*histogram(scores, labels, edges))
    assert coarse == pytest.approx(average_precision_score(labels, rounded))
    fine = ap_of(*histogram(scores, labels, np.linspace(0, 1.2, 4097)))
    assert fine == pytest.approx(average_precision(scores, labels), abs=2e-3)
    assert abs(coarse - average_precision(scores, labels)) > abs(fine - average_precision(scores, labels))


def test_histograms_of_volumes_add_up_to_the_pool():
    rng = np.random.default_rng(2)
    edges = np.linspace(0, 1, 100)
    scores, labels = rng.random((4, 300)), rng.random((4, 300)) < 0.1
    each = [histogram(one, mask, edges) for one, mask in zip(scores, labels, strict=True)]
    for part, whole in zip(map(sum, zip(*each, strict=True)), histogram(scores, labels, edges), strict=True):
        assert (part == whole).all()


def test_between_edges_the_next_edge_above_marks():
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    labels = np.array([False, True, True, True])
    edges = np.array([0.0, 0.25, 0.35])
    inside, outside = histogram(scores, labels, edges)
    assert dice_at(inside, outside, edges, 0.15) == dice_at(inside, outside, edges, 0.25) == dice(scores > 0.25, labels)
    assert marked_at(inside, edges, 0.36) == 0
    assert marked_at(inside, edges, -1.0) == 3


def test_without_a_lesion():
    edges = np.array([0.0, 0.5])
    inside, outside = histogram(np.array([0.2, 0.7]), np.zeros(2, bool), edges)
    curve = curve_of(inside, outside, edges)
    assert np.isnan(curve.recall).all()
    assert curve.false_positive_rate.tolist() == [1.0, 0.5]
    assert math.isnan(ap_of(inside, outside))
    assert dice_at(inside, outside, edges, 0.5) == 0.0
    assert dice_at(inside, outside, np.array([0.0, 0.8]), 0.8) == 0.0
    silent = histogram(np.array([0.2, 0.3]), np.zeros(2, bool), edges)
    assert dice_at(*silent, edges, 0.5) == curve_of(*silent, edges).dice[1] == 1.0


def test_ceiling_is_the_best_there_is_and_bins_never_beat_it():
    rng = np.random.default_rng(3)
    labels = rng.random(2000) < 0.1
    scores = (rng.random(2000) + 0.5 * labels).astype(np.float32)
    top = ceiling_dice(scores, labels)
    assert top == best_threshold(scores, labels)
    assert top.dice == max(dice(scores > cut, labels) for cut in scores)
    for bins in (10, 100, 4096):
        edges = np.linspace(0, 1.5, bins + 1)
        found = ceiling_of(*histogram(scores, labels, edges), edges)
        assert found.dice == max(dice(scores > edge, labels) for edge in edges) <= top.dice
        assert dice(scores > found.value, labels) == found.dice
    exact = np.unique(np.concatenate([edges, [top.value]]))
    assert ceiling_of(*histogram(scores, labels, exact), exact) == top


def test_refuses_what_does_not_belong_together():
    scores, labels = np.array([0.1, 0.2]), np.array([True, False])
    for edges in (np.array([0.2, 0.1]), np.array([0.1, 0.1]), np.zeros(0), np.zeros((1, 1))):
        with pytest.raises(ValueError, match="edges must be"):
            histogram(scores, labels, edges)
    with pytest.raises(ValueError, match="make 3 bins"):
        curve_of(np.zeros(2, np.int64), np.zeros(3, np.int64), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="same bins"):
        ap_of(np.zeros(2, np.int64), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="scores must be finite"):
        histogram(np.array([0.1, np.nan]), labels, np.array([0.0]))
