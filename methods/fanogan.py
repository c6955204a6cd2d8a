"""f-AnoGAN: a generator of healthy slices, and an encoder that looks for the slice's place in it (Schlegl et al. 2019).

First a Wasserstein GAN with gradient penalty learns to draw healthy slices from Gaussian codes: five steps of the
critic, then one of the generator. Then both are frozen and an encoder is trained to give back the code of a slice, by
the izi_f loss: the mean squared residual of the image and κ times that of the critic's features. A lesion has no code,
so that the slice drawn from the code of a lesioned one should be healthy.

What the authors' published code (tSchlegl/f-AnoGAN) has: patches of 64×64 in [-1, 1], codes of 128 normal numbers, four
residual blocks each way between 4×4×512 and 64×64×64, layer norm in the critic, batch norm in generator and encoder;
features are the critic's last but one layer; batches of 64; Adam (1e-4, betas 0 and 0.9) for the GAN, RMSprop (5e-5,
decay 0.9) for 50 000 encoder steps. The encoder ends in tanh, so that its codes lie in (-1, 1): `z_encoding_izif.py`,
line 69, "DEFAULT (paper version)". The unbounded encoder of its appendix is `fanogan.code_activation = "none"`.

What is different here: slices of 96×96, so that the same four blocks start from 6×6; RMSprop is played by Adam with
betas 0 and 0.9, the same rule but for the correction of its first steps; batches are the protocol's; the anomaly map
is the benchmark's |x - x_rec| and not a score per image. A training is one sequence of epochs, of which the first
`gan_share` belong to the GAN. Every optimiser step, critic's or generator's, costs one batch, and so a generator step
costs six of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan
from .parts.gan import (
    GanSettings,
    ResidualEncoder,
    ResidualGenerator,
    batch_norm,
    evaluating,
    gradient_penalty,
    layer_norm,
    untouched,
)
from .parts.host_number import HostNumber
from .parts.optimizer import fused_adam
from .parts.patches import ImageSettings
from .parts.seeds import Stream, normal, uniform
from .registry import register

Beta = Annotated[float, Field(ge=0, lt=1)]


class AdversarialSettings(Frozen):
    """The two trainings (preset section `fanogan`).

    Attributes:
        critic_steps: steps of the critic before each one of the generator.
        penalty: weight of the gradient penalty.
        kappa: weight of the feature residual in the encoder's loss.
        gan_share: share of the epochs that train the GAN; the rest trains the encoder.
        betas: Adam's decay rates, for all three networks.
        encoder_learning_rate: peak learning rate of the encoder; the GAN's is the optimizer section's.
        code_activation: what the encoder ends in: "tanh" keeps its codes in (-1, 1), "none" does not bound them.
    """

    critic_steps: int = Field(ge=1, le=10_000)
    penalty: float = Field(ge=0, le=1e9)
    kappa: float = Field(ge=0, le=1e9)
    gan_share: float = Field(gt=0, lt=1)
    betas: tuple[Beta, Beta]
    encoder_learning_rate: float = Field(gt=0)
    code_activation: Literal["tanh", "none"]


class FAnoGANSettings(Frozen):
    """One field a preset section."""

    image: ImageSettings
    optimizer: OptimizerSettings
    gan: GanSettings
    fanogan: AdversarialSettings


@register
class FAnoGAN(Detector):
    """Wasserstein GAN with gradient penalty, then an encoder of the izi_f kind.

    Attributes:
        encoding: 1 when it is the encoder's turn to be trained, else 0; saved with the weights, 0 without a Trainer.
        steps: optimiser steps of the GAN so far, which tell whose turn the next one is; saved with the weights.

    Args:
        settings: image, optimiser, networks and the two trainings.
    """

    info = MethodInfo(
        name="fanogan",
        title="f-AnoGAN",
        citation=(
            "T. Schlegl, P. Seeböck, S. M. Waldstein, G. Langs, U. Schmidt-Erfurth. f-AnoGAN: fast unsupervised "
            "anomaly detection with generative adversarial networks. Medical Image Analysis 54, 2019."
        ),
        year=2019,
        rows=(Row("fanogan", "f-AnoGAN"),),
        paper="Schlegl et al. 2019",
        note=(
            "Published for 64×64 patches of retinal scans and a score per image; here the same residual blocks draw "
            "whole 96×96 slices and the score is the residual. The encoder's RMSprop is Adam with betas (0, 0.9). "
            "The paper preset trains it for as many steps as its authors did, not for MAEDiff's 1600 epochs."
        ),
    )
    Settings = FAnoGANSettings
    compilable = False  # the gradient penalty

    def __init__(self, settings: FAnoGANSettings) -> None:
        super().__init__(settings)
        self._numbers = settings.fanogan
        self._latent = settings.gan.latent
        side = settings.image.side
        self.generator = ResidualGenerator(settings.gan, side)
        self.critic = ResidualEncoder(settings.gan, side, 1, layer_norm)
        self.encoder = ResidualEncoder(settings.gan, side, settings.gan.latent, batch_norm)
        self.encoding, self.steps = HostNumber(), HostNumber()

    @property
    def selectable(self) -> bool:
        """True while the encoder is trained: a GAN without encoder reconstructs nothing.

        The phase changes only at the start of an epoch, so that an epoch's validation belongs to its phase.
        """
        return bool(self.encoding.value)

    def make_optimizer(self, settings: OptimizerSettings) -> torch.optim.Optimizer:
        """Return one Adam for all: it passes over weights without a gradient, hence those whose turn it is not."""
        gan = [*self.generator.parameters(), *self.critic.parameters()]
        groups = [
            {"params": gan, "lr": settings.learning_rate},
            {"params": list(self.encoder.parameters()), "lr": self._numbers.encoder_learning_rate},
        ]
        return fused_adam(groups, betas=self._numbers.betas)

    def on_train_epoch_start(self) -> None:
        """Decide whose epoch this is.

        Raises:
            ValueError: a Trainer without a number of epochs, or with too few for two phases.
        """
        epochs = self.trainer.max_epochs or 0
        if epochs < 2:
            raise ValueError(f"f-AnoGAN trains in two phases: it needs at least 2 epochs, not {epochs}")
        last_of_gan = min(max(round(self._numbers.gan_share * epochs), 1), epochs - 1)
        self.encoding.set(self.trainer.current_epoch >= last_of_gan)

    def forward(self, image: Tensor) -> Tensor:
        """Map slices [B, 1, H, W] in [0, 1] to their reconstructions, float32 of the same shape and range."""
        return (self.generator(self.encode(_signed(image))).float() + 1) / 2  # type: ignore[no-any-return]

    def encode(self, image: Tensor) -> Tensor:
        """Map slices [B, 1, H, W] in [-1, 1] to their codes, [B, latent]."""
        code: Tensor = self.encoder(image)
        return code.tanh() if self._numbers.code_activation == "tanh" else code

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of the network whose turn it is: critic or generator, in the second phase the encoder."""
        if self.encoding.value:
            return self._encoder_loss(batch)
        turn = self.steps.value % (self._numbers.critic_steps + 1)
        self.steps.set(self.steps.value + 1)
        return self._critic_loss(batch) if turn < self._numbers.critic_steps else self._generator_loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the encoder's loss; in the first phase the critic's estimate of the Wasserstein distance.

        The distance is measured between the validation slices and slices drawn from codes that are the same each time.
        """
        if self.encoding.value:
            return self._encoder_loss(batch)
        real, fake = self.critic(_signed(batch.image)), self.critic(self.generator(self._codes(batch)))
        return real.float().mean() - fake.float().mean()  # type: ignore[no-any-return]

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Reconstruct slice by slice, [D, 1, H, W] to the same shape."""
        return torch.cat([self(slices) for slices in torch.split(volume, scan.batch_size)])

    def _critic_loss(self, batch: Batch) -> Tensor:
        """Critic(generated) - critic(real) and the weighted gradient penalty; the generator is left alone."""
        real = _signed(batch.image)
        with torch.no_grad():
            fake = untouched(self.generator, self._codes(batch))
        drawn, seen = self.critic(torch.cat([fake.to(real.dtype), real])).float().chunk(2)
        # No noise is drawn on an image here, so that its seed's noise is free to choose the mixture.
        blend = uniform(batch.seed, Stream.NOISE, 1)
        penalty = gradient_penalty(self.critic, real, fake, blend)
        return drawn.mean() - seen.mean() + self._numbers.penalty * penalty  # type: ignore[no-any-return]

    def _generator_loss(self, batch: Batch) -> Tensor:
        """The critic's verdict on generated images; the critic is left alone."""
        return -untouched(self.critic, self.generator(self._codes(batch))).float().mean()

    def _encoder_loss(self, batch: Batch) -> Tensor:
        """The izi_f loss, means over pixels in [-1, 1] and over features; generator and critic are left alone."""
        real = _signed(batch.image)
        with evaluating(self.generator):
            drawn = untouched(self.generator, self.encode(real))
        features = self.critic.features
        distance = F.mse_loss(untouched(features, drawn).float(), untouched(features, real).float())
        return F.mse_loss(drawn.float(), real) + self._numbers.kappa * distance

    def _codes(self, batch: Batch) -> Tensor:
        return normal(batch.seed, Stream.CODE, self._latent)


def _signed(image: Tensor) -> Tensor:
    """From [0, 1] to the generator's [-1, 1]."""
    return 2 * image - 1
