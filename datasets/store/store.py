"""The volume store: the prepared volumes of one data set as memory-mapped arrays with a table and a manifest.

A store is a folder:

    volumes.npy        float32 [N, D, H, W]
    brain_masks.npy    uint8   [N, D, H, W]
    lesion_masks.npy   uint8   [N, D, H, W], only where the set has lesions: 1 is lesion, 2 is ignored, 0 is neither
    subjects.csv       one row a subject, in the arrays' order
    manifest.json      what it was made from and how, and the SHA-256 of every array of every subject

It is built beside its place, in `<folder>.partial`, one subject at a time with a marker for each that is done, and put
in place by a rename: whoever opens a store sees all of it or nothing, and a build that is interrupted at any moment
goes on where it stopped. Only the building process writes; its workers prepare, at most two results a worker wait.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, shorten
from ...files import LockTimeoutError, locked, read_json, remove, write_json
from ...workers import be_a_good_child, in_workers
from ..cohort import Subject
from ..scans.preparation import PreparedVolume

Prepare = Callable[[Subject], PreparedVolume]
Progress = Callable[[int, int], None]

_FORMAT = 1
_VOLUME, _BRAIN, _LESION = "volume", "brain_mask", "lesion_mask"
LESION_FILE = "lesion_masks.npy"
_IS_LESION, _IS_IGNORED = 1, 2  # values in it
#: Audit event (PEP 578) of every lesion mask that is given out, so that a guard can tell who looks at labels.
LESION_READ = "uadbench.lesion_mask"
_FILES = {_VOLUME: "volumes.npy", _BRAIN: "brain_masks.npy", _LESION: LESION_FILE}
_DTYPES: dict[str, np.dtype[Any]] = {_VOLUME: np.dtype("<f4"), _BRAIN: np.dtype("u1"), _LESION: np.dtype("u1")}
MANIFEST, _SUBJECTS, _DONE = "manifest.json", "subjects.csv", "done"
_LIBRARIES = ("numpy", "scipy", "SimpleITK", "nibabel", "nilearn")
_HASH_LENGTH = 64


class StoreWarning(UserWarning):
    """A volume store is made anew, and why."""


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
        names = _names(self.has_lesions)
        self._digests = {one.id: {name: str(manifest["content"][one.id][name]) for name in names} for one in subjects}
        self._arrays = {name: _map(folder, name, (len(subjects), *self.shape)) for name in names}
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
            if manifest["format"] != _FORMAT or len(manifest["fingerprint"]) != _HASH_LENGTH:
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
        array: NDArray[np.float32] = self._read(_VOLUME, subject)
        return array

    def brain_mask(self, subject: str) -> NDArray[np.bool_]:
        """Brain mask of a subject, bool [D, H, W], read-only.

        Raises:
            DataError: no such subject, or the file was damaged.
        """
        return self._read(_BRAIN, subject).view(np.bool_)

    def lesion_mask(self, subject: str) -> NDArray[np.bool_]:
        """Lesion mask of a subject, bool [D, H, W], read-only.

        Raises:
            DataError: the set has no lesions, no such subject, or the file was damaged.
        """
        return self._labelled(subject, _IS_LESION)

    def ignored_mask(self, subject: str) -> NDArray[np.bool_]:
        """Where a subject's labels mark what is neither lesion nor background, bool [D, H, W], read-only.

        Raises:
            DataError: as `lesion_mask`.
        """
        return self._labelled(subject, _IS_IGNORED)

    def _labelled(self, subject: str, value: int) -> NDArray[np.bool_]:
        if not self.has_lesions:
            raise DataError(f"{self.folder} holds healthy scans and therefore no lesion masks")
        sys.audit(LESION_READ, f"{self.folder.name}, {subject}")
        mask: NDArray[np.bool_] = self._read(_LESION, subject) == value
        mask.setflags(write=False)
        return mask

    def _read(self, name: str, subject: str) -> NDArray[Any]:
        if subject not in self._index:
            raise DataError(f"{self.folder} holds no subject {subject!r}, but {shorten(self.ids)}")
        array: NDArray[Any] = self._arrays[name][self._index[subject]]
        if (name, subject) not in self._checked:
            if _sha256(array) != self._digests[subject][name]:
                raise DataError(
                    f"{self.folder / _FILES[name]}: the {name} of {subject} was damaged on disk; "
                    f"delete {self.folder} and prepare the data again"
                )
            self._checked.add((name, subject))
        return array

    def __reduce__(self) -> tuple[Callable[[Path, str | None], VolumeStore], tuple[Path, str]]:
        return VolumeStore.open, (self.folder, self.fingerprint)

    def __repr__(self) -> str:
        return f"VolumeStore({str(self.folder)!r}, {len(self.ids)} subjects, shape {self.shape})"


def build_store(
    folder: Path,
    subjects: Sequence[Subject],
    prepare: Prepare,
    manifest: Mapping[str, Any],
    *,
    has_lesions: bool,
    jobs: int,
    progress: Progress | None = None,
) -> VolumeStore:
    """Build a store, or go on with an interrupted build, or open the store that is there already.

    A store is up to date if manifest and subjects are the same; otherwise a warning says why it is built anew, beside
    the old one, which is replaced only when the new one is whole. Two processes that build the same store at once take
    turns, and the second finds it done.

    Args:
        folder: the store's place; `<folder>.partial` is used while building.
        subjects: whom to prepare, in the arrays' order; ids must be unique.
        prepare: makes a subject's volume; picklable, deterministic.
        manifest: what determines the numbers besides the subjects (steps, parameters, source hashes); JSON values.
        has_lesions: whether `prepare` gives lesion masks.
        jobs: worker processes; 1 prepares in this process.
        progress: called with (subjects done, subjects in all), first with what is done already.

    Raises:
        DataError: a subject cannot be prepared (named), ids repeat, or the disk is full; what is done is kept.
    """
    recipe = _recipe(subjects, manifest, has_lesions)
    build = _Build(folder.with_name(f"{folder.name}.partial"), tuple(subjects), recipe)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock"), progress=build.count):
            why = _why_not_current(folder, recipe)
            if not why:
                return VolumeStore.open(folder)
            if not _is_current(build.folder, recipe):  # it is, if the last build was cut off just before the rename
                warnings.warn(f"the volume store {folder} is made now: {why}", StoreWarning, stacklevel=2)
                build.start()
                _prepare_all(build, prepare, jobs, progress)
                build.finish()
            _replace_folder(build.folder, folder)
            return VolumeStore.open(folder)
    except LockTimeoutError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(
            f"{build.folder} cannot be written: {error.strerror or error}; make room or choose another folder, "
            "then start again: what is done is kept"
        ) from error


def _recipe(subjects: Sequence[Subject], manifest: Mapping[str, Any], has_lesions: bool) -> dict[str, Any]:
    """All that determines a store, as plain JSON, so that it compares equal to what was read back from disk."""
    ids = [subject.id for subject in subjects]
    if not ids:
        raise DataError("a volume store needs at least one subject")
    repeated = tuple(sorted({name for name in ids if ids.count(name) > 1}))
    if repeated:
        raise DataError(f"these subjects stand twice in one data set: {shorten(repeated)}; remove the duplicates")
    entries = [asdict(subject) for subject in subjects]
    recipe = {"manifest": dict(manifest), "subjects": entries, "has_lesions": has_lesions}
    plain: dict[str, Any] = json.loads(json.dumps(recipe))
    return plain


def _is_current(folder: Path, recipe: Mapping[str, Any]) -> bool:
    """Whether a finished store of this recipe lies here."""
    return not _why_not_current(folder, recipe)


def _why_not_current(folder: Path, recipe: Mapping[str, Any]) -> str:
    """What is wrong with a store for this recipe; "" where it can be opened."""
    if not folder.exists():
        return "there is none yet"
    if not (folder / MANIFEST).exists():
        return f"its {MANIFEST} is missing"
    found = read_json(folder / MANIFEST)
    if found is None:
        return f"its {MANIFEST} is damaged"
    if found.get("format") != _FORMAT or found.get("recipe") != recipe:
        return "it was made from other scans, with other numbers or by another version"
    try:
        VolumeStore.open(folder)  # a manifest without fingerprint is that of a build that was never finished
    except DataError as error:
        return str(error).partition(";")[0]
    return ""


@dataclass(frozen=True)
class _Build:
    """The write side: a partial store in the making. All state is on disk, so an interruption loses nothing."""

    folder: Path
    subjects: tuple[Subject, ...]
    recipe: Mapping[str, Any]

    def count(self) -> int:
        """How many subjects are done."""
        try:
            return sum(1 for _ in (self.folder / _DONE).iterdir())
        except OSError:
            return 0

    def start(self) -> None:
        """Keep a partial build of the same recipe, drop any other."""
        if read_json(self.folder / MANIFEST) == {"format": _FORMAT, "recipe": self.recipe}:
            return
        remove(self.folder)
        (self.folder / _DONE).mkdir(parents=True)
        write_json(self.folder / MANIFEST, {"format": _FORMAT, "recipe": self.recipe})

    def remaining(self) -> list[int]:
        """Indices of the subjects still to prepare: no marker, or (after a power cut) content unlike its marker."""
        return [index for index in range(len(self.subjects)) if not self._is_done(index)]

    def _is_done(self, index: int) -> bool:
        marker = read_json(self._marker(index)) or {}
        try:
            shape = (len(self.subjects), *marker["shape"])
            arrays = {name: _map(self.folder, name, shape)[index] for name in marker["content"]}
        except (DataError, KeyError, TypeError):
            return False
        return bool(arrays) and {name: _sha256(array) for name, array in arrays.items()} == marker["content"]

    def write(self, index: int, prepared: PreparedVolume) -> None:
        """Write a subject's arrays, then its marker.

        Raises:
            DataError: arrays that do not fit the store.
        """
        arrays = self._checked_arrays(index, prepared)
        for name, array in arrays.items():
            _write_entry(self.folder / _FILES[name], len(self.subjects), index, array)
        content = {name: _sha256(array) for name, array in arrays.items()}
        write_json(self._marker(index), {"shape": prepared.volume.shape, "content": content})

    def _checked_arrays(self, index: int, prepared: PreparedVolume) -> dict[str, NDArray[Any]]:
        given: dict[str, Any] = {_VOLUME: prepared.volume, _BRAIN: prepared.brain_mask, _LESION: _labels(prepared)}
        has_lesions = bool(self.recipe["has_lesions"])
        if (prepared.lesion_mask is not None) != has_lesions:
            raise DataError(f"{self.subjects[index].id}: a lesion mask is {'missing' if has_lesions else 'unexpected'}")
        arrays = {name: np.ascontiguousarray(given[name], dtype=_DTYPES[name]) for name in _names(has_lesions)}
        if len({array.shape for array in arrays.values()}) != 1 or prepared.volume.ndim != 3:
            raise DataError(f"{self.subjects[index].id}: volume and masks must be 3-D and of one shape")
        return arrays

    def finish(self) -> None:
        """Complete the manifest, which makes the partial store a store."""
        markers = [json.loads(self._marker(index).read_text()) for index in range(len(self.subjects))]
        content = {subject.id: marker["content"] for subject, marker in zip(self.subjects, markers, strict=True)}
        determining = json.dumps({"recipe": self.recipe, "content": content}, sort_keys=True)
        manifest = {
            "format": _FORMAT,
            "recipe": self.recipe,
            "shape": markers[0]["shape"],
            "content": content,
            "fingerprint": hashlib.sha256(determining.encode()).hexdigest(),
            "made_with": _versions(),
        }
        self._write_subjects()
        write_json(self.folder / MANIFEST, manifest)

    def _write_subjects(self) -> None:
        with (self.folder / _SUBJECTS).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "age", "site"])
            writer.writerows([subject.id, subject.age, subject.site] for subject in self.subjects)

    def _marker(self, index: int) -> Path:
        return self.folder / _DONE / f"{index}.json"


def _prepare_all(build: _Build, prepare: Prepare, jobs: int, progress: Progress | None) -> None:
    remaining = build.remaining()
    done = len(build.subjects) - len(remaining)
    report = progress or (lambda _done, _total: None)
    report(done, len(build.subjects))
    results = _in_processes if jobs > 1 and len(remaining) > 1 else _in_this_process
    for index, prepared in results(build.subjects, remaining, prepare, jobs):
        build.write(index, prepared)
        done += 1
        report(done, len(build.subjects))


def _in_this_process(
    subjects: Sequence[Subject], indices: Sequence[int], prepare: Prepare, _jobs: int
) -> Iterator[tuple[int, PreparedVolume]]:
    for index in indices:
        yield index, _prepare_one(prepare, subjects[index])


def _in_processes(
    subjects: Sequence[Subject], indices: Sequence[int], prepare: Prepare, jobs: int
) -> Iterator[tuple[int, PreparedVolume]]:
    numbered = [(index, subjects[index]) for index in indices]
    try:
        yield from in_workers(partial(_prepare_numbered, prepare), numbered, min(jobs, len(indices)), be_a_good_child)
    except BrokenProcessPool as error:
        raise DataError("a worker process died, probably for lack of memory; try again with fewer --jobs") from error


def _prepare_numbered(prepare: Prepare, numbered: tuple[int, Subject]) -> tuple[int, PreparedVolume]:
    index, subject = numbered
    return index, _prepare_one(prepare, subject)


def _prepare_one(prepare: Prepare, subject: Subject) -> PreparedVolume:
    try:
        return prepare(subject)
    except (ValueError, OSError, EOFError, RuntimeError, ArithmeticError) as error:
        text = str(error)
        raise DataError(text if subject.id in text else f"{subject.id}: {text}") from error


def _labels(prepared: PreparedVolume) -> NDArray[Any] | None:
    """What is stored of a segmentation: lesions win where both are marked."""
    if prepared.lesion_mask is None or prepared.ignored_mask is None:
        return prepared.lesion_mask
    return np.where(prepared.lesion_mask, _IS_LESION, np.where(prepared.ignored_mask, _IS_IGNORED, 0))


def _names(has_lesions: bool) -> tuple[str, ...]:
    return (_VOLUME, _BRAIN, _LESION) if has_lesions else (_VOLUME, _BRAIN)


def _map(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    path = folder / _FILES[name]
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is missing or cut short; delete {folder} and prepare the data again") from error
    if array.shape != shape or array.dtype != _DTYPES[name]:
        raise DataError(f"{path} holds {array.dtype} {array.shape}, not {_DTYPES[name]} {shape}; delete {folder}")
    return np.asarray(array)


def _write_entry(path: Path, count: int, index: int, array: NDArray[Any]) -> None:
    """Write entry `index` of a .npy file of `count` entries by plain file output.

    Not through a memory map: on a full disk a map kills the process, plain output raises.
    """
    header = {"descr": array.dtype.str, "fortran_order": False, "shape": (count, *array.shape)}
    if not path.exists():
        unfinished = path.with_suffix(".new")
        with unfinished.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            file.truncate(file.tell() + count * array.nbytes)
        unfinished.rename(path)
    with path.open("r+b") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        if tuple(shape) != header["shape"]:
            raise DataError(f"prepared volumes differ in shape: {shape[1:]} and {array.shape}")
        file.seek(index * array.nbytes, os.SEEK_CUR)
        file.write(array.data)


def _replace_folder(source: Path, target: Path) -> None:
    """Rename a folder onto another; in between, at worst, the old one lies at `<target>.old` and the new one waits."""
    old = target.with_name(f"{target.name}.old")
    remove(old)
    shutil.rmtree(source / _DONE, ignore_errors=True)
    if target.exists() or target.is_symlink():
        target.rename(old)
    source.rename(target)
    remove(old)


def _sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return versions
