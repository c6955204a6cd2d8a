"""The command line: `bench`.

Only Typer is imported at the top, here and in the commands, so that `bench --help` answers at once; each command
imports what it needs when it runs.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ...stopping import Stop, end_quickly, signals_stop
from ...unread import UNREAD, go_on_unread, unsaid
from . import figure, prepare, splits
from .cell import cell
from .check import check
from .compare import compare
from .export import export
from .import_ import import_
from .list import list_
from .new_method import new_method
from .predict import predict
from .report import report
from .reproduce import reproduce
from .run import run
from .score import score
from .sentences import STOPPED, Sentences
from .speed import speed
from .status import status
from .sync import sync
from .table import table
from .ui import ui

_WHAT = "uadbench: unsupervised anomaly detection in brain MRI, every method under one protocol."

app = typer.Typer(
    cls=Sentences,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=_WHAT,
)
app.command("run")(run)
app.command("score")(score)
app.command("table")(table)
app.command("report")(report)
app.command("reproduce")(reproduce)
app.command("compare")(compare)
app.command("list")(list_)
app.command("status")(status)
app.command("speed")(speed)
app.command("new-method")(new_method)
app.command("sync")(sync)
app.command("ui")(ui)
app.command("predict")(predict)
app.command("check")(check)
app.command("export")(export)
app.command("import")(import_)
app.command("cell")(cell)
app.add_typer(figure.app, name="figure")
app.add_typer(prepare.app, name="prepare")
app.add_typer(splits.app, name="splits")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"uadbench {version('uadbench')}")
        raise typer.Exit


@app.callback(help=_WHAT)
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback behind an error, too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Stand before every command."""
    from ..reports.console import print_what_can_be_shown

    print_what_can_be_shown()


def main() -> None:
    """Entry point of the command `bench`: a process of its own, and its workers', which shows no windows.

    A notebook's shell names a backend for figures that this environment may not have; Lightning imports matplotlib.
    Where standard output is read no more, the command does to its end what it was asked and says nothing; its exit code
    is then 141, unless something else went wrong. Where it cannot be written to, a sentence says so, and it is 2.
    """
    os.environ["MPLBACKEND"] = "agg"
    go_on_unread()
    with signals_stop():
        try:
            app()
        except (KeyboardInterrupt, SystemExit) as end:
            stop = _unheeded_stop(end)
            if stop is not None:
                end_quickly()
                print(STOPPED, file=sys.stderr)
                sys.exit(128 + stop.number)
            problem = unsaid()
            if problem is not None and isinstance(end, SystemExit) and not end.code:
                sys.exit(_after_silence(problem))
            raise


def _after_silence(problem: OSError) -> int:
    """The exit code of a command that did all it was asked and could not say it; a reader who left knows that."""
    if isinstance(problem, BrokenPipeError):
        return UNREAD
    print(
        f"error: what this command says could not all be written to standard output ({problem.strerror}); its "
        "work is done: send its output elsewhere and repeat it",
        file=sys.stderr,
    )
    return 2


def _unheeded_stop(end: BaseException) -> Stop | None:
    """The stop that came before a command could heed it: beside Typer, or made by it an exit code without a word."""
    stop = end if isinstance(end, Stop) else getattr(end.__context__, "__cause__", None)
    return stop if isinstance(stop, Stop) else None
