"""`bench status`: how the cells stand, from any machine that sees the results folder."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..reports.console import make_console
from .options import RESULTS, ResultsOption


def status(
    results: ResultsOption = RESULTS,
    every: Annotated[bool, typer.Option("--all", help="Name every cell, also those that wait and are done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything to stdout, as JSON.")] = False,
) -> None:
    """Show which cells run, wait, failed or are done, wherever they are run; no run needs to be watched for it."""
    import json
    from dataclasses import asdict

    from ..reports.duration import duration
    from ..reports.status import STATES, status_of

    found = status_of(results)
    if as_json:
        print(
            json.dumps({"seconds_left": found.seconds_left, "cells": [asdict(cell) for cell in found.cells]}, indent=2)
        )
        return
    console = make_console(sys.stdout)
    for cell in found.cells:
        if every or cell.state in ("running", "failed"):
            left = f", {duration(cell.seconds_left)} left" if cell.seconds_left is not None else ""
            words = f": {cell.words}" if cell.words else ""
            console.print(f"{cell.state:8}{cell.title}, fold {cell.fold}{words}{left}", highlight=False, markup=False)
    counts = ", ".join(f"{found.count(state)} {state}" for state in STATES)
    rest = ""
    if found.seconds_left is not None:
        rest = f"; about {duration(found.seconds_left)} left, if cells last as long as the finished ones of their row"
    console.print(f"{len(found.cells)} cells: {counts}{rest}.", highlight=False, markup=False)
