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
    from ..tracking.database import store_uri, without_password
    from ..tracking.pages.interface import check_address, is_server, runs_link, serve, view_links
    from ..tracking.sync import prepare_store

    uri = store_uri(results)
    say = RichReporter(make_console()).say
    if is_server(uri):
        experiment, server = prepare_store(uri), without_password(uri)
        say(f"The store is a server, which has its own interface: {runs_link(server, experiment)}")
        for line in view_links(server, experiment):
            say(line)
        return
    check_address(host, port)
    raise typer.Exit(serve(uri, prepare_store(uri), host, port, say))
