"""DAE: a denoising autoencoder with skips and coarse noise (Kascenas et al., MIDL 2022).

A U-Net learns to remove blobs of noise from healthy slices. It needs no bottleneck: what it learns is which blobs of
brightness do not belong to a brain, and at test time, shown a slice as it is, it removes those as well. Noise is added
inside the brain only, and only there is the squared error taken: averaged over all pixels of an image, as the authors'
published code does, so that every pixel of a brain weighs the same whatever its slice.

Choices. The published code anneals the learning rate in a cosine that falls for 100 of its epochs and rises again for
as many, over and over; here it falls once, over the whole training. Weight decay is the published code's. The network's
output outside the brain is bound by no loss: there the input itself, zero in a prepared scan, is the reconstruction.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from .base import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan
from .parts.coarse_noise import CoarseNoiseSettings, coarse_noise
from .parts.optimizer import fused_adam
from .parts.patches import ImageSettings
from .parts.skip_unet import SkipUNet, SkipUNetSettings
from .registry import register


class RegularisationSettings(Frozen):
    """What DAE asks of its optimiser besides the learning rate (preset section `dae`).

    Attributes:
        weight_decay: l2 penalty that Adam adds to the gradient.
    """

    weight_decay: float = Field(ge=0, le=1000)


class DAESettings(Frozen):
    """One field a preset section."""

    image: ImageSettings
    optimizer: OptimizerSettings
    skip_unet: SkipUNetSettings
    coarse_noise: CoarseNoiseSettings
    dae: RegularisationSettings


@register
class DAE(Detector):
    """Denoising U-Net.

    Args:
        settings: image, optimiser, network and noise.
    """

    info = MethodInfo(
        name="dae",
        title="DAE",
        citation=(
            "A. Kascenas, N. Pugeault, A. Q. O'Neil. Denoising autoencoders for unsupervised anomaly detection in "
            "brain MRI. Medical Imaging with Deep Learning, PMLR 172, 2022."
        ),
        year=2022,
        rows=(Row("dae", "DAE"),),
        paper="Kascenas et al. 2022",
        note=(
            "Its loss says nothing about pixels outside the brain: there the input is taken as the reconstruction, "
            "which makes l1 over all voxels small; compare l1 inside the brain."
        ),
    )
    Settings = DAESettings

    def __init__(self, settings: DAESettings) -> None:
        super().__init__(settings)
        self.side = settings.image.side
        self.noise = settings.coarse_noise
        self.weight_decay = settings.dae.weight_decay
        self.unet = SkipUNet(settings.skip_unet, self.side)

    def forward(self, image: Tensor) -> Tensor:
        """Map slices [B, 1, H, W] to their denoised versions, float32 of the same shape."""
        return self.unet(image).float()  # type: ignore[no-any-return]

    def corrupt(self, batch: Batch) -> Tensor:
        """Add each image's own noise inside its brain, [B, 1, H, W]; intensities may leave [0, 1]."""
        return batch.image + coarse_noise(batch.seed, self.side, self.noise) * batch.brain_mask

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the squared error of the denoised slices inside the brain."""
        return masked_l2(self(self.corrupt(batch)), batch.image, batch.brain_mask)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the same loss: noise comes from the images' seeds, so it repeats exactly."""
        return self.training_step(batch, batch_idx)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Denoise the slices as they are, nothing added; [D, 1, H, W] to the same shape."""
        denoised = torch.cat([self(slices) for slices in torch.split(volume, scan.batch_size)])
        return torch.where(scan.brain_mask, denoised, volume)

    def make_optimizer(self, settings: OptimizerSettings) -> torch.optim.Optimizer:
        """Return the paper's optimiser: Adam in its AMSGrad variant."""
        return fused_adam(self.parameters(), lr=settings.learning_rate, amsgrad=True, weight_decay=self.weight_decay)


def masked_l2(reconstruction: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """Return the squared error inside the mask, averaged over all pixels of all images.

    Args:
        reconstruction: [B, 1, H, W].
        image: [B, 1, H, W].
        mask: bool [B, 1, H, W].

    Returns:
        A scalar.
    """
    return ((reconstruction - image) ** 2 * mask).mean()
