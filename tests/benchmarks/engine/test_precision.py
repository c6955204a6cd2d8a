"""bfloat16 and compiled networks: other rounding, the same training; their cells are others."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from uadbench.benchmarks.engine.arithmetic import arithmetic
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.training import train
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.checkpoint import load_weights
from uadbench.benchmarks.records.record import RunRecord, record_of
from uadbench.benchmarks.speed.timing import time_steps
from uadbench.benchmarks.speed.workload import workloads
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError
from uadbench.methods.parts.compiled import compile_parts

from cases import TINY

COMPILE_PARTS = "uadbench.methods.parts.compiled.compile_parts"
#: The smallest U-Net, its blocks computed twice as at the paper's size.
ROW = "pddpm-s48"
SMALLEST = ["train.checkpoint_activations=true", "unet.multipliers=[1]"]
MORE = ["train.epochs=12", "train.validate_every=12"]


def job_of(row: str, data: Data, *changes: str, seed: int = 0) -> Job:
    return jobs_for(select_rows([row]), (0,), data, load_preset(str(TINY), [*MORE, *changes]), seed)[0]


def trained(job: Job, folder: Path) -> tuple[float, RunRecord]:
    """The validation loss at the end of a training, and its record."""
    record = record_of(folder, job.cell)
    record.begin(job.config(), {})
    fold = job.data.splits.folds[0]
    with arithmetic(job.plan.train, "cpu"):
        train(
            job.detector(),
            job.data.healthy.store,
            job.slab,
            (fold.train, fold.val),
            job.plan.train,
            record,
            seed=job.fold_seed,
            device="cpu",
            reporter=SilentReporter(),
        )
    return record.history()[-1].val_loss, record


@pytest.fixture(scope="module")
def seeds(tiny_data: Data, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """Validation losses in float32, by seed."""
    folder = tmp_path_factory.mktemp("float32")
    return [trained(job_of(ROW, tiny_data, *SMALLEST, seed=seed), folder)[0] for seed in range(4)]


def test_bfloat16_reaches_the_loss_of_float32(tiny_data: Data, tmp_path: Path, seeds: list[float]) -> None:
    loss, _ = trained(job_of(ROW, tiny_data, *SMALLEST, "train.precision=bf16-mixed"), tmp_path)
    assert loss != seeds[0]
    assert abs(loss - seeds[0]) < np.std(seeds, ddof=1)


def test_every_block_is_compiled_where_it_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, not eight, where PyTorch stops by itself; and though their operations were counted before."""
    monkeypatch.setattr(COMPILE_PARTS, partial(compile_parts, backend="eager"))
    changes = ["train.compile=true", "train.checkpoint_activations=true"]
    [work] = workloads(select_rows(["pddpm-s16"]), load_preset("demo", changes))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with arithmetic(work.plan.train, "cpu"):
        time_steps(work.detector(), work.plan.train, 2, work.side, steps=1, seed=0, advance=int, compiled=True)
    frames = torch._dynamo.utils.counters["frames"]
    assert frames["ok"] == frames["total"] > 8


def test_a_compiled_network_reaches_the_loss_of_one_that_is_not(
    tiny_data: Data, tmp_path: Path, seeds: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By PyTorch's compiler without the kernels that a C++ compiler would make; the weights are anybody's."""
    monkeypatch.setattr(COMPILE_PARTS, partial(compile_parts, backend="aot_eager"))
    job = job_of(ROW, tiny_data, *SMALLEST, "train.compile=true")
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    loss, record = trained(job, tmp_path)
    assert graphs["unique_graphs"] > before, "nothing was compiled"
    assert abs(loss - seeds[0]) < np.std(seeds, ddof=1)
    plain = job_of(ROW, tiny_data, *SMALLEST)
    assert plain.cell.id != job.cell.id
    detector = plain.detector()
    assert set(torch.load(record.best_checkpoint, weights_only=True)["state_dict"]) == set(detector.state_dict())
    assert load_weights(record, detector) == loss


def test_without_a_compiler_there_is_one_sentence(
    tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(graph: object, inputs: object) -> object:
        raise FileNotFoundError("g++")

    monkeypatch.setattr(COMPILE_PARTS, partial(compile_parts, backend=none))
    with pytest.raises(UserError, match=r"cannot be compiled here \(.*g\+\+.*run with --set train.compile=false"):
        trained(job_of("ae", tiny_data, "train.compile=true"), tmp_path)


def test_a_gradient_of_a_gradient_is_not_compiled(tiny_data: Data) -> None:
    with pytest.raises(UserError, match="PyTorch cannot compile FAnoGAN; set train.compile to false"):
        job_of("fanogan", tiny_data, "train.compile=true").detector()
