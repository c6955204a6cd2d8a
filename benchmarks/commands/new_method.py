"""`bench new-method`: a file to begin a method from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new_method(
    name: Annotated[str, typer.Argument(help="Name of the file and the method, e.g. my_detector.")],
    folder: Annotated[Path, typer.Option("--dir", help="Where to write.")] = Path(),
) -> None:
    """Write a file with a working detector of your own, and its test."""
    from ..contract.new_method import next_steps, write_method

    print(next_steps(*write_method(name, folder)))
