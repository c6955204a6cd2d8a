"""Tables as Markdown, as README holds them."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import UserError
from ....markdown import markdown_table
from ..notes import DASH, UNREPORTED
from ..table import Table
from .styled import words_of

_EMPHASIS = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}


def render(tables: Sequence[Table]) -> str:
    """The tables one below the other, each with its caption and its notes.

    Raises:
        UserError: tabulate, by which pandas writes Markdown, is not installed.
    """
    return "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    parts = [f"**{table.title}**", "", *([_grid(table), ""] if len(table.lines) else [])]
    return "\n".join([*parts, table.caption, "", *(f"* {note}" for note in table.remarks)]).rstrip() + "\n"


def _grid(table: Table) -> str:
    words, ranks = words_of(table), table.ranks()
    words.columns = ["<br>".join(filter(None, head)) for head in words.columns]
    for place, column in enumerate(ranks.columns, start=1):
        words.isetitem(
            place,
            [_EMPHASIS[rank].format(text) for rank, text in zip(ranks[column], words.iloc[:, place], strict=True)],
        )
    ours = table.lines["kind"] == "method"
    words = words.where(ours, words.map(_italic))
    try:
        return markdown_table(words, left=1)
    except ImportError as error:
        raise UserError("tabulate is not installed here, and Markdown tables need it; pip install tabulate") from error


def _italic(word: str) -> str:
    return word if word in (DASH, UNREPORTED) else f"*{word}*"
