"""Simplex noise: against the package opensimplex, with the same seeds."""

import numpy as np
import pytest
import torch

from uadbench.methods.parts.simplex import FractalSimplex, NoiseSettings, shuffled

PAPER = NoiseSettings(frequency=2**-6, octaves=6, decay=0.8, share="slice")
SEEDS = [0, 1, -1, 42, 2**62 + 12345, -(2**63), 2**63 - 1]


def reference(settings: NoiseSettings, seed: int, height: int, width: int) -> np.ndarray:
    opensimplex = pytest.importorskip("opensimplex")
    generator = opensimplex.OpenSimplex(seed)
    image = np.zeros((height, width))
    for octave in range(settings.octaves):
        frequency = settings.frequency * 2**octave
        image += settings.decay**octave * generator.noise2array(
            np.arange(width) * frequency, np.arange(height) * frequency
        )
    return image


@pytest.fixture(scope="module")
def paper_noise() -> FractalSimplex:
    return FractalSimplex(PAPER, 96, 96)


def test_equals_opensimplex_at_the_paper_settings(paper_noise: FractalSimplex) -> None:
    images = paper_noise(torch.tensor(SEEDS))
    assert images.shape == (len(SEEDS), 1, 96, 96)
    assert images.dtype == torch.float32
    for image, seed in zip(images, SEEDS, strict=True):
        np.testing.assert_allclose(image[0].numpy(), reference(PAPER, seed, 96, 96), atol=2e-6)


@pytest.mark.parametrize("frequency", [0.013, 0.37, 1.9])
def test_equals_opensimplex_at_odd_frequencies_on_an_oblong(frequency: float) -> None:
    settings = NoiseSettings(frequency=frequency, octaves=2, decay=0.5, share="slice")
    image = FractalSimplex(settings, 23, 41)(torch.tensor([5]))[0, 0]
    np.testing.assert_allclose(image.numpy(), reference(settings, 5, 23, 41), atol=2e-6)


def test_rows_are_y() -> None:
    settings = NoiseSettings(frequency=0.21, octaves=1, decay=1.0, share="slice")
    opensimplex = pytest.importorskip("opensimplex")
    image = FractalSimplex(settings, 8, 9)(torch.tensor([3]))[0, 0]
    assert image[2, 7].item() == pytest.approx(opensimplex.OpenSimplex(3).noise2(x=7 * 0.21, y=2 * 0.21), abs=1e-6)


def test_an_image_does_not_depend_on_its_batch(paper_noise: FractalSimplex) -> None:
    seeds = torch.tensor(SEEDS)
    together = paper_noise(seeds)
    alone = torch.cat([paper_noise(seed[None]) for seed in seeds])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_spread_is_that_of_unnormalised_octaves(paper_noise: FractalSimplex) -> None:
    # One octave of noise2 has a standard deviation of 0.368 far from the origin; octaves add in quadrature.
    images = paper_noise(torch.arange(1000))
    expected = 0.3684 * sum(0.64**octave for octave in range(6)) ** 0.5
    assert images.std().item() == pytest.approx(expected, rel=0.03)
    assert abs(images.mean().item()) < 0.05


def test_noise_is_no_part_of_a_checkpoint(paper_noise: FractalSimplex) -> None:
    assert not paper_noise.state_dict()


def swapped(picks: np.ndarray) -> np.ndarray:
    """The shuffle of each row, swap by swap."""
    tables = np.tile(np.arange(picks.shape[1]), (len(picks), 1))
    for table, row in zip(tables, picks, strict=True):
        for place in range(len(row) - 1, -1, -1):
            table[[place, row[place]]] = table[[row[place], place]]
    return tables


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 256])
def test_all_swaps_at_once_are_the_swaps_one_by_one(size: int) -> None:
    places = np.arange(size)
    chance = np.random.default_rng(size).integers(0, places + 1, (200, size))
    chains = np.stack([places, 0 * places, np.maximum(places - 1, 0), places // 2, np.maximum(places - 2, 0)])
    picks = np.concatenate([chains, chance])
    np.testing.assert_array_equal(shuffled(torch.from_numpy(picks)).numpy(), swapped(picks))


def test_every_shuffle_of_four_is_right() -> None:
    picks = np.stack(np.meshgrid(*(np.arange(place + 1) for place in range(4)), indexing="ij"), -1).reshape(-1, 4)
    found = shuffled(torch.from_numpy(picks)).numpy()
    np.testing.assert_array_equal(found, swapped(picks))
    assert len(np.unique(found, axis=0)) == 24
