"""MAEDiff: masked-autoencoder-enhanced diffusion (Xu, Wang and Du).

pDDPM at stride 16, plus global attention at 48×48 and 24×24, plus a masked autoencoder between the U-Net's encoder and
its middle block. Both additions can be taken away by settings (Table 2); with neither, it is pDDPM (s16), weight for
weight.

What "visible" means. The paper writes the generator as p(x̃_t, x̂_0, t), with x̂_0 the clean image outside the patch
(Algorithm 1, line 9), and its Figure 2 and section 3.3 feed the MAE from the one feature map f that the U-Net's encoder
makes of x̃_t. Both hold at once: outside the patch x̃_t is x̂_0, and the MAE encoder reads only the cells of f outside
the patch. So the clean pixels under the patch reach nothing but through the noised x_t: two images that differ only
there, with the same noised patch, give the same network output, and the MAE encoder's output does not depend on the
masked cells of f. It is no stronger than that: f near the patch's border has seen the noised patch through
convolutions (and everywhere through group norm and attention).
"""

from __future__ import annotations

from torch import Tensor

from .base import MethodInfo, Row
from .parts.mae import MAEModule, MAESettings
from .parts.patch_diffusion import DiffusionDetectorSettings, PatchDiffusion
from .parts.patches import PatchSettings
from .registry import register


class MAEDiffSettings(DiffusionDetectorSettings):
    """A diffusion method's settings, the partition and the MAE module."""

    patch: PatchSettings
    mae: MAESettings


@register
class MAEDiff(PatchDiffusion):
    """Patched diffusion model with attention and a masked autoencoder."""

    info = MethodInfo(
        name="maediff",
        title="MAEDiff",
        citation=(
            "R. Xu, Y. Wang, B. Du. MAEDiff: masked autoencoder-enhanced diffusion models for unsupervised anomaly "
            "detection in brain images. arXiv:2401.10561, 2024."
        ),
        year=2024,
        rows=(Row("maediff", "MAEDiff", {"patch.stride": 16, "unet.attention": True, "mae.enabled": True}),),
        paper="Xu et al. 2024",
        note=(
            "The paper leaves open whether the MAE module's output also reaches the skip connection into the first "
            "decoder stage; here that skip carries the U-Net encoder's output without it. Its intensities in the "
            "diffusion are those of the published code that it builds on, [-1, 1]."
        ),
    )
    Settings = MAEDiffSettings

    def __init__(self, settings: MAEDiffSettings) -> None:
        super().__init__(settings, settings.patch)
        self.mae = self._build_mae(settings) if settings.mae.enabled else None

    def estimate(self, noised: Tensor, t: Tensor, patch: Tensor) -> Tensor:
        """Estimate x0 (see `PatchDiffusion.estimate`), the MAE between encoder and middle block."""
        if self.mae is None:
            return super().estimate(noised, t, patch)
        encoded = self.unet.encode(noised, t)
        return self.unet.decode(encoded, self.mae(encoded.features, self.patches.visible_cells[patch]))

    def _build_mae(self, settings: MAEDiffSettings) -> MAEModule:
        grid = settings.image.side // settings.patch.grid
        return MAEModule(settings.mae, self.unet.feature_channels, self.unet.feature_side, grid)
