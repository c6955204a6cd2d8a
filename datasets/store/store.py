"""The volume store: the prepared volumes of one data set as memory-mapped arrays with a table and a manifest.

A store is a folder:

    volumes.npy        float32 [N, D, H, W]
    brain_masks.npy    uint8   [N, D, H, W]
    lesion_masks.npy   uint8   [N, D, H, W], only where the set has lesions: 1 is lesion, 2 is ignored, 0 is neither
    subjects.csv       one row per subject, in the arrays' order
    manifest.json      what it was made from and how, and the SHA-256 of every array of every subject

It is built beside its place, in `<folder>.partial`, one subject at a time with a marker for each that is done, and put
in place by a rename: whoever opens a store sees all of it or nothing, and a build that is interrupted at any moment
goes on where it stopped. Only the building process writes; its workers prepare, at most two results per worker wait.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, shorten
from ...files import read_json
from ..cohort import Subject
from .arrays import (
    BRAIN,
    FILES,
    FORMAT,
    IS_IGNORED,
    IS_LESION,
    LESION,
    MANIFEST,
    VOLUME,
    array_names,
    mapped,
    sha256_of_array,
)

#: Audit event (PEP 578) of every lesion mask that is given out, so that a guard can tell who looks at labels.
LESION_READ = "uadbench.lesion_mask"
_HASH_LENGTH = 64

Progress = Callable[[int, int], None]


class VolumeStore:
    """The read side of a store: arrays are mapped, never loaded whole, and read-only.

    The first access to an array of a subject compares its SHA-256 with the manifest, so a store that was damaged on
    disk is an error and never a number. Pickles as its path and fingerprint, so it travels to worker processes for free
    and another store that has taken its place meanwhile is refused there.

    Attributes:
        folder: where the store lies.
        subjects: its subjects, in the arrays' order.
        ids: their ids.
        fingerprint: SHA-256 of the builder's manifest and every subject's content.
        shape: (D, H, W) of a volume.
        has_lesions: whether it holds lesion masks.
    """

    def __init__(self, folder: Path, subjects: tuple[Subject, ...], manifest: Mapping[str, Any]) -> None:
        self.folder = folder
        self.subjects = subjects
        self.ids = tuple(subject.id for subject in subjects)
        self.manifest = manifest
        self.has_lesions = bool(manifest["recipe"]["has_lesions"])
        self.fingerprint = str(manifest["fingerprint"])
        depth, height, width = manifest["shape"]
        self.shape: tuple[int, int, int] = (depth, height, width)
        self._index = {subject: index for index, subject in enumerate(self.ids)}
        names = array_names(self.has_lesions)
        self._digests = {one.id: {name: str(manifest["content"][one.id][name]) for name in names} for one in subjects}
        self._arrays = {name: mapped(folder, name, (len(subjects), *self.shape)) for name in names}
        self._checked: set[tuple[str, str]] = set()

    @classmethod
    def open(cls, folder: Path, fingerprint: str | None = None) -> VolumeStore:
        """Open a finished store.

        Args:
            folder: where it lies.
            fingerprint: what it must be; None takes whatever lies there.

        Raises:
            DataError: no finished store lies there, its files do not belong together, or it is another one.
        """
        manifest = read_json(folder / MANIFEST)
        if manifest is None:
            raise DataError(f"{folder} holds no finished volume store; run the command that uses it again to make it")
        try:
            if manifest["format"] != FORMAT or len(manifest["fingerprint"]) != _HASH_LENGTH:
                raise DataError(f"{folder} was written by another version; delete it and prepare the data again")
            subjects = tuple(Subject(**entry) for entry in manifest["recipe"]["subjects"])
            if [subject.id for subject in subjects] != list(manifest["content"]):
                raise DataError(f"{folder / MANIFEST} is inconsistent; delete {folder} and prepare the data again")
            store = cls(folder, subjects, manifest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"{folder / MANIFEST} is damaged; delete {folder} and prepare the data again") from error
        if fingerprint not in (None, store.fingerprint):
            raise DataError(
                f"{folder} holds other volumes than it did when this run began: somebody has made it anew; "
                "run the same command again"
            )
        return store

    @property
    def voxel_mm(self) -> float:
        """Edge of a voxel, mm: scans have 1 mm, and the preparation in the manifest says by how much it coarsened them.

        Raises:
            DataError: the manifest names no preparation.
        """
        try:
            return float(self.manifest["recipe"]["manifest"]["preparation"]["factor"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{self.folder / MANIFEST} does not say how large a voxel is; delete {self.folder} and prepare the "
                "data again"
            ) from error

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel, millilitres.

        Raises:
            DataError: as `voxel_mm`.
        """
        return self.voxel_mm**3 / 1000

    def volume(self, subject: str) -> NDArray[np.float32]:
        """Intensities of a subject in [0, 1], float32 [D, H, W], read-only.

        Raises:
            DataError: no such subject, or the file was damaged.
        """
        array: NDArray[np.float32] = self._read(VOLUME, subject)
        return array

    def brain_mask(self, subject: str) -> NDArray[np.bool_]:
        """Brain mask of a subject, bool [D, H, W], read-only.

        Raises:
            DataError: no such subject, or the file was damaged.
        """
        return self._read(BRAIN, subject).view(np.bool_)

    def lesion_mask(self, subject: str) -> NDArray[np.bool_]:
        """Lesion mask of a subject, bool [D, H, W], read-only.

        Raises:
            DataError: the set has no lesions, no such subject, or the file was damaged.
        """
        return self._labelled(subject, IS_LESION)

    def ignored_mask(self, subject: str) -> NDArray[np.bool_]:
        """Where a subject's labels mark what is neither lesion nor background, bool [D, H, W], read-only.

        Raises:
            DataError: as `lesion_mask`.
        """
        return self._labelled(subject, IS_IGNORED)

    def check(self) -> None:
        """Compare every array of every subject with the manifest.

        Raises:
            DataError: one was damaged.
        """
        for subject in self.ids:
            for name in self._arrays:
                self._read(name, subject)

    def _labelled(self, subject: str, value: int) -> NDArray[np.bool_]:
        if not self.has_lesions:
            raise DataError(f"{self.folder} holds healthy scans and therefore no lesion masks")
        sys.audit(LESION_READ, f"{self.folder.name}, {subject}")
        mask: NDArray[np.bool_] = self._read(LESION, subject) == value
        mask.setflags(write=False)
        return mask

    def _read(self, name: str, subject: str) -> NDArray[Any]:
        if subject not in self._index:
            raise DataError(f"{self.folder} holds no subject {subject!r}, but {shorten(self.ids)}")
        array: NDArray[Any] = self._arrays[name][self._index[subject]]
        if (name, subject) not in self._checked:
            if sha256_of_array(array) != self._digests[subject][name]:
                raise DataError(
                    f"{self.folder / FILES[name]}: the {name} of {subject} was damaged on disk; "
                    f"delete {self.folder} and prepare the data again"
                )
            self._checked.add((name, subject))
        return array

    def __reduce__(self) -> tuple[Callable[[Path, str | None], VolumeStore], tuple[Path, str]]:
        return VolumeStore.open, (self.folder, self.fingerprint)

    def __repr__(self) -> str:
        return f"VolumeStore({str(self.folder)!r}, {len(self.ids)} subjects, shape {self.shape})"
