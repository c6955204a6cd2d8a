"""Data from disk: a directory in the field's shared layout, audited, prepared and ready for the engine.

Cheap checks come first: layout, split files, leaks and missing files are found in a second, before any scan is read.
Then every scan that stands in a part is prepared once into a memory-mapped store below the cache folder; a store is
found again by the hash of everything that determines it, down to the content of the source files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import DataError, shorten
from ..files import read_json, write_json
from . import brats21, ixi, mslub
from .cohort import Cohort, Data, Fold, Part, Provenance, Role, Splits, Subject
from .downloads.prepare import provenance_of
from .findings import LeakError, Problem
from .layout import IMAGE, MASK, PHANTOM_MARK, SEGMENTATION, SPLITS_FOLDER, DataSetInfo, scan_path, stem_of, suffix_of
from .scans.nifti import read_image, read_mask
from .scans.preparation import PREPARATION_VERSION, PreparationSettings, PreparedVolume, prepare_volume
from .scans.scan_file import is_pair, scan_parts, scan_stamp, sha256_of
from .splits.audit import audit, deleak, leaks_among
from .splits.own import (
    OWN_SPLIT_SEED,
    age_notes,
    has_split_files,
    own_part,
    own_splits,
    read_ages,
    read_available,
    read_healthy_splits,
    read_lesion_part,
)
from .store.store import Progress, VolumeStore, build_store

DATA_SETS: tuple[DataSetInfo, ...] = (ixi.INFO, brats21.INFO, mslub.INFO)
SPLIT_CHOICES = ("published", "deleaked", "own")

_PHANTOM_TITLES = {Role.HEALTHY: "phantom healthy", Role.TUMOURS: "phantom tumours", Role.MS: "phantom MS"}
_SOURCE_HASHES = "source-hashes.json"
_ENTRY_LENGTH = 3  # of its entries, at least: size, time, SHA-256
_LEAK_REMEDY = (
    "Choose --splits deleaked to drop the leaking scans, --splits own for a partition of our own, "
    "or --splits published to accept the leaks (the results then say so)."
)


def load_disk(
    directory: Path,
    cache: Path,
    settings: PreparationSettings,
    splits: str | None,
    jobs: int,
    progress: Progress | None = None,
) -> Data:
    """Read a data directory (see `layout` for its form): audit its split, prepare its scans, open them.

    A lesion set whose folder is absent or empty is simply not there.

    Args:
        directory: the data directory.
        cache: where stores are kept; one store takes about 2.8 MB a scan.
        settings: the numbers of the preparation.
        splits: "published" takes the split files as they are and keeps what the audit found on `Splits.findings`;
            "deleaked" takes them without leaks and duplicates; "own" ignores them; None is "published" if there are
            split files and they do not leak, and "own" if there are none.
        jobs: worker processes.
        progress: called with (scans done, scans in all), for each set that has to be prepared.

    Raises:
        LeakError: the split files leak and `splits` is None.
        DataError: the directory is not in the layout, or a file is missing or unusable.
    """
    sets = find_sets(directory)
    split = choose_splits(directory, sets, splits)
    _refuse_missing(directory, sets, split)
    ages = _ages(directory)
    cohorts = {}
    for role in (Role.HEALTHY, *split.lesion):
        subjects = [sets[role].subject(scan, ages) for scan in scans_of(split, role)]
        cohort = _cohort(cache, sets[role], subjects, settings, jobs=jobs, progress=progress)
        cohorts[role] = replace(cohort, provenance=_provenance(directory, sets[role], cohort.store))
    healthy = cohorts.pop(Role.HEALTHY)
    title = ", ".join(cohort.title for cohort in (healthy, *cohorts.values()))
    return Data(_data_name(directory, sets), title, healthy, cohorts, split)


@dataclass(frozen=True)
class FoundSet:
    """A data set that lies in a directory.

    Attributes:
        info: its identity.
        files: for each kind of file ("t2", "mask", "seg") the path of each scan.
        is_phantom: whether it is an export of the phantom.
        doubled: a sentence for each scan that has two files of one kind; the first in order of name is in `files`.
    """

    info: DataSetInfo
    files: Mapping[str, Mapping[str, Path]]
    is_phantom: bool
    doubled: tuple[str, ...] = ()

    @property
    def scans(self) -> tuple[str, ...]:
        """Every scan that has an image, in order of name."""
        return tuple(sorted(self.files[IMAGE]))

    @property
    def complete(self) -> frozenset[str]:
        """The scans of which no file is missing."""
        return frozenset(self.files[IMAGE]).intersection(*self.files.values())

    def subject(self, scan: str, ages: Mapping[str, float]) -> Subject:
        """The subject behind a scan."""
        return Subject(scan, ages.get(scan), self.info.site_of(scan))

    @property
    def name(self) -> str:
        """Name of the cohort: the set's own, or the phantom's."""
        return f"phantom-{self.info.role}" if self.is_phantom else self.info.name

    @property
    def title(self) -> str:
        """Title of the cohort: the set's own, or the phantom's."""
        return _PHANTOM_TITLES[self.info.role] if self.is_phantom else self.info.title


# ------------------------------------------------------------------------------------------------- what lies there


def find_sets(directory: Path) -> dict[Role, FoundSet]:
    """The data sets that lie in a directory, the healthy one first.

    Raises:
        DataError: there is no healthy set, or a scan has two files of one kind.
    """
    if not directory.is_dir():
        raise DataError(f"{directory} is no directory; give --data a directory that holds {ixi.INFO.folder}/{IMAGE}")
    found = {info.role: find_set(directory, info) for info in DATA_SETS}
    doubled = [sentence for one in found.values() for sentence in one.doubled]
    if doubled:
        raise DataError(doubled[0])
    if not found[Role.HEALTHY].scans:
        expected = scan_path(directory, ixi.INFO, IMAGE, "<scan>")
        raise DataError(f"{directory} holds no healthy scans; they are expected as {expected}")
    return {role: one for role, one in found.items() if one.scans}


def find_set(directory: Path, info: DataSetInfo) -> FoundSet:
    """What lies in a directory of one data set, which may be nothing."""
    folder = directory / info.folder
    indices = {kind: _index(folder / kind, kind) for kind in info.kinds}
    files = {kind: index for kind, (index, _) in indices.items()}
    doubled = tuple(sentence for _, sentences in indices.values() for sentence in sentences)
    return FoundSet(info, files, (folder / PHANTOM_MARK).exists(), doubled)


def _index(folder: Path, kind: str) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder by scan, "IXI002-Guys-0828" for IXI002-Guys-0828_t2.nii.gz; what stands twice.

    A pair of .hdr and .img is one scan, named by its header.
    """
    index: dict[str, Path] = {}
    doubled: list[str] = []
    if not folder.is_dir():
        return index, doubled
    for path in sorted(folder.iterdir()):
        if suffix_of(path.name) is None or path.name.startswith("."):
            continue
        scan = stem_of(path.name).removesuffix(f"_{kind}")
        if scan not in index:
            index[scan] = path
        elif is_pair(index[scan], path) and path in scan_parts(index[scan]):
            index[scan] = scan_parts(path)[0]
        else:
            doubled.append(f"{index[scan]} and {path.name} are the same scan; remove one of them")
    return index, doubled


def _data_name(directory: Path, sets: Mapping[Role, FoundSet]) -> str:
    """The directory's name; it begins with "phantom" exactly where all sets are the phantom."""
    name = directory.resolve().name
    claims = name.startswith("phantom")
    if all(found.is_phantom for found in sets.values()):
        return name if claims else f"phantom-{name}"
    return f"mixed-{name}" if claims else name


def _ages(directory: Path) -> dict[str, float]:
    folder = directory / SPLITS_FOLDER
    return read_ages(folder) if folder.is_dir() else {}


# --------------------------------------------------------------------------------------------------------- its split


def choose_splits(directory: Path, sets: Mapping[Role, FoundSet], choice: str | None) -> Splits:
    """The split of a directory, audited; see `load_disk` for the choices.

    Raises:
        LeakError: the split files leak and nothing was chosen.
        DataError: an unknown choice, or split files that are missing or malformed.
    """
    if choice is not None and choice not in SPLIT_CHOICES:
        raise DataError(f"--splits {choice} is unknown; choose one of {', '.join(SPLIT_CHOICES)}")
    folder = directory / SPLITS_FOLDER
    has_files = has_split_files(folder, sets[Role.HEALTHY].info)
    if choice in ("published", "deleaked") and not has_files:
        raise DataError(f"{folder} holds no split files {ixi.INFO.csv_prefix}_*.csv; add them or choose --splits own")
    if choice == "own" or not has_files:
        return _own(directory, sets)
    return _published(directory, sets, choice)


def _own(directory: Path, sets: Mapping[Role, FoundSet]) -> Splits:
    ages = _ages(directory)
    subjects = {role: [found.subject(scan, ages) for scan in found.scans] for role, found in sets.items()}
    split = own_splits(subjects, {role: found.info for role, found in sets.items()})
    return replace(split, findings=audit(split, _people(sets)))


def _published(directory: Path, sets: Mapping[Role, FoundSet], choice: str | None) -> Splits:
    raw = _read_split_files(directory, sets)
    findings = audit(raw, _people(sets))
    if choice is None and leaks_among(findings):
        raise LeakError(_LEAK_REMEDY, leaks_among(findings))
    usable = _with_t2(raw, read_available(directory / SPLITS_FOLDER))
    if choice == "deleaked":
        clean = deleak(usable, _people(sets))
        return replace(clean, findings=audit(clean, _people(sets)))
    name = "phantom" if all(found.is_phantom for found in sets.values()) else "published"
    return replace(usable, name=name, findings=findings)


def _read_split_files(directory: Path, sets: Mapping[Role, FoundSet]) -> Splits:
    folder = directory / SPLITS_FOLDER
    folds, test = read_healthy_splits(folder, sets[Role.HEALTHY].info)
    lesion: dict[Role, Part] = {}
    notes: list[str] = []
    for info in DATA_SETS[1:]:
        listed = has_split_files(folder, info)
        if info.role in sets and listed:
            lesion[info.role] = read_lesion_part(folder, info)
        elif info.role in sets:
            ages = _ages(directory)
            subjects = [sets[info.role].subject(scan, ages) for scan in sets[info.role].scans]
            lesion[info.role] = own_part(subjects, info, seed=OWN_SPLIT_SEED)
            notes += [f"{info.title} has no split files, its split is our own", *age_notes(subjects, info)]
        elif listed:
            notes.append(f"{info.title} is in the split files but has no scans here; it is left out")
    return Splits("published", folds, test, lesion, notes=tuple(notes))


def _with_t2(split: Splits, available: frozenset[str] | None) -> Splits:
    """The split without the healthy scans that never had a T2."""
    if available is None:
        return split

    def kept(scans: Sequence[str]) -> tuple[str, ...]:
        return tuple(scan for scan in scans if scan in available)

    folds = tuple(Fold(kept(fold.train), kept(fold.val)) for fold in split.folds)
    test = kept(split.healthy_test)
    if not test or not all(fold.train and fold.val for fold in folds):
        raise DataError("avail_t2.csv leaves a part of the split without any scan; correct or remove the file")
    dropped = set(scans_of(split, Role.HEALTHY)) - available
    note = f"{len(dropped)} listed scans have no T2 and are left out: {shorten(tuple(sorted(dropped)))}"
    notes = (*split.notes, note) if dropped else split.notes
    return replace(split, folds=folds, healthy_test=test, notes=notes)


def _people(sets: Mapping[Role, FoundSet]) -> dict[Role, Callable[[str], str]]:
    return {role: found.info.person_of for role, found in sets.items()}


def scans_of(split: Splits, role: Role) -> tuple[str, ...]:
    """Every scan of a set that stands in some part, once, in order of name."""
    if role is Role.HEALTHY:
        in_folds = (scan for fold in split.folds for scan in (*fold.train, *fold.val))
        return tuple(sorted({*in_folds, *split.healthy_test}))
    part = split.lesion[role]
    return tuple(sorted({*part.val, *part.test}))


# ------------------------------------------------------------------------------------------------- what is refused


def _refuse_missing(directory: Path, sets: Mapping[Role, FoundSet], split: Splits) -> None:
    findings = audit(split, {}, present={role: found.complete for role, found in sets.items()})
    missing = [finding for finding in findings if finding.kind is Problem.MISSING_FILE]
    if not missing:
        return
    paths = tuple(
        str(scan_path(directory, sets[role].info, kind, scan).relative_to(directory))
        for role in (Role.HEALTHY, *split.lesion)
        for scan in scans_of(split, role)
        for kind in sets[role].info.kinds
        if scan not in sets[role].files[kind]
    )
    raise DataError(
        f"{directory} lacks files of scans that stand in {', '.join(dict.fromkeys(one.part_a for one in missing))}: "
        f"{shorten(paths)}; add them, or take these scans out (of {SPLITS_FOLDER}/*.csv, and their t2)"
    )


# ---------------------------------------------------------------------------------------------------- its scans


def _cohort(
    cache: Path,
    found: FoundSet,
    subjects: Sequence[Subject],
    settings: PreparationSettings,
    *,
    jobs: int,
    progress: Progress | None,
) -> Cohort:
    files = {one.id: {kind: found.files[kind][one.id] for kind in found.info.kinds} for one in subjects}
    hashes = _hash_sources(cache, [path for kinds in files.values() for path in kinds.values()], jobs)
    manifest = {
        "set": found.name,
        "version": PREPARATION_VERSION,
        "preparation": asdict(settings),
        "sources": {scan: {kind: hashes[path] for kind, path in kinds.items()} for scan, kinds in files.items()},
    }
    key = hashlib.sha256(json.dumps([manifest, [asdict(one) for one in subjects]], sort_keys=True).encode()).hexdigest()
    store = build_store(
        cache / f"{found.name}-{key[:12]}",
        subjects,
        _PrepareScan(files, settings),
        manifest,
        has_lesions=found.info.role is not Role.HEALTHY,
        jobs=jobs,
        progress=progress,
    )
    return Cohort(found.name, found.title, found.info.role, store)


def _provenance(directory: Path, found: FoundSet, store: VolumeStore) -> Provenance | None:
    sources = store.manifest["recipe"]["manifest"]["sources"]
    return provenance_of(directory, found.info, {scan: digests[IMAGE] for scan, digests in sources.items()})


@dataclass(frozen=True)
class _PrepareScan:
    """Prepares a subject from its files; an object and no closure, because worker processes need to unpickle it."""

    files: Mapping[str, Mapping[str, Path]]
    settings: PreparationSettings

    def __call__(self, subject: Subject) -> PreparedVolume:
        paths = self.files[subject.id]
        image, grid = read_image(paths[IMAGE])
        brain = read_mask(paths[MASK], paths[IMAGE], grid)
        lesions = read_mask(paths[SEGMENTATION], paths[IMAGE], grid) if SEGMENTATION in paths else None
        try:
            return prepare_volume(image, brain, lesions, self.settings)
        except DataError as error:
            raise DataError(f"{paths[IMAGE]}: {error}") from error


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
