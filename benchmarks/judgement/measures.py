"""The numbers of a run record as people read them: label, unit, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...datasets.cohort import HEALTHY

#: Test volumes with lesions; healthy ones; healthy ones at the threshold of a lesion set.
Scans = Literal["lesion", "healthy", "healthy at"]


@dataclass(frozen=True)
class Metric:
    """A number of a run record as a table prints it.

    Attributes:
        name: in the record, without the set.
        label: in the table.
        unit: of the printed number; "" of a plain ratio.
        scale: from the stored number to the printed one.
        higher: True where more is better; None where nothing is ranked.
        varies: whether it differs between folds, so that it has a spread.
        optional: whether a cell may lack it; its mean is that of the cells that have it.
        scans: what it is measured on.
    """

    name: str
    label: str
    unit: str
    scale: float
    higher: bool | None
    varies: bool = True
    optional: bool = False
    scans: Scans = "lesion"

    @property
    def measure(self) -> str:
        """Unit and which way is better."""
        way = "" if self.higher is None else "↑" if self.higher else "↓"
        return " ".join(filter(None, [f"({self.unit})" if self.unit else "", way]))

    @property
    def heading(self) -> str:
        """Label, unit and which way is better."""
        return f"{self.label} {self.measure}".rstrip()


#: What `scores.csv` knows of a test volume.
METRICS = {
    metric.name: metric
    for metric in (
        Metric("dice", "DICE", "%", 100, True),
        Metric("dice_exact", "exact DICE", "%", 100, True),
        Metric("auprc", "AUPRC", "%", 100, True),
        Metric("l1", "l1", "1e-3", 1000, False, scans="healthy"),
        Metric("l1_brain", "brain l1", "1e-3", 1000, False, scans="healthy"),
    )
}
#: What is compared unless somebody asks for something else: the paper's columns.
USUAL = ("dice", "auprc", "l1")
_AT = f"{HEALTHY}@"


def healthy_at(key: str) -> str:
    """The key of healthy scans at the threshold of a lesion set."""
    return f"{_AT}{key}"


def scans_of(key: str) -> Scans:
    """What the volumes of a set are."""
    if key == HEALTHY:
        return "healthy"
    return "healthy at" if key.startswith(_AT) else "lesion"


def set_title(key: str, titles: Mapping[str, str]) -> str:
    """What people call a set.

    Args:
        key: of a set, or of healthy scans at a set's threshold.
        titles: of the sets, by key.
    """
    lesion_set = key.removeprefix(_AT)
    title = titles.get(lesion_set, lesion_set)
    return title if lesion_set == key else f"healthy scans at the threshold of {title}"
