"""Classes of lesion size: the bars that recall and false positives are told apart by."""

from __future__ import annotations

from bisect import bisect_right

#: Where a class ends and the next begins, ml. A multiple sclerosis plaque of 3 mm has 0.014 ml, one of 6 mm 0.11 ml.
SIZE_EDGES_ML = (0.1, 1.0, 10.0)
SIZE_NAMES = ("below 0.1 ml", "0.1 to 1 ml", "1 to 10 ml", "10 ml and above")
#: 125 voxels of 0.008 ml are 1 ml, whatever a product of two binary fractions says.
_ROUNDING = 1e-9


def size_class(ml: float) -> int:
    """The class of a volume: an index of `SIZE_NAMES`; a volume on an edge belongs to the class above it.

    Args:
        ml: volume of a lesion or of a component, ml.

    Raises:
        ValueError: the volume is negative or NaN.
    """
    if not ml >= 0:
        raise ValueError(f"ml must be a volume that is not negative, not {ml}")
    return bisect_right(SIZE_EDGES_ML, ml * (1 + _ROUNDING))
