"""Average precision: area under the precision-recall curve (the paper's AUPRC, section 4), as scikit-learn has it.

AP = Σ (R_n - R_{n-1}) P_n over the distinct scores from high to low, without interpolation: scores that tie enter
together. Only scores of lesion voxels raise the recall, so only they are visited (see `counts`).
"""

from __future__ import annotations

import numpy as np

from .checks import BoolArray, FloatArray
from .counts import count_at_lesion_scores


def average_precision(scores: FloatArray, labels: BoolArray) -> float:
    """Average precision of scores over all their voxels, in (0, 1]; equals scikit-learn's `average_precision_score`.

    A map without information (all scores equal) gives the share of lesion voxels.

    Args:
        scores: anomaly scores, float32 or float64, any shape, finite.
        labels: True in lesions, bool, the same shape.

    Raises:
        ValueError: a type or shape is wrong, a score is not finite, or no voxel is a lesion.
    """
    counts = count_at_lesion_scores(scores, labels)
    precision = counts.lesions / (counts.lesions + counts.others)
    new_lesions = -np.diff(counts.lesions, append=0)
    return float(new_lesions @ precision) / int(counts.lesions[0])
