"""The nouns of the data side: subject, cohort, split, and all of them together as `Data`.

A cohort is a named set of subjects with their prepared volumes; a split says which of them train, validate and test.
Nothing here reads a file: these are the frozen values that the readers (`disk`, the phantom) make and the engine uses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from .findings import Finding

if TYPE_CHECKING:  # store.py imports Subject from here
    from .store.store import VolumeStore


class Role(StrEnum):
    """What a cohort is for."""

    HEALTHY = "healthy"
    TUMOURS = "tumours"
    MS = "ms"


@dataclass(frozen=True)
class Subject:
    """One scan of one person.

    Attributes:
        id: the scan's name, unique in its cohort, e.g. "IXI002-Guys-0828".
        age: years, or None where unknown.
        site: scanner or hospital, or None where unknown.
    """

    id: str
    age: float | None
    site: str | None


@dataclass(frozen=True)
class Provenance:
    """How the scans of a cohort were brought to where they lie, so that a new scan can be brought there, too.

    Attributes:
        atlas: name of the atlas they were registered to, "mni152", "sri24" or "sri24-t2", or the name of its file.
        atlas_sha256: what it was; None for whatever bears the name.
        n4_levels: resolutions of the bias field that was divided out; 0 where it was left in.
        atlas_modality: what kind of image it was, "t1" or "t2"; None where that is not known.
    """

    atlas: str
    atlas_sha256: str | None
    n4_levels: int
    atlas_modality: str | None = None


@dataclass(frozen=True)
class Cohort:
    """A named set of subjects with their prepared volumes.

    Attributes:
        name: short name for files and tags, e.g. "ixi", "phantom-tumours".
        title: name in tables, e.g. "IXI", "phantom tumours".
        role: what the cohort is for.
        store: the prepared volumes.
        provenance: how `bench prepare` made the scans; None where it did not, or not all in one way.
    """

    name: str
    title: str
    role: Role
    store: VolumeStore
    provenance: Provenance | None = None


@dataclass(frozen=True)
class Fold:
    """Ids of the healthy scans that train and validate in one fold."""

    train: tuple[str, ...]
    val: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """Ids of a lesion set: the threshold is chosen on `val`, scores are computed on `test`."""

    val: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """Who trains, validates and tests.

    Attributes:
        name: where the split comes from: "own", "published", "deleaked" or "phantom".
        folds: the folds over the healthy scans.
        healthy_test: ids of the healthy test scans.
        lesion: the parts of each lesion set that is there.
        findings: what the audit found and the user accepted (leaks of a split taken as published, warnings).
        notes: sentences the user should read, e.g. that ages are unknown and the split is not stratified.
    """

    name: str
    folds: tuple[Fold, ...]
    healthy_test: tuple[str, ...]
    lesion: Mapping[Role, Part]
    findings: tuple[Finding, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Data:
    """Everything a cell reads: the healthy cohort, the lesion cohorts that are there, and the split.

    Attributes:
        name: short name; starts with "phantom" where every set is the phantom.
        title: name in tables.
        healthy: the cohort methods learn from.
        lesions: the cohorts they are tested on; a missing set is simply not a key.
        splits: who trains, validates and tests.
    """

    name: str
    title: str
    healthy: Cohort
    lesions: Mapping[Role, Cohort]
    splits: Splits

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that determines a cell's numbers: prepared volumes and split, not paths or titles."""
        splits = self.splits
        content = {
            "stores": {
                cohort.role.value: cohort.store.fingerprint for cohort in (self.healthy, *self.lesions.values())
            },
            "splits": splits.name,
            "folds": [[fold.train, fold.val] for fold in splits.folds],
            "healthy_test": splits.healthy_test,
            "lesion": {role.value: [part.val, part.test] for role, part in splits.lesion.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
