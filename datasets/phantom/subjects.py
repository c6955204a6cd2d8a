"""The people of the phantom: how many, how old, from which scanner, in which fold, and the scan of each.

Ids number the subjects of a set; age, scanner and lesion volume are quantiles of the real sets' distributions, read at
a low-discrepancy sequence of that number, so that even a cohort of four spans them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .. import brats21, ixi, mslub
from ..base import DataSet
from ..cohort import Part, Splits, Subject
from ..modality import Modality
from ..splits.own import OWN_SPLIT_SEED, own_folds
from .anatomy import grow
from .fields import spread
from .lesions import grow_ms, grow_tumour, plan_ms, plan_tumour
from .scanner import HEALTHY_SCANNERS, MS_SCANNERS, SCANNERS, TUMOUR_SCANNERS, scan

PHANTOM_VERSION = 1  # raise it when a change of a phantom_*.py file changes the scans: stores are then built anew


class PhantomSet(StrEnum):
    """The sets of the phantom, by the keys that they have in metrics and columns."""

    HEALTHY = "healthy"
    TUMOURS = "tumours"
    MS = "ms"


@dataclass(frozen=True)
class PhantomSize:
    """How many subjects each part of the cohort has.

    Attributes:
        name: what the command line takes.
        healthy_folds: healthy subjects that train and validate, over all folds.
        healthy_test: healthy subjects only tested.
        tumours_val: subjects with a tumour that choose the threshold.
        tumours_test: subjects with a tumour that are scored.
        ms_val: subjects with MS lesions that choose the threshold.
        ms_test: subjects with MS lesions that are scored.
    """

    name: str
    healthy_folds: int
    healthy_test: int
    tumours_val: int
    tumours_test: int
    ms_val: int
    ms_test: int

    def count(self, role: PhantomSet) -> int:
        """Return the number of subjects of a set."""
        return {
            PhantomSet.HEALTHY: self.healthy_folds + self.healthy_test,
            PhantomSet.TUMOURS: self.tumours_val + self.tumours_test,
            PhantomSet.MS: self.ms_val + self.ms_test,
        }[role]


DEMO = PhantomSize("demo", 50, 8, 6, 10, 4, 8)
PAPER = PhantomSize("paper", 402, 158, 100, 1151, 10, 20)
SIZES = {size.name: size for size in (DEMO, PAPER)}

TITLES = {PhantomSet.HEALTHY: "phantom healthy", PhantomSet.TUMOURS: "phantom tumours", PhantomSet.MS: "phantom MS"}
# The real set whose place each set takes, on disk too.
MODELS = {PhantomSet.HEALTHY: ixi.DATA_SET, PhantomSet.TUMOURS: brats21.DATA_SET, PhantomSet.MS: mslub.DATA_SET}

# Quartiles of the ages, years: healthy as in IXI, glioma patients older, MS patients in mid-life.
_AGES = {
    PhantomSet.HEALTHY: (20.0, 35.0, 49.0, 62.0, 86.0),
    PhantomSet.TUMOURS: (25.0, 52.0, 61.0, 69.0, 85.0),
    PhantomSet.MS: (25.0, 33.0, 39.0, 48.0, 64.0),
}
_SITES = {PhantomSet.HEALTHY: HEALTHY_SCANNERS, PhantomSet.TUMOURS: TUMOUR_SCANNERS, PhantomSet.MS: MS_SCANNERS}
# Shares of these scanners, the healthy ones as in IXI (Guys, HH, IOP).
_SHARES = {PhantomSet.HEALTHY: (0.55, 0.32, 0.13), PhantomSet.TUMOURS: (0.4, 0.35, 0.25), PhantomSet.MS: (1.0,)}


def phantom_size(name: str) -> PhantomSize:
    """Return the size of this name.

    Raises:
        DataError: there is no such size.
    """
    if name not in SIZES:
        raise DataError(f"the phantom has no size {name!r}; choose one of {', '.join(SIZES)}")
    return SIZES[name]


def subjects(size: PhantomSize, role: PhantomSet) -> tuple[Subject, ...]:
    """Return the subjects of a set, in the order of their numbers; a larger size begins with the same ones."""
    return tuple(_subject(role, number) for number in range(size.count(role)))


def _subject(role: PhantomSet, number: int) -> Subject:
    age = float(np.interp(spread(number, 0, f"{role.value} age"), (0, 0.25, 0.5, 0.75, 1), _AGES[role]))
    borders = np.cumsum(_SHARES[role])[:-1]
    # Odd numbers only: age and scanner must not follow the same sequence.
    drawn = np.searchsorted(borders, spread(2 * number + 1, 0, f"{role.value} site"), side="right")
    return Subject(f"phantom-{role.value}-{number:04d}", round(age, 1), _SITES[role][int(drawn)].name)


def phantom_splits(size: PhantomSize) -> Splits:
    """Return the split: a healthy test set and five folds that partition the other healthy subjects, all by age.

    Of the lesion sets the first subjects choose the threshold, the others are scored.
    """
    folds, healthy_test = own_folds(subjects(size, PhantomSet.HEALTHY), _info(size), seed=OWN_SPLIT_SEED)
    tumours = tuple(subject.id for subject in subjects(size, PhantomSet.TUMOURS))
    ms = tuple(subject.id for subject in subjects(size, PhantomSet.MS))
    return Splits(
        name="phantom",
        folds=folds,
        healthy_test=healthy_test,
        lesion={
            PhantomSet.TUMOURS.value: Part(tumours[: size.tumours_val], tumours[size.tumours_val :]),
            PhantomSet.MS.value: Part(ms[: size.ms_val], ms[size.ms_val :]),
        },
    )


def _info(size: PhantomSize) -> DataSet:
    """Return IXI's identity with the phantom's title and test share; each scan is a person of its own."""
    held_out = (size.healthy_test, size.count(PhantomSet.HEALTHY))
    return replace(ixi.DATA_SET, title=TITLES[PhantomSet.HEALTHY], held_out=held_out, person_of=str)


@dataclass(frozen=True)
class SimulatedScan:
    """A scan at 1 mm in RAS order.

    Attributes:
        image: skull-stripped image of whole numbers, as a scanner stores it, float32 [Z, Y, X]; 0 outside the brain.
        brain_mask: True inside the brain, bool [Z, Y, X].
        lesion_mask: True on lesions, bool [Z, Y, X]; None for a healthy subject.
    """

    image: NDArray[np.float32]
    brain_mask: NDArray[np.bool_]
    lesion_mask: NDArray[np.bool_] | None


def simulate(subject: Subject, role: PhantomSet, seed: int, modality: Modality = Modality.T2) -> SimulatedScan:
    """Return the scan of a subject, a function of (seed, subject, modality) alone; the brain is one for all modalities.

    Args:
        subject: one of `subjects(...)`.
        role: the set it belongs to.
        seed: the seed of the cohort.
        modality: T1, T2 or FLAIR.

    Raises:
        DataError: the subject is no phantom, or the phantom has no scans of this modality.
    """
    scanner = SCANNERS.get(subject.site or "")
    if subject.age is None or scanner is None or not subject.id.startswith(f"phantom-{role.value}-"):
        raise DataError(f"{subject.id} is no subject of the set {TITLES[role]}; take one from subjects()")
    quantile = spread(int(subject.id.rsplit("-", 1)[1]), seed, f"{role.value} volume")
    lesions = None
    if role is PhantomSet.TUMOURS:
        tumour = plan_tumour(subject.id, seed, quantile)
        anatomy = grow(subject.id, seed, subject.age, tumour.push)
        lesions = grow_tumour(anatomy, tumour, subject.id, seed)
    else:
        anatomy = grow(subject.id, seed, subject.age)
    if role is PhantomSet.MS:
        lesions = grow_ms(anatomy, plan_ms(subject.id, seed, quantile), subject.id, seed)
    paint = lesions.paint if lesions else None
    image = scan(anatomy, scanner, subject.id, seed, subject.age, paint=paint, modality=modality)
    return SimulatedScan(image, anatomy.brain, lesions.mask if lesions else None)
