"""Whom a test scan shows: age and site from the volume stores, and what a table of one's own adds, such as sex.

The manifest of each store below `results/data` names its subjects with the ages and sites that were known when it was
built. No store knows a sex: what stores hold is part of their fingerprints, and cells are named by those. A table in
BIDS' form (`participants.tsv`), one with the columns `img_name` and `sex`, or the sheet that comes with a data set
(`IXI.xls`) does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.participants import read_rows, sex_of, years
from ...datasets.splits.own import scan_of
from ...errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

    from ...datasets.base import DataSet, Participant

#: What is known of a person.
KNOWN = ("age", "site", "sex")
_NAMES = ("img_name", "participant_id", "subject", "id")
#: How tables write that they do not know.
_UNKNOWN = frozenset({"", "n/a", "na", "nan", "none", "unknown"})


def people_in(stores: Path, table: Path | None = None, scans: pd.DataFrame | None = None) -> pd.DataFrame:
    """Who is known: a row per cohort and subject, with the columns cohort, subject, age (years), site and sex.

    Args:
        stores: the folder of volume stores, `results/data`; one that is not there knows nobody.
        table: a CSV or TSV of one's own with the name of scan or person (`img_name`, `participant_id`, `subject` or
            `id`) and any of age, site, sex; or the sheet that comes with a data set, such as `IXI.xls`. It wins where
            it says something.
        scans: with the columns cohort and subject: who is asked for beside those in the stores.

    Returns:
        NaN and "" where nothing is known.

    Raises:
        UserError: the table cannot be read, or names no scan, or none of these scans.
    """
    import pandas as pd

    said = {} if table is None else dict(_of_table(table))
    found = {} if scans is None else {key: _nobody(*key) for key in zip(scans["cohort"], scans["subject"], strict=True)}
    found |= {(line["cohort"], line["subject"]): line for line in _of_stores(stores)}
    added = {key: _said_of(line, said) for key, line in found.items()}
    if table is not None and found and not any(added.values()):
        example = next(iter(found))[1]
        raise UserError(f"{table} says nothing of any scan here, such as {example}; name scans or persons as they are")
    lines = [{**line, **added[key]} for key, line in found.items()]
    return pd.DataFrame(lines, columns=["cohort", "subject", *KNOWN]).astype({"age": float})


def with_people(frame: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """A frame of test volumes with the age, site and sex of each; NaN and "" where nothing is known.

    Args:
        frame: with the columns cohort and subject.
        people: see `people_in`.
    """
    merged = frame.merge(people, on=["cohort", "subject"], how="left", validate="many_to_one")
    return merged.fillna({"site": "", "sex": ""})


def _nobody(cohort: str, subject: str) -> dict[str, Any]:
    """A scan of which nothing is known."""
    return {"cohort": cohort, "subject": subject, **_known({})}


def _of_stores(stores: Path) -> Iterator[dict[str, Any]]:
    """The subjects of every store, those of the newest last."""
    for path in sorted(stores.glob("**/manifest.json"), key=lambda path: path.stat().st_mtime):
        try:
            recipe = json.loads(path.read_text(encoding="utf-8"))["recipe"]
            made, subjects = recipe["manifest"], recipe["subjects"]
            cohort = made["set"] if "set" in made else f"phantom-{made['role']}"
            lines = [{"cohort": str(cohort), "subject": str(one["id"]), **_known(one)} for one in subjects]
        except (OSError, ValueError, LookupError, TypeError):
            continue  # no store of ours, or a damaged one: whoever opens it says so
        yield from lines


def _of_table(table: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What a table says of whom, by name of scan or person without BIDS' prefix.

    A file that is called as the sheet of a data set is read as such: a column `Subject` or `ID` says not whose it is.
    """
    try:
        rows = [_plain(row) for row in read_rows(table, "give a CSV or TSV with a header")]
    except DataError as error:
        raise UserError(str(error)) from error
    columns = set().union(*rows)
    of_set = [one for one in _sheets() if one.participants and table.name in one.participants.names]
    people = {} if columns & {*_NAMES[:2]} else _read_as(of_set, table)
    if not people and not columns & {*_NAMES}:
        people = _read_as(_sheets(), table)
        if not people:
            raise UserError(f"{table} names no scan; give it a column {', '.join(_NAMES[:-1])} or {_NAMES[-1]}")
    if people:
        yield from ((_bare(name), _said_in(asdict(person))) for name, person in people.items())
        return
    name = next(name for name in _NAMES if name in columns)
    yield from ((_bare(scan_of(str(row[name]))), _said_in(row)) for row in rows)


def _sheets() -> list[DataSet]:
    """The data sets that come with a sheet of persons."""
    from ...datasets.registry import data_sets

    return [one for one in data_sets().values() if one.participants is not None]


def _read_as(candidates: Sequence[DataSet], table: Path) -> Mapping[str, Participant]:
    """The persons of a sheet, as the first data set calls them that can read it; nobody where none can."""
    for data_set in candidates:
        try:
            people = data_set.participants.read(table) if data_set.participants else {}
        except DataError:
            continue
        if any(one.age is not None or one.sex is not None for one in people.values()):
            return people
    return {}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose columns are named in small letters."""
    return {str(name).strip().lower(): value for name, value in row.items()}


def _said_in(line: Mapping[str, Any]) -> dict[str, Any]:
    """Age, site and sex where a table says them."""
    return {key: value for key, value in _known(line).items() if value == value and value != ""}  # noqa: PLR0124 - NaN


def _said_of(line: Mapping[str, Any], said: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """What the table says of a subject, by the scan's name or else by the person's."""
    if not said:
        return {}
    from ...datasets.registry import data_sets

    data_set = data_sets().get(line["cohort"])
    names = (line["subject"], data_set.person_of(line["subject"])) if data_set else (line["subject"],)
    return next((said[_bare(name)] for name in names if _bare(name) in said), {})


def _bare(name: str) -> str:
    return name.strip().removeprefix("sub-")


def _known(line: Mapping[str, Any]) -> dict[str, Any]:
    age = years(str(line.get("age") or "").removesuffix("+"))  # BIDS writes 89+ of who is older
    site, sex = (_word(line.get(name)) for name in ("site", "sex"))
    return {"age": math.nan if age is None else age, "site": site, "sex": sex_of(sex) or sex}


def _word(value: object) -> str:
    word = str(value or "").strip()
    return "" if word.lower() in _UNKNOWN else word
