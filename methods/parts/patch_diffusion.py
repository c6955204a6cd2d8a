"""Training and inference by patches: the paper's Algorithms 1 and 2, for whichever network predicts x0.

Training noises one random patch of an image, shows the network the whole image, and asks for the patch (Eq. 8 and 9).
Inference noises the patches of the grid one by one, all with the slice's one noise image, estimates x0 in one step at
t_test, and averages where patches overlap. With a single patch as large as the image this is AnoDDPM.

Images, estimates, losses and reconstructions are in [0, 1]; what the network sees and says is in the range of the
diffusion (`parts/diffusion.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..base import Batch, Detector, Frozen, OptimizerSettings, Scan
from .diffusion import Diffusion, DiffusionSettings
from .patches import ImageSettings, PatchGrid, PatchSettings
from .seeds import Stream, mix, uniform_int
from .simplex import FractalSimplex, NoiseSettings, slice_seeds
from .unet import UNet, UNetSettings


class DiffusionDetectorSettings(Frozen):
    """What every diffusion method needs; one field a preset section."""

    image: ImageSettings
    optimizer: OptimizerSettings
    unet: UNetSettings
    diffusion: DiffusionSettings
    noise: NoiseSettings


class PatchDiffusion(Detector):
    """A diffusion model that noises and denoises patches of a slice.

    Args:
        settings: image, network, schedule and noise.
        patch: the partition of the image.
    """

    def __init__(self, settings: DiffusionDetectorSettings, patch: PatchSettings) -> None:
        super().__init__(settings)
        side = settings.image.side
        self.unet = UNet(settings.unet, side)
        self.diffusion = Diffusion(settings.diffusion)
        self.noise = FractalSimplex(settings.noise, side, side)
        self.patches = PatchGrid(patch, side)
        self._share = settings.noise.share
        self._t_train_max, self._t_test = settings.diffusion.t_train_max, settings.diffusion.t_test

    @property
    def blind(self) -> bool:
        """True until a training moves the U-Net's last layer, which begins with zeros."""
        return self.unet.silent

    def estimate(self, noised: Tensor, t: Tensor, patch: Tensor) -> Tensor:
        """Estimate x0 from partly noised images, in the range of the diffusion.

        Args:
            noised: x̃_t, noised inside one patch and clean elsewhere, [B, 1, H, W].
            t: timesteps, int64 [B].
            patch: which patch of each image is noised, int64 [B].

        Returns:
            float32 [B, 1, H, W]; only the patch is ever used.
        """
        return self.unet(noised, t)  # type: ignore[no-any-return]

    def distance(self, estimate: Tensor, x0: Tensor, patch: Tensor) -> Tensor:
        """Return the training loss, a scalar: the mean l1 error inside the patches (Eq. 9) unless a method overrides.

        Args:
            estimate: of x0, in its units, [B, 1, H, W].
            x0: the clean images in [0, 1], [B, 1, H, W].
            patch: which patch of each image was noised, int64 [B].
        """
        return (self.patches.crop(estimate, patch) - self.patches.crop(x0, patch)).abs().mean()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the l1 error inside one random patch an image (Algorithm 1)."""
        return self._loss(batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the training loss: timestep, patch and noise are fixed by the images' seeds."""
        return self._loss(batch)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Reconstruct every slice patch by patch (Algorithm 2).

        Args:
            volume: [D, 1, H, W].
            scan: its seed, and how many patches go through the network at once.

        Returns:
            float32 [D, 1, H, W].
        """
        count = len(self.patches)
        noise = self.noise(slice_seeds(scan.seed, len(volume), self._share, volume.device))
        work = torch.arange(len(volume) * count, device=volume.device)
        crops = []
        for chunk in torch.split(work, scan.batch_size):
            index, patch = chunk // count, chunk % count
            estimate = self._estimated(volume[index], torch.full_like(patch, self._t_test), noise[index], patch)
            crops.append(self.patches.crop(estimate, patch))
        return self.patches.assemble(torch.unflatten(torch.cat(crops), 0, (-1, count)))

    def _loss(self, batch: Batch, shown: Tensor | None = None) -> Tensor:
        """Return the loss of a batch; `shown` is noised and shown in the image's place, the image stays the target."""
        x0, seed = batch.image, batch.seed
        visible = x0 if shown is None else shown
        t = 1 + uniform_int(seed, Stream.TIMESTEP, self._t_train_max)
        patch = uniform_int(seed, Stream.PATCH, len(self.patches))
        return self.distance(self._estimated(visible, t, self.noise(mix(seed, Stream.NOISE)), patch), x0, patch)

    def _estimated(self, image: Tensor, t: Tensor, noise: Tensor, patch: Tensor) -> Tensor:
        """Noise one patch of each image and estimate it, all in [0, 1]; [B, 1, H, W]."""
        inside = self.patches.masks[patch].unsqueeze(1)
        return self.diffusion.estimate(image, t, noise, lambda noised: self.estimate(noised, t, patch), inside)
