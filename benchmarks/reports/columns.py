"""The columns of a table: which metrics the suite asks for, of the sets that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...datasets.cohort import HEALTHY
from ..plan.suite import Suite
from .cells import sets_in

if TYPE_CHECKING:
    import pandas as pd

#: The lesion sets of the paper come first, in its order; all others follow by name, and the healthy set is the last.
_PAPER_SETS = {"tumours": "tumours", "ms": "MS"}


@dataclass(frozen=True)
class Metric:
    """A number of a run record as a table prints it.

    Attributes:
        name: in the record, without the set.
        label: in the table.
        unit: of the printed number.
        scale: from the stored number to the printed one.
        higher: True where more is better; None where nothing is ranked.
        varies: whether it differs between folds, so that it has a spread.
        optional: whether a cell may lack it; its mean is that of the cells that have it.
    """

    name: str
    label: str
    unit: str
    scale: float
    higher: bool | None
    varies: bool = True
    optional: bool = False

    @property
    def measure(self) -> str:
        """Unit and which way is better."""
        return f"({self.unit}){'' if self.higher is None else ' ↑' if self.higher else ' ↓'}"

    @property
    def heading(self) -> str:
        """Label, unit and which way is better."""
        return f"{self.label} {self.measure}"


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


METRICS = {
    metric.name: metric
    for metric in (
        Metric("dice", "DICE", "%", 100, True),
        Metric("dice_exact", "exact DICE", "%", 100, True),
        Metric("auprc", "AUPRC", "%", 100, True),
        Metric("l1", "l1", "1e-3", 1000, False),
        Metric("l1_brain", "brain l1", "1e-3", 1000, False),
    )
}
#: What the protocol measures beside the paper's columns, lesion by lesion and at other thresholds, by table.
DETECTION: Mapping[str, tuple[Metric, ...]] = {
    "lesion by lesion": (
        Metric("lesion_recall", "recall", "%", 100, True, optional=True),
        Metric("lesion_precision", "precision", "%", 100, True, optional=True),
        Metric("lesion_f1", "F1", "%", 100, True, optional=True),
        Metric("false_per_scan", "false", "per scan", 1, False, optional=True),
    ),
    "lesions found, by size": (
        Metric("recall_below_01", "< 0.1 ml", "%", 100, True, optional=True),
        Metric("recall_01_1", "0.1 to 1", "%", 100, True, optional=True),
        Metric("recall_1_10", "1 to 10", "%", 100, True, optional=True),
        Metric("recall_above_10", "≥ 10 ml", "%", 100, True, optional=True),
    ),
    "thresholds that need no lesion label": (
        Metric("dice_at_1", "DICE at 1 %", "%", 100, True, optional=True),
        Metric("dice_at_5", "DICE at 5 %", "%", 100, True, optional=True),
        Metric("dice_at_10", "DICE at 10 %", "%", 100, True, optional=True),
        Metric("healthy_false_ml", "healthy", "ml", 1, False, optional=True),
    ),
    "surfaces, scans and ceilings": (
        Metric("hd95", "HD95", "mm", 1, False, optional=True),
        Metric("surface_dice", "surface DICE", "%", 100, True, optional=True),
        Metric("scan_auroc", "scan AUROC", "%", 100, True, optional=True),
        Metric("ceiling_dice", "ceiling", "%", 100, None, optional=True),
    ),
    "does it heal": (
        Metric("l1_inside", "l1 inside", "1e-3", 1000, None, optional=True),
        Metric("l1_outside", "l1 outside", "1e-3", 1000, None, optional=True),
        Metric("ssim_inside", "SSIM inside", "%", 100, None, optional=True),
        Metric("ssim_outside", "SSIM outside", "%", 100, None, optional=True),
    ),
}
METRICS |= {metric.name: metric for metrics in DETECTION.values() for metric in metrics}
DETECTION_NOTES = {
    "lesion by lesion": "at the run's threshold: a lesion is found where a component matches it one to one at Dice 0.1 "
    "or more, false are components that touch no lesion; lesions are pooled over the test scans.",
    "lesions found, by size": "share of the lesions of a size that are found, as above.",
    "thresholds that need no lesion label": "DICE at the score that 1, 5 and 10 % of the brain voxels of healthy "
    "validation scans exceed; healthy: marked in a healthy test scan at the set's own threshold.",
    "surfaces, scans and ceilings": "HD95 over the scans in which something is marked; surface DICE at 2 mm; scan AUROC "
    "tells lesion scans from healthy ones by their mean score, and scanners with them; ceiling: DICE at each volume's "
    "best threshold, which nobody knows: no result.",
    "does it heal": "error and SSIM of the reconstruction inside lesions and in the brain outside; who heals has more "
    "error and less likeness inside.",
}
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
    return tuple(
        Column(key, title, METRICS[name])
        for key, title in titles.items()
        for name in dict.fromkeys(healthy if key == HEALTHY else lesions)
    )


def detection_suites(suite: Suite) -> dict[str, Suite]:
    """The suite's rows once more for each table of `DETECTION`, by its title."""
    return {
        title: replace(
            suite,
            name=f"{suite.name}-{number}",
            title=f"{suite.title.partition(':')[0]}: {title}, mean ± standard deviation over folds",
            lesion_metrics=tuple(metric.name for metric in metrics),
            healthy_metrics=(),
        )
        for number, (title, metrics) in enumerate(DETECTION.items(), start=1)
    }


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
