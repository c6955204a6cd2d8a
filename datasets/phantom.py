"""`phantom`, the embedded cohort: three sets of synthetic T2 scans with known lesions, built in minutes from no download.

A subject is a pure function of (seed, id): `phantom_anatomy` grows a healthy brain, `phantom_lesions` puts tumours or MS
lesions into it, `phantom_scanner` takes its picture at 1 mm, and the scan then goes through the same preparation as one
from disk. Healthy, tumour and MS sets have the shape of IXI, BraTS21 and MSLUB; nothing here is a patient, and whatever
shows a result of these sets says "phantom".
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .cohort import Cohort, Data, Fold, Part, Role, Splits, Subject
from .errors import DataError
from .phantom_anatomy import grow, load_atlas
from .phantom_fields import spread
from .phantom_lesions import Lesions, grow_ms, grow_tumour, plan_ms, plan_tumour
from .phantom_scanner import HEALTHY_SCANNERS, MS_SCANNERS, SCANNERS, TUMOUR_SCANNERS, scan
from .preparation import PreparationSettings, PreparedVolume, prepare_volume
from .store import build_store

Progress = Callable[[int, int], None]

FOLDS = 5


@dataclass(frozen=True)
class PhantomSize:
    """How many subjects each part of the cohort has.

    Attributes:
        name: what the command line takes.
        healthy_folds: healthy subjects that train and validate, over all folds.
        healthy_test: healthy subjects only tested.
        tumours_val, tumours_test: tumour subjects.
        ms_val, ms_test: subjects with MS lesions.
    """

    name: str
    healthy_folds: int
    healthy_test: int
    tumours_val: int
    tumours_test: int
    ms_val: int
    ms_test: int


DEMO = PhantomSize("demo", 50, 8, 6, 10, 4, 8)
PAPER = PhantomSize("paper", 402, 158, 100, 1151, 10, 20)
SIZES = {size.name: size for size in (DEMO, PAPER)}
TITLES = {Role.HEALTHY: "phantom healthy", Role.TUMOURS: "phantom tumours", Role.MS: "phantom MS"}

# Quartiles of the ages, years: healthy as in IXI, glioma patients older, MS patients in mid-life.
AGES = {
    Role.HEALTHY: (20.0, 35.0, 49.0, 62.0, 86.0),
    Role.TUMOURS: (25.0, 52.0, 61.0, 69.0, 85.0),
    Role.MS: (25.0, 33.0, 39.0, 48.0, 64.0),
}
# Shares of the scanners, healthy as in IXI (Guys, HH, IOP).
SHARES = {Role.HEALTHY: (0.55, 0.32, 0.13), Role.TUMOURS: (0.4, 0.35, 0.25), Role.MS: (1.0,)}
SITES = {Role.HEALTHY: HEALTHY_SCANNERS, Role.TUMOURS: TUMOUR_SCANNERS, Role.MS: MS_SCANNERS}


@dataclass(frozen=True)
class SimulatedScan:
    """A scan at 1 mm in RAS order.

    Attributes:
        t2: skull-stripped T2 image, float32 [Z, Y, X]; 0 outside the brain.
        brain_mask: True inside the brain, bool [Z, Y, X].
        lesion_mask: True on lesions, bool [Z, Y, X]; None for a healthy subject.
    """

    t2: NDArray[np.float32]
    brain_mask: NDArray[np.bool_]
    lesion_mask: NDArray[np.bool_] | None


def phantom_size(name: str) -> PhantomSize:
    """Return the size of this name.

    Raises:
        DataError: there is no such size.
    """
    if name not in SIZES:
        raise DataError(f"the phantom has no size {name!r}; choose one of {', '.join(SIZES)}")
    return SIZES[name]


def subjects(size: PhantomSize, role: Role) -> tuple[Subject, ...]:
    """Return the subjects of a set: those of the folds or the validation set first, then the test set."""
    counts = {
        Role.HEALTHY: size.healthy_folds + size.healthy_test,
        Role.TUMOURS: size.tumours_val + size.tumours_test,
        Role.MS: size.ms_val + size.ms_test,
    }
    return tuple(_subject(role, index) for index in range(counts[role]))


def _subject(role: Role, index: int) -> Subject:
    age = float(np.interp(spread(index, 0, f"{role.value} age"), (0, 0.25, 0.5, 0.75, 1), AGES[role]))
    borders = np.cumsum(SHARES[role])[:-1]
    site = SITES[role][int(np.searchsorted(borders, spread(index * 2 + 1, 0, f"{role.value} site"), side="right"))]
    return Subject(f"phantom-{role.value}-{index:04d}", round(age, 1), site.name)


def _quantile(subject: Subject, role: Role, seed: int) -> float:
    """Return where in the distribution of lesion volumes the subject lies; neighbours in number lie far apart."""
    return spread(int(subject.id.rsplit("-", 1)[1]), seed, f"{role.value} volume")


def simulate(subject: Subject, role: Role, seed: int) -> SimulatedScan:
    """Return the scan of a subject, a function of (seed, subject) alone.

    Args:
        subject: one of `subjects(...)`.
        role: the set it belongs to.
        seed: the seed of the cohort.
    """
    age, scanner = subject.age, SCANNERS.get(subject.site or "")
    if age is None or scanner is None:
        raise DataError(f"{subject.id} is no phantom: it has no age or no known scanner; take it from subjects()")
    lesions: Lesions | None = None
    if role is Role.TUMOURS:
        plan = plan_tumour(subject.id, seed, _quantile(subject, role, seed))
        anatomy = grow(subject.id, seed, age, plan.push)
        lesions = grow_tumour(anatomy, plan, subject.id, seed)
    else:
        anatomy = grow(subject.id, seed, age)
        if role is Role.MS:
            lesions = grow_ms(anatomy, plan_ms(subject.id, seed, _quantile(subject, role, seed)), subject.id, seed)
    t2 = scan(anatomy, scanner, subject.id, seed, age, lesions.paint if lesions else None)
    return SimulatedScan(t2, anatomy.brain, lesions.mask if lesions else None)


def _prepare(subject: Subject, role: Role, seed: int, settings: PreparationSettings) -> PreparedVolume:
    simulated = simulate(subject, role, seed)
    return prepare_volume(simulated.t2, simulated.brain_mask, simulated.lesion_mask, settings)


@cache
def _source_hash() -> str:
    """Return the SHA-256 of the files that determine the scans: an edited phantom is another phantom."""
    here = Path(__file__).parent
    content = b"".join(path.read_bytes() for path in sorted([*here.glob("phantom*.py"), here / "preparation.py"]))
    return hashlib.sha256(content).hexdigest()


def phantom_splits(size: PhantomSize) -> Splits:
    """Return the split: five folds that partition the healthy subjects by age, the test sets apart."""
    healthy = subjects(size, Role.HEALTHY)
    pool = sorted(healthy[: size.healthy_folds], key=lambda subject: (subject.age or 0.0, subject.id))
    validation = [tuple(subject.id for subject in pool[fold::FOLDS]) for fold in range(FOLDS)]
    folds = tuple(
        Fold(tuple(subject.id for subject in pool if subject.id not in val), tuple(sorted(val))) for val in validation
    )
    tumours = [subject.id for subject in subjects(size, Role.TUMOURS)]
    ms = [subject.id for subject in subjects(size, Role.MS)]
    return Splits(
        name="phantom",
        folds=folds,
        healthy_test=tuple(subject.id for subject in healthy[size.healthy_folds :]),
        lesion={
            Role.TUMOURS: Part(tuple(tumours[: size.tumours_val]), tuple(tumours[size.tumours_val :])),
            Role.MS: Part(tuple(ms[: size.ms_val]), tuple(ms[size.ms_val :])),
        },
    )


def load_phantom(
    size: PhantomSize,
    cache: Path,
    seed: int,
    jobs: int,
    progress: Progress | None = None,
    settings: PreparationSettings | None = None,
) -> Data:
    """Return the phantom, built under `cache` on first use: resumable, atomic, rebuilt when its source changes.

    Args:
        size: DEMO or PAPER.
        cache: folder of stores; the phantom's are in `phantom-<size>-seed<seed>/`.
        seed: the seed of the cohort.
        jobs: worker processes.
        progress: called with (subjects done, subjects in all) over the three sets.
        settings: the preparation; the protocol's by default.

    Raises:
        DataError: the disk is full or a store cannot be built.
    """
    settings = settings or PreparationSettings()
    members = {role: subjects(size, role) for role in Role}
    total = sum(len(people) for people in members.values())
    cohorts: dict[Role, Cohort] = {}
    done = 0
    for role, people in members.items():
        manifest = {"source": "phantom", "role": role.value, "seed": seed, "source_sha256": _source_hash()}
        store = build_store(
            cache / f"phantom-{size.name}-seed{seed}" / role.value,
            people,
            partial(_prepare, role=role, seed=seed, settings=settings),
            {**manifest, "preparation": asdict(settings)},
            has_lesions=role is not Role.HEALTHY,
            jobs=jobs,
            progress=_offset(progress, done, total),
        )
        done += len(people)
        cohorts[role] = Cohort(f"phantom-{role.value}", TITLES[role], role, store)
    return Data(
        name="phantom",
        title=f"phantom ({size.name})",
        healthy=cohorts[Role.HEALTHY],
        lesions={role: cohorts[role] for role in (Role.TUMOURS, Role.MS)},
        splits=phantom_splits(size),
    )


def _offset(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return the progress of one set as a part of all three."""
    return None if progress is None else lambda done, _: progress(before + done, total)
