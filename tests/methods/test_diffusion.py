"""The forward process: against the product formula and the chain of single steps."""

import math

import pytest
import torch
from pydantic import ValidationError

from uadbench.methods.parts.diffusion import Diffusion, DiffusionSettings, Schedule


def settings(**changes: object) -> DiffusionSettings:
    numbers = {
        "timesteps": 1000,
        "beta_start": 1e-4,
        "beta_end": 2e-2,
        "t_train_max": 1000,
        "t_test": 500,
        "intensity_range": (-1.0, 1.0),
    }
    return DiffusionSettings.model_validate({**numbers, **changes})


@pytest.mark.parametrize("t", [0, 1, 2, 500, 999, 1000])
def test_alpha_bar_is_the_product(t: int) -> None:
    product = math.prod(1 - (1e-4 + (2e-2 - 1e-4) * s / 999) for s in range(t))
    assert Schedule(settings()).alpha_bar[t].item() == pytest.approx(product, rel=1e-5)


def test_q_sample_is_equation_3_image_by_image() -> None:
    x0, noise, t = torch.rand(3, 1, 4, 4), torch.randn(3, 1, 4, 4), torch.tensor([1, 500, 1000])
    noised = Schedule(settings()).q_sample(x0, t, noise)
    for b, step in enumerate(t.tolist()):
        alpha_bar = math.prod(1 - (1e-4 + (2e-2 - 1e-4) * s / 999) for s in range(step))
        torch.testing.assert_close(noised[b], math.sqrt(alpha_bar) * x0[b] + math.sqrt(1 - alpha_bar) * noise[b])


def test_step_zero_is_the_clean_image() -> None:
    x0 = torch.rand(2, 1, 4, 4)
    assert torch.equal(Schedule(settings()).q_sample(x0, torch.zeros(2, dtype=torch.long), torch.randn_like(x0)), x0)


def test_closed_form_has_the_variance_of_the_chain() -> None:
    # x_t = √(1-β_t)·x_{t-1} + √β_t·ε step by step: signal and variance after 10 steps of a short schedule.
    short = settings(timesteps=10, beta_start=0.1, beta_end=0.3, t_train_max=10, t_test=5)
    signal, variance = 1.0, 0.0
    for s in range(10):
        beta = 0.1 + 0.2 * s / 9
        signal, variance = signal * math.sqrt(1 - beta), variance * (1 - beta) + beta
    alpha_bar = Schedule(short).alpha_bar[10].item()
    assert math.sqrt(alpha_bar) == pytest.approx(signal, rel=1e-5)
    assert 1 - alpha_bar == pytest.approx(variance, rel=1e-5)


def test_a_test_step_beyond_the_schedule_is_refused() -> None:
    with pytest.raises(ValidationError, match="must not exceed"):
        settings(t_test=1001)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-3.0, 5.0)])
def test_the_network_works_in_the_range_and_the_estimate_is_in_units_of_the_image(low: float, high: float) -> None:
    """By hand: (1 - x)·low + x·high is noised where it is to be, shown, and mapped back."""
    image, noise, t = torch.rand(2, 1, 4, 4), torch.randn(2, 1, 4, 4), torch.tensor([300, 700])
    inside = torch.rand(2, 1, 4, 4) < 0.5
    shown: list[torch.Tensor] = []

    def network(x: torch.Tensor) -> torch.Tensor:
        shown.append(x)
        return torch.full_like(x, 0.25 * low + 0.75 * high)

    estimate = Diffusion(settings(intensity_range=(low, high))).estimate(image, t, noise, network, inside)
    for b, step in enumerate(t.tolist()):
        alpha_bar = math.prod(1 - (1e-4 + (2e-2 - 1e-4) * s / 999) for s in range(step))
        clean = (1 - image[b]) * low + image[b] * high
        noised = math.sqrt(alpha_bar) * clean + math.sqrt(1 - alpha_bar) * noise[b]
        torch.testing.assert_close(shown[0][b][inside[b]], noised[inside[b]], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(shown[0][b][~inside[b]], clean[~inside[b]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(estimate, torch.full_like(image, 0.75))


def test_in_zero_to_one_a_test_step_of_500_would_be_one_of_617() -> None:
    """The contrast of [0, 1] is half: its signal-to-noise ratio at t is that of [-1, 1] at a later step."""
    alpha_bar = Schedule(settings()).alpha_bar.double()
    ratio = (alpha_bar / (1 - alpha_bar)).sqrt()
    assert (ratio - ratio[500] / 2).abs().argmin().item() == pytest.approx(617, abs=1)


def test_a_range_must_rise() -> None:
    with pytest.raises(ValidationError, match="must rise"):
        settings(intensity_range=(1.0, -1.0))
