"""`bench list`: what there is."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..reports.console import make_console
from .options import RESULTS, ResultsOption


def list_(
    what: Annotated[str, typer.Argument(help="methods, scores, presets, data or runs.")],
    results: ResultsOption = RESULTS,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Methods as README's table, with parameters and FLOPs (some seconds).")
    ] = False,
    preset: Annotated[str, typer.Option("--preset", help="Whose networks --markdown counts.")] = "paper",
) -> None:
    """List methods, scores, presets, data or runs."""
    from ..plan.request import requested_preset
    from .listing import listing, markdown_listing

    if markdown:
        print(markdown_listing(what, requested_preset(preset, [])))
    else:
        make_console(sys.stdout).print(listing(what, results))
