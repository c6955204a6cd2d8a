"""Tables as LaTeX with booktabs, the notes below the table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from ..columns import Column
from ..table import Table
from .styled import styled

_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "$": r"\$",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "³": r"$^3$",
        "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "−": "$-$", "‡": r"$\ddagger$", "·": r"$\cdot$",
        "<": "$<$", ">": "$>$", "≈": r"$\approx$", "†": r"$\dagger$",
    }
)  # fmt: skip


def render(tables: Sequence[Table]) -> str:
    """The tables one below the other.

    Raises:
        UserError: jinja2 is not installed.
    """
    return "\n".join(["% needs \\usepackage{booktabs}", *(_table(table) for table in tables)])


def _table(table: Table) -> str:
    notes = [f"{_tex(note)}\\par" for note in table.remarks]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(_unnumbered(table.title))}. {_tex(table.caption)}}}",
            rf"\label{{tab:{table.name}}}",
            *(_tabular(table) if len(table.lines) else []),
            *([r"\par\smallskip", r"\begin{minipage}{\linewidth}", r"\footnotesize", *notes, r"\end{minipage}"]),
            r"\end{table}",
            "",
        ]
    )


def _unnumbered(title: str) -> str:
    """A title without "Table 1:", which LaTeX counts itself, and a capital first."""
    text = re.sub(r"^Table \d+: ", "", title)
    return text[:1].upper() + text[1:]


def _tabular(table: Table) -> list[str]:
    style = styled(table, "textbf: --rwrap", "underline: --rwrap", "textit: --rwrap")
    style = style.format(_tex).format_index(_tex, axis="columns")
    text = style.to_latex(hrules=True, column_format=f"l{'r' * len(table.columns)}", multicol_align="c")
    lines = text.rstrip().split("\n")
    sets = lines.index(r"\toprule") + 1  # the line with the titles of the sets, which pandas does not underline
    return [*lines[: sets + 1], " ".join(_rules(table.columns)), *lines[sets + 1 :]]


def _rules(columns: Sequence[Column]) -> Iterator[str]:
    """A rule under the title of each set; the method's name is column 1."""
    places = enumerate(columns, start=2)
    for _, group in groupby(places, key=lambda place: place[1].key):
        numbers = [number for number, _ in group]
        yield rf"\cmidrule(lr){{{numbers[0]}-{numbers[-1]}}}"


def _tex(text: object) -> str:
    return str(text).translate(_TEX)
