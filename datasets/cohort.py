"""The nouns of the data side: subject, cohort, split, and all of them together as `Data`.

A cohort is a named set of subjects with their prepared volumes; a split says which of them train, validate and test.
Nothing here reads a file: these are the frozen values that the readers (`disk`, the phantom) make and the engine uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import DataError
from ..files import sha256_of_json
from .findings import SplitFinding
from .modality import Modality

if TYPE_CHECKING:  # the command line knows modalities, and asks for no volume
    import numpy as np
    from numpy.typing import NDArray

#: The key of the healthy set, of which a run has one; lesion sets have keys of their own.
HEALTHY = "healthy"


class Role(StrEnum):
    """What a data set is for."""

    HEALTHY = "healthy"
    LESIONS = "lesions"


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


class Volumes(Protocol):
    """The prepared volumes of a cohort, as the volume store gives them out (see `store`)."""

    @property
    def folder(self) -> Path:
        """Where they lie."""
        ...

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """Whose they are."""
        ...

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the subjects."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(D, H, W) of a volume."""
        ...

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what they were made from and their content."""
        ...

    @property
    def has_lesions(self) -> bool:
        """Whether there are lesion masks."""
        ...

    @property
    def voxel_mm(self) -> float:
        """Edge of a voxel, mm."""
        ...

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, millilitres."""
        ...

    def volume(self, subject: str) -> NDArray[np.float32]:
        """Intensities of a subject in [0, 1], float32 [D, H, W], read-only."""
        ...

    def brain_mask(self, subject: str) -> NDArray[np.bool_]:
        """Brain mask of a subject, bool [D, H, W], read-only."""
        ...

    def lesion_mask(self, subject: str) -> NDArray[np.bool_]:
        """Lesion mask of a subject, bool [D, H, W], read-only."""
        ...

    def ignored_mask(self, subject: str) -> NDArray[np.bool_]:
        """Where a subject's labels mark what is neither lesion nor background, bool [D, H, W], read-only."""
        ...


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
        key: the word for it in metrics and columns, e.g. "healthy", "tumours".
        store: the prepared volumes.
        modality: the contrast of its scans.
        provenance: how `bench prepare` made the scans; None where it did not, or not all in one way.
    """

    name: str
    title: str
    key: str
    store: Volumes
    modality: Modality
    provenance: Provenance | None = None

    @property
    def is_healthy(self) -> bool:
        """Whether methods learn from it."""
        return self.key == HEALTHY

    @property
    def is_phantom(self) -> bool:
        """Whether its brains are synthetic, as its name says then."""
        return is_phantom_name(self.name)


def is_phantom_name(name: str) -> bool:
    """Whether a cohort or data of this name is the phantom; `load` and the phantom hold names to that."""
    return name.startswith("phantom")


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
        lesion: by key, the parts of each lesion set that is there.
        findings: what the audit found and the user accepted (leaks of a split taken as published, warnings).
        notes: sentences the user should read, e.g. that ages are unknown and the split is not stratified.
    """

    name: str
    folds: tuple[Fold, ...]
    healthy_test: tuple[str, ...]
    lesion: Mapping[str, Part]
    findings: tuple[SplitFinding, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def scans_of(self, key: str) -> tuple[str, ...]:
        """Every scan of a set that stands in some part, once, in order of name."""
        if key == HEALTHY:
            in_folds = (scan for fold in self.folds for scan in (*fold.train, *fold.val))
            return tuple(sorted({*in_folds, *self.healthy_test}))
        part = self.lesion[key]
        return tuple(sorted({*part.val, *part.test}))


@dataclass(frozen=True)
class Data:
    """Everything a cell reads: the healthy cohort, the lesion cohorts that are there, and the split.

    Attributes:
        name: short name; starts with "phantom" where every set is the phantom.
        title: name in tables.
        healthy: the cohort methods learn from.
        lesions: by key, the cohorts they are tested on; a missing set is simply not there.
        splits: who trains, validates and tests.

    Raises:
        DataError: the cohorts are not all of one modality.
    """

    name: str
    title: str
    healthy: Cohort
    lesions: Mapping[str, Cohort]
    splits: Splits

    def __post_init__(self) -> None:
        for cohort in self.cohorts:
            if cohort.modality is not self.modality:
                raise DataError(
                    f"{cohort.title} is {cohort.modality.upper()} and {self.healthy.title} is {self.modality.upper()}; "
                    "a run has one modality, choose it by --modality"
                )

    @property
    def cohorts(self) -> tuple[Cohort, ...]:
        """The healthy cohort, then the lesion cohorts."""
        return (self.healthy, *self.lesions.values())

    @property
    def modality(self) -> Modality:
        """The contrast of all scans."""
        return self.healthy.modality

    @property
    def is_phantom(self) -> bool:
        """Whether every set is the phantom."""
        return is_phantom_name(self.name)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all that determines a cell's numbers: prepared volumes and split, not paths or titles."""
        splits = self.splits
        content = {
            "modality": self.modality.value,
            "stores": {cohort.key: cohort.store.fingerprint for cohort in self.cohorts},
            "splits": splits.name,
            "folds": [[fold.train, fold.val] for fold in splits.folds],
            "healthy_test": splits.healthy_test,
            "lesion": {str(key): [part.val, part.test] for key, part in splits.lesion.items()},
        }
        return sha256_of_json(content)
