"""Ours beside the paper's, figure by figure: for the terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from ....errors import UserError
from ....markdown import markdown_table
from ..console import in_ascii
from ..judged.reproduction import Reproduction
from .fitting import fit, plain_grid

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, Group
    from rich.table import Table as RichTable

_STYLES = {"reproduced": "green", "within noise": "yellow", "higher": "red", "lower": "red"}


def print_reproduction(found: Reproduction, form: str, console: Console) -> None:
    """Print it.

    Args:
        found: what to print.
        form: "rich", "markdown", "csv" or "json".
        console: where to.

    Raises:
        UserError: there is no such format, or tabulate, by which pandas writes Markdown, is not installed.
    """
    if form == "rich":
        console.print(_renderable(found, console.width, ascii_only=console.options.ascii_only), soft_wrap=False)
        return
    if form not in _FORMATS:
        raise UserError(f"--format {form}: choose rich, {', '.join(_FORMATS)}")
    console.file.write(_FORMATS[form](found))


def words_of(found: Reproduction) -> pd.DataFrame:
    """The figures as they are read: a line per row and column of the table, strings alone."""
    import pandas as pd

    lines = [_words(line, found.sources) for line in found.frame.to_dict("records")]
    return pd.DataFrame(lines)


def _words(line: Mapping[Hashable, Any], sources: tuple[str, ...]) -> dict[str, str]:
    inside = line["inside"]
    return {
        "Method": str(line["title"]),
        "figure": f"{line['set_title']} {line['label']} ({line['unit']})",
        "ours": _number(line["ours"], line["ours_std"]),
        "paper": str(line["paper"]),
        "difference": _difference(line),
        "inside ±1σ": {True: "yes", False: "no"}.get(inside, "–"),
        "verdict": str(line["verdict"]),
        **{source: str(line[source]) or "–" for source in sources},
    }


def _number(mean: float, std: float) -> str:
    return f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f} ± {std:.2f}"


def _difference(line: Mapping[Hashable, Any]) -> str:
    difference, low, high = (float(line[name]) for name in ("difference", "low", "high"))
    if math.isnan(difference):
        return "–"
    interval = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    return f"{difference:+.2f}{interval}{' (scans)' if line['basis'] == 'scans' else ''}"


# ------------------------------------------------------------------------------------------------------ the terminal


def _renderable(found: Reproduction, width: int, *, ascii_only: bool) -> Group:
    from rich.console import Group
    from rich.text import Text

    def shown(text: str) -> str:
        return in_ascii(text) if ascii_only else text

    words = words_of(found)
    grids = [_grid(words, shown, found.title)]
    if found.sources:
        real = words.assign(figure=found.frame["paper_set"] + " " + found.frame["label"])
        told = (words[list(found.sources)] != "–").any(axis=1)
        grids.append(_grid_of_others(real[told], shown, found.sources))
    for grid in grids:
        fit(grid, width)
    verdict, *notes = found.sentences
    caption = Text(shown(f"{found.caption} {_units(found)}"))
    return Group(
        *grids, Text(shown(verdict), style="bold"), caption, *(Text(shown(note), style="dim") for note in notes)
    )


def _grid(words: pd.DataFrame, shown: Callable[[str], str], title: str) -> RichTable:
    """A line per figure, each method named once."""
    from rich.text import Text

    grid = plain_grid(shown(title))
    grid.add_column("Figure", overflow="fold")
    for head in ("ours", "paper", "difference", "±1σ"):
        grid.add_column(shown(head), justify="right", overflow="fold")
    grid.add_column("verdict", overflow="fold")
    for method, lines in words.groupby("Method", sort=False):
        grid.add_row(Text(shown(str(method)), style="bold"))
        for line in lines.to_dict("records"):
            tight = [shown(line[name]).replace(shown(" ± "), shown("±")) for name in ("ours", "paper")]
            verdict = Text(shown(line["verdict"]), style=_STYLES.get(line["verdict"], ""))
            rest = shown(line["difference"]).replace(" [", "\n["), shown(line["inside ±1σ"])
            grid.add_row(f"  {shown(_short(line['figure']))}", *tight, *rest, verdict)
    return grid


def _grid_of_others(words: pd.DataFrame, shown: Callable[[str], str], sources: tuple[str, ...]) -> RichTable:
    grid = plain_grid(shown("What others got who reran a method; conditions below"))
    grid.add_column("Method", overflow="fold")
    grid.add_column("figure", overflow="fold")
    heads = ("paper", *sources)
    for head in heads:
        grid.add_column(shown(head.replace(" ", "\n")), justify="right", overflow="fold")
    for line in words.to_dict("records"):
        cells = [shown(str(line[head]).replace(" ± ", "±")) for head in heads]
        grid.add_row(shown(line["Method"]), shown(line["figure"]), *cells)
    return grid


def _short(figure: str) -> str:
    """A figure without its unit, which the caption tells once."""
    return figure.rpartition(" (")[0]


def _units(found: Reproduction) -> str:
    pairs = dict(zip(found.frame["label"], found.frame["unit"], strict=True))
    return f"{', '.join(f'{label} in {unit}' for label, unit in pairs.items())}."


# ----------------------------------------------------------------------------------------------------- as text


def _markdown(found: Reproduction) -> str:
    try:
        grid = markdown_table(words_of(found), left=2)
    except ImportError as error:
        raise UserError("tabulate is not installed here, and Markdown tables need it; pip install tabulate") from error
    verdict, *notes = found.sentences
    parts = [
        f"**{found.title}**",
        "",
        grid,
        "",
        found.caption,
        "",
        f"**{verdict}**",
        "",
        *(f"* {one}" for one in notes),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _csv(found: Reproduction) -> str:
    text: str = found.frame.to_csv(index=False, lineterminator="\n")
    return text


def _json(found: Reproduction) -> str:
    figures = json.loads(found.frame.to_json(orient="records"))
    answer = {
        **{"table": found.name, "failed": found.failed, "reasons": list(found.reasons)},
        **{"not_run": list(found.not_run), "figures": figures},
    }
    return json.dumps(answer, indent=2, ensure_ascii=False) + "\n"


_FORMATS: dict[str, Callable[[Reproduction], str]] = {"markdown": _markdown, "csv": _csv, "json": _json}
