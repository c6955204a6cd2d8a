"""The numbers of a run record as people read them: label, unit, and which way is better."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...datasets.cohort import HEALTHY


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
#: What is measured on volumes without a lesion; all else is measured on lesion sets.
HEALTHY_METRICS = frozenset({"l1", "l1_brain"})
#: What is compared unless somebody asks for something else: the paper's columns.
USUAL = ("dice", "auprc", "l1")


def measured(keys: Iterable[str], metrics: Sequence[str] = USUAL) -> list[tuple[str, str]]:
    """Which metric is judged on which set.

    Args:
        keys: of the sets.
        metrics: names of `METRICS`.

    Returns:
        (set, metric), set by set.
    """
    return [(key, name) for key in keys for name in metrics if (name in HEALTHY_METRICS) == (key == HEALTHY)]
