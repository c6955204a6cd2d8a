"""Data from disk: a directory in the field's shared layout, audited, prepared and ready for the engine.

Cheap checks come first: layout, split files, leaks and missing files are found in a second, before any scan is read.
Then every scan that stands in a part is prepared once into a memory-mapped store below the cache folder; a store is
found again by the hash of everything that determines it, down to the content of the source files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, shorten
from ..files import read_json, sha256_of_json, write_json
from .base import DataSet, Labels
from .cohort import HEALTHY, Cohort, Data, Splits, Subject, is_phantom_name
from .findings import Problem
from .found import FoundSet, find_sets, unknown_note
from .layout import MASK, SEGMENTATION, SPLITS_FOLDER, scan_path
from .modality import Modality
from .rows import provenance_of
from .scans.nifti import read_image, read_lesions, read_mask
from .scans.preparation import PREPARATION_VERSION, PreparationSettings, PreparedVolume, prepare_volume
from .scans.scan_file import scan_stamp, sha256_of
from .scans.space import Grid
from .splits.audit import audit
from .splits.choice import choose_splits, known_people
from .store.build import build_store
from .store.store import Progress

_SOURCE_HASHES = "source-hashes.json"
_ENTRY_LENGTH = 3  # of its entries, at least: size, time, SHA-256


def load_disk(
    directory: Path,
    cache: Path,
    settings: PreparationSettings,
    splits: str | None,
    jobs: int,
    progress: Progress | None = None,
    *,
    known: Sequence[DataSet],
    modality: Modality = Modality.T2,
) -> Data:
    """Read a data directory (see `layout` for its form): audit its split, prepare its scans, open them.

    A lesion set whose folder is absent or empty is simply not there.

    Args:
        directory: the data directory.
        cache: where stores are kept; one store takes about 2.8 MB per scan.
        settings: the numbers of the preparation.
        splits: "published" takes the split files as they are and keeps what the audit found on `Splits.findings`;
            "deleaked" takes them without leaks and duplicates; "own" ignores them; None is "published" if there are
            split files and they do not leak, and "own" if there are none.
        jobs: worker processes.
        progress: called with (scans done, scans in all), for each set that has to be prepared.
        known: the data sets that may lie there: `registry.data_sets().values()`.
        modality: the contrast of the scans that are read.

    Raises:
        LeakError: the split files leak and `splits` is None.
        DataError: the directory is not in the layout, or a file is missing or unusable.
    """
    sets = find_sets(directory, known, modality)
    split = choose_splits(directory, sets, known, splits)
    split = replace(split, notes=(*split.notes, *unknown_note(directory, known, modality)))
    _refuse_missing(directory, sets, split)
    people = known_people(directory)
    cohorts = {}
    for key in (HEALTHY, *split.lesion):
        subjects = [sets[key].subject(scan, people) for scan in split.scans_of(key)]
        cohorts[key] = _cohort(directory, cache, sets[key], subjects, settings, jobs=jobs, progress=progress)
    healthy = cohorts.pop(HEALTHY)
    title = ", ".join(cohort.title for cohort in (healthy, *cohorts.values()))
    return Data(_data_name(directory, sets), title, healthy, cohorts, split)


def _data_name(directory: Path, sets: Mapping[str, FoundSet]) -> str:
    """The directory's name; it begins with "phantom" exactly where all sets are the phantom."""
    name = directory.resolve().name
    claims = is_phantom_name(name)
    if all(found.is_phantom for found in sets.values()):
        return name if claims else f"phantom-{name}"
    return f"mixed-{name}" if claims else name


# ------------------------------------------------------------------------------------------------- what is refused


def _refuse_missing(directory: Path, sets: Mapping[str, FoundSet], split: Splits) -> None:
    findings = audit(split, {}, present={key: found.complete for key, found in sets.items()})
    missing = [finding for finding in findings if finding.kind is Problem.MISSING_FILE]
    if not missing:
        return
    paths = tuple(
        str(scan_path(directory, sets[key].data_set, kind, scan).relative_to(directory))
        for key in (HEALTHY, *split.lesion)
        for scan in split.scans_of(key)
        for kind in sets[key].kinds
        if scan not in sets[key].files[kind]
    )
    raise DataError(
        f"{directory} lacks files of scans that stand in {', '.join(dict.fromkeys(one.part_a for one in missing))}: "
        f"{shorten(paths)}; add them, or take these scans out (of {SPLITS_FOLDER}/*.csv, and their images)"
    )


# ---------------------------------------------------------------------------------------------------- its scans


def _cohort(
    directory: Path,
    cache: Path,
    found: FoundSet,
    subjects: Sequence[Subject],
    settings: PreparationSettings,
    *,
    jobs: int,
    progress: Progress | None,
) -> Cohort:
    files = {one.id: {kind: found.files[kind][one.id] for kind in found.kinds} for one in subjects}
    hashes = _hash_sources(cache, [path for kinds in files.values() for path in kinds.values()], jobs)
    manifest: dict[str, Any] = {
        "set": found.name,
        "modality": found.modality.value,
        "version": PREPARATION_VERSION,
        "preparation": asdict(settings),
        "labels": asdict(found.data_set.labels.prepared),
        "sources": {scan: {kind: hashes[path] for kind, path in kinds.items()} for scan, kinds in files.items()},
    }
    key = sha256_of_json([manifest, [asdict(one) for one in subjects]])
    store = build_store(
        cache / f"{found.name}-{found.modality}-{key[:12]}",
        subjects,
        _PrepareScan(files, found.modality, settings, found.data_set.labels.prepared),
        manifest,
        has_lesions=found.key != HEALTHY,
        jobs=jobs,
        progress=progress,
    )
    images = {scan: kinds[found.modality] for scan, kinds in manifest["sources"].items()}
    provenance = provenance_of(directory, found.data_set.name, found.modality, images)
    return Cohort(found.name, found.title, found.key, store, found.modality, provenance)


@dataclass(frozen=True)
class _PrepareScan:
    """Prepares a subject from its files; an object and no closure, because worker processes need to unpickle it."""

    files: Mapping[str, Mapping[str, Path]]
    modality: Modality
    settings: PreparationSettings
    labels: Labels

    def __call__(self, subject: Subject) -> PreparedVolume:
        paths = self.files[subject.id]
        image, grid = read_image(paths[self.modality])
        brain = read_mask(paths[MASK], paths[self.modality], grid)
        lesions, ignored = self._lesions(paths, grid) if SEGMENTATION in paths else (None, None)
        try:
            return prepare_volume(image, brain, lesions, self.settings, ignored)
        except DataError as error:
            raise DataError(f"{paths[self.modality]}: {error}") from error

    def _lesions(self, paths: Mapping[str, Path], grid: Grid) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Lesions, and what is neither lesion nor background."""
        lesion, ignored = self.labels.lesion, self.labels.ignored
        return read_lesions(paths[SEGMENTATION], paths[self.modality], grid, lesion=lesion, ignored=ignored)


def _hash_sources(cache: Path, paths: Sequence[Path], jobs: int) -> dict[Path, str]:
    """SHA-256 of every source file; a file whose size and time have not changed is not read again."""
    cache.mkdir(parents=True, exist_ok=True)
    known = _known_hashes(cache / _SOURCE_HASHES)
    stamps = {path: _stamp(path) for path in paths}
    unknown = [path for path in paths if known.get(str(path.resolve()), [None])[:-1] != stamps[path]]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        fresh = dict(zip(unknown, pool.map(sha256_of, unknown), strict=True))
    if fresh:
        entries = {str(path.resolve()): [*stamps[path], digest] for path, digest in fresh.items()}
        write_json(cache / _SOURCE_HASHES, {**known, **entries})
    return {path: fresh.get(path) or known[str(path.resolve())][-1] for path in paths}


def _known_hashes(path: Path) -> dict[str, Any]:
    """By file: its stamp and SHA-256; entries that no version of ours wrote are left out."""
    found = read_json(path) or {}
    return {name: entry for name, entry in found.items() if isinstance(entry, list) and len(entry) >= _ENTRY_LENGTH}


def _stamp(path: Path) -> list[int]:
    try:
        return scan_stamp(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check its permissions or copy it again") from error
