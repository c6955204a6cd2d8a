"""FROC: counts at many thresholds against SciPy and the rule written out, the curve against a fine walk along it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from uadbench.metrics.lesions import (
    CPM_AT,
    IOU_RULE,
    Froc,
    froc_of,
    mean_sensitivity,
    operating_counts,
    sensitivity_at,
)

TOUCHING = np.ones((3, 3, 3))


def pieces(mask):
    """Each connected piece as a mask."""
    labels, count = ndimage.label(mask, TOUCHING)
    return [labels == number for number in range(1, count + 1)]


def by_hand(scores, lesions, threshold, min_voxels, ignored, measure="dice", least=0.1):
    """Components, hits and false components at one threshold, pair by pair."""
    kept = [piece & ~ignored for piece in pieces(scores > threshold) if piece.sum() >= min_voxels]
    found = pieces(np.any(kept, axis=0)) if kept else []
    true = pieces(lesions & ~ignored)
    pairs = []
    for i, lesion in enumerate(true):
        for j, component in enumerate(found):
            shared = (lesion & component).sum()
            if shared:
                dice = 2 * shared / (lesion.sum() + component.sum())
                reached = dice if measure == "dice" else shared / (lesion | component).sum()
                pairs.append((dice, i, j, reached >= least))
    hits = set()
    for _, i, j, reached in sorted(pairs, reverse=True):
        if reached and not any(i == a or j == b for a, b in hits):
            hits.add((i, j))
    touching = {j for _, _, j, _ in pairs}
    return len(found), len(hits), len(found) - len(touching)


def volume(seed):
    """Smooth scores, so that components come, grow together and swallow lesions; a few lesions, something ignored."""
    rng = np.random.default_rng(seed)
    shape = (10, 20, 18)
    scores = ndimage.gaussian_filter(rng.normal(size=shape), 1.1)
    lesions = ndimage.gaussian_filter(rng.normal(size=shape), 1.0) > 0.28
    scores = scores + 0.12 * lesions
    scores = (np.round(64 * (scores - scores.min())) / 64).astype(np.float32)  # so that scores equal thresholds
    return scores, lesions, ndimage.gaussian_filter(rng.normal(size=shape), 2) > 0.1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("min_voxels", [0, 1, 7])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_counts_are_those_of_each_threshold_alone(seed, min_voxels, with_ignored):
    scores, lesions, ignored = volume(seed)
    shares = (0.99, 0.3, 0.95, 0.9, 0.8, 0.6, 0.95, 0.0)  # in no order, and one of them twice
    thresholds = [float(np.float32(np.quantile(scores, share, method="nearest"))) for share in shares]
    nothing = np.zeros_like(ignored)
    counts = operating_counts(scores, lesions, thresholds, min_voxels, ignored if with_ignored else None)
    wanted = [
        by_hand(scores, lesions, threshold, min_voxels, ignored if with_ignored else nothing)
        for threshold in thresholds
    ]
    assert [(one.components, one.hits, one.false) for one in counts] == wanted
    assert max(hits for _, hits, _ in wanted) > 1 and max(false for _, _, false in wanted) > 1


def test_another_rule_counts_other_hits():
    scores, lesions, _ = volume(1)
    thresholds = [float(np.float32(np.quantile(scores, share))) for share in (0.97, 0.9, 0.8)]
    nothing = np.zeros_like(lesions)
    strict = [one.hits for one in operating_counts(scores, lesions, thresholds, 0, rule=IOU_RULE)]
    assert strict == [by_hand(scores, lesions, one, 0, nothing, "iou", 0.5)[1] for one in thresholds]
    assert strict != [one.hits for one in operating_counts(scores, lesions, thresholds, 0)]


def test_a_volume_without_lesions_or_without_finds():
    scores, lesions, _ = volume(2)
    (one,) = operating_counts(scores, np.zeros_like(lesions), [0.5 * float(scores.max())], 0)
    assert one.hits == 0 and one.false == one.components > 0
    above, flat = operating_counts(scores, lesions, [float(scores.max()), float(scores.max())], 7)
    assert (above.components, above.hits, above.false) == (0, 0, 0) and flat == above
    assert operating_counts(scores, lesions, [], 7) == ()
    constant = np.full(scores.shape, 0.25, np.float32)
    assert operating_counts(constant, lesions, [0.25] * 3, 0)[2].components == 0
    everything = operating_counts(scores, lesions, [0.5], 0, np.ones_like(lesions))[0]
    assert (everything.components, everything.hits) == (0, 0)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"scores": np.zeros((2, 2), np.float32)}, "one volume"),
        ({"lesions": np.zeros((2, 2, 3), bool)}, "must be equal"),
        ({"lesions": np.zeros((2, 2, 2), int)}, "bool NumPy array"),
        ({"ignored": np.zeros((1, 2, 2), bool)}, "ignored has shape"),
        ({"min_voxels": -1}, "at least 0"),
    ],
)
def test_what_cannot_be_counted_is_refused(words, sentence):
    whole = {
        "scores": np.zeros((2, 2, 2), np.float32),
        "lesions": np.zeros((2, 2, 2), bool),
        "thresholds": [0.5],
        "min_voxels": 7,
    }
    with pytest.raises(ValueError, match=sentence):
        operating_counts(**{**whole, **words})


# ---------------------------------------------------------------------------------------------------------- the curve


def walked(curve, false_per_scan, steps=4001):
    """The greatest sensitivity on a fine walk from the origin to where false components are the most."""
    false, found = [0.0, *curve.false_per_scan], [0.0, *curve.sensitivity]
    last = max(range(len(false)), key=lambda place: (false[place], place))
    best = 0.0
    for left in range(last):
        part = np.linspace(0, 1, steps)
        xs = false[left] + part * (false[left + 1] - false[left])
        ys = found[left] + part * (found[left + 1] - found[left])
        best = max([best, *ys[xs <= false_per_scan]])
    return best


@pytest.mark.parametrize("seed", range(20))
def test_sensitivity_is_the_greatest_on_the_way(seed):
    rng = np.random.default_rng(seed)
    hits = rng.integers(0, 40, 8)
    false = np.concatenate([np.sort(rng.integers(0, 100, 5)), rng.integers(0, 100, 3)])
    curve = froc_of(hits, false, 40, 10)
    for at in (0, 0.3, 1, 2.5, 4, 8, 100):
        assert sensitivity_at(curve, at) == pytest.approx(walked(curve, at), abs=2e-3)


def test_of_a_curve_that_only_rises_it_is_the_interpolation_of_luna16():
    rng = np.random.default_rng(3)
    curve = froc_of(np.sort(rng.integers(0, 50, 9)), np.arange(1, 10) * 8 + rng.integers(0, 5, 9), 50, 10)
    found = np.interp(CPM_AT, [0, *curve.false_per_scan], [0, *curve.sensitivity])
    assert [sensitivity_at(curve, at) for at in CPM_AT] == pytest.approx(found)
    assert mean_sensitivity(curve) == pytest.approx(found.mean())
    assert mean_sensitivity(curve, (1, 2)) == pytest.approx(np.mean([sensitivity_at(curve, at) for at in (1, 2)]))


def test_half_a_brain_in_one_piece_is_no_find():
    """At the lowest threshold one component covers all, touches the lesion, and leaves no false one."""
    curve = froc_of([1, 2, 4, 9], [5, 20, 60, 1], 10, 10)
    assert curve.end == 2
    assert sensitivity_at(curve, 1) == pytest.approx(0.1 + 0.1 * (1 - 0.5) / 1.5)
    assert sensitivity_at(curve, 50) == 0.4


def test_corner_cases_of_the_curve():
    perfect = froc_of([3, 4], [0, 0], 4, 2)
    assert (perfect.end, sensitivity_at(perfect, 0), mean_sensitivity(perfect)) == (1, 1.0, 1.0)
    nothing = froc_of([0, 0], [0, 0], 4, 2)
    assert sensitivity_at(nothing, 8) == 0
    unknown = froc_of([0, 0], [1, 2], 0, 2)
    assert np.isnan(sensitivity_at(unknown, 1)) and np.isnan(mean_sensitivity(unknown))
    empty = froc_of([], [], 4, 2)
    assert np.isnan(sensitivity_at(empty, 1))
    with pytest.raises(ValueError, match="has no end"):
        empty.end  # noqa: B018
    equal = Froc(np.array([0.2, 0.2, 0.5]), np.array([1.0, 1.0, 3.0]))  # two steps with one threshold
    assert sensitivity_at(equal, 2) == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (([1], [1, 2], 3, 1), "equally long"),
        (([4], [1], 3, 1), "not more than the 3 lesions"),
        (([1], [-1], 3, 1), "must not be negative"),
        (([1], [1], 3, 0), "at least 1"),
    ],
)
def test_counts_that_are_none_are_refused(words, sentence):
    with pytest.raises(ValueError, match=sentence):
        froc_of(*words)


@pytest.mark.parametrize("at", [-1, float("nan")])
def test_a_number_of_false_components_is_not_negative(at):
    with pytest.raises(ValueError, match="false_per_scan"):
        sensitivity_at(froc_of([1], [1], 3, 1), at)
