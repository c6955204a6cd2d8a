"""Markdown tables as README holds them: pandas' own writer, without the blanks that would straighten the columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

#: What a vertical bar in a cell becomes, so that it does not end the cell.
_BAR = "&#124;"


def markdown_table(frame: pd.DataFrame, *, left: int) -> str:
    """Write a frame of words as a Markdown table, without its index and without a newline at the end.

    Args:
        frame: the cells as they are to be read.
        left: how many of the first columns are words; the others are numbers and stand to the right.

    Raises:
        ImportError: tabulate, by which pandas writes Markdown, is not installed.
    """
    from tabulate import DataRow, TableFormat

    rules = [":--"] * left + ["--:"] * (len(frame.columns) - left)
    row = DataRow("| ", " | ", " |")
    form = TableFormat(
        lineabove=None,
        linebelowheader=lambda widths, alignments: f"| {' | '.join(rules)} |",
        linebetweenrows=None,
        linebelow=None,
        headerrow=row,
        datarow=row,
        padding=0,
        with_header_hide=None,
    )
    cells = frame.map(_cell).rename(columns=_cell)
    # No alignment, no padding: a cell of three lines' length would widen its whole column.
    return cells.to_markdown(index=False, tablefmt=form, disable_numparse=True, stralign=None, numalign=None)


def _cell(word: object) -> str:
    return str(word).replace("|", _BAR)
