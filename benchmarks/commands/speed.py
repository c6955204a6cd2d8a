"""`bench speed`: what steps and volumes cost here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..reports.console import make_console
from .options import RESULTS, DeviceOption, MethodOption, PresetOption, ResultsOption, SeedOption, SetOption


def speed(
    method: MethodOption,
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, max=100_000, help="Slices a step; default: the preset's.")
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=1_000_000, help="Timed steps, after one that is not timed.")
    ] = 10,
    volumes: Annotated[bool, typer.Option("--volumes/--no-volumes", help="Time a volume's reconstruction too.")] = True,
    out: Annotated[
        Path | None, typer.Option("--out", help="The CSV; default: local/speed-PRESET-DEVICE.csv in --results.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what the CSV holds already.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    results: ResultsOption = RESULTS,
) -> None:
    """Time training steps and reconstructions on random slices; the CSV is complete after every row."""
    from ..engine.environment import choose_device, settle_process
    from ..engine.progress import RichReporter
    from ..plan.request import requested_preset
    from ..plan.suite import select_rows
    from ..speed.measurement import as_markdown, as_rich
    from ..speed.session import Conditions, measure_all

    chosen = choose_device(device)
    settle_process()
    entries = select_rows(method)
    settings = requested_preset(preset, change, entries)
    path = out or results / "local" / f"speed-{settings.name}-{chosen}.csv"
    conditions = Conditions(settings, chosen, batch_size, steps, volumes, seed)
    measured = measure_all(entries, conditions, path, RichReporter(make_console()), again=again)
    if markdown:
        print(as_markdown(measured))
    else:
        make_console(sys.stdout).print(as_rich(measured))
    make_console().print(f"Wrote {path}.", highlight=False)
