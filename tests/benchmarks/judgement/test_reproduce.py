"""Ours beside a published figure: intervals against SciPy's on samples of that mean and spread, verdicts by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from uadbench.benchmarks.judgement.reproduce import Figure, judge

NAN = math.nan


def sample(mean: float, std: float, size: int = 5) -> np.ndarray:
    """Numbers of exactly this mean and sample standard deviation."""
    raw = np.random.default_rng(size).normal(size=size)
    return mean + std * (raw - raw.mean()) / raw.std(ddof=1)


@pytest.mark.parametrize(("mean", "std", "folds"), [(41.0, 0.9, 5), (38.0, 2.5, 3), (42.07, 1.12, 5)])
def test_the_interval_is_welchs(mean: float, std: float, folds: int) -> None:
    (found,) = judge([(Figure(mean, std, folds), Figure(42.07, 1.12, 5), ())])
    expected = stats.ttest_ind(sample(mean, std, folds), sample(42.07, 1.12), equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.difference == pytest.approx(mean - 42.07)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(expected.pvalue)
    assert found.basis == "folds"


def test_without_spread_the_interval_is_students_over_scans() -> None:
    scans = sample(20.5, 12.0, 300)
    (found,) = judge([(Figure(20.5, NAN, 5), Figure(19.69, NAN, 5), (*scans, NAN))])
    expected = stats.ttest_1samp(scans, 19.69)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low - 19.69, interval.high - 19.69))
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.basis, found.inside, found.verdict) == ("scans", None, "within noise")


@pytest.mark.parametrize(
    ("ours", "published", "scans", "inside", "verdict"),
    [
        (Figure(42.9, 1.0, 5), Figure(42.07, 1.12, 5), (), True, "reproduced"),
        (Figure(43.9, 1.5, 5), Figure(42.07, 1.12, 5), (), False, "within noise"),
        (Figure(35.0, 1.0, 5), Figure(42.07, 1.12, 5), (), False, "lower"),
        (Figure(50.0, 1.0, 5), Figure(42.07, 1.12, 5), (), False, "higher"),
        (Figure(19.688, NAN, 5), Figure(19.69, NAN, 5), (), None, "reproduced"),
        (Figure(19.60, NAN, 5), Figure(19.69, NAN, 5), (), None, "no verdict"),
        (Figure(NAN, NAN, 5), Figure(19.69, 1.0, 5), (), False, "no verdict"),
        (Figure(30.0, 0.0, 5), Figure(33.32, 0.0, 5), (), False, "lower"),
        (Figure(33.19, 0.02, 5), Figure(33.32, 0.13, 5), (), True, "reproduced"),  # as printed, 0.125 to 0.135
    ],
)
def test_verdicts(ours: Figure, published: Figure, scans: tuple[float, ...], inside: bool | None, verdict: str) -> None:
    (found,) = judge([(ours, published, scans)])
    assert (found.inside, found.verdict) == (inside, verdict)


def test_a_figure_of_no_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one fold"):
        judge([(Figure(1.0, 1.0, 0), Figure(1.0, 1.0, 5), ())])


def test_a_whole_table_has_the_false_alarms_of_one_test() -> None:
    """Tables of twenty figures that are reproduced: one in twenty fails at most, where every other one would."""
    rng = np.random.default_rng(0)
    alone = together = 0
    for _ in range(200):
        folds = rng.normal(size=(20, 2, 5))
        figures = [[Figure(side.mean(), side.std(ddof=1), 5) for side in pair] for pair in folds]
        found = judge([(ours, published, ()) for ours, published in figures])
        alone += any(one.p < 0.05 for one in found)
        together += any(one.verdict in ("higher", "lower") for one in found)
    assert together <= 18
    assert alone > 80
