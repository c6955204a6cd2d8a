"""Classes of size at and beside their edges; shares of hits and what they give where there is nothing to share."""

from __future__ import annotations

import math

import pytest
from sklearn.metrics import precision_recall_fscore_support

from uadbench.metrics.lesions import SIZE_EDGES_ML, SIZE_NAMES, lesion_rates, size_class


@pytest.mark.parametrize(
    ("ml", "name"),
    [
        (0.0, "below 0.1 ml"),
        (0.096, "below 0.1 ml"),
        (0.1, "0.1 to 1 ml"),
        (0.104, "0.1 to 1 ml"),
        (0.999, "0.1 to 1 ml"),
        (1.0, "1 to 10 ml"),
        (9.992, "1 to 10 ml"),
        (10.0, "10 ml and above"),
        (500.0, "10 ml and above"),
    ],
)
def test_a_volume_on_an_edge_belongs_above_it(ml, name):
    assert SIZE_NAMES[size_class(ml)] == name


@pytest.mark.parametrize("edge_mm", [0.5, 0.7, 0.9, 1.0, 2.0])
def test_products_of_voxels_round_to_the_edge(edge_mm):
    for edge in SIZE_EDGES_ML:
        voxel_ml = edge_mm**3 / 1000
        voxels = round(edge / voxel_ml)
        expected = sum(voxels * edge_mm**3 / 1000 * (1 + 1e-12) >= other for other in SIZE_EDGES_ML)
        assert size_class(sum([voxel_ml] * voxels)) == expected


@pytest.mark.parametrize("ml", [-0.1, math.nan])
def test_no_size_below_zero(ml):
    with pytest.raises(ValueError, match="not negative"):
        size_class(ml)


def test_rates_are_those_of_scikit_learn():
    hits, lesions, components = 3, 5, 9
    truth = [1] * lesions + [0] * (components - hits)
    found = [1] * hits + [0] * (lesions - hits) + [1] * (components - hits)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, found, average="binary")
    assert lesion_rates(hits, lesions, components) == pytest.approx((recall, precision, f1))


def test_rates_where_there_is_nothing_to_share():
    missed = lesion_rates(0, 4, 0)
    assert (missed.recall, missed.f1) == (0.0, 0.0)
    assert math.isnan(missed.precision)
    invented = lesion_rates(0, 0, 4)
    assert (invented.precision, invented.f1) == (0.0, 0.0)
    assert math.isnan(invented.recall)
    assert all(math.isnan(rate) for rate in lesion_rates(0, 0, 0))


@pytest.mark.parametrize("counts", [(3, 2, 5), (3, 5, 2), (-1, 2, 2)])
def test_refuses_hits_that_cannot_be(counts):
    with pytest.raises(ValueError, match="cannot be among"):
        lesion_rates(*counts)
