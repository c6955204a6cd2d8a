"""Ours beside a published figure: difference, interval, and whether the one reproduces the other.

A published figure is a mean and a standard deviation over five folds, of the same test scans as ours where sets and
splits are the paper's. So chance enters by training alone, and the interval of the difference is Welch's over the folds
of both (Welch, Biometrika 34, 1947). Where one side has no spread, as of a method that learns nothing, it is Student's
over our test scans against the printed mean, and `basis` says so.

A table has some fifty figures, of which one in twenty would differ "significantly" if all were reproduced: a figure
fails only where its p stays below 0.05 by Holm's rule over the whole table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...metrics.inference import holm

Basis = Literal["folds", "scans", ""]
Verdict = Literal["reproduced", "within noise", "higher", "lower", "no verdict"]

#: Confidence of the intervals, and the false alarms that a whole table is allowed.
CONFIDENCE, ALPHA = 0.95, 0.05
#: Folds behind a published figure (MAEDiff paper, Section 4.2).
PUBLISHED_FOLDS = 5
#: Figures are printed with two decimals.
_ROUNDING = 0.005


@dataclass(frozen=True)
class Figure:
    """A number of a table, in its printed unit.

    Attributes:
        mean: over folds.
        std: sample standard deviation over folds; NaN where there is no spread, or none was printed.
        folds: how many.
    """

    mean: float
    std: float
    folds: int


@dataclass(frozen=True)
class Judgement:
    """What is to be said of one figure.

    Attributes:
        difference: ours less the published one; NaN where either is missing.
        low: of the 95 % interval of the difference; NaN where nothing is known of its spread.
        high: likewise.
        p: of no difference, two-sided; NaN likewise.
        p_holm: the same after Holm's rule over the table.
        basis: what the interval was made of: the folds of both, or our test scans.
        inside: whether ours lies within one published standard deviation; None where none was printed.
        verdict: "reproduced" within one published deviation, or to the last printed digit where none was printed;
            "within noise" beyond it, where p_holm does not speak against chance; "higher" or "lower" where it does;
            "no verdict" where a figure or its spread is missing.
    """

    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    basis: Basis
    inside: bool | None
    verdict: Verdict


def judge(pairs: Sequence[tuple[Figure, Figure, Sequence[float]]]) -> list[Judgement]:
    """Judge all figures of a table.

    Args:
        pairs: per figure ours, the published one, and our scores of the test scans (folds averaged), in its unit; no
            scores where they are not known.

    Raises:
        ValueError: a figure has no fold.
    """
    found = [_compared(*pair) for pair in pairs]
    adjusted = holm(one.p for one in found)
    whole = [replace(one, p_holm=float(p)) for one, p in zip(found, adjusted, strict=True)]
    return [replace(one, verdict=_verdict(one)) for one in whole]


def _compared(ours: Figure, published: Figure, scans: Sequence[float]) -> Judgement:
    """Difference and interval; what needs the whole table comes later."""
    if ours.folds < 1 or published.folds < 1:
        raise ValueError("a figure to compare needs at least one fold on either side")
    difference = ours.mean - published.mean
    inside = None if math.isnan(published.std) else abs(difference) <= published.std + _ROUNDING
    low, high, p, basis = _interval(ours, published, scans)
    return Judgement(difference, low, high, p, math.nan, basis, inside, "no verdict")


def _interval(ours: Figure, published: Figure, scans: Sequence[float]) -> tuple[float, float, float, Basis]:
    """Low and high end of the difference, p, and what they were made of."""
    nothing: tuple[float, float, float, Basis] = (math.nan, math.nan, math.nan, "")
    difference = ours.mean - published.mean
    if math.isnan(difference):
        return nothing
    variances = [one.std**2 / one.folds for one in (ours, published)]
    if not math.isnan(sum(variances)) and min(ours.folds, published.folds) > 1:
        variance = sum(variances)
        if variance == 0:
            return difference, difference, float(difference == 0), "folds"
        parts = zip(variances, (ours.folds, published.folds), strict=True)
        freedom = variance**2 / sum(part**2 / (folds - 1) for part, folds in parts)
        return (*_student(difference, math.sqrt(variance), freedom), "folds")
    scores = np.asarray([score for score in scans if not math.isnan(score)], dtype=float)
    if scores.size > 1 and scores.std() > 0:
        error = float(scores.std(ddof=1)) / math.sqrt(scores.size)
        return (*_student(difference, error, scores.size - 1), "scans")
    return nothing


def _student(difference: float, error: float, freedom: float) -> tuple[float, float, float]:
    """Low end, high end and two-sided p of a difference with this standard error and these degrees of freedom."""
    from scipy.stats import t

    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    return difference - reach, difference + reach, float(2 * t.sf(abs(difference) / error, freedom))


def _verdict(one: Judgement) -> Verdict:
    exact = abs(one.difference) <= _ROUNDING
    if one.inside or (one.inside is None and exact):
        return "reproduced"
    if math.isnan(one.p):
        return "no verdict"
    if one.p_holm >= ALPHA:
        return "within noise"
    return "higher" if one.difference > 0 else "lower"
