"""The forward process of a denoising diffusion model with a linear schedule (paper, section 3.1, Eq. 2 and 3).

Timesteps run from 1 to T as in the paper; index 0 of ᾱ is the clean image, ᾱ_0 = 1.
"""

from __future__ import annotations

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
    """

    timesteps: int = Field(ge=2, le=100_000)
    beta_start: float = Field(gt=0, lt=1)
    beta_end: float = Field(gt=0, lt=1)
    t_train_max: int = Field(ge=1)
    t_test: int = Field(ge=1)

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
