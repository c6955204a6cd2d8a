"""`bench splits`: the split files, fetched and audited."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ...errors import UserError
from ..reports.console import make_console

app = typer.Typer(no_args_is_help=True, help="The split files: who trains, validates and tests.")


@app.command("fetch")
def splits_fetch(
    out: Annotated[Path, typer.Option("--out", help="The data directory; the files go to its splits/.")],
    copy: Annotated[Path | None, typer.Option("--from", help="A folder that holds a copy; no network then.")] = None,
    base_url: Annotated[str | None, typer.Option("--base-url", help="A mirror of the published folder.")] = None,
    cache: Annotated[Path | None, typer.Option("--cache", help="Where downloads are kept; default: yours.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names that differ.")] = False,
) -> None:
    """Fetch the published split files, verify each one's sha256, and say what the audit finds in them."""
    import shlex

    from ...datasets.splits.published import BASE_URL, LocalCopy, Server, fetch_splits, review_splits
    from ..engine.progress import RichReporter
    from ..sources import StoreProgress, known_data_sets

    if copy is not None and (base_url is not None or cache is not None):
        raise UserError("--from takes a local copy, without a server or a cache; leave out --base-url and --cache")
    source = LocalCopy(copy) if copy is not None else Server(base_url or BASE_URL, cache)
    with StoreProgress(RichReporter(make_console()), "fetch split files") as progress:
        placed = fetch_splits(out, source, force=force, progress=progress.update)
    review = review_splits(out, known_data_sets())
    choice = " --splits deleaked" if review.leaks else ""
    console = make_console(sys.stdout)
    for line in (
        f"{placed.folder}: {len(placed.written)} files written, {len(placed.kept)} were there already.",
        *review.lines(),
        f"Next, with the scans in place: bench run --method table1 --data {shlex.quote(str(out))}{choice}",
    ):
        console.print(line, markup=False, highlight=False)
