"""Adam in one pass: the formula of its paper, and a resumed training bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from uadbench.methods.parts.optimizer import fused_adam

OPTIONS = [{}, {"betas": (0.0, 0.9)}, {"amsgrad": True, "weight_decay": 0.01}]


def gradients(steps: int) -> torch.Tensor:
    return torch.randn(steps, 1003, generator=torch.Generator().manual_seed(0))


def trained(weight: nn.Parameter, optimizer: torch.optim.Optimizer, steps: torch.Tensor) -> np.ndarray:
    for gradient in steps:
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach().numpy().copy()


@pytest.mark.parametrize("options", OPTIONS)
def test_it_is_kingma_and_ba(options: dict) -> None:
    """Adam: a method for stochastic optimization (2015), Algorithm 1, in float64; AMSGrad and l2 as PyTorch has it."""
    beta1, beta2 = options.get("betas", (0.9, 0.999))
    steps = gradients(30)
    weight = nn.Parameter(torch.linspace(-1, 1, 1003))
    expected = weight.detach().double().numpy().copy()
    first, second, largest = (np.zeros(1003) for _ in range(3))
    for t, gradient in enumerate(steps.double().numpy(), start=1):
        slope = gradient + options.get("weight_decay", 0) * expected
        first, second = beta1 * first + (1 - beta1) * slope, beta2 * second + (1 - beta2) * slope**2
        largest = np.maximum(largest, second) if options.get("amsgrad") else second
        expected -= 0.01 * first / (1 - beta1**t) / (np.sqrt(largest / (1 - beta2**t)) + 1e-8)
    found = trained(weight, fused_adam([weight], lr=0.01, **options), steps)
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_training_that_resumes_is_bitwise_the_same() -> None:
    steps = gradients(9)
    whole = nn.Parameter(torch.linspace(-1, 1, 1003))
    expected = trained(whole, fused_adam([whole], lr=0.01), steps)
    begun = nn.Parameter(torch.linspace(-1, 1, 1003))
    optimizer = fused_adam([begun], lr=0.01)
    trained(begun, optimizer, steps[:4])
    resumed = nn.Parameter(begun.detach().clone())
    again = fused_adam([resumed], lr=0.01)
    again.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(trained(resumed, again, steps[4:]), expected)


def test_it_is_fused_and_leaves_the_scale_of_gradients_to_lightning() -> None:
    optimizer = fused_adam([nn.Parameter(torch.zeros(3))], lr=0.01)
    assert all(group["fused"] for group in optimizer.param_groups)
    assert not getattr(optimizer, "_step_supports_amp_scaling", False)
