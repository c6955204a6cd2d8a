"""What `bench check` prints: one table, a row per set; the findings, errors first; and the verdict in the last line."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from ...datasets.check.check import Report, SetSummary, Spread
from ...datasets.check.rules import Kind, Severity
from ..reports.console import counted, make_console

_WIDEST = 1000  # a table in a pipe is not cut at 80 letters
_COLUMNS = (
    "brain (ml)\nmedian (range)",
    "lesions (ml)\nmedian (range)",
    "intensities\n1 % to 99 %",
    "duplicates",
    "errors",
    "remarks",
)


def print_report(report: Report, console: Console) -> None:
    """Print table, findings and verdict.

    Args:
        report: what was found.
        console: where to.
    """
    table = _table(report)
    width = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    make_console(console.file, max(width, console.width)).print(table)
    for line in _lines(report):
        console.print(line, markup=False, highlight=False)
    console.print(verdict(report), markup=False, highlight=False)


def verdict(report: Report) -> str:
    """One sentence: whether a run can be trusted, and if not, why."""
    errors, remarks = report.of(Severity.ERROR), report.of(Severity.REMARK)
    counts = f"{counted(len(errors), 'error')}, {counted(len(remarks), 'remark')}"
    split = f", split: {report.split}" if report.split is not None else ""
    if not errors:
        return f"{report.directory} is fit for a run ({counts}{split})."
    kinds = dict.fromkeys(str(finding.kind) for finding in errors)
    return f"{report.directory} is not fit for a run ({counts}{split}): {', '.join(kinds)}."


def _table(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("set", no_wrap=True)
    for title in ("scans", "complete", *_COLUMNS):
        table.add_column(title, justify="right", no_wrap=True)
    for key, summary in report.summaries.items():
        table.add_row(*_row(report, key, summary))
    return table


def _row(report: Report, key: str, summary: SetSummary) -> Iterator[str]:
    yield from (summary.title, str(summary.scans), str(summary.complete))
    yield _spread(summary.brain_ml, 0)
    yield _spread(summary.lesion_ml, 1)
    greys = summary.intensities
    yield "–" if greys is None else " to ".join(_grey(grey) for grey in greys)
    yield str(summary.duplicates)
    for severity in (Severity.ERROR, Severity.REMARK):
        yield str(sum(key in finding.keys for finding in report.of(severity)))


def _grey(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _spread(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return "–"
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f} to {spread.high:.{digits}f})"


def _lines(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.severity}: {finding}"
    if any(finding.kind is Kind.LEAK for finding in report.findings):
        yield "Of the leaks: --splits deleaked drops these scans from training, --splits own makes another partition."
