"""The Dice coefficient: overlap of a predicted and a true lesion mask (the paper's DICE, section 4)."""

from __future__ import annotations

import numpy as np

from .checks import BoolArray, require_mask, require_same_shape


def dice(prediction: BoolArray, truth: BoolArray) -> float:
    """Dice of two masks, 2 |P ∩ T| / (|P| + |T|), in [0, 1].

    Two empty masks agree perfectly and give 1.0. That is the only answer that does not punish a method for staying
    silent on a healthy volume, but a mean over many such volumes flatters everyone: this benchmark therefore takes
    Dice over lesion volumes only, where an empty prediction gives 0.0.

    Args:
        prediction: predicted mask, bool, any shape.
        truth: true mask, bool, the same shape.

    Raises:
        ValueError: a mask is not bool, or the shapes differ.
    """
    require_mask("prediction", prediction)
    require_mask("truth", truth)
    require_same_shape("prediction", prediction, "truth", truth)
    both, predicted, true = (int(np.count_nonzero(mask)) for mask in (prediction & truth, prediction, truth))
    return dice_from_counts(both, predicted, true)


def dice_from_counts(overlap: int, predicted: int, true: int) -> float:
    """Dice of two masks of which only the voxel counts are known; 1.0 if both are empty."""
    return 2 * overlap / (predicted + true) if predicted + true else 1.0
