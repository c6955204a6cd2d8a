"""The options that several commands share: one name, one type and one sentence of help each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...datasets.modality import Modality
from .completion import complete_method, complete_preset

#: Where runs, volume stores and figures land unless `--results` says otherwise.
RESULTS = Path("results")

MethodOption = Annotated[
    list[str],
    typer.Option(
        "--method",
        help="A row, a suite (table1, table2, frontier), all, or FILE.py:CLASS; may be repeated.",
        autocompletion=complete_method,
    ),
]
FoldsOption = Annotated[str, typer.Option("--folds", help="all, or indices such as 0,2.")]
DataOption = Annotated[str, typer.Option("--data", help="phantom, or a directory of prepared scans.")]
DataSetOption = Annotated[
    list[Path],
    typer.Option("--data-set", help="A file of your own that describes a data set; may be repeated."),
]
ModalityOption = Annotated[Modality, typer.Option("--modality", help="The contrast of the scans; a run has one.")]
PresetOption = Annotated[
    str, typer.Option("--preset", help="demo, quick, paper, or a .toml file.", autocompletion=complete_preset)
]
SetOption = Annotated[list[str], typer.Option("--set", help="Change one number: section.key=value; may be repeated.")]
#: Lightning's and NumPy's seeds end at 2^32 - 1, and every fold adds 1000 to that of the run.
_MOST_SEED = 4_000_000_000
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, max=_MOST_SEED, help="Seed of initialisation, slice choice and noise.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
SplitsOption = Annotated[
    str | None,
    typer.Option("--splits", help="published, deleaked or own; default: published if there, refusing leaks."),
]
ResultsOption = Annotated[
    Path,
    typer.Option(
        "--results",
        envvar="UADBENCH_RESULTS",
        file_okay=False,
        help="Folder of runs, volume stores and the MLflow file.",
    ),
]
WithCheckpointOption = Annotated[bool, typer.Option(help="Log the checkpoint to MLflow too.")]
WithModelOption = Annotated[
    bool, typer.Option(help="Log a model per cell to MLflow too, which mlflow.pyfunc.load_model predicts with.")
]
SystemMetricsOption = Annotated[
    bool, typer.Option("--system-metrics", help="Note load and memory of the machine while cells run; needs psutil.")
]
JobsOption = Annotated[
    int, typer.Option("--jobs", min=0, max=1024, help="Cells at a time; 0: one per core on the CPU, one on a GPU.")
]
OnOption = Annotated[str, typer.Option("--on", help="Where cells run: processes, here, ray, ray://HEAD:PORT, slurm.")]
CellsPerGpuOption = Annotated[
    int, typer.Option("--cells-per-gpu", min=0, max=1024, help="With --on processes: cells that share a card.")
]
GpusPerCellOption = Annotated[
    float | None,
    typer.Option("--gpus-per-cell", min=0, max=64, help="With --on ray: cards of a cell; 0.25 lets four share one."),
]
CpusPerCellOption = Annotated[int, typer.Option("--cpus-per-cell", min=0, help="With --on ray: cores of a cell.")]
ParallelOption = Annotated[int, typer.Option("--parallel", min=0, help="With --on slurm: cells at a time.")]
SlurmOption = Annotated[
    str, typer.Option("--slurm", help="With --on slurm: options of its jobs, partition=gpu,time=12:00:00,gpus=1.")
]
ScratchOption = Annotated[
    Path | None,
    typer.Option("--scratch", file_okay=False, help="A folder on each machine's own disk for copies of the volumes."),
]
DryRunOption = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what would be run and how long it should take, and run nothing."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the cells with their ids, states and numbers to stdout, as JSON.")
]
MaxVoxelsOption = Annotated[
    int | None,
    typer.Option(
        "--max-voxels", min=1, help="Refuse a scan of more voxels before it is read; default: 250 million, some 3 GB."
    ),
]
