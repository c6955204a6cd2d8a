"""Mahalanobis: how unusual a residual is, measured by the residuals of healthy scans.

The residual x − x_rec, with its sign, is taken for S reconstructions with different noise, so that every voxel has a
vector r ∈ R^S. Over the brain voxels of the fold's healthy validation scans these vectors have a mean μ (the method
may be too bright or too dark throughout) and a covariance Σ (its errors, and how much of them is luck of the noise).
The score is the distance

    sqrt((r − μ)ᵀ Σ⁺ (r − μ)).

Σ⁺ leaves out the directions whose variance is below a fraction of the largest: where a method is deterministic, its S
residuals are one and the same, Σ has rank 1, and the score is |r − μ| / σ, the residual in healthy standard deviations.

Not to be confused with Behrendt et al. 2024 ("Leveraging the Mahalanobis distance to enhance unsupervised brain MRI
anomaly detection", MICCAI): there mean and covariance, between pixels, are those of several reconstructions of the one
image under test, and no healthy scan is consulted; here they are between noise seeds and come from healthy scans. Both
ask whether a deviation is larger than chance; theirs takes the chance from this image, ours from other people's brains.
It needs no more memory than S² numbers, whatever the number of scans.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..checks import BoolArray, FloatArray
from .base import HealthyScan, Score, ScoreInfo, ScoreModel, as_map, require_scan
from .registry import register_score

_Double = NDArray[np.float64]


class Moments:
    """Mean and covariance of vectors that come in batches, in float64.

    Batches are merged by the update of Chan, Golub and LeVeque ("Algorithms for computing the sample variance", The
    American Statistician, 1983), which does not subtract large numbers from each other as sums of squares do.

    Args:
        size: length of a vector.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean: _Double = np.zeros(size)
        self.scatter: _Double = np.zeros((size, size))

    def add(self, vectors: NDArray[Any]) -> None:
        """Take in a batch, [N, size]; an empty one changes nothing."""
        if not len(vectors):
            return
        batch = vectors.astype(np.float64)
        mean = batch.mean(axis=0)
        centred = batch - mean
        shift = mean - self.mean
        total = self.count + len(batch)
        self.scatter = self.scatter + centred.T @ centred + np.outer(shift, shift) * (self.count * len(batch) / total)
        self.mean = self.mean + shift * (len(batch) / total)
        self.count = total

    @property
    def covariance(self) -> _Double:
        """Sample covariance (n − 1), [size, size]."""
        return self.scatter / max(1, self.count - 1)


class MahalanobisSettings(ScoreModel):
    """Healthy statistics of residuals (preset section `mahalanobis`).

    Attributes:
        seeds: reconstructions of each volume, S.
        cutoff: directions whose variance is below this fraction of the largest are left out.
    """

    seeds: int = Field(ge=1, le=1000)
    cutoff: float = Field(gt=0, lt=1)


class MahalanobisScoreSettings(ScoreModel):
    """The preset sections of the score."""

    mahalanobis: MahalanobisSettings


@register_score
class Mahalanobis(Score):
    """The residual's distance from healthy residuals."""

    info = ScoreInfo(
        name="mahalanobis",
        title="Mahalanobis",
        citation=(
            "P. C. Mahalanobis. On the generalised distance in statistics. Proceedings of the National Institute of "
            "Sciences of India, 1936. Residuals against healthy validation residuals: this benchmark; compare "
            "F. Behrendt et al. Leveraging the Mahalanobis distance to enhance unsupervised brain MRI anomaly "
            "detection. MICCAI, 2024, which differs."
        ),
        year=1936,
        paper="distance: Mahalanobis 1936; against healthy residuals: this benchmark",
    )
    Settings = MahalanobisScoreSettings
    learns = True

    def __init__(self, settings: MahalanobisScoreSettings) -> None:
        super().__init__(settings)
        self._cutoff = settings.mahalanobis.cutoff
        self._moments = Moments(settings.mahalanobis.seeds)

    @property
    def reconstructions(self) -> int:
        """The number of seeds."""
        return len(self._moments.mean)

    def learn(self, scan: HealthyScan) -> None:
        """Take in the residuals of one healthy scan, inside its brain.

        Raises:
            ValueError: the arrays do not belong together.
        """
        require_scan(self, *scan)
        self._moments.add((scan.volume - scan.reconstructions)[:, scan.brain_mask].T)

    def state(self) -> dict[str, NDArray[Any]]:
        """Number, mean and scatter of the healthy residuals so far."""
        moments = self._moments
        return {"count": np.array(moments.count), "mean": moments.mean, "scatter": moments.scatter}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        moments = Moments(self.reconstructions)
        moments.count = int(state["count"])
        moments.mean = np.array(state["mean"], dtype=np.float64)
        moments.scatter = np.array(state["scatter"], dtype=np.float64)
        self._moments = moments

    def map(self, volume: FloatArray, reconstructions: FloatArray, brain_mask: BoolArray) -> FloatArray:
        """Return the distance of every voxel's residuals from the healthy ones, float32 [D, H, W].

        Raises:
            ValueError: the arrays do not belong together, or healthy residuals do not vary (or were never seen).
        """
        require_scan(self, volume, reconstructions, brain_mask)
        factor = _inverse_root(self._moments.covariance, self._cutoff)
        residuals = (volume.astype(np.float64) - reconstructions) - self._moments.mean[:, None, None, None]
        whitened = np.tensordot(factor, residuals, axes=1)
        return as_map(np.sqrt(np.square(whitened).sum(axis=0)))


def _inverse_root(covariance: _Double, cutoff: float) -> _Double:
    """Return W, [R, S], with WᵀW = Σ⁺: eigenvectors over the roots of their eigenvalues, the small ones left out."""
    values, vectors = np.linalg.eigh(covariance)
    if not values[-1] > 0:
        raise ValueError("the residuals of the healthy validation scans do not vary, so no distance can be measured")
    kept = values > cutoff * values[-1]
    root: _Double = (vectors[:, kept] / np.sqrt(values[kept])).T
    return root
