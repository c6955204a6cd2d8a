"""Thresh: histogram equalisation and nothing else (Meissen et al. 2021).

On T2-weighted and FLAIR images many lesions are simply bright. Equalising the grey values inside the brain makes one
threshold fit all scanners; the equalised intensity itself is the anomaly score. Whatever a trained method is worth, it
must beat this.

Published is that bright means lesion, on FLAIR (Meissen et al.) and on T2 (as the row Thresh of the paper's Table 1).
Ours is T1, where lesions are dark: there the score is the equalised negative, so that dark means lesion. All other
modalities are taken as bright.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from .base import Detector, Frozen, MethodInfo, Row, Scan
from .registry import register

#: Where lesions are darker than the tissue around them.
DARK_LESIONS = frozenset({"t1"})


class EqualisationSettings(Frozen):
    """Histogram equalisation (preset section `equalisation`).

    Attributes:
        bins: bins of the histogram between the smallest and the largest intensity.
    """

    bins: int = Field(ge=2, le=1_000_000)


class ThreshSettings(Frozen):
    """One field a preset section."""

    equalisation: EqualisationSettings


@register
class Thresh(Detector):
    """Intensity thresholding."""

    info = MethodInfo(
        name="thresh",
        title="Thresh",
        citation=(
            "F. Meissen, G. Kaissis, D. Rueckert. Challenging current semi-supervised anomaly segmentation methods "
            "for brain MRI. MICCAI BrainLes, 2021."
        ),
        year=2021,
        rows=(Row("thresh", "Thresh"),),
        paper="Meissen et al. 2021",
    )
    Settings = ThreshSettings
    trainable = False

    def __init__(self, settings: ThreshSettings) -> None:
        super().__init__(settings)
        self._bins = settings.equalisation.bins

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Return zeros: the method reconstructs nothing, so its l1 error is the mean intensity (as in Table 1)."""
        return torch.zeros_like(volume)

    def anomaly_score(self, volume: Tensor, reconstruction: Tensor, scan: Scan) -> Tensor:
        """Return the intensities equalised over the volume's brain, in [0, 1]; zero outside, [D, 1, H, W].

        Bright scores high; on a modality of `DARK_LESIONS`, dark does.
        """
        score = torch.zeros_like(volume)
        brain = volume[scan.brain_mask]
        if scan.modality in DARK_LESIONS:
            brain = -brain
        if brain.numel():
            score[scan.brain_mask] = equalise(brain, self._bins)
        return score


def equalise(values: Tensor, bins: int) -> Tensor:
    """Map values to their cumulative frequency.

    The cumulative histogram is read off at the bin centres and interpolated linearly between them; below the first and
    above the last centre it is constant.

    Args:
        values: float [N], N > 0.
        bins: bins between the smallest and the largest value.

    Returns:
        Float [N] in [0, 1], monotone in the values.
    """
    low, high = values.aminmax()
    if low == high:
        return torch.ones_like(values)
    place = (values - low) / (high - low) * bins
    counts = torch.bincount(place.long().clamp_max(bins - 1), minlength=bins)
    cumulative = (counts.cumsum(0).double() / len(values)).to(values)
    centred = (place - 0.5).clamp(0, bins - 1)
    left = centred.floor().long().clamp_max(bins - 2)
    return torch.lerp(cumulative[left], cumulative[left + 1], centred - left)
