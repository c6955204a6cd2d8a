"""`phantom`, the embedded cohort: three sets of synthetic scans with known lesions, built in minutes, no download.

A subject is a pure function of (seed, id): `anatomy` grows a healthy brain, `lesions` puts a tumour or MS lesions into
it, `scanner` takes its picture at 1 mm in T2, T1 or FLAIR (`contrast`), `subjects` says who is in which set, and the
scan then goes through the same preparation as one from disk. The sets take the place of IXI, BraTS21 and MSLUB; nothing
here is a patient, and whatever shows a result of these sets says "phantom".

T2 is calibrated to facts about the real sets, never to a trained method. The row *Thresh* needs no training: the rank
of a voxel's grey value in the brain is its score; then the protocol's eroded mask, 5×5×5 median, greedy threshold on
the validation set, and components below 7 voxels dropped. On the demo size with seed 0, in per cent:

    set       real Dice / AUPRC    all 50 slices    central 12 slices
    tumours        19.7 / 20.3       21.6 / 15.6          20.1 / 12.7
    MS              6.2 /  4.2        7.6 /  3.7           7.6 /  4.2

Grey values after the 1st to 99th percentile (real in brackets): white matter 0.25 to 0.33 (0.28 to 0.34), grey matter
0.34 to 0.43 (0.32 to 0.40), fluid 0.75 to 0.86 (0.6 to 1.0), MS lesions 0.39 to 0.56 by subject (0.44 to 0.51).

On T1 and FLAIR there is no published row to calibrate to, but grey values (`contrast`). There *Thresh* reaches 15.0 /
11.4 and 68.7 / 82.3 on tumours, 4.7 / 2.5 and 17.6 / 15.7 on MS (central 12 slices).
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ...files import sha256_of_json
from ..cohort import Cohort, Data, Subject
from ..modality import Modality
from ..scans.preparation import PREPARATION_VERSION, PreparationSettings, PreparedVolume, prepare_volume
from ..store.build import build_store
from ..store.store import Progress
from .contrast import contrast_of
from .export import export_nifti
from .subjects import (
    DEMO,
    PAPER,
    PHANTOM_VERSION,
    SIZES,
    TITLES,
    PhantomSet,
    PhantomSize,
    SimulatedScan,
    phantom_size,
    phantom_splits,
    simulate,
    subjects,
)

__all__ = [
    "DEMO",
    "PAPER",
    "PHANTOM_VERSION",
    "SIZES",
    "TITLES",
    "PhantomSet",
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
_KEY_LENGTH = 12


def load_phantom(
    size: PhantomSize,
    cache: Path,
    seed: int,
    jobs: int,
    progress: Progress | None = None,
    *,
    settings: PreparationSettings = _PROTOCOL,
    modality: Modality = Modality.T2,
) -> Data:
    """Return the phantom, built under `cache` on first use: resumable, atomic, rebuilt when its version changes.

    Args:
        size: DEMO or PAPER, or another.
        cache: folder of stores; the phantom's are `phantom-<size>-<modality>-seed<seed>-<key>/{healthy,tumours,ms}`,
            the key being that of its version and preparation, so that runs of other numbers keep theirs.
        seed: the seed of the cohort.
        jobs: worker processes; each needs about 0.8 GB.
        progress: called with (subjects done, subjects in all) over the three sets.
        settings: the preparation; the protocol's by default.
        modality: T1, T2 or FLAIR; people, brains, lesions and split are the same in each.

    Raises:
        DataError: there is no such phantom, the disk is full or a worker was killed.
    """
    contrast_of(modality)
    members = {role: subjects(size, role) for role in PhantomSet}
    total = sum(len(people) for people in members.values())
    recipe = _recipe(seed, settings, modality)
    folder = cache / f"phantom-{size.name}-{modality}-seed{seed}-{_key(recipe)}"
    cohorts: dict[PhantomSet, Cohort] = {}
    done = 0
    for role, people in members.items():
        store = build_store(
            folder / role.value,
            people,
            partial(_prepare, role=role, seed=seed, settings=settings, modality=modality),
            {**recipe, "role": role.value},
            has_lesions=role is not PhantomSet.HEALTHY,
            jobs=jobs,
            progress=_part_of(progress, done, total),
        )
        done += len(people)
        cohorts[role] = Cohort(f"phantom-{role}", TITLES[role], role.value, store, modality)
    return Data(
        name="phantom",
        title=f"phantom ({size.name})",
        healthy=cohorts[PhantomSet.HEALTHY],
        lesions={role.value: cohorts[role] for role in (PhantomSet.TUMOURS, PhantomSet.MS)},
        splits=phantom_splits(size),
    )


def _recipe(seed: int, settings: PreparationSettings, modality: Modality) -> dict[str, Any]:
    """What determines the volumes beside role and subject."""
    return {
        "source": "phantom",
        "modality": modality.value,
        "phantom_version": PHANTOM_VERSION,
        "seed": seed,
        "preparation_version": PREPARATION_VERSION,
        "preparation": asdict(settings),
    }


def _key(recipe: dict[str, Any]) -> str:
    return sha256_of_json(recipe)[:_KEY_LENGTH]


def _prepare(
    subject: Subject, role: PhantomSet, seed: int, settings: PreparationSettings, modality: Modality
) -> PreparedVolume:
    simulated = simulate(subject, role, seed, modality)
    return prepare_volume(simulated.image, simulated.brain_mask, simulated.lesion_mask, settings)


def _part_of(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Return the progress of one set as a part of all three."""
    return None if progress is None else lambda done, _total: progress(before + done, total)
