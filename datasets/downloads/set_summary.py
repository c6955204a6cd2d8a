"""What became of a whole download: counts and notes for the screen, failures and the manifest for the disk."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import shorten
from ...files import locked, read_json, remove_partials, replacing, write_json
from ..layout import AGES, SITES, SPLITS_FOLDER
from ..rows import ROWS, SET_FILE
from ..scans.scan_header import ASSUMED, BY_QFORM
from .one_scan import ScanFailure
from .people_tables import add_ages, add_sites
from .raw_layouts import RawSet
from .set_place import LOCK, SetPlace

MANIFEST, FAILURES = "manifest.json", "failures.csv"
_FORMAT = 1
_SHOWN = 8


@dataclass(frozen=True)
class PreparedSet:
    """What became of a set.

    Attributes:
        prepared: scans prepared now.
        kept: scans that were prepared already.
        failures: the others.
        outliers: for each scan whose registration should be looked at, a sentence.
        notes: what else the user should know.
    """

    prepared: tuple[str, ...]
    kept: tuple[str, ...]
    failures: tuple[ScanFailure, ...]
    outliers: Mapping[str, str]
    notes: tuple[str, ...]

    def lines(self, out: Path, name: str) -> tuple[str, ...]:
        """What happened, for the screen: counts, notes, the first failures and outliers, and where the rest stands."""
        lines = [f"{len(self.prepared)} prepared, {len(self.kept)} were prepared already, {len(self.failures)} failed."]
        lines += [f"Note: {note}." for note in self.notes]
        lines += [f"Failed: {failure.reason}" for failure in self.failures[:_SHOWN]]
        lines += [f"Look at the registration of {scan}: {why}." for scan, why in list(self.outliers.items())[:_SHOWN]]
        if len(self.failures) > _SHOWN:
            lines.append(f"All {len(self.failures)} failures: {out / ROWS / name / FAILURES}")
        lines.append(f"What was done to each scan: {out / MANIFEST}")
        return tuple(lines)


def notes_on(place: SetPlace, raw: RawSet, rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What the user should know of a set that has been prepared; ages and sites are written, which is one of it.

    Raises:
        WriteError: the tables cannot be written.
    """
    return (
        *raw.notes,
        *_fraction_note(rows),
        *_orientation_note(rows),
        *_write_people(place.out, raw),
        *_strangers_note(place, raw, rows),
    )


def _fraction_note(rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    found = [scan for scan, row in rows.items() if row.get("fractional")]
    if not found:
        return ()
    said = (
        f"{len(found)} scans, such as {found[0]}, have a mask or segmentation with fractions, as a linear warp leaves"
    )
    return (f"{said}; voxels from one half up are taken",)


def _orientation_note(rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What the headers do not say plainly, a sentence per kind."""
    notes = []
    told = {str(row.get("orientation")) for row in rows.values()}
    for orientation in sorted(told):
        found = shorten(tuple(scan for scan, row in rows.items() if row.get("orientation") == orientation))
        if orientation.startswith(ASSUMED):
            notes.append(
                f"the header of {found} does not say which way its axes point; {orientation.removeprefix(ASSUMED)} is "
                "assumed, so left and right may be swapped"
            )
        elif orientation == BY_QFORM:
            notes.append(f"the header of {found} has a singular sform; its qform is read")
    return tuple(notes)


def _strangers_note(place: SetPlace, raw: RawSet, rows: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """A note if scans of another download or recipe lie in the same place."""
    known = {scan.id for scan in raw.scans} | set(raw.incomplete)
    count = len(set(rows) - known)
    return (f"{count} scans of an earlier download lie in {place.out / place.folder}, too",) if count else ()


def _write_people(out: Path, raw: RawSet) -> tuple[str, ...]:
    """Write ages and sites where a split of our own looks for them, and say so."""
    folder = out / SPLITS_FOLDER
    notes = []
    for path, added, what in (
        (folder / AGES, add_ages(folder / AGES, raw.ages), "age"),
        (folder / SITES, add_sites(folder / SITES, raw.sites), "site"),
    ):
        if added is None:
            notes.append(
                f"{path} is no table of img_name and {what}, so the {what}s of this download are not added to it"
            )
        elif added:
            notes.append(f"the {what}s of {added} scans are written to {path}")
    return tuple(notes)


def write_summary(place: SetPlace, raw: RawSet, outcome: PreparedSet) -> None:
    """The set's failures and notes, then the manifest of all sets."""
    with (
        replacing(place.rows_folder / FAILURES) as path,
        path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(["scan", "reason"])
        writer.writerows((failure.scan, failure.reason) for failure in outcome.failures)
    summary = {
        "set": raw.data_set.name,
        "modality": raw.modality.value,
        "title": raw.data_set.title,
        "citation": raw.data_set.citation,
        "failures": [asdict(failure) for failure in outcome.failures],
        "registration_outliers": dict(outcome.outliers),
        "unplaced_files": list(raw.unplaced),
        "files_not_needed": raw.passed_over,
        "notes": list(outcome.notes),
    }
    write_json(place.rows_folder / SET_FILE, summary)
    _write_manifest(place.out)


def _write_manifest(out: Path) -> None:
    """Gather all rows; processes that prepare other sets of the same directory take turns."""
    with locked(out / ROWS / LOCK):
        remove_partials(out, MANIFEST)
        sets = []
        for path in sorted((out / ROWS).glob(f"*/{SET_FILE}")):
            rows = [read_json(row) for row in sorted(path.parent.glob("*.json")) if row.name != SET_FILE]
            sets.append({**(read_json(path) or {}), "scans": [row for row in rows if row is not None]})
        write_json(out / MANIFEST, {"format": _FORMAT, "sets": sets})
