"""`bench import`: cells that were computed elsewhere join this results folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..reports.console import counted, make_console
from .options import RESULTS, ResultsOption

if TYPE_CHECKING:
    from ..travel.arrival import Arrival


def import_(
    archive: Annotated[Path, typer.Argument(help="What bench export wrote.", show_default=False)],
    sha256: Annotated[
        str, typer.Option("--sha256", help="Refuse the file unless this is its SHA-256, which its sender knows.")
    ] = "",
    results: ResultsOption = RESULTS,
) -> None:
    """Let the cells of another machine or laboratory join, each checked, each whole or not at all."""
    from ..engine.progress import RichReporter
    from ..travel.arrival import take_in

    arrival = take_in(archive, results / "runs", sha256, RichReporter(make_console()))
    console = make_console(sys.stdout)
    for line in _lines(archive, results, arrival):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for sentence in arrival.refused.values():
        print(f"refused: {sentence}", file=sys.stderr)
    if arrival.refused:
        raise typer.Exit(1 if arrival.fates else 2)


def _lines(archive: Path, results: Path, arrival: Arrival) -> Iterator[str]:
    joined, completed, known = arrival.of("joined"), arrival.of("completed"), arrival.of("known")
    parts = [
        f"{counted(len(joined), 'cell')} joined {results}",
        f"{len(completed)} given the weights or lesion-wise numbers that they lacked" if completed else "",
        f"{len(known)} there already" if known else "",
        f"{len(arrival.refused)} refused" if arrival.refused else "",
    ]
    yield f"{archive}: {', '.join(filter(None, parts))}."
    if joined:
        yield "`bench table` shows them and says who computed them; `bench sync` tells MLflow."
