"""What a point of Dice costs: the rows that no other row beats in both, for each price.

A row is on the front where no other reaches as much at a lower price, nor more at the same (Pareto). Prices measured on
different machines do not compare, and the caller says where they were measured.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    import pandas as pd

#: What is paid, by the columns of `reports.cost`, in words with their unit.
PRICES = {
    "cost/volume_seconds": "seconds per volume",
    "cost/slice_gflop": "GFLOP per slice",
    "cost/peak_gib": "GiB of memory",
}


@dataclass(frozen=True)
class FrontPoint:
    """A row at one price.

    Attributes:
        row: its name.
        title: its title.
        gain: mean over folds, unscaled.
        price: mean over folds.
        on_front: whether no other row dominates it.
        dominated_by: title of the row that reaches more for less, the best of them; "" on the front.
    """

    row: str
    title: str
    gain: float
    price: float
    on_front: bool
    dominated_by: str


def dominating(gains: ArrayLike, prices: ArrayLike) -> list[int | None]:
    """For each point the one that dominates it: at least as much at no higher price, and better in one of the two.

    Args:
        gains: more is better [n].
        prices: less is better [n].

    Returns:
        The index of the dominating point with the highest gain, the cheapest of equals; None on the front. A point with
        NaN dominates none and is dominated by none.
    """
    gain, price = np.asarray(gains, dtype=float), np.asarray(prices, dtype=float)
    better = (gain[:, None] >= gain) & (price[:, None] <= price) & ((gain[:, None] > gain) | (price[:, None] < price))
    best = np.lexsort((price, -gain))
    return [next((int(one) for one in best if better[one, place]), None) for place in range(gain.size)]


def front(cells: pd.DataFrame, gain: str, price: str) -> tuple[FrontPoint, ...]:
    """The rows of a study at one price, the cheapest first.

    Args:
        cells: the frame of finished cells with the columns of cost, see `reports.cost`; one preset, data and seed.
        gain: a column where more is better, such as "tumours/dice".
        price: one of `PRICES`.

    Returns:
        Rows of which both are known, controls left out by the caller.
    """
    if gain not in cells or price not in cells:
        return ()
    lines = _means(cells, gain, price)
    rivals = dominating([line[gain] for line in lines], [line[price] for line in lines])
    points = [
        FrontPoint(
            row=str(line["row"]),
            title=str(line["title"]),
            gain=float(line[gain]),
            price=float(line[price]),
            on_front=rival is None,
            dominated_by="" if rival is None else str(lines[rival]["title"]),
        )
        for line, rival in zip(lines, rivals, strict=True)
    ]
    return tuple(sorted(points, key=lambda point: (point.price, -point.gain)))


def _means(cells: pd.DataFrame, gain: str, price: str) -> list[dict[Hashable, Any]]:
    means = cells.groupby(["row", "title"], sort=False)[[gain, price]].mean().dropna().reset_index()
    return means.to_dict("records")


def front_sentence(points: tuple[FrontPoint, ...], price: str) -> str:
    """Which rows are worth their price, in words; "" where there are fewer than two.

    Args:
        points: see `front`.
        price: one of `PRICES`.
    """
    if len(points) < 2:
        return ""
    on, off = ([one.title for one in points if one.on_front is side] for side in (True, False))
    rest = f"; {_are(off)} beaten by a row that costs no more" if off else ""
    return f"By {PRICES[price]}, {_are(on)} on the front{rest}."


def _are(titles: list[str]) -> str:
    return f"{' and '.join(filter(None, [', '.join(titles[:-1]), titles[-1]]))} {'are' if len(titles) > 1 else 'is'}"
