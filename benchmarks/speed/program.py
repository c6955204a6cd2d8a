"""Modules of this room that are programs of their own: `python -m uadbench.benchmarks.speed.NAME`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from ...errors import UserError
from ...stopping import signals_stop


def run_program(main: Callable[..., Any]) -> None:
    """Run a function as a command line; the user's mistakes are a sentence and exit code 2, a signal ends it as Ctrl-C.

    Args:
        main: its arguments are the options.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        with signals_stop():
            app()
    except UserError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
