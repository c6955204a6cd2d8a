"""Whom a test scan shows: age and site from the volume stores, and what a table of one's own adds, such as sex.

The manifest of each store below `results/data` names its subjects with the ages and sites that were known when it was
built. No store knows a sex; a table in BIDS' form (`participants.tsv`), or one with the columns `img_name` and `sex`,
does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.participants import read_rows, years
from ...datasets.splits.own import scan_of
from ...errors import DataError, UserError

if TYPE_CHECKING:
    import pandas as pd

#: What is known of a person.
KNOWN = ("age", "site", "sex")
_NAMES = ("img_name", "participant_id", "subject", "id")
#: How tables write that they do not know.
_UNKNOWN = frozenset({"", "n/a", "na", "nan", "none", "unknown"})
_SEXES = {"f": "female", "female": "female", "w": "female", "m": "male", "male": "male"}


def people_in(stores: Path, table: Path | None = None) -> pd.DataFrame:
    """Who is known: a row per cohort and subject, with the columns cohort, subject, age (years), site and sex.

    Args:
        stores: the folder of volume stores, `results/data`; one that is not there knows nobody.
        table: a CSV or TSV of one's own with the name of scan or person (`img_name`, `participant_id`, `subject` or
            `id`) and any of age, site, sex; it wins where it says something.

    Returns:
        NaN and "" where nothing is known.

    Raises:
        UserError: the table cannot be read, or names no scan.
    """
    import pandas as pd

    said = {} if table is None else dict(_of_table(table))
    found = {(line["cohort"], line["subject"]): line for line in _of_stores(stores)}
    lines = [{**line, **_said_of(line, said)} for line in found.values()]
    return pd.DataFrame(lines, columns=["cohort", "subject", *KNOWN]).astype({"age": float})


def with_people(frame: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """A frame of test volumes with the age, site and sex of each; NaN and "" where nothing is known.

    Args:
        frame: with the columns cohort and subject.
        people: see `people_in`.
    """
    merged = frame.merge(people, on=["cohort", "subject"], how="left", validate="many_to_one")
    return merged.fillna({"site": "", "sex": ""})


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
    """What a table says of whom, by name of scan or person without BIDS' prefix."""
    try:
        rows = list(read_rows(table, "give a CSV or TSV with a header"))
    except DataError as error:
        raise UserError(str(error)) from error
    for row in rows:
        name = next((str(row[column]) for column in _NAMES if column in row), None)
        if name is None:
            raise UserError(f"{table} names no scan; give it a column {', '.join(_NAMES[:-1])} or {_NAMES[-1]}")
        yield (
            _bare(scan_of(name)),
            {key: value for key, value in _known(row).items() if value not in ("", math.nan)},
        )


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
    return {"age": math.nan if age is None else age, "site": site, "sex": _SEXES.get(sex.lower(), sex)}


def _word(value: object) -> str:
    word = str(value or "").strip()
    return "" if word.lower() in _UNKNOWN else word
