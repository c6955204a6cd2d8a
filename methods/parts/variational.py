"""Gaussian codes: what makes an autoencoder variational (Kingma and Welling, "Auto-encoding variational Bayes", 2014).

The encoder gives a slice no code but a normal distribution of codes with independent components, q = N(μ, diag σ²). The
decoder learns on samples of it, and the Kullback-Leibler divergence from the prior N(0, I) is paid for.

Reduction. Baur et al. (2021) add, image by image, the l1 error summed over the pixels and the divergence summed over
the code, and average over the batch. `bound_loss` is that loss divided by the number of pixels,

    mean over batch and pixels of |x - x_rec|  +  kl_weight · mean over batch of KL / pixels,

so that kl_weight = 1 is Baur's weighting and the loss reads like the AE's. A constant factor changes nothing else: Adam
divides every gradient by its own size.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from ..base import Frozen
from .seeds import Stream, normal


class VariationalSettings(Frozen):
    """The loss of a variational autoencoder (preset section `vae`).

    Attributes:
        kl_weight: weight of the divergence against the l1 error, both summed over their components; 1 is the bound.
    """

    kl_weight: float = Field(ge=0, le=1e9)


class GaussianCode(NamedTuple):
    """One normal distribution of codes an image, components independent.

    Attributes:
        mean: μ, float32 [B, latent].
        log_variance: ln σ², float32 [B, latent].
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, numbers: Tensor) -> Self:
        """Read an encoder's output [B, 2·latent] as mean and log-variance."""
        # In float32 whatever the network computes in: a variance overflows half precision early.
        return cls(*numbers.float().chunk(2, dim=1))

    def sample(self, seeds: Tensor) -> Tensor:
        """Draw one code an image from the image's own seed, μ + σ·ε.

        Args:
            seeds: int64 [B].

        Returns:
            float32 [B, latent], differentiable in mean and log-variance.
        """
        noise = normal(seeds, Stream.CODE, self.mean.shape[1])
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def divergence(self) -> Tensor:
        """Return KL(q ‖ N(0, I)) = ½ Σ (μ² + σ² - ln σ² - 1), float32 [B]."""
        return 0.5 * (self.mean**2 + self.log_variance.exp() - self.log_variance - 1).sum(dim=1)


def bound_loss(reconstruction: Tensor, image: Tensor, code: GaussianCode, kl_weight: float) -> Tensor:
    """Return the variational loss a pixel, as the module explains.

    Args:
        reconstruction: decoded from a code, [B, 1, H, W].
        image: what was encoded, [B, 1, H, W].
        code: the distribution the code came from.
        kl_weight: weight of the divergence.

    Returns:
        A scalar.
    """
    pixels = image[0].numel()
    return F.l1_loss(reconstruction, image) + kl_weight * code.divergence().mean() / pixels
