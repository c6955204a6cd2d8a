"""The audit of a split: who stands on both sides of a line, and what to do about it.

A score means something only if nobody who is tested was trained on. The published split files of this benchmark's field
do not hold to that, so every split is audited, whoever made it: by scan and by person, within and between parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import combinations

from ...errors import DataError
from ..cohort import HEALTHY, Fold, Part, Splits
from ..findings import Problem, SplitFinding

PersonOf = Callable[[str], str]


@dataclass(frozen=True)
class _Named:
    """One part of a split with the name it has in messages."""

    name: str
    key: str
    fold: int | None
    scans: tuple[str, ...]


def audit(
    splits: Splits,
    person_of: Mapping[str, PersonOf],
    *,
    present: Mapping[str, AbstractSet[str]] | None = None,
) -> tuple[SplitFinding, ...]:
    """Everything that is wrong with a split.

    Args:
        splits: the split; parts may hold a scan twice.
        person_of: by key of a set, the person a scan shows; a set that is not given has one scan per person.
        present: by key of a set, the scans whose files are there; None leaves missing files unchecked.

    Returns:
        Findings in a fixed order: leaks, duplicates, overlapping validation sets, missing files.
    """
    parts = tuple(_parts(splits))
    leaks = [finding for a, b in _must_be_disjoint(parts) for finding in _leaks(a, b, person_of.get(a.key, str))]
    findings = [*leaks, *_duplicates(parts), *_validation_overlaps(parts)]
    if present is not None:
        absent = {part.key: _listed(parts, part.key) - present.get(part.key, frozenset()) for part in parts}
        findings += _within(parts, Problem.MISSING_FILE, absent)
    return tuple(findings)


def leaks_among(findings: Iterable[SplitFinding]) -> tuple[SplitFinding, ...]:
    """The findings that are leaks: the same scan or person in two parts."""
    return tuple(finding for finding in findings if finding.is_leak)


def deleak(splits: Splits, person_of: Mapping[str, PersonOf]) -> Splits:
    """The same split without its leaks and duplicates.

    A person in test or validation leaves training, a person in test leaves validation, and every scan counts once.

    Raises:
        DataError: nothing is left of a part.
    """
    healthy = person_of.get(HEALTHY, str)
    test = _once(splits.healthy_test)
    folds = []
    for number, fold in enumerate(splits.folds):
        val = _without(fold.val, test, healthy)
        train = _without(fold.train, (*test, *val), healthy)
        if not val or not train:
            raise DataError(f"without its leaks fold {number} has no {'training' if val else 'validation'} scan left")
        folds.append(Fold(train, val))
    lesion = {}
    for key, part in splits.lesion.items():
        lesion[key] = Part(_without(part.val, part.test, person_of.get(key, str)), _once(part.test))
        if not lesion[key].val:
            raise DataError(f"without its leaks the {key} set has no validation scan left")
    return replace(splits, name="deleaked", folds=tuple(folds), healthy_test=test, lesion=lesion)


def _parts(splits: Splits) -> Iterator[_Named]:
    for number, fold in enumerate(splits.folds):
        yield _Named("train", HEALTHY, number, fold.train)
        yield _Named("val", HEALTHY, number, fold.val)
    yield _Named("test", HEALTHY, None, splits.healthy_test)
    for key, part in splits.lesion.items():
        yield _Named(f"{key} val", key, None, part.val)
        yield _Named(f"{key} test", key, None, part.test)


def _must_be_disjoint(parts: tuple[_Named, ...]) -> Iterator[tuple[_Named, _Named]]:
    """Pairs of parts of one set, leaving out pairs of different folds, which share scans by design."""
    for a, b in combinations(parts, 2):
        if a.key == b.key and (a.fold is None or b.fold is None or a.fold == b.fold):
            yield a, b


def _leaks(a: _Named, b: _Named, person_of: PersonOf) -> Iterator[SplitFinding]:
    fold = a.fold if a.fold is not None else b.fold
    shared = set(a.scans) & set(b.scans)
    if shared:
        yield SplitFinding(Problem.SCAN_IN_TWO_PARTS, a.name, b.name, fold, tuple(sorted(shared)))
    only_a, only_b = set(a.scans) - shared, set(b.scans) - shared
    people = {person_of(scan) for scan in only_a} & {person_of(scan) for scan in only_b}
    if people:
        scans = sorted(scan for scan in only_a | only_b if person_of(scan) in people)
        yield SplitFinding(Problem.SUBJECT_IN_TWO_PARTS, a.name, b.name, fold, tuple(scans))


def _duplicates(parts: tuple[_Named, ...]) -> Iterator[SplitFinding]:
    for part in parts:
        repeated = {scan for scan, times in Counter(part.scans).items() if times > 1}
        if repeated:
            yield SplitFinding(Problem.DUPLICATE_ROWS, part.name, None, part.fold, tuple(sorted(repeated)))


def _validation_overlaps(parts: tuple[_Named, ...]) -> Iterator[SplitFinding]:
    """No leak, but five folds whose validation sets overlap are no cross-validation."""
    validations = [part for part in parts if part.fold is not None and part.name == "val"]
    for a, b in combinations(validations, 2):
        shared = tuple(sorted(set(a.scans) & set(b.scans)))
        if shared:
            name_a, name_b = f"val of fold {a.fold}", f"val of fold {b.fold}"
            yield SplitFinding(Problem.VALIDATION_OVERLAP, name_a, name_b, None, shared)


def _within(
    parts: tuple[_Named, ...], kind: Problem, concerned: Mapping[str, AbstractSet[str]]
) -> Iterator[SplitFinding]:
    for part in parts:
        scans = tuple(sorted(set(part.scans) & concerned.get(part.key, frozenset())))
        if scans:
            yield SplitFinding(kind, part.name, None, part.fold, scans)


def _listed(parts: tuple[_Named, ...], key: str) -> frozenset[str]:
    return frozenset(scan for part in parts if part.key == key for scan in part.scans)


def _once(scans: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(scans))


def _without(scans: Iterable[str], others: Iterable[str], person_of: PersonOf) -> tuple[str, ...]:
    people = {person_of(scan) for scan in others}
    return tuple(scan for scan in _once(scans) if person_of(scan) not in people)
