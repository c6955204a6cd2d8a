"""Ages: from the sheet that is downloaded beside IXI's scans to the table that a split of our own reads.

IXI.xls is a workbook in the old binary format (BIFF), which xlrd reads. A person may stand there more than once, and
some have no age; the columns that matter are IXI_ID, a number, and AGE, years.
"""

from __future__ import annotations

import csv
import io
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import remove_partials, replacing
from ..splits.own import scan_of

_PERSON, _AGE = "IXI_ID", "AGE"
_OLDEST = 120.0
_COLUMNS = ["img_name", "age"]
_REMEDY = "save the sheet as IXI.csv with the columns IXI_ID and AGE"


def read_sheet(path: Path) -> dict[str, float]:
    """Years by person ("IXI002"); a person's first known age counts.

    Args:
        path: the sheet, .xls or .csv.

    Raises:
        DataError: it is no such table, or xlrd is not installed.
    """
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _xls_rows(path)
    ages: dict[str, float] = {}
    for row in rows:
        if _PERSON not in row or _AGE not in row:
            raise DataError(f"{path} lacks the columns {_PERSON} and {_AGE}; download it again or {_REMEDY}")
        number, age = _number(row[_PERSON]), _number(row[_AGE])
        if number is not None and age is not None and 0 < age < _OLDEST:
            ages.setdefault(f"IXI{int(number):03d}", age)
    return ages


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
    known = _known_ages(path)
    if known is None:
        return None if ages else 0
    there = {scan_of(name) for name in known}
    new = {scan: str(age) for scan, age in ages.items() if scan not in there}
    if new:
        remove_partials(path.parent, path.name)
        with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            writer.writerows(sorted({**new, **known}.items()))
    return len(new)


def _known_ages(path: Path) -> dict[str, str] | None:
    """The ages that are written already, as they stand there; None if the table is of another form."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = csv.reader(file, strict=True)
    except (ValueError, csv.Error):
        return None
    if header != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        return None
    return {name: age for name, age in rows}  # noqa: C416 - mypy knows the type of this one


def _csv_rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is no readable table ({error}); {_REMEDY}") from error


def _xls_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    """The first sheet of a workbook, a dictionary a row.

    A damaged workbook makes xlrd fail in many ways, which were found by damaging one thousands of times.
    """
    try:
        import xlrd
    except ImportError as error:
        raise DataError(f"{path} cannot be read without xlrd: pip install xlrd, or {_REMEDY}") from error
    try:
        with xlrd.open_workbook(path, logfile=io.StringIO()) as book:
            lines = list(book.sheet_by_index(0).get_rows())
    except (
        xlrd.XLRDError,
        xlrd.compdoc.CompDocError,
        struct.error,
        LookupError,
        AssertionError,
        ValueError,
        TypeError,
        OSError,
    ) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is no readable workbook ({said}); download it again or {_REMEDY}") from error
    if not lines:
        raise DataError(f"{path} has no rows; download it again or {_REMEDY}")
    names = [str(cell.value).strip() for cell in lines[0]]
    return [dict(zip(names, (cell.value for cell in line), strict=False)) for line in lines[1:]]


def _number(value: object) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
