"""Can a run on this data directory be trusted? Every scan is looked at once, then all of them together.

Nothing here stops at the first defect, and a file that cannot be read is one finding among others. What is found
becomes an error where a run would refuse it or its numbers would mean something else, and a remark elsewhere; of scans
that the chosen split does not name, everything is a remark.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...workers import be_a_good_child, in_workers
from ..base import DataSet
from ..cohort import HEALTHY, Splits
from ..found import FoundSet, find_set, refuse_two_healthy
from ..modality import Modality
from ..rows import prepared_rows
from ..scans.preparation import PreparationSettings
from ..scans.scan_header import USUAL, ReadLimits
from ..splits.choice import SPLIT_CHOICES
from ..store.store import Progress
from .compare import DUPLICATE_KINDS, duplicates, misplaced, same_people, turned, unlike
from .facts import ScanFacts, ScanFiles, examine_scan
from .rules import CheckFinding, Defect, Limits, Severity, group, median, scan_defects
from .sets import absences, file_defects, mixed_atlases, row_defects, same_sources, split_defects


@dataclass(frozen=True)
class Spread:
    """The median, smallest and largest of some values."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class SetSummary:
    """A set in a row of the table.

    Attributes:
        title: its title.
        scans: scans that have an image.
        complete: scans of which no file is missing.
        brain_ml: volumes of the brain masks.
        lesion_ml: volumes of the segmentations.
        intensities: medians over the scans of the 1st and 99th percentile in the brain.
        duplicates: scans that stand under another name, too.
    """

    title: str
    scans: int
    complete: int
    brain_ml: Spread | None
    lesion_ml: Spread | None
    intensities: tuple[float, float] | None
    duplicates: int


@dataclass(frozen=True)
class Report:
    """What was found in a data directory.

    Attributes:
        directory: it.
        modality: the contrast that was looked at.
        sets: the sets that are there, by key.
        summaries: a row per set.
        facts: every scan that has a file.
        findings: errors first.
        split: name of the split that was audited; None where none could be made.
    """

    directory: Path
    modality: Modality
    sets: Mapping[str, FoundSet]
    summaries: Mapping[str, SetSummary]
    facts: tuple[ScanFacts, ...]
    findings: tuple[CheckFinding, ...]
    split: str | None

    def of(self, severity: Severity) -> tuple[CheckFinding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    @property
    def is_sound(self) -> bool:
        """Whether nothing stands against a run."""
        return not self.of(Severity.ERROR)


def check_directory(
    directory: Path,
    splits: str | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    *,
    known: Sequence[DataSet],
    modality: Modality = Modality.T2,
    limits: Limits | None = None,
    settings: PreparationSettings | None = None,
    reading: ReadLimits = USUAL,
) -> Report:
    """Look at every scan of every set in a data directory, at its split and at what `bench prepare` noted.

    Args:
        directory: in the form that `layout` describes.
        splits: "published", "deleaked", "own" or None, as `load.load_disk`; leaks are errors whatever is chosen.
        jobs: worker processes; each needs some 0.5 GB.
        progress: called with (scans done, scans in all).
        known: the data sets that may lie there.
        modality: the contrast of the scans that are looked at.
        limits: the bounds; None for the usual ones.
        settings: the preparation at load; None for the protocol's.
        reading: what is refused unread.

    Raises:
        DataError: there is no such directory, it holds no set at all, an unknown choice of splits, or a worker died.
    """
    limits = limits or Limits()
    sets = _find(directory, splits, known, modality)
    rows = {key: _rows_of(directory, found) for key, found in sets.items()}
    files = [one for key, found in sets.items() for one in _files(found, rows[key])]
    work = partial(examine_scan, settings=settings or PreparationSettings(), reading=reading)
    facts = _examine(files, work, jobs, progress or (lambda _done, _total: None))
    split, defects = split_defects(directory, sets, known, splits)
    use = _Use.of(split)
    for one in facts:
        defects += use.judge(scan_defects(one, limits))
    for key, found in sets.items():
        own = [one for one in facts if one.key == key]
        defects += file_defects(found)
        defects += use.judge(unlike(own, found.data_set.site_of, limits))
        defects += use.judge(row_defects(directory, found, rows[key]))
    twice = [*duplicates(facts, use.reads), *same_sources(rows, facts, modality, use.reads)]
    people = {key: found.data_set.person_of for key, found in sets.items()}
    defects += [*twice, *same_people(facts, people, twice), *misplaced(facts, limits), *turned(facts, limits)]
    defects += [*absences(directory, sets, known, modality), *mixed_atlases(rows)]
    summaries = {key: _summary(found, facts, twice) for key, found in sets.items()}
    titles = {key: found.title for key, found in sets.items()}
    name = None if split is None else split.name
    return Report(directory, modality, sets, summaries, facts, group(defects, titles), name)


def _find(directory: Path, splits: str | None, known: Sequence[DataSet], modality: Modality) -> dict[str, FoundSet]:
    """By key, the sets of which any file is there, the healthy one first."""
    if not directory.is_dir():
        raise DataError(f"{directory} is no directory; give one in the layout that --data reads")
    if splits is not None and splits not in SPLIT_CHOICES:
        raise DataError(f"--splits {splits} is unknown; choose one of {', '.join(SPLIT_CHOICES)}")
    found = [find_set(directory, data_set, modality) for data_set in known]
    refuse_two_healthy(directory, [one for one in found if one.scans])
    there = [one for one in found if any(one.files.values())]
    if not there:
        folders = ", ".join(data_set.folder for data_set in known)
        raise DataError(
            f"{directory} holds no scans; they are expected below {folders}, each image as "
            f"{modality}/ID_{modality}.nii.gz"
        )
    ordered = sorted(there, key=lambda one: (one.key != HEALTHY, not one.scans))
    return _by_key(ordered)


def _by_key(found: Sequence[FoundSet]) -> dict[str, FoundSet]:
    """The sets by key; of two healthy ones that which has images."""
    by_key: dict[str, FoundSet] = {}
    for one in found:
        by_key.setdefault(one.key, one)
    return by_key


def _rows_of(directory: Path, found: FoundSet) -> dict[str, dict[str, Any]]:
    """What was noted of a set's scans in this modality."""
    rows = prepared_rows(directory, found.data_set.name)
    return {scan: row for scan, row in rows.items() if found.modality in row["results"]}


def _files(found: FoundSet, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[ScanFiles]:
    """The scans that have an image, each with what was noted when it was prepared."""
    for scan in found.scans:
        paths = {kind: found.files[kind][scan] for kind in found.kinds if scan in found.files[kind]}
        results = rows.get(scan, {}).get("results", {})
        written = {kind: str(results[kind].get("sha256")) for kind in paths if kind in results}
        yield ScanFiles(found.key, found.modality, scan, paths, written, found.data_set.labels.prepared)


def _examine(
    files: Sequence[ScanFiles], work: partial[ScanFacts], jobs: int, report: Progress
) -> tuple[ScanFacts, ...]:
    """The facts of all scans, in their order."""
    found = {}
    results = in_workers(work, files, min(jobs, len(files)), be_a_good_child) if jobs > 1 else map(work, files)
    report(0, len(files))
    try:
        for done, facts in enumerate(results, start=1):
            found[facts.key, facts.scan] = facts
            report(done, len(files))
    except BrokenProcessPool as error:
        raise DataError("a worker process died, probably for lack of memory; start again with fewer --jobs") from error
    return tuple(found[one.key, one.scan] for one in files)


@dataclass(frozen=True)
class _Use:
    """What a run with some split reads: by key of a set the scans, or None where it might read all."""

    scans: Mapping[str, frozenset[str]] | None

    @classmethod
    def of(cls, split: Splits | None) -> _Use:
        if split is None or split.name == "own":
            return cls(None)
        return cls({key: frozenset(split.scans_of(key)) for key in (HEALTHY, *split.lesion)})

    def reads(self, key: str, scan: str) -> bool:
        """Whether a run reads a scan."""
        return self.scans is None or scan in self.scans.get(key, frozenset())

    def judge(self, defects: Iterable[Defect]) -> Iterator[Defect]:
        """The defects; those of scans that no run reads are remarks."""
        for defect in defects:
            used = not defect.scan or self.reads(defect.keys[0], defect.scan)
            yield defect if used else replace(defect, severity=Severity.REMARK)


# --------------------------------------------------------------------------------------------------------- the table


def _summary(found: FoundSet, facts: Sequence[ScanFacts], defects: Sequence[Defect]) -> SetSummary:
    own = [one for one in facts if one.key == found.key]
    greys = [one.intensities for one in own if one.intensities is not None]
    twice = {one.scan for one in defects if one.kind in DUPLICATE_KINDS and one.key == found.key}
    return SetSummary(
        title=found.title,
        scans=len(found.scans),
        complete=len(found.complete),
        brain_ml=_spread(one.brain.ml for one in own if one.brain is not None),
        lesion_ml=_spread(one.lesions.ml for one in own if one.lesions is not None),
        intensities=(median(one.low for one in greys), median(one.high for one in greys)) if greys else None,
        duplicates=len(twice),
    )


def _spread(values: Iterable[float]) -> Spread | None:
    known = tuple(values)
    return Spread(median(known), min(known), max(known)) if known else None
