"""The forward process of a denoising diffusion model with a linear schedule (paper, section 3.1, Eq. 2 and 3).

Timesteps run from 1 to T as in the paper; index 0 of ᾱ is the clean image, ᾱ_0 = 1.

Images lie in [0, 1] everywhere else. Noise is added to, and the network sees and answers in, the preset's
`intensity_range`, [-1, 1] in the published code that the paper builds on (Behrendt et al. 2023, `cond_DDPM.py`,
`forward`; AnoDDPM's, cDDPM's, mDDPM's and pDDPM-IQA's code do the same); the paper itself does not say.
`Diffusion.estimate` is the one place that maps there and back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ..base import Frozen


class DiffusionSettings(Frozen):
    """The diffusion process (preset section `diffusion`; paper, section 4.3).

    Attributes:
        timesteps: T.
        beta_start: variance of the first step.
        beta_end: variance of the last step, not below the first; linear in between.
        t_train_max: training draws t uniformly from {1, ..., t_train_max}; the paper: T.
        t_test: the step to which a test image is noised, and from which x0 is estimated at once.
        intensity_range: what 0 and 1 of an image become in the diffusion; the wider, the stronger the image against
            the noise.
    """

    timesteps: int = Field(ge=2, le=100_000)
    beta_start: float = Field(gt=0, lt=1)
    beta_end: float = Field(gt=0, lt=1)
    t_train_max: int = Field(ge=1)
    t_test: int = Field(ge=1)
    intensity_range: tuple[float, float]

    @model_validator(mode="after")
    def _within_schedule(self) -> Self:
        if max(self.t_train_max, self.t_test) > self.timesteps:
            raise ValueError(
                f"diffusion.t_train_max ({self.t_train_max}) and diffusion.t_test ({self.t_test}) "
                f"must not exceed diffusion.timesteps ({self.timesteps})"
            )
        if self.beta_start > self.beta_end:
            raise ValueError(
                f"diffusion.beta_start ({self.beta_start}) must not exceed diffusion.beta_end ({self.beta_end})"
            )
        low, high = self.intensity_range
        if low >= high:
            raise ValueError(f"diffusion.intensity_range must rise, got [{low}, {high}]")
        return self


class Schedule(nn.Module):
    """The linear schedule and the closed form of its forward process.

    Attributes:
        alpha_bar: ᾱ_t for t = 0, ..., T, float32 [T + 1].

    Args:
        settings: T and the two ends of β.
    """

    alpha_bar: Tensor

    def __init__(self, settings: DiffusionSettings) -> None:
        super().__init__()
        beta = torch.linspace(settings.beta_start, settings.beta_end, settings.timesteps, dtype=torch.float64)
        alpha_bar = torch.cat([beta.new_ones(1), torch.cumprod(1 - beta, 0)])
        self.register_buffer("alpha_bar", alpha_bar.float(), persistent=False)

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Return x_t = √ᾱ_t·x0 + √(1 - ᾱ_t)·noise (Eq. 3).

        Args:
            x0: clean images [B, 1, H, W].
            t: timesteps in {0, ..., T}, int64 [B]; 0 gives x0 back.
            noise: like x0.
        """
        alpha_bar = self.alpha_bar[t][:, None, None, None]
        return alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise


class Diffusion(nn.Module):
    """Noises images and lets a network estimate the clean ones in one step.

    Attributes:
        schedule: the forward process.

    Args:
        settings: the schedule and the range of intensities.
    """

    def __init__(self, settings: DiffusionSettings) -> None:
        super().__init__()
        self.schedule = Schedule(settings)
        low, high = settings.intensity_range
        self._offset, self._scale = low, high - low

    def estimate(
        self,
        image: Tensor,
        t: Tensor,
        noise: Tensor,
        network: Callable[[Tensor], Tensor],
        inside: Tensor | None = None,
    ) -> Tensor:
        """Return a network's estimate of clean images that it sees noised.

        Args:
            image: clean images in [0, 1], [B, 1, H, W].
            t: timesteps, int64 [B].
            noise: like the images.
            network: maps noised images to estimates, both in the range of the diffusion.
            inside: where an image is noised, bool [B, 1, H, W]; elsewhere it stays clean (Eq. 8). None: everywhere.

        Returns:
            Estimates in the units of the images, [B, 1, H, W].
        """
        clean = self._scale * image + self._offset
        noised = self.schedule.q_sample(clean, t, noise)
        shown = noised if inside is None else torch.where(inside, noised, clean)
        return (network(shown) - self._offset) / self._scale
