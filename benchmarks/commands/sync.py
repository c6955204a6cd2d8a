"""`bench sync`: MLflow is told what it has missed."""

from __future__ import annotations

from typing import Annotated

import typer

from ..reports.console import make_console
from .options import RESULTS, ResultsOption, WithModelOption


def sync(
    results: ResultsOption = RESULTS,
    with_checkpoint: Annotated[bool, typer.Option(help="Log the checkpoints too.")] = False,
    with_model: WithModelOption = False,
) -> None:
    """Bring MLflow up to date with the run records; twice doubles nothing."""
    from ..engine.progress import RichReporter
    from ..telling.parent_files import parent_files
    from ..tracking.database import store_uri
    from ..tracking.sync import sync_all

    console = make_console()
    uri = store_uri(results)
    synced = sync_all(
        results / "runs",
        uri,
        RichReporter(console),
        with_checkpoint=with_checkpoint,
        with_model=with_model,
        parent_files=parent_files,
    )
    console.print(f"{uri}: {synced.written} cells written, {synced.known} were there already.", highlight=False)
