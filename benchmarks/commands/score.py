"""`bench score`: another score, or other post-processing, without training."""

from __future__ import annotations

from typing import Annotated

import typer

from ...datasets.modality import Modality
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
from .run import carry_out


def score(
    method: MethodOption,
    by: Annotated[
        list[str], typer.Option("--score", help="A score (bench list scores); may be repeated. Default: its own.")
    ] = [],  # noqa: B006
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
    """Score trained cells again: by another score, or with other post-processing (--set score.median=3)."""
    from ..plan.request import Request, Where

    request = Request(
        methods=tuple(method),
        scores=tuple(by),
        train=False,
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
