"""`bench export`: finished cells as one file that another machine can take in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..reports.console import counted, make_console
from .options import RESULTS, ResultsOption


def export(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUNS...",
            help="Cells, parents (all their folds), rows or MLflow's ids of them (bench list runs); or all.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", dir_okay=False, help="The .zip to write.")],
    with_weights: Annotated[
        bool, typer.Option("--with-weights", help="Send the weights, too: for bench predict and bench score there.")
    ] = False,
    who: Annotated[
        str, typer.Option("--who", help="Who computed them, as tables will say; default: user@machine.")
    ] = "",
    results: ResultsOption = RESULTS,
) -> None:
    """Pack the records of finished cells into one file, for bench import on another machine."""
    from ..engine.progress import RichReporter
    from ..travel.choice import choose
    from ..travel.packing import pack, whoever_sends

    chosen = choose(runs, results)
    reporter = RichReporter(make_console())
    packed = pack(chosen.records, out, whoever_sends(who), with_weights=with_weights, reporter=reporter)
    console = make_console(sys.stdout)
    for line in (
        *chosen.notes,
        f"{packed.path}: {counted(len(packed.labels), 'cell')}, {_size(packed.size)}, "
        f"{'with' if with_weights else 'without'} weights.",
        f"SHA-256: {packed.sha256}",
        f"There: bench import {packed.path.name}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _size(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"
