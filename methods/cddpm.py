"""cDDPM: a diffusion model conditioned on a latent of the clean slice (Behrendt et al. 2023, arXiv:2312.04215).

Noise hides how bright a slice is; a diffusion model then rebuilds the anatomy and guesses the intensities. Here an
encoder, trained along, maps the noise-free slice to one short vector, and the U-Net rebuilds the noised slice given
this vector: enough to say how bright and of what kind the slice is, too little to draw a lesion. The encoder may be
pretrained by masked modelling.

Where the facts come from. The abstract and the published code
(github.com/FinnBehrendt/Conditioned-Diffusion-Models-UAD). There:

* The diffusion is that of `anoddpm`: simplex noise over the whole slice, x0 prediction, l1, the same U-Net.
* The encoder is a ResNet-50 with one input channel and a latent of 512 numbers (the experiment file says 128, but the
  code overwrites that with four times the U-Net's channels).
* The latent passes Linear, SiLU, Linear and is concatenated to the timestep embedding, from which every residual block
  takes its scale and shift. (Cross-attention is offered, and off.)
* Encoder and U-Net are trained together for 1200 epochs, "for better performance" after 1200 epochs of pretraining
  (SparK, Tian et al. 2023): 65 % of the 32×32 cells are hidden, the mean squared error counts in hidden cells, and the
  decoder is fed by four stages.
* A test slice is rebuilt in one step from t = 250, 500 and 750, each with fresh noise, and the three are averaged; the
  baselines of that code use t = 500 alone, so we take it for a part of the method.

What stays open or differs. The method section of the paper was not at hand: whether its tables rest on pretraining is
not known; the published experiment does. Group norm stands in for batch norm (why, and how the encoder still sees
brightness: `parts/residual.py`), and zeroed cells for SparK's sparse convolutions. Pretraining takes a share of the
epochs, with the same optimiser; the paper preset doubles the epochs, so that the joint training is as long as every
other row's. The code augments intensities in training for all its models; no row does so here.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from .base import Batch, Detector, Frozen, MethodInfo, Row, Scan
from .parts.diffusion import Diffusion
from .parts.host_number import HostNumber
from .parts.patch_diffusion import DiffusionDetectorSettings
from .parts.residual import MaskedPretraining, ResidualEncoder, ResidualEncoderSettings
from .parts.seeds import Stream, mix, uniform_int
from .parts.simplex import FractalSimplex, slice_seeds
from .parts.unet import UNet
from .registry import register


class ConditionSettings(Frozen):
    """The latent, its pretraining and the noise levels at test (preset section `cddpm`).

    Attributes:
        latent: numbers in the latent of a slice.
        pretrain_share: share of the epochs spent on pretraining the encoder before the joint training; 0 is none.
        mask_ratio: share of cells hidden in pretraining.
        t_test_factors: test slices are noised to these multiples of `diffusion.t_test`, and the estimates averaged.
    """

    latent: int = Field(ge=1, le=65_536)
    pretrain_share: float = Field(ge=0, lt=1)
    mask_ratio: float = Field(gt=0, lt=1)
    t_test_factors: tuple[Annotated[float, Field(gt=0, le=100_000)], ...] = Field(min_length=1, max_length=100)


class CDDPMSettings(DiffusionDetectorSettings):
    """A diffusion method's settings, the encoder and the conditioning."""

    resnet: ResidualEncoderSettings
    cddpm: ConditionSettings


@register
class CDDPM(Detector):
    """Diffusion model conditioned on a latent of the clean slice.

    Attributes:
        pretraining: 1 while only the encoder is trained, else 0; saved with the weights.

    Args:
        settings: image, network, schedule, noise, encoder and conditioning.

    Raises:
        ValueError: a noise level at test is no timestep, or the encoder does not fit the image.
    """

    info = MethodInfo(
        name="cddpm",
        title="cDDPM",
        citation=(
            "F. Behrendt, D. Bhattacharya, R. Mieling, L. Maack, J. Krüger, R. Opfer, A. Schlaefer. "
            "Guided reconstruction with conditioned diffusion models for unsupervised anomaly detection in brain MRIs. "
            "Computers in Biology and Medicine, 2025."
        ),
        year=2025,
        rows=(Row("cddpm", "cDDPM"),),
        paper="Behrendt et al. 2025",
        note=(
            "cDDPM follows its published code: a pretrained encoder, estimates from three noise levels averaged. "
            "Group norm stands in for batch norm, zeroed cells for sparse convolutions."
        ),
    )
    Settings = CDDPMSettings

    def __init__(self, settings: CDDPMSettings) -> None:
        super().__init__(settings)
        side, width, chosen = settings.image.side, 4 * settings.unet.channels, settings.cddpm
        self.unet = UNet(settings.unet, side, condition=width)
        self.encoder = ResidualEncoder(settings.resnet, chosen.latent)
        self.project = nn.Sequential(nn.Linear(chosen.latent, width), nn.SiLU(), nn.Linear(width, width))
        self.pretrainer = MaskedPretraining(settings.resnet, self.encoder, side, chosen.mask_ratio)
        self.diffusion = Diffusion(settings.diffusion)
        self.noise = FractalSimplex(settings.noise, side, side)
        self._share, self._t_train_max = chosen.pretrain_share, settings.diffusion.t_train_max
        self._t_test = _test_steps(settings)
        self._noise_share = settings.noise.share
        # Off until a training turns it on: a step without a trainer is a step of the joint training.
        self.pretraining = HostNumber()

    @property
    def selectable(self) -> bool:
        """False while only the encoder is trained."""
        return not self.pretraining.value

    @property
    def blind(self) -> bool:
        """True until a training moves the U-Net's last layer, which begins with zeros."""
        return self.unet.silent

    def on_train_epoch_start(self) -> None:
        """Enter the phase that the epoch belongs to."""
        first_joint = int(self._share * (self.trainer.max_epochs or 0))
        self.pretraining.set(self.trainer.current_epoch < first_joint)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the l1 error of the estimate, or in pretraining the error of the rebuilt cells."""
        return self._loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the training loss: timestep, noise and hidden cells are fixed by the images' seeds."""
        return self._loss(batch)

    def condition(self, image: Tensor) -> Tensor:
        """Map clean images [B, 1, H, W] to what the U-Net is conditioned on, [B, 4·channels]."""
        return self.project(self.encoder(image))  # type: ignore[no-any-return]

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Reconstruct every slice in one step from each noise level, and average.

        Args:
            volume: [D, 1, H, W].
            scan: its seed, and how many slices go through the network at once.

        Returns:
            float32 [D, 1, H, W].
        """
        seeds = slice_seeds(scan.seed, len(volume), self._noise_share, volume.device)
        pairs = zip(torch.split(volume, scan.batch_size), torch.split(seeds, scan.batch_size), strict=True)
        return torch.cat([self._averaged(image, seed) for image, seed in pairs])

    def _averaged(self, image: Tensor, seed: Tensor) -> Tensor:
        """Return the mean of the estimates from all noise levels, each with noise of its own."""
        condition = self.condition(image)
        total = torch.zeros_like(image, dtype=torch.float32)
        for level, step in enumerate(self._t_test):
            t = torch.full_like(seed, step)
            total += self._estimated(image, t, self.noise(mix(seed, level)), condition)
        return total / len(self._t_test)

    def _loss(self, batch: Batch) -> Tensor:
        if self.pretraining.value:
            return self.pretrainer(self.encoder, batch.image, batch.seed)  # type: ignore[no-any-return]
        x0, seed = batch.image, batch.seed
        t = 1 + uniform_int(seed, Stream.TIMESTEP, self._t_train_max)
        estimate = self._estimated(x0, t, self.noise(mix(seed, Stream.NOISE)), self.condition(x0))
        return (estimate - x0).abs().mean()

    def _estimated(self, image: Tensor, t: Tensor, noise: Tensor, condition: Tensor) -> Tensor:
        """Noise images and estimate them given their conditions, all in [0, 1]; [B, 1, H, W]."""
        return self.diffusion.estimate(image, t, noise, lambda noised: self.unet(noised, t, condition))


def _test_steps(settings: CDDPMSettings) -> tuple[int, ...]:
    """Return the timesteps of a test slice."""
    steps = tuple(round(factor * settings.diffusion.t_test) for factor in settings.cddpm.t_test_factors)
    if min(steps) < 1 or max(steps) > settings.diffusion.timesteps:
        raise ValueError(
            f"cddpm.t_test_factors make test steps {list(steps)} of diffusion.t_test: "
            f"they must lie between 1 and diffusion.timesteps ({settings.diffusion.timesteps})"
        )
    return steps
