"""A table for the terminal, which fits 80 letters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..columns import Column
from ..console import in_ascii
from ..cost import COST
from ..table import Table
from .fitting import fit, plain_grid

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group
    from rich.table import Table as RichTable
    from rich.text import Text

_FAINT = {"method": "", "control": "italic", "paper": "dim italic", "elsewhere": "dim italic"}
_EMPHASIS = {0: "", 1: "bold", 2: "underline"}
#: Of more columns, the deviation stands below the mean.
_MOST_SIDE_BY_SIDE = 5
#: Before the deviation, and how the ends of an interval stand below it.
_BESIDE, _BELOW = ("±", "\n{:.1f}–{:.1f}"), ("\n±", "\n{:.1f}\n–{:.1f}")


def renderable(table: Table, *, ascii_only: bool = False) -> Group:
    """The table, its caption and its notes; `ascii_only`: its signs too, so that columns stay straight."""
    from rich.console import Group
    from rich.text import Text

    def words(text: str) -> str:
        return in_ascii(text) if ascii_only else text

    notes = [Text(words(table.caption)), *(Text(words(note), style="dim") for note in table.remarks)]
    if not len(table.lines):
        return Group(Text(words(table.title), style="italic"), *notes)
    grids = [_Columns(table, tuple(part), ascii_only) for part in _parts(table.columns)]
    return Group(*grids, *notes)


@dataclass(frozen=True, eq=False)
class _Columns:
    """Columns beside each other where the terminal is wide enough for their words, else one part below the other.

    Attributes:
        table: theirs.
        columns: at least one.
        ascii_only: whether signs of ours are shown in ASCII.
    """

    table: Table
    columns: tuple[Column, ...]
    ascii_only: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RichTable]:
        """What Rich prints."""
        yield from self._grids(self.columns, options.max_width)

    def _grids(self, columns: tuple[Column, ...], width: int) -> Iterator[RichTable]:
        grid = _grid(self.table, columns, ascii_only=self.ascii_only)
        if fit(grid, width) or len(columns) == 1:
            yield grid
        else:
            place = _middle(columns)
            yield from self._grids(columns[:place], width)
            yield from self._grids(columns[place:], width)


def _middle(columns: Sequence[Column]) -> int:
    """Where columns are best parted: between two sets, as near to the middle as can be, else in the middle."""
    half = len(columns) / 2
    between = [place for place in range(1, len(columns)) if columns[place].key != columns[place - 1].key]
    return min(between or range(1, len(columns)), key=lambda place: abs(place - half))


def _parts(columns: Sequence[Column]) -> list[list[Column]]:
    """The columns that stand beside each other, or they would not fit.

    What rows cost stands below their numbers, and of what was found each set stands below the one before.
    """
    keys = dict.fromkeys(_below(column) for column in columns)
    parts = ([column for column in columns if _below(column) == key] for key in keys)
    return sorted(parts, key=lambda part: part[0].key == COST)


def _below(column: Column) -> str:
    """What tells the columns of one grid from those of others."""
    return column.key if column.key == COST or column.metric.optional else ""


def _grid(table: Table, columns: Sequence[Column], *, ascii_only: bool) -> RichTable:
    """Some columns of a table, each row named; only the first ones bear the table's title."""
    from rich.text import Text

    def words(text: str) -> str:
        return in_ascii(text) if ascii_only else text

    title = words(table.title) if columns[0] == table.columns[0] else None
    grid = plain_grid(title)
    grid.add_column("Method", overflow="fold")
    for column in columns:
        grid.add_column(words(_head(column)), justify="right", overflow="fold")
    names = [column.name for column in columns]
    narrow = len(columns) > _MOST_SIDE_BY_SIDE
    texts = table.text(*_BELOW if narrow else _BESIDE)[names].to_numpy()
    ranks = table.ranks()[names].to_numpy()
    for line, *found in zip(table.lines.to_dict("records"), texts, ranks, strict=True):
        cells = [Text(words(cell), style=_EMPHASIS[rank]) for cell, rank in zip(*found, strict=True)]
        name = _title(line["kind"], words(line["title"]), line["sign"], line["mark"])
        grid.add_row(name, *cells, style=_FAINT[line["kind"]])
    return grid


def _head(column: Column) -> str:
    """One word per line, so that the numbers and not their headings take the room."""
    return "\n".join([*column.title.split(), *column.metric.label.split(), column.metric.measure])


def _title(kind: str, title: str, sign: str, mark: str) -> Text:
    from rich.text import Text

    indent = "  " if kind == "paper" else ""
    name = f"{indent}{title} {sign}" if sign else f"{indent}{title}"
    return Text.assemble(name, (f" ({mark})" if mark else "", "yellow"))
