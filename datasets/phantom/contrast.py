"""What a modality makes of tissue: the grey values of the phantom's T1, T2 and FLAIR, healthy and in lesions.

The brain is one and the same; a modality only looks at it otherwise. A lesion is described by its water, from none
more than white matter has (0) to free fluid (1). T2 follows that water and so does T1, downwards: lesions are dark,
necrosis darker, oedema a little dark. FLAIR shines where tissue holds water and suppresses what is free: lesions and
oedema are bright, fluid is dark, and necrosis lies between.

Calibrated to real scans, both measured in one way: scaled by the 1st and 99th percentile in the brain, the medians of
three classes found by k-means away from the lesions, darkest first, and the median in the lesions. The real ones are 35
healthy T1 (OASIS-1), two patients of MSLUB and two gliomas (TCGA-LGG); the phantom's are the first four or five
subjects of each set. There was no healthy FLAIR to measure.

                        real                                             phantom
    T1     healthy      0.20-0.31  0.48-0.55  0.82-0.88                  0.23-0.29  0.50-0.56  0.85-0.88
           MS           0.12-0.18  0.56-0.62  0.81-0.87; 0.56-0.71       0.19-0.19  0.58-0.59  0.84-0.87; 0.43-0.73
           tumours      0.24-0.25  0.49-0.57  0.76-0.80; 0.40-0.52       0.21-0.24  0.50-0.55  0.81-0.86; 0.43-0.61
    FLAIR  MS           0.14-0.21  0.60-0.67  0.74-0.83; 0.92-0.98       0.16-0.17  0.52-0.58  0.78-0.86; 0.91-1.09
           tumours      0.16-0.23  0.53-0.60  0.67-0.73; 0.94-0.97       0.11-0.18  0.37-0.62  0.56-0.81; 0.80-1.03
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...errors import DataError
from ..modality import Modality
from .fields import Array


class Greys(NamedTuple):
    """Grey values at one site, fractions of the scanner's full scale.

    Attributes:
        white, grey, fluid: of the tissues.
        lesion: of lesions between the waters `Contrast.bends`; None where grey values follow water in proportion.
    """

    white: float
    grey: float
    fluid: float
    lesion: float | None = None


@dataclass(frozen=True)
class Contrast:
    """How a modality shows a brain.

    Attributes:
        stream: name of the random numbers of a picture: each modality is a picture of its own, with noise of its own.
        iron: by which share iron darkens the nuclei that hold it.
        flow: by which share vessels and membranes darken the fluid in the sulci.
        rim: how the white matter around the ventricles changes with age, 1 being as in T2; below 0 it darkens.
        bends: the waters, between 0 and 1, at which a lesion has the grey value `Greys.lesion`.
        sites: grey values by the name of the scanner.
    """

    stream: str
    iron: float
    flow: float
    rim: float
    bends: tuple[float, ...]
    sites: Mapping[str, Greys]


T2 = Contrast(
    stream="scanner",
    iron=0.30,
    flow=0.5,
    rim=1.0,
    bends=(),
    sites={
        "Guys": Greys(0.345, 0.425, 1.00),
        "HH": Greys(0.345, 0.425, 1.05),
        "IOP": Greys(0.365, 0.435, 0.95),
        "tumour-centre-1": Greys(0.365, 0.435, 1.00),
        "tumour-centre-2": Greys(0.375, 0.450, 0.95),
        "tumour-centre-3": Greys(0.375, 0.445, 1.05),
        "ms-centre": Greys(0.365, 0.435, 1.05),
    },
)
T1 = Contrast(
    stream="scanner t1",
    iron=0.0,
    flow=0.2,
    rim=-0.5,
    bends=(0.3,),
    sites={
        "Guys": Greys(0.80, 0.47, 0.25, 0.55),
        "HH": Greys(0.82, 0.47, 0.23, 0.55),
        "IOP": Greys(0.78, 0.48, 0.27, 0.55),
        "tumour-centre-1": Greys(0.80, 0.50, 0.23, 0.41),
        "tumour-centre-2": Greys(0.78, 0.50, 0.25, 0.41),
        "tumour-centre-3": Greys(0.84, 0.50, 0.21, 0.42),
        "ms-centre": Greys(0.82, 0.54, 0.12, 0.51),
    },
)
FLAIR = Contrast(
    stream="scanner flair",
    iron=0.15,
    flow=0.2,
    rim=0.5,
    bends=(0.25, 0.6),
    sites={
        "Guys": Greys(0.50, 0.58, 0.13, 0.80),
        "HH": Greys(0.51, 0.58, 0.11, 0.82),
        "IOP": Greys(0.50, 0.57, 0.15, 0.78),
        "tumour-centre-1": Greys(0.50, 0.57, 0.12, 0.80),
        "tumour-centre-2": Greys(0.52, 0.59, 0.14, 0.80),
        "tumour-centre-3": Greys(0.50, 0.58, 0.10, 0.84),
        "ms-centre": Greys(0.51, 0.57, 0.11, 0.76),
    },
)
CONTRASTS = {Modality.T1: T1, Modality.T2: T2, Modality.FLAIR: FLAIR}


def contrast_of(modality: Modality) -> Contrast:
    """Return how the phantom shows a modality.

    Raises:
        DataError: the phantom has no scans of it.
    """
    if modality not in CONTRASTS:
        raise DataError(f"the phantom has no {modality} scans; choose one of {', '.join(CONTRASTS)}")
    return CONTRASTS[modality]


def lesion_signal(water: Array, contrast: Contrast, site: str) -> Array:
    """Return the grey values of a lesion, float32 [Z, Y, X].

    Args:
        water: from white matter (0) to fluid (1), float32 [Z, Y, X].
        contrast: what the modality makes of it.
        site: name of the scanner.
    """
    greys = contrast.sites[site]
    if greys.lesion is None:
        return greys.white + water * np.float32(greys.fluid - greys.white)
    levels = (greys.white, *(greys.lesion for _ in contrast.bends), greys.fluid)
    return np.interp(water, (0.0, *contrast.bends, 1.0), levels).astype(np.float32)
