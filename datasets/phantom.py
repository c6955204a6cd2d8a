"""`phantom`, the embedded cohort: three sets of synthetic T2 scans with known lesions, built in minutes, no download.

A subject is a pure function of (seed, id): `phantom_anatomy` grows a healthy brain, `phantom_lesions` puts a tumour or
MS lesions into it, `phantom_scanner` takes its picture at 1 mm, `phantom_subjects` says who is in which set, and the
scan then goes through the same preparation as one from disk. The sets take the place of IXI, BraTS21 and MSLUB; nothing
here is a patient, and whatever shows a result of these sets says "phantom".

Calibrated to the real sets, not to any trained method: CALIBRATION_TABLE
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from .cohort import Cohort, Data, Role, Subject
from .phantom_export import export_nifti
from .phantom_subjects import (
    DEMO,
    PAPER,
    PHANTOM_VERSION,
    SIZES,
    TITLES,
    PhantomSize,
    SimulatedScan,
    phantom_size,
    phantom_splits,
    simulate,
    subjects,
)
from .preparation import PREPARATION_VERSION, PreparationSettings, PreparedVolume, prepare_volume
from .store import Progress, build_store

__all__ = [
    "DEMO",
    "PAPER",
    "PHANTOM_VERSION",
    "SIZES",
    "TITLES",
    "PhantomSize",
    "SimulatedScan",
    "export_nifti",
    "load_phantom",
    "phantom_size",
    "phantom_splits",
    "simulate",
    "subjects",
]

_PROTOCOL = PreparationSettings()


def load_phantom(
    size: PhantomSize,
    cache: Path,
    seed: int,
    jobs: int,
    progress: Progress | None = None,
    *,
    settings: PreparationSettings = _PROTOCOL,
) -> Data:
    """Return the phantom, built under `cache` on first use: resumable, atomic, rebuilt when its version changes.

    Args:
        size: DEMO or PAPER, or another.
        cache: folder of stores; the phantom's are `phantom-<size>-seed<seed>/{healthy,tumours,ms}`.
        seed: the seed of the cohort.
        jobs: worker processes; each needs about 0.8 GB.
        progress: called with (subjects done, subjects in all) over the three sets.
        settings: the preparation; the protocol's by default.

    Raises:
        DataError: the disk is full or a worker was killed.
    """
    members = {role: subjects(size, role) for role in Role}
    total = sum(len(people) for people in members.values())
    cohorts: dict[Role, Cohort] = {}
    done = 0
    for role, people in members.items():
        manifest = {
            "source": "phantom",
            "phantom_version": PHANTOM_VERSION,
            "role": role.value,
            "seed": seed,
            "preparation_version": PREPARATION_VERSION,
            "preparation": asdict(settings),
        }
        store = build_store(
            cache / f"phantom-{size.name}-seed{seed}" / role.value,
            people,
            partial(_prepare, role=role, seed=seed, settings=settings),
            manifest,
            has_lesions=role is not Role.HEALTHY,
            jobs=jobs,
            progress=_part_of(progress, done, total),
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


def _prepare(subject: Subject, role: Role, seed: int, settings: PreparationSettings) -> PreparedVolume:
    simulated = simulate(subject, role, seed)
    return prepare_volume(simulated.t2, simulated.brain_mask, simulated.lesion_mask, settings)


def _part_of(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return the progress of one set as a part of all three."""
    return None if progress is None else lambda done, _total: progress(before + done, total)
