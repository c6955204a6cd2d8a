"""`bench run`: train and score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...datasets.modality import Modality
from ..reports.console import make_console
from .options import (
    RESULTS,
    CellsPerGpuOption,
    CpusPerCellOption,
    DataOption,
    DataSetOption,
    DeviceOption,
    DryRunOption,
    FoldsOption,
    GpusPerCellOption,
    JobsOption,
    JsonOption,
    MethodOption,
    ModalityOption,
    OnOption,
    ParallelOption,
    PresetOption,
    ResultsOption,
    ScratchOption,
    SeedOption,
    SetOption,
    SlurmOption,
    SplitsOption,
    SystemMetricsOption,
    WithCheckpointOption,
    WithModelOption,
)

if TYPE_CHECKING:
    from ..engine.progress import Reporter
    from ..opening import Opened
    from ..plan.request import Request


def run(
    method: MethodOption,
    folds: FoldsOption = "all",
    data: DataOption = "phantom",
    data_set: DataSetOption = [],  # noqa: B006
    modality: ModalityOption = Modality.T2,
    preset: PresetOption = "demo",
    change: SetOption = [],  # noqa: B006  (Typer copies it)
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    splits: SplitsOption = None,
    results: ResultsOption = RESULTS,
    with_checkpoint: WithCheckpointOption = False,
    with_model: WithModelOption = False,
    system_metrics: SystemMetricsOption = False,
    on: OnOption = "processes",
    jobs: JobsOption = 0,
    cells_per_gpu: CellsPerGpuOption = 0,
    gpus_per_cell: GpusPerCellOption = None,
    cpus_per_cell: CpusPerCellOption = 0,
    parallel: ParallelOption = 0,
    slurm: SlurmOption = "",
    scratch: ScratchOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train and score methods; finished cells are not run again, interrupted ones go on."""
    from ..plan.request import Request, Where

    request = Request(
        methods=tuple(method),
        folds=folds,
        data=data,
        data_sets=tuple(data_set),
        modality=modality,
        preset=preset,
        changes=tuple(change),
        seed=seed,
        device=device,
        splits=splits,
        results=results,
        where=Where(on, jobs, cells_per_gpu, gpus_per_cell, cpus_per_cell, parallel, slurm, scratch),
        with_checkpoint=with_checkpoint,
        with_model=with_model,
        system_metrics=system_metrics,
    )
    carry_out(request, dry_run=dry_run, as_json=as_json)


def carry_out(request: Request, *, dry_run: bool, as_json: bool) -> None:
    """Check, announce and run what was asked for.

    Args:
        request: what was asked for.
        dry_run: stop after the announcement.
        as_json: print the cells to stdout.

    Raises:
        UserError: something the user can mend; cells that failed are said after all others were run.
    """
    from ..engine.progress import RichReporter
    from ..opening import open_request

    reporter = RichReporter(make_console())
    _carry_out(open_request(request, reporter), reporter, dry_run=dry_run, as_json=as_json)


def _carry_out(opened: Opened, reporter: Reporter, *, dry_run: bool, as_json: bool) -> None:
    """Carry out what has been understood; before that, PyTorch is not imported."""
    from ..announcement import announce
    from ..experiment import prepare, raise_failures
    from .answer import answer_to

    experiment = prepare(opened)
    experiment.check(reporter)
    forecast = announce(experiment, reporter)
    outcomes = () if dry_run else experiment.run(reporter, forecast.by_recipe)
    submission = experiment.executor.submission([job.cell.label for job in experiment.open_jobs()]) if dry_run else ""
    if submission:
        reporter.say(submission)
    if as_json:
        print(answer_to(experiment, forecast, outcomes).as_json())
    raise_failures(outcomes)
    if not dry_run:
        reporter.say("All cells are done. `bench table` shows them, `bench ui` compares them.")
