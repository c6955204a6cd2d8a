"""`bench table`: the tables, from the runs in MLflow."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ...datasets.modality import Modality
from ..reports.console import make_console
from .options import RESULTS, DataOption, ModalityOption, PresetOption, ResultsOption, SeedOption, SetOption


def table(
    which: Annotated[str, typer.Argument(help="1, 2, frontier or all.")] = "all",
    form: Annotated[str, typer.Option("--format", help="rich, markdown, latex, csv or html.")] = "rich",
    paper: Annotated[bool, typer.Option("--paper", help="Put the published row under each of ours.")] = False,
    elsewhere: Annotated[bool, typer.Option("--elsewhere", help="Add what other papers reported.")] = False,
    controls: Annotated[bool, typer.Option("--controls", help="Add the control rows and the untrained l1.")] = False,
    beside: Annotated[bool, typer.Option("--beside", help="Add Dice at the exact threshold, l1 in the brain.")] = False,
    all_rows: Annotated[bool, typer.Option("--all-rows", help="Show the rows that were not run yet, too.")] = False,
    variants: Annotated[
        bool, typer.Option("--variants", help="Add runs with other --set and --seed, each in a line of its own.")
    ] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Add parameters, GFLOP, time and memory.")] = False,
    detection: Annotated[
        bool,
        typer.Option(
            "--detection",
            help="Add tables of lesions found, false positives, FROC, other thresholds, healing.",
        ),
    ] = False,
    ci: Annotated[
        bool, typer.Option("--ci", help="Add 95 % intervals, and mark what is not significantly worse than the best.")
    ] = False,
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
    """Print the tables from the runs in MLflow: 1 and 2 are the paper's, frontier is what came after it."""
    from ..plan.request import requested_preset
    from ..plan.suite import select_rows
    from ..reports.table import TableOptions
    from ..reports.tables import print_tables

    more = select_rows(method)
    print_tables(
        which,
        form,
        requested_preset(preset, change, more, alone=False),
        data,
        seed=seed,
        results=results,
        console=make_console(sys.stdout),
        modality=modality,
        options=TableOptions(
            paper=paper,
            elsewhere=elsewhere,
            controls=controls,
            beside=beside,
            all_rows=all_rows,
            variants=variants,
            cost=cost,
            detection=detection,
            fingerprint=fingerprint,
            ci=ci,
        ),
        more=more,
    )
