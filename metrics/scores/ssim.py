"""SSIM: structural dissimilarity, averaged over an ensemble of window sizes (Behrendt et al. 2024, "SSIM-ens").

SSIM (Wang et al. 2004) compares brightness, contrast and structure of two images within a window around each voxel:

    SSIM = (2 μx μy + c1)(2 σxy + c2) / ((μx² + μy² + c1)(σx² + σy² + c2)),  c1 = 0.01², c2 = 0.03²  (data range 1)

so that a lesion as bright as healthy tissue can still stand out. No one window suits all lesions: small ones want a
small window, tumours a large one. Behrendt et al. take Gaussian windows of several standard deviations and weight each
map, voxel by voxel, by exp(−SSIM) over the sum of these weights: the window that sees most counts most. Their published
code has σ = 0.3, 0.5, … 1.7 and 3-D windows on volumes of 192×192×100 voxels of 1 mm (the paper's text leaves the
dimension open). Ours has the same σ in voxels, of 2 mm here; windows end at 3.5 σ, and the volume is mirrored beyond
its borders.

The map is (1 − SSIM) / 2, which lies in [0, 1]. Each window's SSIM is of one reconstruction.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import ndimage

from ..checks import BoolArray, FloatArray
from .base import Score, ScoreInfo, ScoreModel, as_map, require_scan
from .registry import register_score

#: Part of the definition of SSIM, for a data range of 1 (Wang et al. 2004, Section III).
_C1, _C2 = 0.01**2, 0.03**2
#: Where a Gaussian window ends, in standard deviations, as is usual for SSIM: σ = 1.5 makes 11 voxels.
_TRUNCATE = 3.5

_Double = NDArray[np.float64]


class SsimSettings(ScoreModel):
    """Windows of the structural similarity (preset section `ssim`).

    Attributes:
        windows: standard deviations of the Gaussian windows, voxels.
        adaptive: weight the windows voxel by voxel by exp(−SSIM), as published; False is their plain mean.
        volumetric: True compares in 3-D, False slice by slice.
    """

    windows: tuple[Annotated[float, Field(gt=0, le=100)], ...] = Field(min_length=1, max_length=100)
    adaptive: bool
    volumetric: bool


class SsimScoreSettings(ScoreModel):
    """The preset sections of the score."""

    ssim: SsimSettings


@register_score
class Ssim(Score):
    """Structural dissimilarity over several windows."""

    info = ScoreInfo(
        name="ssim",
        title="SSIM",
        citation=(
            "F. Behrendt, D. Bhattacharya, L. Maack, J. Krüger, R. Opfer, R. Mieling, A. Schlaefer. Diffusion models "
            "with ensembled structure-based anomaly scoring for unsupervised anomaly detection. ISBI, 2024."
        ),
        year=2024,
        paper="Behrendt et al. 2024",
    )
    Settings = SsimScoreSettings

    def __init__(self, settings: SsimScoreSettings) -> None:
        super().__init__(settings)
        self._ssim = settings.ssim

    def map(self, volume: FloatArray, reconstructions: FloatArray, brain_mask: BoolArray) -> FloatArray:
        """Return (1 − SSIM) / 2, ensembled over the windows, float32 [D, H, W].

        Raises:
            ValueError: the arrays do not belong together.
        """
        require_scan(self, volume, reconstructions, brain_mask)
        axes = (0, 1, 2) if self._ssim.volumetric else (1, 2)
        x, y = volume.astype(np.float64), reconstructions[0].astype(np.float64)
        total, weights = np.zeros_like(x), np.zeros_like(x)
        for sigma in self._ssim.windows:
            similarity = structural_similarity(x, y, sigma, axes)
            weight = np.exp(-similarity) if self._ssim.adaptive else np.ones_like(x)
            total += weight * similarity
            weights += weight
        return as_map((1 - total / weights) / 2)


def structural_similarity(x: _Double, y: _Double, sigma: float, axes: tuple[int, ...]) -> _Double:
    """Return the SSIM of two images of data range 1 around every voxel.

    Args:
        x: one image, float64; so many digits are needed as variances are differences of means here.
        y: the other, of the same shape.
        sigma: standard deviation of the Gaussian window, voxels.
        axes: the axes along which the window extends.
    """

    def mean(image: _Double) -> _Double:
        smooth: _Double = ndimage.gaussian_filter(image, sigma, mode="reflect", truncate=_TRUNCATE, axes=axes)
        return smooth

    mean_x, mean_y = mean(x), mean(y)
    var_x = np.maximum(mean(x * x) - mean_x**2, 0)
    var_y = np.maximum(mean(y * y) - mean_y**2, 0)
    cov = mean(x * y) - mean_x * mean_y
    similarity: _Double = ((2 * mean_x * mean_y + _C1) * (2 * cov + _C2)) / (
        (mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2)
    )
    return similarity
