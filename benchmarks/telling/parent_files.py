"""The artifacts of a parent in MLflow: its table, fold by fold and over folds, and plots of trainings and volumes."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from ..figures.folds import FoldCurve, training_plot, volumes_plot
from ..judgement.measures import METRICS
from ..records.record import RunRecord
from ..reports.cells import cells_of_records, is_simulated, volumes_of_records
from ..reports.columns import set_titles
from ..tracking.store import ParentFile

if TYPE_CHECKING:
    import pandas as pd

_HEALTHY = "healthy"
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font-family: sans-serif; margin: 1.5em }} table {{ border-collapse: collapse }}
th, td {{ padding: 0.25em 0.8em; text-align: right; border: 0 }} thead {{ border-bottom: 1px solid }}
tbody {{ white-space: nowrap }} tbody tr:last-child {{ border-top: 1px solid; font-weight: bold }}
</style></head><body><h2>{title}</h2>{table}<p>{note}</p></body></html>
"""


def parent_files(records: Sequence[RunRecord]) -> tuple[ParentFile, ...]:
    """Table and plots of the folds of one experiment.

    Args:
        records: of its finished folds, at least one.
    """
    cells = cells_of_records(records).sort_values("fold")
    title = _title(records[-1])
    phantom = any(is_simulated(cells, key) for key in set_titles(cells, (), phantom=False))
    note = "Phantom results: the brains are simulated, so nothing here speaks of patients." if phantom else ""
    return (*_tables(cells, title, note), *_plots(records, cells, title))


def _title(record: RunRecord) -> str:
    config = record.config
    return (
        f"{config.title} · {config.data_title}, {config.modality.upper()} · {config.preset_title}, seed {config.seed}"
    )


def _tables(cells: pd.DataFrame, title: str, note: str) -> Iterator[ParentFile]:
    """The table as HTML, Markdown and, with every digit, CSV."""
    numbers = _numbers(cells)
    lines = _printed(numbers)
    spread = "The last line is mean ± sample standard deviation over folds."
    page = _PAGE.format(title=escape(title), table=lines.to_html(border=0), note=escape(f"{spread} {note}".strip()))
    markdown = f"# {title}\n\n{lines.to_markdown(disable_numparse=True)}\n\n{spread} {note}".strip() + "\n"
    yield ParentFile("table.html", page.encode())
    yield ParentFile("table.md", markdown.encode())
    yield ParentFile("table.csv", numbers.to_csv().encode())


def _numbers(cells: pd.DataFrame) -> pd.DataFrame:
    """A line per fold, a column per metric of each set, scaled as tables print them."""
    found = cells.set_index("fold")
    columns = {}
    for key, name in set_titles(cells, (), phantom=False).items():
        for metric in METRICS.values():
            column = f"{key}/{metric.name}"
            if column in found.columns and found[column].notna().any():
                columns[f"{name} {metric.label} ({metric.unit})"] = metric.scale * found[column].astype(float)
    import pandas as pd

    return pd.DataFrame(columns, index=found.index)


def _printed(numbers: pd.DataFrame) -> pd.DataFrame:
    """The same in words, with a line of means and spreads."""
    lines = numbers.map(lambda value: f"{value:.2f}")
    lines.index = [f"fold {fold}" for fold in numbers.index]
    mean, spread = numbers.mean(), numbers.std(ddof=1)
    few = len(numbers) < 2
    last = [f"{mean[name]:.2f}" if few else f"{mean[name]:.2f} ± {spread[name]:.2f}" for name in numbers.columns]
    lines.loc["mean" if few else f"{len(numbers)} folds"] = last
    return lines


def _plots(records: Sequence[RunRecord], cells: pd.DataFrame, title: str) -> Iterator[ParentFile]:
    """Training curves and volumes, where matplotlib is installed: a bare node has none."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    curves = [curve for record in records if (curve := _curve(record)).epochs]
    if curves:
        yield ParentFile("plots/training.png", training_plot(curves, title))
    volumes = volumes_of_records(records)
    titles = set_titles(cells, (), phantom=False)
    for metric, label in (("dice", "Dice of a volume"), ("l1", "l1 of a healthy volume")):
        wanted = [key for key in titles if (key == _HEALTHY) == (metric == "l1")]
        values = {titles[key]: _by_fold(volumes[volumes["set"] == key], metric) for key in wanted}
        values = {name: folds for name, folds in values.items() if folds}
        if values:
            yield ParentFile(f"plots/{metric}_by_volume.png", volumes_plot(values, label, title))


def _curve(record: RunRecord) -> FoldCurve:
    history = record.history()
    return FoldCurve(
        fold=record.config.fold,
        epochs=[line.epoch for line in history],
        train=[line.train_loss for line in history],
        validation=[line.val_loss for line in history],
    )


def _by_fold(volumes: pd.DataFrame, metric: str) -> list[list[Any]]:
    """The scores of a set's volumes, a list per fold that is there."""
    return [list(group[metric].dropna()) for _, group in volumes.groupby("fold") if group[metric].notna().any()]
