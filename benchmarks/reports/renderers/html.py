"""Tables as a page of HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from ..table import Table
from .styled import METHOD, styled

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler
    from pandas.io.formats.style_render import CSSDict

_HEAD = '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>uadbench: tables</title>\n</head>\n'
_STYLES: tuple[CSSDict, ...] = (
    {"selector": "", "props": "border-collapse: collapse; font-family: sans-serif"},
    {"selector": "th, td", "props": "padding: 0.2em 0.7em; text-align: right"},
    {"selector": "thead tr:last-child", "props": "border-bottom: 1px solid"},
    {"selector": "caption", "props": "text-align: left; font-weight: bold; padding: 0.5em 0"},
)


def html_style(table: Table) -> Styler:
    """A table as a notebook shows it: the best is bold, the second underlined, what does not compete is italic.

    Raises:
        UserError: jinja2 is not installed.
    """
    style = styled(table, "font-weight: bold", "text-decoration: underline", "font-style: italic")
    style = style.set_properties(subset=[METHOD], **{"text-align": "left"})
    return style.format(escape="html").format_index(escape="html", axis="columns").set_table_styles(list(_STYLES))


def render(tables: Sequence[Table]) -> str:
    """The tables one below the other, each with its caption and its notes."""
    return f"{_HEAD}<body>\n{''.join(_section(table) for table in tables)}</body>\n</html>\n"


def _section(table: Table) -> str:
    title = escape(table.title)
    body = f"<h2>{title}</h2>\n"
    if len(table.lines):
        style = html_style(table).set_caption(title)
        body = style.to_html(table_uuid=table.name, sparse_columns=True)
    notes = "".join(f"<li>{escape(note)}</li>\n" for note in table.remarks)
    return f"<section>\n{body}<p>{escape(table.caption)}</p>\n<ul>\n{notes}</ul>\n</section>\n"
