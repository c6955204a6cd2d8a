"""Who trains, validates and tests: the published split files, or a split of our own.

Our own split is a true partition: the test scans are set aside first, and the validation sets of the five folds are
disjoint and together make up all the rest (each fold trains on the other four's). So with the 560 scans of IXI it tests
on 158 as published, but validates on about 80 a fold where the published files, which draw each fold anew, have 44.

It is stratified by age without age classes: people are ordered by age and cut into runs of neighbours, and each run
gives one to the test set, or one to each fold. Chance is a hash of (seed, person), so the split depends neither on the
order of the input nor on a random-number library.
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ...errors import DataError
from ..base import DataSet
from ..cohort import HEALTHY, Fold, Part, Splits, Subject
from ..layout import AGES, FOLDS, SITES, SPLITS_FOLDER, available_csv, stem_of
from ..modality import Modality

OWN_SPLIT_SEED = 0
_MODALITY = re.compile(rf"_({'|'.join(Modality)})$")


def scan_of(img_name: str) -> str:
    """The scan that a published `img_name` means: "IXI002-Guys-0828" of "IXI002-Guys-0828_t1.nii.gz"."""
    return _MODALITY.sub("", stem_of(img_name.strip()))


# ---------------------------------------------------------------------------------------------- a split of our own


def own_splits(
    cohorts: Mapping[str, Sequence[Subject]], data_sets: Mapping[str, DataSet], *, seed: int = OWN_SPLIT_SEED
) -> Splits:
    """Partition every set, stratified by age.

    Args:
        cohorts: by key, the scans of each set that is there; the healthy set must be.
        data_sets: by key, the identity of each: which scans show one person, and what share is held out.
        seed: another seed, another partition.

    Returns:
        Splits named "own", with a note for each set whose ages are not all known.

    Raises:
        DataError: a set is too small to give every part one scan.
    """
    folds, test = own_folds(cohorts[HEALTHY], data_sets[HEALTHY], seed=seed)
    lesion = {key: own_part(subjects, data_sets[key], seed=seed) for key, subjects in cohorts.items() if key != HEALTHY}
    notes = tuple(note for key in cohorts for note in age_notes(cohorts[key], data_sets[key]))
    return Splits("own", folds, test, lesion, notes=notes)


def own_folds(subjects: Sequence[Subject], data_set: DataSet, *, seed: int) -> tuple[tuple[Fold, ...], tuple[str, ...]]:
    """Test set and five folds of the healthy scans; a person's scans stay together.

    Raises:
        DataError: fewer than six people.
    """
    people = _people(subjects, data_set, seed)
    if len(people) < FOLDS + 1:
        raise DataError(
            f"{data_set.title} shows {len(people)} people; a split needs at least {FOLDS + 1}, "
            f"one for each of {FOLDS} folds and one to test"
        )
    held_out = min(_share(len(people), data_set), len(people) - FOLDS)
    test, rest = _one_of_each_run(people, held_out, f"{seed}:test")
    groups = _deal(rest, FOLDS, f"{seed}:folds")
    folds = []
    for number in range(FOLDS):
        others = [person for other, group in enumerate(groups) if other != number for person in group]
        folds.append(Fold(_scans(others), _scans(groups[number])))
    return tuple(folds), _scans(test)


def own_part(subjects: Sequence[Subject], data_set: DataSet, *, seed: int) -> Part:
    """Validation and test set of a lesion set.

    Raises:
        DataError: fewer than two people.
    """
    people = _people(subjects, data_set, seed)
    if len(people) < 2:
        raise DataError(
            f"{data_set.title} shows {len(people)} people; it needs at least two, one to choose the threshold, one to "
            "test"
        )
    val, test = _one_of_each_run(people, min(_share(len(people), data_set), len(people) - 1), f"{seed}:val")
    return Part(_scans(val), _scans(test))


def age_notes(subjects: Sequence[Subject], data_set: DataSet) -> tuple[str, ...]:
    """What the user should know about a split by ages that are not all there."""
    unknown = sum(subject.age is None for subject in subjects)
    if unknown == 0:
        return ()
    if unknown == len(subjects):
        remedy = f"give ages in {SPLITS_FOLDER}/{AGES} (columns img_name, age)"
        return (f"{data_set.title}: no ages are known, so our own split is not stratified by age; {remedy}",)
    return (
        f"{data_set.title}: {unknown} of {len(subjects)} scans have no age and are split as a stratum of their own",
    )


@dataclass(frozen=True)
class _Person:
    name: str
    age: float
    scans: tuple[str, ...]


def _people(subjects: Sequence[Subject], data_set: DataSet, seed: int) -> list[_Person]:
    """People in order of age, those of unknown age last; chance orders the equals."""
    scans: dict[str, list[Subject]] = defaultdict(list)
    for subject in subjects:
        scans[data_set.person_of(subject.id)].append(subject)
    people = []
    for name, own in scans.items():
        age = min((subject.age for subject in own if subject.age is not None), default=math.inf)
        people.append(_Person(name, age, tuple(sorted(subject.id for subject in own))))
    return sorted(people, key=lambda person: (person.age, _chance(f"{seed}:order", person)))


def _share(count: int, data_set: DataSet) -> int:
    held_out, of = data_set.held_out
    return max(1, round(count * held_out / of))


def _one_of_each_run(people: Sequence[_Person], runs: int, key: str) -> tuple[list[_Person], list[_Person]]:
    """Cut an ordered list into runs of nearly equal length and draw one of each; the drawn and the rest, in order."""
    edges = [number * len(people) // runs for number in range(runs + 1)]
    drawn = {min(people[first:last], key=lambda person: _chance(key, person)).name for first, last in pairwise(edges)}
    return [p for p in people if p.name in drawn], [p for p in people if p.name not in drawn]


def _deal(people: Sequence[_Person], groups: int, key: str) -> list[list[_Person]]:
    """Deal an ordered list out: of each run of neighbours every group gets one; a short last run ends early."""
    dealt: list[list[_Person]] = [[] for _ in range(groups)]
    for first in range(0, len(people), groups):
        run = sorted(people[first : first + groups], key=lambda person: _chance(key, person))
        for place, person in enumerate(run):
            dealt[place].append(person)
    return dealt


def _chance(key: str, person: _Person) -> bytes:
    return hashlib.sha256(f"{key}:{person.name}".encode()).digest()


def _scans(people: Iterable[_Person]) -> tuple[str, ...]:
    return tuple(sorted(scan for person in people for scan in person.scans))


# ---------------------------------------------------------------------------------------- the published split files


def has_split_files(folder: Path, data_set: DataSet) -> bool:
    """Whether a folder holds any split file of a set, and not of one whose prefix begins alike."""
    files = (path.name for path in folder.glob(f"{data_set.csv_prefix}_*.csv"))
    return any(
        re.fullmatch(r"(train|val|test)(_fold\d+)?\.csv", name[len(data_set.csv_prefix) + 1 :]) for name in files
    )


def read_healthy_splits(folder: Path, data_set: DataSet) -> tuple[tuple[Fold, ...], tuple[str, ...]]:
    """Folds and test scans of the healthy set, exactly as the files list them, duplicates included.

    Folds are numbered from 0 without a gap; there need not be five.

    Raises:
        DataError: a file is missing or malformed.
    """
    folds: list[Fold] = []
    while (folder / data_set.fold_csv("train", len(folds))).exists() or not folds:
        train, val = (read_scans(folder / data_set.fold_csv(part, len(folds))) for part in ("train", "val"))
        folds.append(Fold(train, val))
    return tuple(folds), read_scans(folder / data_set.test_csv)


def read_lesion_part(folder: Path, data_set: DataSet) -> Part:
    """Validation and test scans of a lesion set, exactly as the files list them.

    Raises:
        DataError: a file is missing or malformed.
    """
    return Part(read_scans(folder / data_set.val_csv), read_scans(folder / data_set.test_csv))


def read_scans(path: Path) -> tuple[str, ...]:
    """The scans that a split file lists, one per row, in the file's order.

    Raises:
        DataError: the file is missing, malformed or lists nothing.
    """
    rows = _read_rows(path)
    scans = tuple(scan_of(row.get("img_name") or "") for row in rows)
    if not scans or not all(scans):
        raise DataError(f"{path} lists no scan, or a row without img_name; a split file needs one scan a row")
    return scans


def read_ages(folder: Path) -> dict[str, float]:
    """Ages in years by scan, from every CSV file of a folder that has the columns img_name and age.

    Raises:
        DataError: a file is malformed.
    """
    ages: dict[str, float] = {}
    for path in sorted(folder.glob("*.csv")):
        for row in _read_rows(path):
            age = _number(row.get("age"))
            if age is not None and row.get("img_name"):
                ages.setdefault(scan_of(row["img_name"]), age)
    return ages


def read_sites(folder: Path) -> dict[str, str]:
    """Sites by scan, from `sites.csv` (columns img_name, site); none without that file.

    Raises:
        DataError: the file is malformed.
    """
    path = folder / SITES
    rows = _read_rows(path) if path.exists() else []
    return {scan_of(row["img_name"]): row["site"] for row in rows if row.get("img_name") and row.get("site")}


def read_available(folder: Path, modality: Modality) -> frozenset[str] | None:
    """The healthy scans that have a modality, from `avail_t2.csv` (names in its last column); None without that file.

    Raises:
        DataError: the file is malformed.
    """
    path = folder / available_csv(modality)
    if not path.exists():
        return None
    return frozenset(scan_of(list(row.values())[-1] or "") for row in _read_rows(path))


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True))
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing; add it, or choose --splits own") from error
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a CSV file: {error}; replace it") from error
    if any(None in row or None in row.values() for row in rows):
        raise DataError(f"{path} has rows that are longer or shorter than its header; replace it")
    return rows


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
