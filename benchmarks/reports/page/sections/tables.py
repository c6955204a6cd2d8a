"""The tables of a report: the very frames that `bench table` prints, to be sorted and filtered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from itertools import groupby

from ...columns import Column
from ...cost import COST
from ...notes import DASH, UNREPORTED
from ...table import Table
from ..html import Section
from ..study import Study

_EMPHASIS = {0: "", 1: "best", 2: "second"}
_BREAK = "\n"
_SAID = "What is said of the methods and of the data below the tables above holds here, too."


@dataclass(frozen=True)
class TableCell:
    """A number as it is read and as it is sorted.

    Attributes:
        words: as `bench table` prints it.
        interval: its 95 % interval, as `bench table --ci` prints it; "" where there is none.
        value: unrounded, in the column's unit; "" where there is none.
        style: whether it is the column's best or second.
    """

    words: str
    interval: str
    value: str
    style: str


@dataclass(frozen=True)
class TableLine:
    """A line of a table."""

    title: str
    kind: str
    cells: tuple[TableCell, ...]


@dataclass(frozen=True)
class TableGroup:
    """A line of ours and what was published of it: they are sorted together."""

    lines: tuple[TableLine, ...]


@dataclass(frozen=True)
class TableView:
    """A table as the template shows it.

    Attributes:
        name: of the suite.
        title: of the table.
        caption: its conditions.
        sets: title and number of columns of each set.
        columns: from left to right.
        groups: from top to bottom.
        notes: below it.
    """

    name: str
    title: str
    caption: str
    sets: tuple[tuple[str, int], ...]
    columns: tuple[Column, ...]
    groups: tuple[TableGroup, ...]
    notes: tuple[str, ...]


def tables_section(study: Study) -> Section:
    """Every table of the report."""
    return Section(
        "tables",
        "The numbers",
        "tables.html.j2",
        lead=(
            "Mean ± standard deviation over folds and, below it, the 95 % interval, as bench table --ci prints them. "
            "Bold: the best of a column; underlined: the second; ≈: not significantly worse than the best; italics: "
            "what does not compete, published figures and controls. A click on a heading sorts.",
        ),
        content={"tables": tuple(view_of(table) for table in study.tables)},
    )


def view_of(table: Table, *, said: Set[str] = frozenset()) -> TableView:
    """The measured columns of a table as the template shows them.

    Args:
        table: the table.
        said: notes that stand on the page already; they are not repeated.
    """
    view = _view(table, [column for column in table.columns if column.key != COST], lambda kind: True)
    new = tuple(note for note in view.notes if note not in said)
    return view if len(new) == len(view.notes) else replace(view, notes=(*new, _SAID))


def cost_view_of(table: Table) -> TableView:
    """The columns of cost of a table, of our own rows."""
    columns = [column for column in table.columns if column.key == COST]
    return replace(
        _view(table, columns, lambda kind: kind in ("method", "control")), name=f"{table.name}-cost", notes=()
    )


def _view(table: Table, columns: Sequence[Column], is_shown: Callable[[str], bool]) -> TableView:
    sets = tuple((title, len(list(group))) for title, group in groupby(column.title for column in columns))
    lines = [line for line in _lines(table, columns) if is_shown(line.kind) and not _is_empty(line)]
    groups = tuple(TableGroup(tuple(group)) for group in _grouped(lines))
    return TableView(table.name, table.title, table.caption, sets, tuple(columns), groups, table.remarks)


def _lines(table: Table, columns: Sequence[Column]) -> Iterator[TableLine]:
    words, ranks = table.text(interval=f"{_BREAK}{{:.2f}} to {{:.2f}}"), table.ranks()
    parts = [
        (words[column.name].to_list(), table.of(column)["mean"].to_list(), ranks[column.name].to_list())
        for column in columns
    ]
    for place, line in enumerate(table.lines.to_dict("records")):
        cells = tuple(
            TableCell(*_parted(texts[place]), _value(means[place]), _EMPHASIS[emphasis[place]])
            for texts, means, emphasis in parts
        )
        title = " ".join(filter(None, [line["title"], line["sign"], f"({line['mark']})" if line["mark"] else ""]))
        yield TableLine(title, line["kind"], cells)


def _is_empty(line: TableLine) -> bool:
    """Whether nothing is said in these columns, as of an untrained network's cost."""
    return all(cell.words in (DASH, UNREPORTED) for cell in line.cells)


def _parted(words: str) -> tuple[str, str]:
    """A number, and its interval."""
    number, _, interval = words.partition(_BREAK)
    return number, interval


def _grouped(lines: Iterable[TableLine]) -> list[list[TableLine]]:
    """Each line of ours with the published one under it; what other papers reported stands by itself."""
    groups: list[list[TableLine]] = []
    for line in lines:
        if line.kind == "paper" and groups:
            groups[-1].append(line)
        else:
            groups.append([line])
    return groups


def _value(mean: float) -> str:
    return "" if math.isnan(mean) else repr(float(mean))
