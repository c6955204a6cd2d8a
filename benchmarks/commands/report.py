"""`bench report`: a whole study as one file of HTML."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...datasets.modality import Modality
from ..reports.console import make_console
from .options import RESULTS, DataOption, ModalityOption, PresetOption, ResultsOption, SeedOption, SetOption

if TYPE_CHECKING:
    from ..reports.page.study import Question


def report(
    which: Annotated[str, typer.Argument(help="1, 2, frontier or all.")] = "all",
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = Path("report.html"),
    diff: Annotated[
        tuple[Path, Path] | None,
        typer.Option("--diff", help="Instead of a study: what differs between two results folders."),
    ] = None,
    fingerprint: Annotated[
        str, typer.Option("--fingerprint", help="Of several versions of the data: the one whose fingerprint begins so.")
    ] = "",
    method: Annotated[
        list[str], typer.Option("--method", help="Add a row, e.g. your FILE.py:CLASS; may be repeated.")
    ] = [],  # noqa: B006
    data: DataOption = "phantom",
    modality: ModalityOption = Modality.T2,
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    results: ResultsOption = RESULTS,
) -> None:
    """Write a study as one page: verdict, tables, figures, volumes, provenance; it can be read offline."""
    from ..plan.request import requested_preset
    from ..plan.suite import select_rows
    from ..reports.page.study import Question
    from ..reports.tables import suites_of

    more = select_rows(method)
    numbers = requested_preset(preset, change, more, alone=False)
    question = Question(suites_of(which), numbers, data, modality, seed, more, fingerprint)
    size = _write_study(results, question, out) if diff is None else _write_difference(diff, question, out)
    make_console().print(f"Wrote {out} ({size / 1e6:.1f} MB).")


def _write_study(results: Path, question: Question, out: Path) -> int:
    from ..reports.page.report import write_report
    from ..reports.results import load_results
    from ..sources import data_of_runs

    records = load_results(results).looked_at()
    return write_report(records, question, out, folder=results, open_data=partial(data_of_runs, results))


def _write_difference(folders: tuple[Path, Path], question: Question, out: Path) -> int:
    from ..reports.page.difference import write_difference
    from ..reports.results import load_results

    first, second = (load_results(folder).looked_at() for folder in folders)
    return write_difference(folders, (first, second), question, out)
