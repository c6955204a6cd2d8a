"""Building a volume store: one subject at a time, resumable, and put in place by a rename (see `store`)."""

from __future__ import annotations

import csv
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError, shorten
from ...files import LockTimeoutError, locked, read_json, remove, sha256_of_json, versions_of, write_json
from ...workers import be_a_good_child, in_workers, one_blas_thread
from ..cohort import Subject
from ..scans.preparation import PreparedVolume
from .arrays import (
    BRAIN,
    DTYPES,
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
    write_entry,
)
from .store import Progress, VolumeStore

Prepare = Callable[[Subject], PreparedVolume]

_SUBJECTS, _DONE = "subjects.csv", "done"
_LIBRARIES = ("numpy", "scipy", "SimpleITK", "nibabel", "nilearn")


class StoreWarning(UserWarning):
    """A volume store is made anew, and why."""


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
    if found.get("format") != FORMAT or found.get("recipe") != recipe:
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
        if read_json(self.folder / MANIFEST) == {"format": FORMAT, "recipe": self.recipe}:
            return
        remove(self.folder)
        (self.folder / _DONE).mkdir(parents=True)
        write_json(self.folder / MANIFEST, {"format": FORMAT, "recipe": self.recipe})

    def remaining(self) -> list[int]:
        """Indices of the subjects still to prepare: no marker, or (after a power cut) content unlike its marker."""
        return [index for index in range(len(self.subjects)) if not self._is_done(index)]

    def _is_done(self, index: int) -> bool:
        marker = read_json(self._marker(index)) or {}
        try:
            shape = (len(self.subjects), *marker["shape"])
            arrays = {name: mapped(self.folder, name, shape)[index] for name in marker["content"]}
        except (DataError, KeyError, TypeError):
            return False
        return bool(arrays) and {name: sha256_of_array(array) for name, array in arrays.items()} == marker["content"]

    def write(self, index: int, prepared: PreparedVolume) -> None:
        """Write a subject's arrays, then its marker.

        Raises:
            DataError: arrays that do not fit the store.
        """
        arrays = self._checked_arrays(index, prepared)
        for name, array in arrays.items():
            write_entry(self.folder / FILES[name], len(self.subjects), index, array)
        content = {name: sha256_of_array(array) for name, array in arrays.items()}
        write_json(self._marker(index), {"shape": prepared.volume.shape, "content": content})

    def _checked_arrays(self, index: int, prepared: PreparedVolume) -> dict[str, NDArray[Any]]:
        given: dict[str, Any] = {VOLUME: prepared.volume, BRAIN: prepared.brain_mask, LESION: _labels(prepared)}
        has_lesions = bool(self.recipe["has_lesions"])
        if (prepared.lesion_mask is not None) != has_lesions:
            raise DataError(f"{self.subjects[index].id}: a lesion mask is {'missing' if has_lesions else 'unexpected'}")
        arrays = {name: np.ascontiguousarray(given[name], dtype=DTYPES[name]) for name in array_names(has_lesions)}
        if len({array.shape for array in arrays.values()}) != 1 or prepared.volume.ndim != 3:
            raise DataError(f"{self.subjects[index].id}: volume and masks must be 3-D and of one shape")
        return arrays

    def finish(self) -> None:
        """Complete the manifest, which makes the partial store a store."""
        markers = [json.loads(self._marker(index).read_text()) for index in range(len(self.subjects))]
        content = {subject.id: marker["content"] for subject, marker in zip(self.subjects, markers, strict=True)}
        determining = {"recipe": self.recipe, "content": content}
        manifest = {
            "format": FORMAT,
            "recipe": self.recipe,
            "shape": markers[0]["shape"],
            "content": content,
            "fingerprint": sha256_of_json(determining),
            "made_with": versions_of(_LIBRARIES),
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
        with one_blas_thread():
            prepared = _prepare_one(prepare, subjects[index])
        yield index, prepared


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
    return np.where(prepared.lesion_mask, IS_LESION, np.where(prepared.ignored_mask, IS_IGNORED, 0))


def _replace_folder(source: Path, target: Path) -> None:
    """Rename a folder onto another; in between, at worst, the old one lies at `<target>.old` and the new one waits."""
    old = target.with_name(f"{target.name}.old")
    remove(old)
    shutil.rmtree(source / _DONE, ignore_errors=True)
    if target.exists() or target.is_symlink():
        target.rename(old)
    source.rename(target)
    remove(old)
