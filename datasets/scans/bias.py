"""N4 bias-field correction (Tustison et al. 2010) inside the brain mask, and only there.

The published scripts ran it without its mask on one set, so that the field was fitted to air; here the mask is no
option. The field is estimated on a coarse copy and evaluated at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .intensities import canonical
from .space import Grid, to_sitk


@dataclass(frozen=True)
class BiasSettings:
    """The numbers of N4.

    Attributes:
        shrink: the field is fitted on every `shrink`-th voxel of each axis.
        iterations: largest number of iterations at each of N4's resolutions; none leaves the bias in.
    """

    shrink: int = 4
    iterations: tuple[int, ...] = (50, 50, 50, 50)

    def of_levels(self, levels: int) -> BiasSettings:
        """The same with so many resolutions, the coarsest ones; each halves the distance of the spline's knots.

        The finest of the usual four follows a large tumour as if it were bias, see `tests/trials/n4_trial.py`.
        """
        return replace(self, iterations=self.iterations[:1] * levels)


def correct_bias(
    image: NDArray[np.float32], brain: NDArray[np.bool_], grid: Grid, settings: BiasSettings
) -> NDArray[np.float32]:
    """Bring an image to the form of `intensities` and divide it by its bias field; voxels outside the brain become 0.

    N4 works on logarithms, so its field would depend on an offset.

    Args:
        image: float32 [Z, Y, X].
        brain: bool [Z, Y, X].
        grid: where both lie.
        settings: the numbers.

    Raises:
        DataError: an empty mask, an image that is constant or not a number inside it, or N4 gave up.
    """
    import SimpleITK as sitk

    positive = canonical(image, brain)
    if not settings.iterations:
        return positive
    full, mask = to_sitk(positive, grid), to_sitk(brain, grid)
    factors = [max(1, min(settings.shrink, size // 8)) for size in full.GetSize()]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(list(settings.iterations))
    try:
        corrector.Execute(sitk.Shrink(full, factors), sitk.Shrink(mask, factors))
        field = sitk.GetArrayFromImage(sitk.Exp(corrector.GetLogBiasFieldAsImage(full)))
    except RuntimeError as error:
        raise DataError(f"the bias correction failed ({str(error).strip().splitlines()[-1]})") from error
    return np.where(brain, positive / np.maximum(field, np.finfo(np.float32).tiny), 0).astype(np.float32)
