"""`bench cell`: run one cell that was handed out, on whatever machine this is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..reports.console import make_console
from .options import ScratchOption


def cell(
    spec: Annotated[Path, typer.Argument(help="A file below RESULTS/specs, as `bench run` writes it.")],
    scratch: ScratchOption = None,
) -> None:
    """Run one cell that `bench run` has handed out.

    Exit code 0: done; 2: something for you to mend; 3: a defect of uadbench; 75: to be tried again.
    """
    from ..engine.environment import choose_device, settle_process
    from ..engine.progress import RichReporter
    from ..executors.attempt import run_spec
    from ..executors.base import CellEnd
    from ..executors.exit_codes import AGAIN
    from ..executors.spec import CellSpec

    try:
        found = CellSpec.read(spec)
        choose_device(found.device)  # refuses a GPU that is not there
        settle_process()
        end = run_spec(found, RichReporter(make_console()), scratch)
    except KeyboardInterrupt:
        end = CellEnd(AGAIN, f"{spec.stem} was stopped; it goes on from its last checkpoint")
    if end.problem:
        typer.echo(end.trace or f"Error: {end.problem}", err=True)
    raise typer.Exit(end.code)
