"""Tables as CSV, one number per line: easy to filter, and each says what it was measured on and in which unit."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from ..judged.certainty import Sureness
from ..notes import UNREPORTED
from ..table import Table, is_published

_HEADS = (
    *("table", "data", "modality", "preset", "seed", "kind", "row", "title", "role", "set", "metric", "unit"),
    *("mean", "std", "folds", "printed", "origin"),
)
_SURE = ("low", "high", "volumes", "near_best")


def render(tables: Sequence[Table]) -> str:
    """Every number of the tables, unrounded; with intervals their ends, the volumes, and what is near the best.

    `role` is the key of the set and `set` its title; `origin` is who computed cells of the row elsewhere.
    """
    import pandas as pd

    heads = [*_HEADS, *(_SURE if any(table.certainty for table in tables) else ())]
    lines = [line for table in tables for line in _lines(table)]
    return pd.DataFrame(lines, columns=[*_HEADS, *_SURE])[heads].to_csv(index=False, lineterminator="\n")


def _lines(table: Table) -> Iterator[tuple[Any, ...]]:
    numbers = [(column, table.of(column).to_dict("records")) for column in table.columns]
    for place, line in enumerate(table.lines.to_dict("records")):
        conditions = (table.name, table.data, table.modality.value, table.preset, table.seed)
        for column, found in numbers:
            what = (column.key, column.title, column.metric.name, column.metric.unit)
            values = _values(found[place], line["kind"])
            head = (*conditions, line["kind"], line["row"], line["title"])
            yield (*head, *what, *values, line["origin"], *_sureness(table.sure(place, column)))


def _sureness(sure: Sureness | None) -> tuple[Any, ...]:
    return (None, None, None, None) if sure is None else (sure.low, sure.high, sure.n, sure.near)


def _values(found: Mapping[Hashable, Any], kind: str) -> tuple[Any, ...]:
    printed = found["printed"] or (UNREPORTED if is_published(kind) else "")
    return found["mean"], found["std"], found["folds"], printed
