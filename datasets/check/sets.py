"""What a directory lacks, what its split does, and whether its files are still those that `bench prepare` wrote."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError, shorten
from ...files import read_json
from ..base import DataSet
from ..cohort import HEALTHY, Splits
from ..findings import SplitFinding
from ..found import FoundSet, as_files, healthy_places, unknown_note
from ..layout import SPLITS_FOLDER, scan_path
from ..modality import Modality
from ..rows import ROWS, SET_FILE, doubt_of, find_outliers, row_provenance
from ..splits.choice import choose_splits
from ..splits.own import has_split_files
from .compare import IsUsed, twins
from .facts import ScanFacts
from .rules import Defect, Kind, Severity

#: By key of a set and scan, what `bench prepare` noted.
Rows = Mapping[str, Mapping[str, Mapping[str, Any]]]


# --------------------------------------------------------------------------------------------------------------- files


def absences(
    directory: Path, sets: Mapping[str, FoundSet], known: Sequence[DataSet], modality: Modality
) -> Iterator[Defect]:
    """Sets whose images are missing beside their masks; and that there is no healthy set, or none with lesions.

    Only a healthy set is indispensable.
    """
    there = {key for key, found in sets.items() if found.scans}
    for key, found in sets.items():
        if key not in there and key != HEALTHY:
            sentence = f"{_no_images(directory, found.data_set, modality)}; its columns stay empty"
            yield Defect(Kind.ABSENT, Severity.REMARK, (), "", sentence)
    if HEALTHY not in there:
        sentence = f"no healthy scans; they are expected {as_files(modality)} in {healthy_places(known)}"
        yield Defect(Kind.NO_HEALTHY, Severity.ERROR, (), "", sentence)
    for sentence in unknown_note(directory, known, modality):
        yield Defect(Kind.UNKNOWN, Severity.REMARK, (), "", sentence)
    if not there - {HEALTHY}:
        folders = shorten(tuple(one.folder for one in known if not one.is_healthy))
        sentence = f"no scans with lesions, so nothing is scored; they are expected below {folders}"
        yield Defect(Kind.ABSENT, Severity.REMARK, (), "", sentence)


def _no_images(directory: Path, data_set: DataSet, modality: Modality) -> str:
    expected = scan_path(directory, data_set, modality, "<scan>")
    return f"{data_set.title} has no images here; they are expected as {expected}"


def file_defects(found: FoundSet) -> Iterator[Defect]:
    """Files that are missing or stand twice."""
    key = found.key
    for sentence in found.doubled:
        yield Defect(Kind.DOUBLED, Severity.ERROR, (key,), "", sentence)
    for scan in found.scans:
        missing = [kind for kind in found.kinds if scan not in found.files[kind]]
        if missing:
            yield Defect(Kind.INCOMPLETE, Severity.ERROR, (key,), scan, f"no {', '.join(missing)}")
    others = {scan for files in found.files.values() for scan in files} - set(found.scans)
    for scan in sorted(others):
        there = [kind for kind in found.kinds if scan in found.files[kind]]
        yield Defect(Kind.NO_IMAGE, Severity.ERROR, (key,), scan, ", ".join(there))


# --------------------------------------------------------------------------------------------------------------- split


def split_defects(
    directory: Path, sets: Mapping[str, FoundSet], known: Sequence[DataSet], choice: str | None
) -> tuple[Splits | None, list[Defect]]:
    """The split that a run would take, and what the audit found in it; None where there can be none."""
    usable = {key: found for key, found in sets.items() if found.scans or key == HEALTHY}
    if HEALTHY not in usable:
        return None, []  # that there are no healthy scans is said already
    healthy = usable[HEALTHY]
    chosen = choice or ("published" if has_split_files(directory / SPLITS_FOLDER, healthy.data_set) else "own")
    if chosen == "own" and not healthy.scans:
        return None, []
    try:
        split = choose_splits(directory, usable, known, chosen)
    except DataError as error:
        return None, [Defect(Kind.SPLIT, Severity.ERROR, (), "", f"no split: {error}")]
    defects = [Defect(Kind.SPLIT, Severity.REMARK, (), "", note) for note in split.notes]
    defects += _audit_defects(split.findings)
    defects += _not_there(split, usable)
    return split, defects


def _audit_defects(findings: Sequence[SplitFinding]) -> Iterator[Defect]:
    """Leaks one by one, lesser findings counted by kind."""
    for finding in findings:
        if finding.is_leak:
            yield Defect(Kind.LEAK, Severity.ERROR, (), "", f"the split leaks: {finding}")
    for kind, count in Counter(str(finding.kind) for finding in findings if not finding.is_leak).items():
        places = "place" if count == 1 else "places"
        yield Defect(Kind.SPLIT, Severity.REMARK, (), "", f"the split: {kind} in {count} {places}")


def _not_there(split: Splits, sets: Mapping[str, FoundSet]) -> Iterator[Defect]:
    for key in (HEALTHY, *split.lesion):
        there = set(sets[key].scans)
        for scan in split.scans_of(key):
            if scan not in there:
                yield Defect(Kind.NOT_THERE, Severity.ERROR, (key,), scan)


# ------------------------------------------------------------------------------------------------- what was prepared


def row_defects(directory: Path, found: FoundSet, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Defect]:
    """Where a set's files and the rows that `bench prepare` wrote of them disagree, and what it had to say."""
    key = found.key
    for scan, row in rows.items():
        gone = [kind for kind in row["results"] if scan not in found.files.get(kind, {})]
        if gone:
            yield Defect(Kind.LOST, Severity.ERROR, (key,), scan, ", ".join(gone))
    if rows:
        for scan in sorted(set(found.scans) - set(rows)):
            yield Defect(Kind.NO_ROW, Severity.REMARK, (key,), scan)
    for scan, why in find_outliers({scan: row for scan, row in rows.items() if "registration" in row}).items():
        severity = Severity.ERROR if doubt_of(rows[scan]) else Severity.REMARK
        yield Defect(Kind.REGISTRATION, severity, (key,), scan, why)
    summary = read_json(directory / ROWS / found.data_set.name / SET_FILE) or {}
    for failure in summary.get("failures", []):
        yield Defect(Kind.NOT_PREPARED, Severity.REMARK, (key,), str(failure.get("scan")))


def same_sources(rows: Rows, facts: Sequence[ScanFacts], modality: Modality, is_used: IsUsed) -> Iterator[Defect]:
    """Scans that are there and were prepared from the same source file, unless their voxels tell it already."""
    digests = {(one.key, one.scan): one.voxels.loose_digest for one in facts if one.voxels is not None}
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, own in rows.items():
        for scan, row in own.items():
            source = row.get("sources", {}).get(modality, {}).get("sha256")
            if source and (key, scan) in digests:
                groups[source].append((key, scan))
    for same in groups.values():
        if len({digests[one] for one in same}) > 1:
            yield from twins(Kind.SAME_SOURCE, same, is_used)


def mixed_atlases(rows: Rows) -> Iterator[Defect]:
    """Scans that were brought to different atlases do not lie in one space."""
    atlases: dict[str, str] = {}
    keys: list[str] = []
    for key, own in rows.items():
        ways = [way for way in map(row_provenance, own.values()) if way is not None]
        atlases |= {str(way.atlas_sha256): way.atlas for way in ways}
        keys += [key] if ways else []
    if len(atlases) > 1:
        names = ", ".join(f"{name} ({digest[:8]})" for digest, name in sorted(atlases.items(), key=lambda one: one[1]))
        sentence = f"the scans were brought to different atlases: {names}; prepare all of them with one --atlas"
        yield Defect(Kind.RECIPES, Severity.ERROR, tuple(keys), "", sentence)
