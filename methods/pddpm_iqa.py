"""pDDPM-IQA: patched diffusion trained and scored by image quality (Pan et al. 2024, arXiv:2408.08228).

The method is pDDPM; what changes is how two images are compared. Instead of l1 alone, training and scoring use the
fusion quality

    Q(x, y) = α·clip(1 - SSIM(x, y), 0, 1)/2 + (1 - α)·|x - y|,    α = 0.84,

at every pixel: l1 sees absolute differences, SSIM sees contrast, structure and relative differences. Because relative
differences weigh more where it is dark, a transformation that raises the average intensity ratio (AIR) between normal
and abnormal tissue helps: the authors reverse the intensities inside the brain, x ↦ 1 - x, before training and testing.

Where the facts come from. The abstract gives the idea and secondary sources the weight 0.84. Everything else is as the
published code has it (github.com/zx-pan/MedAnomalyDetection-IQA, experiment IXI):

* SSIM in a Gaussian window of 5×5 pixels, σ 1.5, zero beyond the edge, C1 and C2 for intensities up to 1, halved and
  clipped as above.
* Training takes Q of the whole slice with the estimate pasted into its patch: windows at the patch's border see the
  clean surroundings. The mean is over all pixels of the slice.
* The score is Q of every reconstructed axial slice, before post-processing.
* Four disjoint patches of 48×48 (no overlap is configured), so stride 48.
* **On T2 nothing is reversed**; only the FLAIR and T1ce experiments are. Our `iqa.reverse` is therefore off in all
  presets; `--set iqa.reverse=true` switches the transformation on.

What stays open or differs. The text of the paper's method section was not at hand: whether it takes another SSIM
constant or says more of T2 we do not know. The published code compares intensities in [-1, 1] in training, with those
constants, and in [0, 1] at test; here both comparisons are in [0, 1], and the diffusion lives in [-1, 1] as there. It
tests at t = 750 of a cosine schedule; here noise, schedule and t are pDDPM's, so that the two rows differ by the
comparison only.

Reversal is its own inverse. `reconstruct` therefore hands back intensities on the volume's own scale, where |x - x_rec|
is the same number as between the reversed images: the reported l1 compares with that of every other row.
`anomaly_score` reverses both again, because SSIM does depend on it.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from .base import Batch, Frozen, MethodInfo, Row, Scan
from .parts.patch_diffusion import PatchDiffusion
from .parts.ssim import gaussian_window, ssim_map
from .pddpm import PDDPMSettings
from .registry import register


class IQASettings(Frozen):
    """The fusion quality and the intensity transformation (preset section `iqa`).

    Attributes:
        ssim_weight: α, the share of SSIM in the fusion; l1 has the rest.
        window: side of SSIM's window, pixels; odd.
        sigma: standard deviation of the Gaussian window, pixels.
        reverse: reverse the intensities inside the brain before training and testing.
    """

    ssim_weight: float = Field(ge=0, le=1)
    window: int = Field(ge=1, le=255)
    sigma: float = Field(gt=0, le=1000)
    reverse: bool

    @model_validator(mode="after")
    def _centred(self) -> Self:
        if self.window % 2 == 0:
            raise ValueError(f"iqa.window ({self.window}) must be odd, so that the window has a middle pixel")
        return self


class PDDPMIQASettings(PDDPMSettings):
    """pDDPM's settings and the fusion quality."""

    iqa: IQASettings


@register
class PDDPMIQA(PatchDiffusion):
    """Patched diffusion model with the fusion quality of SSIM and l1 as loss and as score."""

    info = MethodInfo(
        name="pddpm_iqa",
        title="pDDPM-IQA",
        citation=(
            "Z. Pan, J. Xia, Z. Yan, G. Xu, Y. Wu, Z. Jia, J. Chen, Y. Shi. Rethinking medical anomaly detection in "
            "brain MRI: an image quality assessment perspective. arXiv:2408.08228, 2024."
        ),
        year=2024,
        rows=(Row("pddpm-iqa", "pDDPM-IQA", {"patch.stride": 48}),),
        paper="Pan et al. 2024",
        note=(
            "Scored by SSIM and l1, not by l1 alone. As in the published T2 configuration no intensities are reversed; "
            "noise, schedule and test step are pDDPM's, not the published cosine schedule at t = 750."
        ),
    )
    Settings = PDDPMIQASettings
    window: Tensor

    def __init__(self, settings: PDDPMIQASettings) -> None:
        super().__init__(settings, settings.patch)
        self._weight, self._reverse = settings.iqa.ssim_weight, settings.iqa.reverse
        self.register_buffer("window", gaussian_window(settings.iqa.window, settings.iqa.sigma), persistent=False)

    @property
    def blind(self) -> bool:
        """As in pDDPM, unless the intensities are reversed inside the brain, which differs from slice to slice."""
        return super().blind and not self._reverse

    def distance(self, estimate: Tensor, x0: Tensor, patch: Tensor) -> Tensor:
        """Return the mean fusion quality of the slices, the estimate pasted into its patch."""
        pasted = torch.where(self.patches.masks[patch].unsqueeze(1), estimate, x0)
        return self.fusion_quality(pasted, x0).mean()

    def fusion_quality(self, x: Tensor, y: Tensor) -> Tensor:
        """Return Q at every pixel, 0 where the images agree; float32 [B, 1, H, W] like x and y."""
        dissimilarity = (1 - ssim_map(x, y, self.window)).clamp(0, 1) / 2
        return self._weight * dissimilarity + (1 - self._weight) * (x - y).abs()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the fusion quality with one random patch an image estimated (Algorithm 1)."""
        return super().training_step(self._prepared(batch), batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the training loss: timestep, patch and noise are fixed by the images' seeds."""
        return super().validation_step(self._prepared(batch), batch_idx)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Reconstruct as pDDPM does, and give the volume's own intensities back, [D, 1, H, W]."""
        return self.transform(super().reconstruct(self.transform(volume, scan.brain_mask), scan), scan.brain_mask)

    def anomaly_score(self, volume: Tensor, reconstruction: Tensor, scan: Scan) -> Tensor:
        """Return the fusion quality of every slice, in the intensities the network works on, [D, 1, H, W]."""
        return self.fusion_quality(
            self.transform(volume, scan.brain_mask), self.transform(reconstruction, scan.brain_mask)
        )

    def transform(self, image: Tensor, brain_mask: Tensor) -> Tensor:
        """Reverse intensities inside the brain, if the settings say so; its own inverse.

        Args:
            image: intensities in [0, 1], [B, 1, H, W].
            brain_mask: bool [B, 1, H, W].
        """
        return torch.where(brain_mask, 1 - image, image) if self._reverse else image

    def _prepared(self, batch: Batch) -> Batch:
        return batch._replace(image=self.transform(batch.image, batch.brain_mask))
