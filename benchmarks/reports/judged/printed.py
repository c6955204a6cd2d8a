"""A comparison as it is printed: a table for the terminal, or JSON."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from ...judgement.comparison import judged_rows
from ...judgement.measures import set_title
from ...judgement.scan_numbers import COMPARABLE
from ...judgement.sentences import signed
from ..console import in_ascii
from ..renderers.fitting import fit, plain_grid
from .asked import Comparison

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

_PLACES = 2


def print_comparison(found: Comparison, console: Console) -> None:
    """Print the sentence, the numbers and the notes."""
    from rich.text import Text

    def words(text: str) -> str:
        return in_ascii(text) if console.options.ascii_only else text

    console.print(Text(words(found.sentence)), soft_wrap=False)
    if len(found.frame):
        grid = _grid(found, words)
        fit(grid, console.width)
        console.print(grid, soft_wrap=False)
    for note in found.notes:
        console.print(Text(words(note), style="dim"), soft_wrap=False)


def as_json(found: Comparison) -> str:
    """All of it as one JSON object; differences and means are fractions, what is none is null."""
    numbers = [
        {
            str(name): None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in row.items()
        }
        for row in found.frame.to_dict("records")
    ]
    whole = {
        "first": found.first,
        "second": found.second,
        "sentence": found.sentence,
        "sets": dict(found.titles),
        "numbers": numbers,
        "notes": list(found.notes),
    }
    return json.dumps(whole, indent=2, allow_nan=False)


def _grid(found: Comparison, words: Any) -> RichTable:
    grid = plain_grid()
    grid.add_column("", overflow="fold")
    heads = (found.first, found.second, "difference\n95 %", "p\ncrossed\nHolm", "wins/ties\n/losses", "false\nclaim")
    for head in heads:
        grid.add_column(words(head), justify="right", overflow="fold")
    several = found.frame["seed"].nunique() > 1
    for row, verdict in judged_rows(found.frame):
        grid.add_row(*map(words, _cells(row, found, several=several)), style="dim" if verdict == "nothing" else "")
    return grid


def _cells(row: Any, found: Comparison, *, several: bool) -> list[str]:
    metric = COMPARABLE[row.metric]
    first, second = (f"{metric.scale * value:.{_PLACES}f}" for value in (row.first, row.second))
    difference, low, high = (signed(metric.scale * value, _PLACES) for value in (row.difference, row.low, row.high))
    seed = f", seed {row.seed}" if several else ""
    return [
        f"{set_title(row.set, found.titles)}{seed}\n{metric.heading}",
        first,
        second,
        f"{difference}\n{low} to {high}{'†' if row.doubtful else ''}",
        "\n".join(map(_probability, (row.p, row.p_crossed, row.p_holm))),
        f"{row.wins}/{row.ties}/{row.losses}\nof {row.n}",
        _share(row.false_claim),
    ]


def _probability(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def _share(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "<0.1 %" if value < 0.001 else f"{100 * value:.1f} %"
