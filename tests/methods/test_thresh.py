"""Thresh: against NumPy's histogram and interpolation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from uadbench.methods import Batch, Scan
from uadbench.methods.thresh import Thresh, equalise

Make = Callable[..., Any]


def reference(values: np.ndarray, bins: int) -> np.ndarray:
    counts, edges = np.histogram(values, bins)
    return np.interp(values, (edges[:-1] + edges[1:]) / 2, counts.cumsum() / counts.sum())


@pytest.mark.parametrize("bins", [2, 16, 256])
def test_equalise_against_numpy(bins: int) -> None:
    values = np.random.default_rng(0).beta(2, 5, 20_000)
    result = equalise(torch.from_numpy(values), bins).numpy()
    np.testing.assert_allclose(result, reference(values, bins), atol=2e-3)


def test_equalised_values_are_nearly_uniform_and_in_order() -> None:
    values = np.random.default_rng(1).gamma(2.0, 1.0, 50_000)
    result = equalise(torch.from_numpy(values), 4096).numpy()
    assert stats.kstest(result, "uniform").statistic < 0.01
    assert (np.diff(result[np.argsort(values)]) >= 0).all()


def test_score_is_equalised_brain_and_nothing_outside(
    make: Make, blobs: Callable[[int, int], Batch], scan_of: Callable[..., Scan]
) -> None:
    net, batch = make(Thresh), blobs(4, 0)
    volume, inside = batch.image + 0.05, batch.brain_mask
    scan = scan_of(batch)
    reconstruction = net.reconstruct(volume, scan)
    assert not reconstruction.any()
    score = net.anomaly_score(volume, reconstruction, scan)
    assert score.shape == volume.shape
    assert not score[~inside].any()
    np.testing.assert_allclose(score[inside].numpy(), reference(volume[inside].numpy(), 256), atol=5e-3)


def test_brightness_and_contrast_do_not_matter(
    make: Make, blobs: Callable[[int, int], Batch], scan_of: Callable[..., Scan]
) -> None:
    net, batch = make(Thresh), blobs(4, 0)
    scan = scan_of(batch)
    one = net.anomaly_score(batch.image, torch.zeros_like(batch.image), scan)
    two = net.anomaly_score(0.5 * batch.image + 0.25, torch.zeros_like(batch.image), scan)
    assert (one - two).abs().mean() < 1e-3


def test_flat_and_empty_brains_do_not_break_it(make: Make) -> None:
    net, volume = make(Thresh), torch.full((2, 1, 8, 8), 0.3)
    mask = torch.ones(2, 1, 8, 8, dtype=torch.bool)
    for brain in (mask, ~mask):
        score = net.anomaly_score(volume, torch.zeros_like(volume), Scan(brain, 0, 1))
        assert score.isfinite().all()


def test_needs_no_training(make: Make) -> None:
    assert not Thresh.trainable
    assert not list(make(Thresh).parameters())


def test_dark_is_lesion_on_t1_and_bright_elsewhere(make: Make, blobs: Callable[[int, int], Batch]) -> None:
    """The negative's score on T1 is the image's on T2, and the order of grey values is turned round."""
    net, batch = make(Thresh), blobs(4, 0)
    volume, inside, nothing = batch.image + 0.05, batch.brain_mask, torch.zeros_like(batch.image)

    def score(image: torch.Tensor, modality: str) -> torch.Tensor:
        return net.anomaly_score(image, nothing, Scan(inside, 0, 4, modality))

    t1, t2 = score(volume, "t1"), score(volume, "t2")
    torch.testing.assert_close(score(1 - volume, "t1"), t2, atol=2e-3, rtol=0)
    assert stats.spearmanr(t1[inside].numpy(), volume[inside].numpy()).statistic < -0.99
    assert stats.spearmanr(t2[inside].numpy(), volume[inside].numpy()).statistic > 0.99
    assert not t1[~inside].any() and t1.min() >= 0 and t1.max() <= 1
    for modality in ("flair", "t1ce", "pd"):
        assert torch.equal(score(volume, modality), t2)
    assert torch.equal(net.anomaly_score(volume, nothing, Scan(inside, 0, 4)), t2), "T2 where nothing is said"
