"""Where the cells of a table come from: what was computed elsewhere is marked, two versions of the data never mix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import UserError, shorten
from .console import counted
from .selection import RowCells

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 12  # letters of a fingerprint
_DATE = 10  # letters of 2025-03-01T10:00:00+00:00 up to the day

#: Who computed a cell elsewhere, and with which code.
Source = tuple[str, str]


class MixedDataError(UserError):
    """Numbers that were measured on different data would stand side by side."""


def on_version(cells: pd.DataFrame, fingerprint: str) -> pd.DataFrame:
    """The cells of one version of the data.

    Args:
        cells: the frame of cells.
        fingerprint: how its fingerprint begins; "" takes every version.

    Raises:
        UserError: there are cells, and none on such data.
    """
    found = cells[cells["fingerprint"].str.startswith(fingerprint)] if fingerprint else cells
    if len(cells) and not len(found):
        known = shorten(tuple(sorted({word[:_SHOWN] for word in cells["fingerprint"]})))
        raise UserError(f"--fingerprint {fingerprint}: no cell was run on such data; there are {known}")
    return found


def require_one_version(title: str, rows: Sequence[RowCells]) -> None:
    """See that the rows of a table were measured on one version of the data.

    A variant may prepare the scans in another way and is held against itself alone.

    Args:
        title: of the table.
        rows: that are shown.

    Raises:
        MixedDataError: they were not; the sentence names the cells of each.
    """
    asked = [row for row in rows if not row.differs]
    for group in (asked, *([row] for row in rows if row.differs)):
        versions = _by_version(group)
        if len(versions) > 1:
            cells = "; ".join(f"{version[:_SHOWN]} ({shorten(tuple(names))})" for version, names in versions.items())
            raise MixedDataError(
                f"{title} would mix {len(versions)} versions of the data: {cells}; show one by "
                f"--fingerprint {next(iter(versions))[:_SHOWN]}, or run the others again on the data that you mean"
            )


def _by_version(rows: Sequence[RowCells]) -> dict[str, list[str]]:
    """What was run on each version of the data, by its fingerprint."""
    versions: dict[str, list[str]] = {}
    for row in rows:
        for (version, who), cells in row.cells.groupby(["fingerprint", "origin"], sort=False):
            folds = ", ".join(map(str, cells["fold"]))
            where = f" by {who}" if who else ""
            versions.setdefault(str(version), []).append(f"{row.title} fold {folds}{where}")
    return versions


def sources_in(rows: Sequence[RowCells]) -> dict[Source, str]:
    """A sign such as "[1]" for everybody elsewhere who computed a cell that is shown, in the order of the rows."""
    found = dict.fromkeys(source for row in rows for source in _sources(row.cells))
    return {source: f"[{number}]" for number, source in enumerate(found, start=1)}


def signs_of(cells: pd.DataFrame, signs: Mapping[Source, str]) -> str:
    """The signs of those who computed some cells; "" where all were computed here."""
    return "".join(signs[source] for source in dict.fromkeys(_sources(cells)))


def people_of(cells: pd.DataFrame) -> str:
    """Who computed some cells elsewhere; "" where all were computed here."""
    return "; ".join(dict.fromkeys(who for who, _ in _sources(cells)))


def source_notes(cells: pd.DataFrame, signs: Mapping[Source, str]) -> Iterator[str]:
    """What the signs mean: who computed the cells, when, and with which code."""
    for (who, commit), sign in signs.items():
        own = cells[(cells["origin"] == who) & (cells["commit"] == commit)]
        days = sorted({started[:_DATE] for started in own["started"] if started})
        when = " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "nobody knows when"
        code = f"commit {commit}" if commit else "commit unknown"
        yield f"{sign} computed elsewhere, by {who}: {counted(len(own), 'cell')}, {when}, {code}."


def _sources(cells: pd.DataFrame) -> list[Source]:
    pairs = zip(cells["origin"], cells["commit"], strict=True)
    return [(str(who), str(commit)) for who, commit in pairs if who]
