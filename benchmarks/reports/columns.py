"""The columns of a table: which metrics the suite asks for, of the sets that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...datasets.cohort import HEALTHY
from ..judgement.found import FOUND_METRICS, FoundTable
from ..judgement.measures import METRICS, Metric
from ..plan.suite import Suite
from .cells import sets_in

if TYPE_CHECKING:
    import pandas as pd

#: The lesion sets of the paper come first, in its order; all others follow by name, and the healthy set is the last.
_PAPER_SETS = {"tumours": "tumours", "ms": "MS"}


@dataclass(frozen=True)
class Column:
    """One metric of one set; `key` is what the run knows the set by, `title` what people call the data set."""

    key: str
    title: str
    metric: Metric

    @property
    def name(self) -> str:
        """Name in the frame of cells and in the published tables, e.g. "tumours/dice"."""
        return f"{self.key}/{self.metric.name}"


#: What the protocol reports beside the paper's columns, never instead of them.
_LESIONS_BESIDE, _HEALTHY_BESIDE = ("dice_exact",), ("l1_brain",)
BESIDE_NOTE = (
    "exact DICE: at the exact optimum of the validation set, where the greedy search may be trapped; "
    "brain l1: without the background."
)


def columns_of(suite: Suite, titles: Mapping[str, str], *, beside: bool) -> tuple[Column, ...]:
    """The columns of a suite for these sets.

    Args:
        suite: which metrics.
        titles: key of each set to its title, in the order of the table.
        beside: add what the protocol reports beside the paper's columns.
    """
    lesions = (*suite.lesion_metrics, *(_LESIONS_BESIDE if beside else ()))
    healthy = (*suite.healthy_metrics, *(_HEALTHY_BESIDE if beside else ()))
    known = {**METRICS, **FOUND_METRICS}
    return tuple(
        Column(key, title, known[name])
        for key, title in titles.items()
        for name in dict.fromkeys(healthy if key == HEALTHY else lesions)
    )


def found_suite(suite: Suite, table: FoundTable) -> Suite:
    """The suite's rows once more, with the columns of a table of what was found."""
    return replace(
        suite,
        name=f"{suite.name}-{table.title.replace(' ', '-').replace(',', '')}",
        title=f"{suite.title.partition(':')[0]}: {table.title}, mean ± standard deviation over folds",
        lesion_metrics=tuple(metric.name for metric in table.metrics),
        healthy_metrics=(),
    )


def set_titles(cells: pd.DataFrame, published: Iterable[str], *, phantom: bool) -> dict[str, str]:
    """Key to title of the sets that a table has columns for, in its order.

    Args:
        cells: the cells of the table; the newest says what a set is called.
        published: keys of the sets that published lines of the table speak of, whether or not they are there.
        phantom: whether the data source is the phantom, where no cell says what its sets are called.
    """
    newest = cells.sort_values("started")
    found = {key: str(newest[f"{key}/title"].dropna().iloc[-1]) for key in sets_in(cells)}
    usual = {**_PAPER_SETS, HEALTHY: "healthy"}
    wanted = {*(found or usual), *published}
    for key in sorted(wanted - set(found)):
        title = usual.get(key, key)
        found[key] = f"phantom {title}" if phantom else title
    return _told_apart({key: found[key] for key in sorted(found, key=_place)})


def _place(key: str) -> tuple[int, str]:
    paper = tuple(_PAPER_SETS)
    if key in paper:
        return paper.index(key), ""
    return len(paper) + (key == HEALTHY), key


def _told_apart(titles: dict[str, str]) -> dict[str, str]:
    """Two sets of one title are told apart by their keys."""
    shared = {title for title in titles.values() if list(titles.values()).count(title) > 1}
    return {key: f"{title} ({key})" if title in shared else title for key, title in titles.items()}
