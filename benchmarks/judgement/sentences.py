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


def sentence_of_seeds(compared: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """How the difference changes with the seed, of each set's main number; "" where there is one seed.

    Args:
        compared: comparisons of several seeds, told apart by a column `seed`.
        titles: what the sets are called, by key.
    """
    seeds = list(dict.fromkeys(compared["seed"]))
    if len(seeds) < 2:
        return ""
    heads = compared.drop_duplicates(["seed", "set"])
    clauses = [
        f"on {titles.get(str(key), str(key))} {', '.join(amount_of(row) for row in part.itertuples())}"
        for key, part in heads.groupby("set", sort=False)
    ]
    return f"With the seeds {', '.join(map(str, seeds))} the difference is {'; '.join(clauses)}."


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
    low, high = (_told(row, value) for value in (row.low, row.high))
    return f"{METRICS[row.metric].label} {amount_of(row)}, 95 % {low} to {high}"


def amount_of(row: Any) -> str:
    """The difference of a row of a comparison in words: points of a percentage, or a plain number."""
    return f"{_told(row, row.difference)}{' points' if METRICS[row.metric].unit == '%' else ''}"


def _told(row: Any, value: float) -> str:
    """Percentages as the table has them; others are small fractions, which need no unit as they are."""
    metric = METRICS[row.metric]
    return signed(metric.scale * value, 1) if metric.unit == "%" else signed(value, 4)


def signed(number: float, decimals: int = 1) -> str:
    """A number with its sign, as people write it."""
    return f"{number:+.{decimals}f}".replace("-", "−")
