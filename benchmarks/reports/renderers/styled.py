"""A table as a frame of words in pandas' style: the way to HTML, LaTeX and a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import UserError
from ..table import Table

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

METHOD = ("", "Method")


def words_of(table: Table) -> pd.DataFrame:
    """The words of a table: the lines' titles first, then the columns under the titles of their sets."""
    import pandas as pd

    parts = table.lines[["title", "sign", "mark"]].to_numpy()
    titles = [" ".join(filter(None, [title, sign, f"({mark})" if mark else ""])) for title, sign, mark in parts]
    heads = [METHOD, *((column.title, column.metric.heading) for column in table.columns)]
    frame = table.text()
    frame.insert(0, "Method", titles)
    frame.columns = pd.MultiIndex.from_tuples(heads)
    return frame


def styled(table: Table, best: str, second: str, faint: str) -> Styler:
    """The words with the column's best, its second and the lines that do not compete in these styles of CSS.

    Raises:
        UserError: jinja2, by which pandas styles tables, is not installed.
    """
    words = words_of(table)
    styles = table.ranks().map({0: "", 1: best, 2: second}.__getitem__)
    styles.insert(0, "Method", "")
    styles = styles.mask(table.lines["kind"] != "method", faint)
    styles.columns = words.columns
    try:
        style = words.style
    except (ImportError, AttributeError) as error:
        raise UserError("jinja2 is not installed here, and a styled table needs it; pip install jinja2") from error
    return style.apply(lambda _: styles, axis=None).hide(axis="index")
