"""README's table of methods, generated from registry, suites and preset."""

from __future__ import annotations

import inspect

from ...markdown import markdown_table
from ...methods import card_rows
from ..plan.preset import Preset
from ..plan.suite import SuiteRow, load_suite, suites_by_row, suites_in_order
from .counting import count_cost
from .memory import count_step_bytes
from .words import code, significant
from .workload import Workload, workloads

_HEADER = (
    "row",
    "method",
    "paper",
    "year",
    "suite",
    "parameters (M)",
    "GFLOP per pass",
    "passes per slice",
    "GFLOP per slice",
    "step (GiB)",
)


def methods_markdown(preset: Preset) -> str:
    """Every row of every suite, then registered rows that are in none, then controls; equal rows share a line."""
    import pandas as pd

    suites = suites_by_row()
    listed = [entry for name in suites_in_order() for entry in load_suite(name).rows]
    others = [SuiteRow(row, card) for name, (card, row) in card_rows().items() if name not in suites]
    entries = sorted([*listed, *others], key=lambda entry: entry.card.info.control)
    lines = [_line(work, suites) for work in workloads(entries, preset)]
    return markdown_table(pd.DataFrame(lines, columns=list(_HEADER)), left=5)


def _line(work: Workload, suites: dict[str, list[str]]) -> list[str]:
    info, cost = work.method.info, count_cost(work)
    names = dict.fromkeys(row.name for row in work.rows)
    return [
        code(names),
        _title(work),
        info.paper or "–",
        str(info.year or "–"),
        code(dict.fromkeys(suite for name in names for suite in suites.get(name, ()))) or "–",
        f"{cost.parameters / 1e6:.2f}",
        significant(cost.pass_flop / 1e9),
        f"{cost.passes:g}",
        significant(cost.slice_flop / 1e9),
        _gibibytes(count_step_bytes(work, work.plan.train.batch_size)),
    ]


def _gibibytes(size: int | None) -> str:
    return "–" if size is None else significant(size / 2**30, 3)


def _title(work: Workload) -> str:
    """Titles of the rows; what the method is, where these are its own rows and no ablation of it."""
    title = " = ".join(dict.fromkeys(row.title for row in work.rows))
    own = {row.name for row in work.method.info.rows}
    what = inspect.cleandoc(work.method.__doc__ or "").partition("\n")[0].removesuffix(".")
    return f"**{title}**: {what}" if what and own & {row.name for row in work.rows} else f"**{title}**"
