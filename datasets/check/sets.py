"""What a directory lacks, what its split does, and whether its files are still those that `bench prepare` wrote."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import read_json
from ..cohort import Role, Splits
from ..downloads.prepare import ROWS, SET_FILE, doubt_of, find_outliers, row_provenance
from ..findings import Finding
from ..layout import IMAGE, SPLITS_FOLDER, DataSetInfo, scan_path
from ..load import DATA_SETS, FoundSet, choose_splits, find_set, scans_of
from ..splits.own import has_split_files
from .compare import IsUsed, twins
from .facts import ScanFacts
from .rules import Defect, Kind, Severity

#: By role and scan, what `bench prepare` noted.
Rows = Mapping[Role, Mapping[str, Mapping[str, Any]]]

_HEALTHY_INFO: DataSetInfo = DATA_SETS[0]


# --------------------------------------------------------------------------------------------------------------- files


def absences(directory: Path, sets: Mapping[Role, FoundSet]) -> Iterator[Defect]:
    """The sets that have no images; only the healthy one is indispensable."""
    for info in DATA_SETS:
        if info.role in sets and sets[info.role].scans:
            continue
        where = f"{info.title} has no images here; they are expected as {scan_path(directory, info, IMAGE, '<scan>')}"
        if info.role is Role.HEALTHY:
            yield Defect(Kind.NO_HEALTHY, Severity.ERROR, (), "", f"no healthy scans: {where}")
        else:
            yield Defect(Kind.ABSENT, Severity.REMARK, (), "", f"{where}; its columns stay empty")


def file_defects(found: FoundSet) -> Iterator[Defect]:
    """Files that are missing or stand twice."""
    role = found.info.role
    for sentence in found.doubled:
        yield Defect(Kind.DOUBLED, Severity.ERROR, (role,), "", sentence)
    for scan in found.scans:
        missing = [kind for kind in found.info.kinds if scan not in found.files[kind]]
        if missing:
            yield Defect(Kind.INCOMPLETE, Severity.ERROR, (role,), scan, f"no {', '.join(missing)}")
    others = {scan for files in found.files.values() for scan in files} - set(found.scans)
    for scan in sorted(others):
        there = [kind for kind in found.info.kinds if scan in found.files[kind]]
        yield Defect(Kind.NO_IMAGE, Severity.ERROR, (role,), scan, ", ".join(there))


# --------------------------------------------------------------------------------------------------------------- split


def split_defects(
    directory: Path, sets: Mapping[Role, FoundSet], choice: str | None
) -> tuple[Splits | None, list[Defect]]:
    """The split that a run would take, and what the audit found in it; None where there can be none."""
    usable = {role: found for role, found in sets.items() if found.scans}
    usable = {Role.HEALTHY: find_set(directory, _HEALTHY_INFO), **usable}
    chosen = choice or ("published" if has_split_files(directory / SPLITS_FOLDER, _HEALTHY_INFO) else "own")
    if chosen == "own" and not usable[Role.HEALTHY].scans:
        return None, []  # that there are no healthy scans is said already
    try:
        split = choose_splits(directory, usable, chosen)
    except DataError as error:
        return None, [Defect(Kind.SPLIT, Severity.ERROR, (), "", f"no split: {error}")]
    defects = [Defect(Kind.SPLIT, Severity.REMARK, (), "", note) for note in split.notes]
    defects += _audit_defects(split.findings)
    defects += _not_there(split, usable)
    return split, defects


def _audit_defects(findings: Sequence[Finding]) -> Iterator[Defect]:
    """Leaks one by one, lesser findings counted by kind."""
    for finding in findings:
        if finding.is_leak:
            yield Defect(Kind.LEAK, Severity.ERROR, (), "", f"the split leaks: {finding}")
    for kind, count in Counter(str(finding.kind) for finding in findings if not finding.is_leak).items():
        places = "place" if count == 1 else "places"
        yield Defect(Kind.SPLIT, Severity.REMARK, (), "", f"the split: {kind} in {count} {places}")


def _not_there(split: Splits, sets: Mapping[Role, FoundSet]) -> Iterator[Defect]:
    for role in (Role.HEALTHY, *split.lesion):
        there = set(sets[role].scans)
        for scan in scans_of(split, role):
            if scan not in there:
                yield Defect(Kind.NOT_THERE, Severity.ERROR, (role,), scan)


# ------------------------------------------------------------------------------------------------- what was prepared


def row_defects(directory: Path, found: FoundSet, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Defect]:
    """Where a set's files and the rows that `bench prepare` wrote of them disagree, and what it had to say."""
    role = found.info.role
    for scan, row in rows.items():
        gone = [kind for kind in row["results"] if scan not in found.files.get(kind, {})]
        if gone:
            yield Defect(Kind.LOST, Severity.ERROR, (role,), scan, ", ".join(gone))
    if rows:
        for scan in sorted(set(found.scans) - set(rows)):
            yield Defect(Kind.NO_ROW, Severity.REMARK, (role,), scan)
    for scan, why in find_outliers({scan: row for scan, row in rows.items() if "registration" in row}).items():
        severity = Severity.ERROR if doubt_of(rows[scan]) else Severity.REMARK
        yield Defect(Kind.REGISTRATION, severity, (role,), scan, why)
    summary = read_json(directory / ROWS / found.info.name / SET_FILE) or {}
    for failure in summary.get("failures", []):
        yield Defect(Kind.NOT_PREPARED, Severity.REMARK, (role,), str(failure.get("scan")))


def same_sources(rows: Rows, facts: Sequence[ScanFacts], is_used: IsUsed) -> Iterator[Defect]:
    """Scans that are there and were prepared from the same source file, unless their voxels tell it already."""
    digests = {(one.role, one.scan): one.voxels.loose_digest for one in facts if one.voxels is not None}
    groups: dict[str, list[tuple[Role, str]]] = defaultdict(list)
    for role, own in rows.items():
        for scan, row in own.items():
            source = row.get("sources", {}).get(IMAGE, {}).get("sha256")
            if source and (role, scan) in digests:
                groups[source].append((role, scan))
    for same in groups.values():
        if len({digests[one] for one in same}) > 1:
            yield from twins(Kind.SAME_SOURCE, same, is_used)


def mixed_atlases(rows: Rows) -> Iterator[Defect]:
    """Scans that were brought to different atlases do not lie in one space."""
    atlases: dict[str, str] = {}
    roles: set[Role] = set()
    for role, own in rows.items():
        for way in filter(None, map(row_provenance, own.values())):
            atlases[str(way.atlas_sha256)] = way.atlas
            roles.add(role)
    if len(atlases) > 1:
        names = ", ".join(f"{name} ({digest[:8]})" for digest, name in sorted(atlases.items(), key=lambda one: one[1]))
        sentence = f"the scans were brought to different atlases: {names}; prepare all of them with one --atlas"
        yield Defect(Kind.RECIPES, Severity.ERROR, tuple(role for role in Role if role in roles), "", sentence)
