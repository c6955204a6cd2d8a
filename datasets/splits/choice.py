"""The split of a data directory: its own files, as they are or without leaks, or a partition of our own; audited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import DataError, shorten
from ..base import DataSet
from ..cohort import HEALTHY, Fold, Part, Splits, Subject
from ..findings import LeakError
from ..found import FoundSet, People
from ..layout import SPLITS_FOLDER, available_csv
from ..modality import Modality
from .audit import audit, deleak, leaks_among
from .own import (
    OWN_SPLIT_SEED,
    age_notes,
    has_split_files,
    own_part,
    own_splits,
    read_ages,
    read_available,
    read_healthy_splits,
    read_lesion_part,
    read_sites,
)

SPLIT_CHOICES = ("published", "deleaked", "own")

_LEAK_REMEDY = (
    "Choose --splits deleaked to drop the leaking scans, --splits own for a partition of our own, "
    "or --splits published to accept the leaks (the results then say so)."
)


def choose_splits(
    directory: Path, sets: Mapping[str, FoundSet], known: Sequence[DataSet], choice: str | None
) -> Splits:
    """The split of a directory, audited.

    Args:
        directory: the data directory.
        sets: by key, what lies there; the healthy set is one of them.
        known: every set whose split files may lie there.
        choice: "published", "deleaked", "own" or None, see `load.load_disk`.

    Raises:
        LeakError: the split files leak and nothing was chosen.
        DataError: an unknown choice, or split files that are missing or malformed.
    """
    if choice is not None and choice not in SPLIT_CHOICES:
        raise DataError(f"--splits {choice} is unknown; choose one of {', '.join(SPLIT_CHOICES)}")
    folder = directory / SPLITS_FOLDER
    healthy = sets[HEALTHY].data_set
    has_files = has_split_files(folder, healthy)
    if choice in ("published", "deleaked") and not has_files:
        raise DataError(f"{folder} holds no split files {healthy.csv_prefix}_*.csv; add them or choose --splits own")
    if choice == "own" or not has_files:
        return _own(directory, sets)
    return _published(directory, sets, known, choice)


def _own(directory: Path, sets: Mapping[str, FoundSet]) -> Splits:
    subjects = {key: _subjects(directory, found) for key, found in sets.items()}
    split = own_splits(subjects, {key: found.data_set for key, found in sets.items()})
    return replace(split, findings=audit(split, _person_of(sets)))


def _published(directory: Path, sets: Mapping[str, FoundSet], known: Sequence[DataSet], choice: str | None) -> Splits:
    raw = _read_split_files(directory, sets, known)
    findings = audit(raw, _person_of(sets))
    if choice is None and leaks_among(findings):
        raise LeakError(_LEAK_REMEDY, leaks_among(findings))
    usable = _with_modality(raw, directory / SPLITS_FOLDER, sets[HEALTHY].modality)
    if choice == "deleaked":
        clean = deleak(usable, _person_of(sets))
        return replace(clean, findings=audit(clean, _person_of(sets)))
    name = "phantom" if all(found.is_phantom for found in sets.values()) else "published"
    return replace(usable, name=name, findings=findings)


def _read_split_files(directory: Path, sets: Mapping[str, FoundSet], known: Sequence[DataSet]) -> Splits:
    folder = directory / SPLITS_FOLDER
    folds, test = read_healthy_splits(folder, sets[HEALTHY].data_set)
    lesion: dict[str, Part] = {}
    notes: list[str] = []
    for data_set in known:
        listed = not data_set.is_healthy and has_split_files(folder, data_set)
        found = sets.get(data_set.key) if not data_set.is_healthy else None
        if found is not None and listed:
            lesion[data_set.key] = read_lesion_part(folder, data_set)
        elif found is not None:
            subjects = _subjects(directory, found)
            lesion[data_set.key] = own_part(subjects, data_set, seed=OWN_SPLIT_SEED)
            notes += [f"{data_set.title} has no split files, its split is our own", *age_notes(subjects, data_set)]
        elif listed:
            notes.append(f"{data_set.title} is in the split files but has no scans here; it is left out")
    return Splits("published", folds, test, lesion, notes=tuple(notes))


def _with_modality(split: Splits, folder: Path, modality: Modality) -> Splits:
    """The split without the healthy scans that never had this modality."""
    available = read_available(folder, modality)
    if available is None:
        return split

    def kept(scans: Sequence[str]) -> tuple[str, ...]:
        return tuple(scan for scan in scans if scan in available)

    folds = tuple(Fold(kept(fold.train), kept(fold.val)) for fold in split.folds)
    test = kept(split.healthy_test)
    if not test or not all(fold.train and fold.val for fold in folds):
        name = available_csv(modality)
        raise DataError(f"{name} leaves a part of the split without any scan; correct or remove the file")
    dropped = set(split.scans_of(HEALTHY)) - available
    short = shorten(tuple(sorted(dropped)))
    note = f"{len(dropped)} listed scans have no {modality.upper()} and are left out: {short}"
    notes = (*split.notes, note) if dropped else split.notes
    return replace(split, folds=folds, healthy_test=test, notes=notes)


def _subjects(directory: Path, found: FoundSet) -> list[Subject]:
    people = known_people(directory)
    return [found.subject(scan, people) for scan in found.scans]


def known_people(directory: Path) -> People:
    """The ages and sites that the tables of a directory's splits tell."""
    folder = directory / SPLITS_FOLDER
    return People(read_ages(folder), read_sites(folder)) if folder.is_dir() else People({}, {})


def _person_of(sets: Mapping[str, FoundSet]) -> dict[str, Callable[[str], str]]:
    return {key: found.data_set.person_of for key, found in sets.items()}
