"""`bench figure`: the cohort, and reconstructions side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...datasets.modality import Modality
from ..reports.console import make_console
from .options import (
    RESULTS,
    DataOption,
    DataSetOption,
    DeviceOption,
    MethodOption,
    ModalityOption,
    PresetOption,
    ResultsOption,
    SeedOption,
    SetOption,
    SplitsOption,
)

if TYPE_CHECKING:
    from ...datasets.cohort import Data
    from ..engine.progress import Reporter
    from ..opening import Opened

app = typer.Typer(no_args_is_help=True, help="Draw figures: the cohort, reconstructions.")


@app.command("cohort")
def figure_cohort(
    data: DataOption = "phantom",
    data_set: DataSetOption = [],  # noqa: B006
    modality: ModalityOption = Modality.T2,
    preset: PresetOption = "demo",
    splits: SplitsOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The PNG to write.")] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Draw a contact sheet of the cohort."""
    from ..engine.progress import RichReporter
    from ..figures.cohort import cohort_sheet
    from ..plan.request import requested_preset
    from ..sources import known_data_sets, open_data

    reporter, numbers = RichReporter(make_console()), requested_preset(preset, [])
    known_data_sets(data_set)
    source = open_data(data, numbers.phantom, numbers.preparation, results, splits, reporter, modality)
    path = out or results / "figures" / f"cohort-{_name_of(source)}.png"
    cohort_sheet(source, path)
    reporter.say(f"Wrote {path}.")


@app.command("reconstructions")
def figure_reconstructions(
    method: MethodOption,
    fold: Annotated[int, typer.Option("--fold", min=0, max=1000, help="The fold whose weights are shown.")] = 0,
    data: DataOption = "phantom",
    data_set: DataSetOption = [],  # noqa: B006
    modality: ModalityOption = Modality.T2,
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    splits: SplitsOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="The PNG to write.")] = None,
    results: ResultsOption = RESULTS,
) -> None:
    """Draw reconstruction, map and truth of the same volumes for several methods, as in Figure 3 of the paper.

    What is not run yet is said and left out.
    """
    from ..engine.progress import RichReporter
    from ..opening import open_request
    from ..plan.request import Request

    reporter = RichReporter(make_console())
    request = Request(
        methods=tuple(method),
        folds=str(fold),
        data=data,
        data_sets=tuple(data_set),
        modality=modality,
        preset=preset,
        changes=tuple(change),
        seed=seed,
        device=device,
        splits=splits,
        results=results,
    )
    opened = open_request(request, reporter)
    name = f"reconstructions-{_name_of(opened.data)}-{opened.preset.name}-fold{fold}.png"
    _draw(opened, out or results / "figures" / name, reporter)


def _draw(opened: Opened, path: Path, reporter: Reporter) -> None:
    """Draw what has been understood; before that, PyTorch is not imported."""
    from ..experiment import prepare
    from ..reports.comparison import draw_comparison

    experiment = prepare(opened)
    missing = draw_comparison(experiment.jobs, experiment.runs, experiment.device, path)
    reporter.say(f"Wrote {path}.")
    if missing:
        reporter.say(f"Not run yet, so not drawn: {', '.join(missing)}.")


def _name_of(data: Data) -> str:
    """The data's name, and their modality where it is not T2, so that no figure takes another's place."""
    return data.name if data.modality is Modality.T2 else f"{data.name}-{data.modality}"
