"""`bench speed`: what steps and volumes cost here, beside the straightforward way, and what folds will take."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..reports.console import make_console
from .options import RESULTS, DeviceOption, MethodOption, PresetOption, ResultsOption, SeedOption, SetOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..plan.preset import Preset
    from ..plan.suite import SuiteRow


def speed(
    method: MethodOption = [],  # noqa: B006
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
    straightforward: Annotated[
        bool, typer.Option("--straightforward", help="Time noise and metrics beside SciPy, scikit-learn, opensimplex.")
    ] = False,
    forecast: Annotated[bool, typer.Option("--forecast", help="Say what folds will take, and have taken.")] = False,
    figure: Annotated[
        Path | None, typer.Option("--figure", help="Draw how the first row's cost grows with its sizes, as PNG.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The CSV; default: local/speed-PRESET-DEVICE.csv in --results.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what the CSV holds already.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    results: ResultsOption = RESULTS,
) -> None:
    """Time training steps and reconstructions on random slices; the CSV is complete after every row."""
    from ...errors import UserError
    from ..engine.environment import choose_device, settle_process
    from ..engine.progress import RichReporter
    from ..plan.request import requested_preset
    from ..plan.suite import select_rows
    from ..speed.measurement import as_markdown, as_rich
    from ..speed.session import Conditions, measure_all

    if not method and (forecast or figure or not straightforward):
        raise UserError("bench speed needs a row to time: --method maediff, or --method all")
    chosen = choose_device(device)
    settle_process()
    entries = select_rows(method)
    settings = requested_preset(preset, change, entries)
    if straightforward:
        _compare(settings, steps, markdown=markdown)
    if not entries:
        return
    path = out or results / "local" / f"speed-{settings.name}-{chosen}.csv"
    conditions = Conditions(settings, chosen, batch_size, steps, volumes, seed)
    measured = measure_all(entries, conditions, path, RichReporter(make_console()), again=again)
    if markdown:
        print(as_markdown(measured))
    else:
        make_console(sys.stdout).print(as_rich(measured))
    make_console().print(f"Wrote {path}.", highlight=False)
    if forecast:
        from ..speed.forecast import FORECAST_HEADS, forecast_lines, forecasts

        found = forecasts(entries, settings, measured, results / "runs")
        _show("Forecast", FORECAST_HEADS, forecast_lines(found), markdown=markdown)
    if figure is not None:
        _draw(entries[0], settings, chosen, seed, figure)


def _compare(preset: Preset, rounds: int, *, markdown: bool) -> None:
    from ..engine.progress import RichReporter
    from ..speed.beside.side_by_side import RATIO_HEADS, compare, pairs, ratio_words

    work = pairs(preset)
    with RichReporter(make_console()).bar("beside the straightforward way", len(work)) as bar:
        found = [ratio_words(ratio) for ratio in compare(work, rounds, bar.advance)]
    title = f"Beside the straightforward way, preset {preset.name}, one thread, median of {rounds}, in turns"
    _show(title, RATIO_HEADS, found, markdown=markdown)


def _draw(entry: SuiteRow, preset: Preset, device: str, seed: int, path: Path) -> None:
    from ..engine.environment import describe_environment
    from ..figures.cost_curves import draw_curves
    from ..speed.curves import Bench, curves

    where = describe_environment(device)
    title = f"{entry.row.title}, preset {preset.name}; {where['device']}, {where['machine']}; torch {where['torch']}"
    draw_curves(list(curves(Bench(entry, preset, device, seed))), title, path)
    make_console().print(f"Wrote {path}.", highlight=False)


def _show(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]], *, markdown: bool) -> None:
    """Print a table whose first column is words and whose others are numbers."""
    from rich.table import Table

    from ...markdown import markdown_table

    if markdown:
        import pandas as pd

        print(f"\n{title}\n\n{markdown_table(pd.DataFrame(lines, columns=list(heads)), left=1)}")
        return
    table = Table(title=title)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left")
    for line in lines:
        table.add_row(*line)
    make_console(sys.stdout).print(table)
