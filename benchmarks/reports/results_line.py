"""A finished cell's numbers as one line for people, with their units."""

from __future__ import annotations

from ..records.record import RunRecord
from ..records.record_files import CellConfig


def results_line(record: RunRecord) -> str:
    """What a cell found, e.g. "phantom tumours Dice 36.3 %, AUPRC 44.2 %; phantom healthy l1 21.4e-3".

    Raises:
        RecordError: a file of the record is damaged.
    """
    metrics, titles = record.metrics, _titles(record.config)
    parts = []
    for name, title in titles.items():
        numbers = [_number(metric, metrics.get(f"{name}/{metric}")) for metric in ("dice", "auprc", "l1")]
        if any(numbers):
            parts.append(f"{title} {', '.join(number for number in numbers if number)}")
    return "; ".join(parts)


def _titles(config: CellConfig) -> dict[str, str]:
    """By a set's name, its title; lesion sets first, because they are what a run is about."""
    sets = {cohort.name: cohort.title for cohort in config.cohorts.values()}
    healthy = config.cohorts.get("healthy")
    if healthy is not None:
        sets[healthy.name] = sets.pop(healthy.name)
    return sets


def _number(metric: str, value: float | None) -> str:
    """A number with its unit: Dice and AUPRC in per cent, l1 in thousandths of the range of grey values."""
    if value is None:
        return ""
    if metric == "l1":
        return f"l1 {value * 1e3:.1f}e-3"
    return f"{'Dice' if metric == 'dice' else 'AUPRC'} {value * 100:.1f} %"
