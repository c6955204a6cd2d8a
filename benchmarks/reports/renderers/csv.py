"""Tables as CSV, one number per line: easy to filter, and each says what it was measured on and in which unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..notes import UNREPORTED
from ..table import Table, is_published

_HEADS = (
    *("table", "data", "preset", "seed", "kind", "row", "title", "role", "set", "metric", "unit"),
    *("mean", "std", "folds", "printed"),
)


def render(tables: Sequence[Table]) -> str:
    """Every number of the tables, unrounded; `role` is the key of the set and `set` its title."""
    import pandas as pd

    lines = [line for table in tables for line in _lines(table)]
    return pd.DataFrame(lines, columns=list(_HEADS)).to_csv(index=False, lineterminator="\n")


def _lines(table: Table) -> Iterator[tuple[Any, ...]]:
    for place, line in table.lines.iterrows():
        head = (table.name, table.data, table.preset, table.seed, line["kind"], line["row"], line["title"])
        for column in table.columns:
            mean, std, folds, printed = table.of(column).loc[place, ["mean", "std", "folds", "printed"]]
            gap = UNREPORTED if is_published(line["kind"]) and not printed else printed
            yield (*head, column.key, column.title, column.metric.name, column.metric.unit, mean, std, folds, gap)
