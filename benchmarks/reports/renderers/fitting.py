"""Tables for the terminal whose words stay whole: where room is short, columns go closer, and no word is broken.

Rich takes room from the widest column first, whatever stands in it, and breaks a heading of one long word in its midst
while another column has blanks to spare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Column as RichColumn
    from rich.table import Table as RichTable

#: Letters between two columns: a blank, and one more where there is room.
_CLOSE, _WIDE = (0, 0), (0, 1, 0, 0)


def plain_grid(title: str | None = None) -> RichTable:
    """An empty table as ours look: a rule below the headings, no other line."""
    from rich import box
    from rich.table import Table as RichTable

    return RichTable(box=box.SIMPLE_HEAD, padding=_WIDE, title=title, title_justify="left", pad_edge=False)


def fit(grid: RichTable, width: int) -> bool:
    """Give each column of a table the room that it needs, the first ones more where there is some left.

    Args:
        grid: see `plain_grid`, with all its rows.
        width: of the terminal, letters.

    Returns:
        Whether every word is whole; where a terminal is too narrow for that, the table is left as it is.
    """
    lines = [_longest(column, breaks="\n") for column in grid.columns]
    if sum(lines) <= width - _between(grid, 2):
        return True
    words = [_longest(column, breaks=None) for column in grid.columns]
    for padding, apart in ((_WIDE, 2), (_CLOSE, 1)):
        left = width - _between(grid, apart) - sum(words)
        if left >= 0:
            grid.padding = padding
            for column, line, word in zip(grid.columns, lines, words, strict=True):
                more = min(left, line - word)
                column.width, left = word + more, left - more
            return True
    return False


def _between(grid: RichTable, apart: int) -> int:
    """The letters that belong to no column: at both edges and between two."""
    return 2 + apart * (len(grid.columns) - 1)


def _longest(column: RichColumn, breaks: str | None) -> int:
    """The longest part of a column's heading and cells, in letters as a terminal shows them."""
    from rich.cells import cell_len

    return max(
        (cell_len(part) for text in (column.header, *column.cells) for part in str(text).split(breaks)), default=0
    )
