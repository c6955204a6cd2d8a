"""Ages and sites by scan, written where a split of our own looks for them; what stands there already stays."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from ...files import remove_partials, replacing
from ..splits.own import scan_of


def add_ages(path: Path, ages: Mapping[str, float]) -> int | None:
    """Add ages by scan to a table of the columns img_name and age; what stands there already stays.

    Args:
        path: the table; need not exist.
        ages: years by scan.

    Returns:
        How many were added; None if the table is of another form and was left alone.

    Raises:
        OSError: it cannot be written.
    """
    return _add(path, "age", {scan: str(age) for scan, age in ages.items()})


def add_sites(path: Path, sites: Mapping[str, str]) -> int | None:
    """Add sites by scan to a table of the columns img_name and site, as `add_ages` does."""
    return _add(path, "site", sites)


def _add(path: Path, column: str, values: Mapping[str, str]) -> int | None:
    columns = ["img_name", column]
    known = _known(path, columns)
    if known is None:
        return None if values else 0
    there = {scan_of(name) for name in known}
    new = {scan: value for scan, value in values.items() if scan not in there}
    if new:
        remove_partials(path.parent, path.name)
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(sorted({**new, **known}.items()))
    return len(new)


def _known(path: Path, columns: list[str]) -> dict[str, str] | None:
    """The values that are written already, as they stand there; None if the table is of another form."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = csv.reader(file, strict=True)
    except (ValueError, csv.Error):
        return None
    if header != columns or any(len(row) != len(columns) for row in rows):
        return None
    return {name: value for name, value in rows}  # noqa: C416 - mypy knows the type of this one
