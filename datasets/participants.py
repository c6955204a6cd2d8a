"""Tables of people that lie with the scans of a download: rows of a CSV, of a TSV or of an old workbook; BIDS's own.

A workbook in the old binary format (BIFF, .xls) is read by xlrd.
"""

from __future__ import annotations

import csv
import io
import math
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from .base import Participant

_OLDEST = 120.0
_PERSON, _AGE = "participant_id", "age"
_SITES = ("site", "center", "centre", "scanner")
_SEXES = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}


def read_participants(path: Path) -> dict[str, Participant]:
    """Age, site and sex by person ("sub-01") of BIDS's participants.tsv; a person's first row counts.

    Raises:
        DataError: it is no such table.
    """
    found: dict[str, Participant] = {}
    for row in read_rows(path, f"correct it: a table with the columns {_PERSON} and {_AGE}"):
        if _PERSON not in row:
            raise DataError(f"{path} lacks the column {_PERSON}; add it, as BIDS asks for, or take the file away")
        sites = (str(row[column] or "").strip() for column in _SITES if column in row)
        site = next((one for one in sites if one and one.lower() != "n/a"), None)
        age = years(str(row.get(_AGE) or "").removesuffix("+"))  # BIDS writes 89+ of who is older
        found.setdefault(str(row[_PERSON]).strip(), Participant(age, site, sex=sex_of(row.get("sex"))))
    return found


def read_rows(path: Path, remedy: str) -> Iterable[Mapping[str, Any]]:
    """The rows of a table, a mapping of its columns each: of a .csv, a .tsv, or the first sheet of an .xls.

    Args:
        path: the table.
        remedy: what to do where it cannot be read, for the sentence.

    Raises:
        DataError: it is no such table, or xlrd is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ".xls":
        return _xls_rows(path, remedy)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ","))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} is no readable table ({error}); {remedy}") from error


def _xls_rows(path: Path, remedy: str) -> Iterable[Mapping[str, Any]]:
    """The first sheet of a workbook.

    A damaged workbook makes xlrd fail in many ways, which were found by damaging one thousands of times.
    """
    try:
        import xlrd
    except ImportError as error:
        raise DataError(f"{path} cannot be read without xlrd: pip install xlrd, or {remedy}") from error
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
        raise DataError(f"{path} is no readable workbook ({said}); download it again or {remedy}") from error
    if not lines:
        raise DataError(f"{path} has no rows; download it again or {remedy}")
    names = [str(cell.value).strip() for cell in lines[0]]
    return [dict(zip(names, (cell.value for cell in line), strict=False)) for line in lines[1:]]


def number(value: object) -> float | None:
    """A finite number that a cell holds, or None."""
    try:
        found = float(str(value))
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def years(value: object) -> float | None:
    """An age that a cell holds: a number of years that somebody can have lived, or None."""
    found = number(value)
    return found if found is not None and 0 < found < _OLDEST else None


def sex_of(value: object) -> str | None:
    """A sex that a cell holds: "female", "male", or None."""
    return _SEXES.get(str(value or "").strip().lower())
