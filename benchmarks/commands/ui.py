"""`bench ui`: MLflow's own interface."""

from __future__ import annotations

from typing import Annotated

import typer

from ..reports.console import make_console
from .options import RESULTS, ResultsOption


def ui(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port on this machine.")] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    results: ResultsOption = RESULTS,
) -> None:
    """Open MLflow's own interface on the store."""
    from ..engine.progress import RichReporter
    from ..tracking.database import store_uri
    from ..tracking.interface import check_address, serve
    from ..tracking.sync import prepare_store

    check_address(host, port)
    uri = store_uri(results)
    prepare_store(uri)
    raise typer.Exit(serve(uri, host, port, RichReporter(make_console()).say))
