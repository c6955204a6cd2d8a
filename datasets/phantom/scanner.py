"""The scanners of the phantom: from tissue fractions to an image.

A scanner has its own contrast (`contrast`), sharpness, slice thickness, noise and residual bias field. The
image is the sum of fraction times grey value, blurred in the plane, averaged over the slices as acquired, made noisy
there (Rician: the magnitude of a complex signal; Gudbjartsson and Patz, MRM 1995), and interpolated back to 1 mm, as
registration does. The healthy set comes from three scanners, named after IXI's sites whose variety they imitate; the
lesion sets come from others, so that a method meets a domain shift, as in life.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..modality import Modality
from .anatomy import Anatomy, seniority
from .contrast import Contrast, Greys, contrast_of, lesion_signal
from .fields import Array, linear_basis, random_field, smooth_step, stream

OUTSIDE = 0.02
SLICE_PROFILE = 0.42  # standard deviation of a slice's profile, in thicknesses: a half-width of one


@dataclass(frozen=True)
class Scanner:
    """How one scanner takes its images, whatever their modality.

    Attributes:
        name: the site's name.
        noise: standard deviation of the Rician noise's channels, as a fraction of the full scale.
        blur: standard deviation of the in-plane point spread, mm.
        slice_thickness: mm.
        bias: standard deviation of the residual bias field (log scale).
        gain: full scale in the units of the file.
    """

    name: str
    noise: float
    blur: float
    slice_thickness: float
    bias: float
    gain: float


GUYS = Scanner("Guys", 0.016, 0.60, 1.25, 0.035, 900.0)
HH = Scanner("HH", 0.012, 0.50, 1.25, 0.060, 1400.0)
IOP = Scanner("IOP", 0.024, 0.75, 1.50, 0.030, 500.0)
HEALTHY_SCANNERS = (GUYS, HH, IOP)
TUMOUR_SCANNERS = (
    Scanner("tumour-centre-1", 0.014, 0.65, 3.0, 0.080, 700.0),
    Scanner("tumour-centre-2", 0.020, 0.85, 4.0, 0.070, 2500.0),
    Scanner("tumour-centre-3", 0.011, 0.60, 2.0, 0.090, 1100.0),
)
MS_SCANNERS = (Scanner("ms-centre", 0.013, 0.50, 3.0, 0.045, 1000.0),)
SCANNERS = {scanner.name: scanner for scanner in (*HEALTHY_SCANNERS, *TUMOUR_SCANNERS, *MS_SCANNERS)}


@dataclass(frozen=True)
class Paint:
    """A lesion on the image, independent of scanner and modality.

    Attributes:
        weight: how much of the voxel's healthy signal is replaced, 0 to 1, float32 [Z, Y, X].
        water: what replaces it, from white matter (0) to fluid (1), float32 [Z, Y, X].
    """

    weight: Array
    water: Array


def _tissue_signal(anatomy: Anatomy, contrast: Contrast, greys: Greys, rng: np.random.Generator, age: float) -> Array:
    """Return fraction times grey value, with the texture of each tissue, float32 [Z, Y, X]."""
    shape = anatomy.shape
    mottle = 1 + 0.025 * random_field(rng, shape, 16.0) + 0.03 * random_field(rng, shape, 3.0)
    # Vessels and membranes make fluid in the sulci uneven; in the ventricles it is nearly uniform.
    vessels = contrast.flow * smooth_step(random_field(rng, shape, 3.5) - 1.2, 0.8)
    vessels *= smooth_step(anatomy.ventricle_distance - 4, 4.0)
    pool = 1 - vessels + 0.04 * random_field(rng, shape, 24.0)
    # White matter changes a little around the ventricles with age (caps and rims, bright on T2), not a lesion.
    rim = np.exp(-anatomy.ventricle_distance / 3) * smooth_step(random_field(rng, shape, 14.0) + 0.3, 1.5)
    iron = 1 - contrast.iron * (0.6 + 0.4 * seniority(age)) * anatomy.iron
    white = greys.white + contrast.rim * (0.02 + 0.2 * seniority(age)) * rim
    solid = (anatomy.white * white + anatomy.grey * np.float32(greys.grey)) * iron * mottle
    membrane = 1 - anatomy.white - anatomy.grey - anatomy.fluid
    image: Array = solid + anatomy.fluid * np.float32(greys.fluid) * pool + np.float32(OUTSIDE) * membrane
    return image


def _acquire(image: Array, scanner: Scanner, rng: np.random.Generator) -> Array:
    """Return the image as the scanner's slices hold it, noisy, interpolated back to 1 mm slices."""
    depth = image.shape[0]
    centres = np.arange(0.5 * float(rng.random()), depth, scanner.slice_thickness)
    profile = np.exp(
        -0.5 * ((np.arange(depth)[None, :] - centres[:, None]) / (SLICE_PROFILE * scanner.slice_thickness)) ** 2
    )
    profile /= profile.sum(axis=1, keepdims=True)
    slices = np.tensordot(profile.astype(np.float32), image, axes=1)
    real = slices + np.float32(scanner.noise) * rng.standard_normal(slices.shape, dtype=np.float32)
    imaginary = np.float32(scanner.noise) * rng.standard_normal(slices.shape, dtype=np.float32)
    back = linear_basis((np.arange(depth) - centres[0]) / scanner.slice_thickness, len(centres))
    return np.tensordot(back, np.hypot(real, imaginary), axes=1).astype(np.float32)


def scan(
    anatomy: Anatomy,
    scanner: Scanner,
    subject: str,
    seed: int,
    age: float,
    *,
    paint: Paint | None = None,
    modality: Modality = Modality.T2,
) -> Array:
    """Return the skull-stripped image of a brain, float32 [Z, Y, X] at 1 mm, whole numbers; 0 outside the brain.

    Args:
        anatomy: the brain.
        scanner: who takes the image.
        subject: the subject's id, which with the seed determines texture, bias and noise.
        seed: the seed of the cohort.
        age: years.
        paint: the lesions, or None.
        modality: what it looks at.

    Raises:
        DataError: the phantom has no scans of this modality.
    """
    contrast = contrast_of(modality)
    rng = stream(seed, subject, contrast.stream)
    shape = anatomy.shape
    image = _tissue_signal(anatomy, contrast, contrast.sites[scanner.name], rng, age)
    if paint is not None:
        image += paint.weight * (lesion_signal(paint.water, contrast, scanner.name) - image)
    image = np.where(anatomy.brain, image, np.float32(OUTSIDE))
    image *= np.exp(np.float32(scanner.bias) * random_field(rng, shape, 64.0))
    image = ndimage.gaussian_filter(image, (0, scanner.blur, scanner.blur), truncate=3)
    stored = np.rint(_acquire(image, scanner, rng) * np.float32(scanner.gain))
    return np.where(anatomy.brain, stored, np.float32(0)).astype(np.float32)
