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
    people: Annotated[
        Path | None,
        typer.Option(
            "--people",
            help="A table of persons for the strata: participants.tsv, IXI.xls, or a CSV of img_name with any of age, "
            "site and sex.",
        ),
    ] = None,
    niivue: Annotated[
        Path | None,
        typer.Option(
            "--niivue",
            help="Show the gallery's volumes in 3-D: the .tgz that npm pack @niivue/niivue downloads, or niivue.umd.js "
            "of it.",
        ),
    ] = None,
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
    from ...errors import UserError
    from ..plan.request import requested_preset
    from ..plan.suite import select_rows
    from ..reports.page.study import Question
    from ..reports.tables import suites_of

    if diff is not None and (people is not None or niivue is not None):
        raise UserError("--people and --niivue belong to the report of one results folder; leave them out with --diff")
    more = select_rows(method)
    numbers = requested_preset(preset, change, more, alone=False)
    question = Question(suites_of(which), numbers, data, modality, seed, more, fingerprint, people)
    if diff is None:
        size, note = _write_study(results, question, out, niivue)
    else:
        size, note = _write_difference(diff, question, out), ""
    make_console().print(f"Wrote {out} ({size / 1e6:.1f} MB). {note}".rstrip())


def _write_study(results: Path, question: Question, out: Path, niivue: Path | None) -> tuple[int, str]:
    """Size of the report, and why it has no 3-D view though it was asked for."""
    from ..reports.page.report import write_report
    from ..reports.page.viewer import read_viewer
    from ..reports.results import load_results
    from ..sources import data_of_runs

    written = write_report(
        load_results(results).looked_at(),
        question,
        out,
        folder=results,
        open_data=partial(data_of_runs, results),
        viewer=None if niivue is None else read_viewer(niivue),
    )
    return written.size, written.note


def _write_difference(folders: tuple[Path, Path], question: Question, out: Path) -> int:
    from ..reports.page.difference import write_difference
    from ..reports.results import load_results

    first, second = (load_results(folder).looked_at() for folder in folders)
    return write_difference(folders, (first, second), question, out)
