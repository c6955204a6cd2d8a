"""`bench list`: what there is."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..reports.console import make_console
from .options import RESULTS, DataSetOption, ResultsOption


def list_(
    what: Annotated[str, typer.Argument(help="methods, scores, metrics, presets, data-sets, data or runs.")],
    results: ResultsOption = RESULTS,
    data_set: DataSetOption = [],  # noqa: B006
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Methods as README's table, with parameters and FLOPs (some seconds).")
    ] = False,
    preset: Annotated[str, typer.Option("--preset", help="Whose networks --markdown counts.")] = "paper",
) -> None:
    """List methods, scores, metrics, presets, data sets, prepared data or runs."""
    from ..plan.request import requested_preset
    from ..sources import known_data_sets
    from .listing import listing, markdown_listing

    known_data_sets(data_set)
    if markdown:
        print(markdown_listing(what, requested_preset(preset, [])))
    else:
        make_console(sys.stdout).print(listing(what, results))
