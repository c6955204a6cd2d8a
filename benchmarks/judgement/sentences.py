"""What a person would say of a comparison, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .comparison import judged_rows
from .measures import set_title
from .scan_numbers import COMPARABLE

if TYPE_CHECKING:
    import pandas as pd

    from .comparison import Verdict

#: How a difference in a unit is said behind its number.
_UNITS = {"%": " points", "mm": " mm", "ml": " ml"}


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
        f"on {set_title(str(key), titles)} {', '.join(amount_of(row) for row in part.itertuples())}"
        for key, part in heads.groupby("set", sort=False)
    ]
    return f"With the seeds {', '.join(map(str, seeds))} the difference is {'; '.join(clauses)}."


def _clauses(heads: pd.DataFrame, first: str, second: str, titles: Mapping[str, str]) -> Iterator[str]:
    names = f"{first} and {second}"
    for row, verdict in judged_rows(heads):
        few = f", and {row.n} volumes are few" if row.doubtful else ""
        yield f"on {set_title(row.set, titles)} {_said(verdict, names, first, second)} ({_amount(row)}{few})"
        names = "the two"


def _said(verdict: Verdict, names: str, first: str, second: str) -> str:
    """What a comparison says; of a number of which neither is better, that one has more of it."""
    words = {
        "nothing": f"nothing tells {names} apart",
        "first": f"{first} is better than {second}",
        "second": f"{second} is better than {first}",
        "more": f"{first} has more than {second}, which is neither better nor worse",
        "less": f"{first} has less than {second}, which is neither better nor worse",
    }
    return words[verdict]


def _amount(row: Any) -> str:
    low, high = (_told(row, value) for value in (row.low, row.high))
    return f"{COMPARABLE[row.metric].label} {amount_of(row)}, 95 % {low} to {high}"


def amount_of(row: Any) -> str:
    """The difference of a row of a comparison in words: points of a percentage, a length, or a plain number."""
    unit = COMPARABLE[row.metric].unit
    return f"{_told(row, row.difference)}{_UNITS.get(unit, '')}"


def _told(row: Any, value: float) -> str:
    """Percentages as the table has them; small fractions need no unit as they are."""
    metric = COMPARABLE[row.metric]
    if metric.unit == "%":
        return signed(metric.scale * value, 1)
    return signed(value, 4 if metric.unit == "1e-3" else 2)


def signed(number: float, decimals: int = 1) -> str:
    """A number with its sign, as people write it."""
    return f"{number:+.{decimals}f}".replace("-", "−")
