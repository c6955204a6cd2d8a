"""What a person would say of a comparison, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .comparison import better_rows
from .measures import METRICS

if TYPE_CHECKING:
    import pandas as pd


def sentence_of(compared: pd.DataFrame, first: str, second: str, titles: Mapping[str, str]) -> str:
    """One sentence: on which sets the first is better, worse, or not to be told from the second, by their main number.

    Args:
        compared: see `comparison.compare`; of each set the first number is spoken of.
        first: what the first line is called.
        second: what the second is called.
        titles: what the sets are called, by key.
    """
    heads = compared.drop_duplicates("set")
    if not len(heads):
        return f"{first} and {second} have no volume in common."
    clauses = list(_clauses(heads, first, second, titles))
    text = "; ".join(clauses) + "."
    return text[:1].upper() + text[1:]


def _clauses(heads: pd.DataFrame, first: str, second: str, titles: Mapping[str, str]) -> Iterator[str]:
    names = f"{first} and {second}"
    for row, better in better_rows(heads):
        place, amount = titles.get(row.set, row.set), _amount(row)
        few = f", and {row.n} volumes are few" if row.doubtful else ""
        if better is None:
            whom, names = names, "the two"
            yield f"on {place} nothing tells {whom} apart ({amount}{few})"
        else:
            winner, loser = (first, second) if better else (second, first)
            names = "the two"
            yield f"on {place} {winner} is better than {loser} ({amount}{few})"


def _amount(row: Any) -> str:
    metric = METRICS[row.metric]
    unit = "points" if metric.unit == "%" else metric.unit
    difference, low, high = (signed(metric.scale * value) for value in (row.difference, row.low, row.high))
    return f"{metric.label} {difference} {unit}, 95 % {low} to {high}"


def signed(number: float, decimals: int = 1) -> str:
    """A number with its sign, as people write it."""
    return f"{number:+.{decimals}f}".replace("-", "−")
