"""How executors bear many cells: 10, 100 and 1,000 cells with next to nothing to compute.

    python tests/trials/scale_trial.py                          # processes and ray, some twenty minutes on two cores
    python tests/trials/scale_trial.py --counts 10 100 --on here processes ray

The cell trains a network of one weight for one step and scores a handful of scans of twelve slices, without a picture;
a thousand of them differ in their seed. Every measurement is a process of its own, and the executors take turns. A
place's time that no cell accounts for is the overhead: seconds times places, less what the records say that their cells
took, per cell. It holds the start of the workers, the claim, the reading of the spec and the handing back. Prints a
table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from kill_trial import below, make_place
from ray_trial import is_of_ray, pss

METHOD = '''"""A network of one weight."""

import torch
from torch import Tensor
from uadbench.methods import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan


class Settings(Frozen):
    optimizer: OptimizerSettings


class OneWeight(Detector):
    info = MethodInfo("one-weight", "One weight", "Nobody.", None, (Row("one-weight", "One weight"),))
    Settings = Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.weight = torch.nn.Parameter(torch.rand(()))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return (self.weight * batch.image - batch.image).abs().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.training_step(batch, batch_idx)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        return self.weight * volume
'''
CHANGES = ("train.epochs=1", "train.validate_every=1", "train.batch_size=64", "score.untrained_control=false")


@dataclass(frozen=True)
class Measured:
    """What one run of an executor took.

    Attributes:
        on: the executor.
        cells: how many.
        places: cells at a time.
        handing_out: seconds to write the specs.
        seconds: from the first cell to the last, start of the workers and their end included.
        first: seconds until the first cell was done.
        computing: seconds that the cells themselves took, by their records.
        driver_mb: the most memory that the driver had.
        grown_mb: how much of it came with the cells.
        others_mb: what Ray's own processes had at the end.
    """

    on: str
    cells: int
    places: int
    handing_out: float
    seconds: float
    first: float
    computing: float
    driver_mb: float
    grown_mb: float
    others_mb: float

    @property
    def overhead(self) -> float:
        """Seconds of a place per cell that no cell accounts for."""
        return (self.seconds * self.places - self.computing) / self.cells

    @property
    def later_overhead(self) -> float:
        """The same without the start: from when the first cell was done."""
        return (self.seconds - self.first) * self.places / (self.cells - 1) - self.computing / self.cells

    @property
    def row(self) -> str:
        """A row of the table."""
        return (
            f"| {self.on} | {self.cells} | {self.seconds:.1f} | {self.cells / self.seconds:.2f} | {self.first:.1f} | "
            f"{self.computing / self.cells:.3f} | {self.overhead:.3f} | {self.later_overhead:.3f} | "
            f"{self.handing_out / self.cells * 1000:.1f} | "
            f"{self.driver_mb:.0f} | {self.grown_mb:.1f} | {self.others_mb:.0f} |"
        )


HEADER = (
    "| executor | cells | seconds | cells per second | first cell after (s) | a cell itself (s) "
    "| overhead per cell (s) | after the first (s) | spec written in (ms) "
    "| driver (MB) | of it by cells (MB) | Ray's own processes (MB) |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def measure(on: str, count: int, results: str) -> Measured:
    """Run so many cells through an executor, in this process and its children."""
    from uadbench.benchmarks.engine.job import jobs_for
    from uadbench.benchmarks.engine.progress import SilentReporter
    from uadbench.benchmarks.executors.base import record_of_spec
    from uadbench.benchmarks.executors.data_file import write_data
    from uadbench.benchmarks.executors.spec import CellSpec
    from uadbench.benchmarks.experiment import prepare
    from uadbench.benchmarks.opening import open_request
    from uadbench.benchmarks.plan.request import Request, Where
    from uadbench.files import write_text

    warnings.simplefilter("ignore")  # of volume stores that are made
    request = Request(
        methods=("one_weight.py",),
        folds="0",
        data="clinic",
        splits="own",
        preset="small.toml",
        changes=CHANGES,
        device="cpu",
        results=Path(results),
        where=Where(on),
    )
    opened = open_request(request, SilentReporter())
    experiment = prepare(opened)
    jobs = [
        job for seed in range(count) for job in jobs_for(opened.rows, opened.folds, opened.data, opened.preset, seed)
    ]
    before, began = peak_mb(), time.monotonic()
    specs_folder = Path(results) / "specs"
    place = write_data(experiment.data, specs_folder)
    specs = [CellSpec.of(job, place, experiment.runs, "cpu") for job in jobs]
    for spec in specs:
        spec.write(specs_folder)
    handing_out = time.monotonic() - began
    for spec in specs:  # the picture, which stands there already, would be most of the cell
        write_text(record_of_spec(spec).figure, "")
    began = time.monotonic()
    ended, first, others = 0, 0.0, 0.0
    computing = 0.0
    for outcome in experiment.executor.run(specs, SilentReporter()):
        assert not outcome.problem, outcome.problem
        ended += 1
        first = first or time.monotonic() - began
        computing += outcome.record.state.seconds
        if ended == count:
            others = sum(pss(one) for one in below(os.getpid()) if is_of_ray(one))
    seconds = time.monotonic() - began
    assert ended == count
    return Measured(on, count, experiment.executor.workers, handing_out, seconds, first, computing, peak_mb(),
                    peak_mb() - before, others)  # fmt: skip


def peak_mb() -> float:
    """The most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured_apart(place: Path, on: str, count: int) -> Measured:
    """The same in a process of its own, in a folder that is gone afterwards."""
    results = f"{on}-{count}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, str(Path(__file__).resolve()), "--one", on, str(count), results]
    answer = subprocess.run(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    shutil.rmtree(place / results)
    return Measured(**json.loads(answer.stdout.splitlines()[-1]))


def make_small_place(place: Path) -> None:
    """The kill trial's scans, and the method."""
    make_place(place)
    (place / "one_weight.py").write_text(METHOD)


def main() -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--on", nargs="+", default=["processes", "ray"])
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asdict(measure(options.one[0], int(options.one[1]), options.one[2]))))
        return 0
    place = Path(tempfile.mkdtemp(prefix="scale_trial_"))
    make_small_place(place)
    print(HEADER, flush=True)
    for count in options.counts:
        for on in options.on:
            print(measured_apart(place, on, count).row, flush=True)
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
