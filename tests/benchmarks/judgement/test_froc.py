"""FROC of a cell: counted by hand over a few scans, and against the functions of metrics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from uadbench.benchmarks.judgement.froc import averaged, froc_curves, froc_numbers, froc_points
from uadbench.metrics.lesions import Froc

NAN = float("nan")
SHARES = (0.3, 0.001, 0.01)  # as no file has them: out of order


def scan(cell: str, role: str, subject: str, lesions: float, hits: tuple[float, ...], false: tuple[int, ...]) -> Any:
    """The lines of a scan, a number per share; components are hits and false ones."""
    ill = not math.isnan(lesions)
    return [
        {"id": cell, "set": role, "subject": subject, "share": share, "lesions": lesions}
        | {"hits": found if ill else NAN, "false": wrong, "components": wrong + (found if ill else 0)}
        for share, found, wrong in zip(SHARES, hits, false, strict=True)
    ]


@pytest.fixture
def frames() -> list[pd.DataFrame]:
    """Two cells in two frames; the first has a scan without a lesion in view and two healthy ones."""
    first = [
        *scan("a", "ms", "m1", 4, (3, 0, 2), (9, 0, 2)),
        *scan("a", "ms", "m2", 1, (1, 0, 1), (6, 1, 1)),
        *scan("a", "ms", "m3", NAN, (0, 0, 0), (3, 0, 3)),
        *scan("a", "healthy", "h1", NAN, (0, 0, 0), (5, 0, 1)),
        *scan("a", "healthy", "h2", NAN, (0, 0, 0), (6, 1, 1)),
    ]
    second = scan("b", "ms", "m1", 4, (4, 1, 4), (2, 0, 1)) + scan("b", "tumours", "t1", NAN, (0, 0, 0), (1, 0, 0))
    return [pd.DataFrame(first), pd.DataFrame(second)]


def test_lesions_and_components_are_pooled_over_scans(frames: list[pd.DataFrame]) -> None:
    points = froc_points(frames).set_index(["id", "set", "share"])
    own = points.loc["a", "ms", 0.3]
    assert (own["scans"], own["lesions"], own["hits"], own["false"]) == (3, 5, 4, 18)
    assert (own["sensitivity"], own["false_per_scan"], own["healthy_per_scan"]) == (4 / 5, 6.0, 5.5)
    assert points.loc["a", "ms", 0.01]["healthy_per_scan"] == 1
    assert math.isnan(points.loc["b", "ms", 0.3]["healthy_per_scan"])  # no healthy scan
    assert math.isnan(points.loc["b", "tumours", 0.3]["sensitivity"])  # no lesion
    assert "healthy" not in points.index.get_level_values("set")


def test_numbers_lie_on_the_curve_from_the_highest_threshold_down(frames: list[pd.DataFrame]) -> None:
    points = froc_points(frames)
    curves = {(cell, key): curve for cell, key, curve in froc_curves(points)}
    np.testing.assert_allclose(curves["a", "ms"].false_per_scan, [1 / 3, 2, 6])
    np.testing.assert_allclose(curves["a", "ms"].sensitivity, [0, 3 / 5, 4 / 5])
    numbers = froc_numbers(points)
    found = {name: numbers["a"][f"ms/froc_{name}"] for name in ("at_1", "at_2", "at_4", "at_8", "mean")}
    assert found["at_1"] == pytest.approx(0.6 * (1 - 1 / 3) / (2 - 1 / 3))
    assert (found["at_2"], found["at_4"], found["at_8"]) == pytest.approx((0.6, 0.7, 0.8))
    at = np.array([0.125, 0.25, 0.5, 1, 2, 4, 8])
    assert found["mean"] == pytest.approx(np.interp(at, [0, 1 / 3, 2, 6], [0, 0, 0.6, 0.8]).mean())
    assert math.isnan(numbers["b"]["tumours/froc_at_1"])


def test_folds_are_averaged_at_the_same_number_of_false_components() -> None:
    curves = [Froc(np.array([0.2, 0.6]), np.array([1.0, 3.0])), Froc(np.array([0.4]), np.array([2.0]))]
    np.testing.assert_allclose(averaged(curves, np.array([1.0, 2.0, 10.0])), [0.2, 0.4, 0.5])


def test_no_lines_no_points() -> None:
    points = froc_points([])
    assert points.empty and froc_numbers(points) == {} and list(froc_curves(points)) == []
    assert list(points.columns) == list(froc_points([pd.DataFrame(scan("a", "ms", "m", 1, (1, 1, 1), (1, 1, 1)))]))
