"""The contract of executors: who there is, which options each reads, what waits for whom, which card is whose."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import torch

from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors import here, processes
from uadbench.benchmarks.executors.backlog import Backlog
from uadbench.benchmarks.executors.base import AGAIN, DONE, CellEnd
from uadbench.benchmarks.executors.data_file import write_data
from uadbench.benchmarks.executors.here import Here
from uadbench.benchmarks.executors.processes import Processes, visible_cards
from uadbench.benchmarks.executors.registry import REGISTRY, executor_for
from uadbench.benchmarks.executors.spec import CellSpec
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.request import EXECUTORS, Where
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import record_of
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError


@pytest.fixture
def specs(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> list[CellSpec]:
    jobs = jobs_for(select_rows(["thresh", "mean-brain"]), (0, 1), tiny_data, tiny_preset, 0)
    place = write_data(tiny_data, tmp_path / "specs")
    return [CellSpec.of(job, place, tmp_path / "runs", "cpu") for job in jobs]


def test_the_names_that_are_known_without_an_import_are_those_of_the_registry() -> None:
    assert tuple(REGISTRY.items()) == EXECUTORS
    assert all(executor.summary and executor.name == name for name, executor in REGISTRY.items().items())


def test_a_misspelt_place_is_refused() -> None:
    for word in ("rays", "nowhere://head"):
        with pytest.raises(UserError, match=f"--on {word}: choose here, processes, ray, slurm"):
            Where(on=word).require_known()
        with pytest.raises(UserError, match=f"--on {word}: choose here, processes, ray, slurm"):
            executor_for(Where(on=word), "cpu", Path("results"))


@pytest.mark.parametrize(
    ("where", "option"),
    [
        (Where(on="here", jobs=2), "--jobs"),
        (Where(on="processes", gpus_per_cell=0.5), "--gpus-per-cell"),
        (Where(on="processes", slurm="partition=gpu"), "--slurm"),
        (Where(on="here", parallel=3), "--parallel"),
    ],
)
def test_an_option_that_is_not_read_is_refused(where: Where, option: str) -> None:
    with pytest.raises(UserError, match=f"{option} means nothing with --on {where.on}"):
        executor_for(where, "cpu", Path("results"))


def test_a_cell_has_a_card_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert visible_cards() == ("0", "1", "2")
    assert Processes.make(Where(), "cuda", Path())._cards == ("0", "1", "2")
    assert Processes.make(Where(cells_per_gpu=2), "cuda", Path())._cards == ("0", "1", "2", "0", "1", "2")
    assert Processes.make(Where(jobs=2), "cuda", Path())._cards == ("0", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, 5")
    assert Processes.make(Where(jobs=3), "cuda", Path())._cards == ("GPU-a", "5", "GPU-a")
    assert Processes.make(Where(jobs=3), "cpu", Path())._cards == ("", "", "")


def test_a_worker_sees_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("leave_ctrl_c_to_parent", "end_with_parent", "keep_freed_memory"):
        monkeypatch.setattr(processes, name, lambda: None)
    monkeypatch.setattr(processes.signal, "signal", lambda *words: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    processes._start("", 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,5"
    processes._start("5", 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


def test_a_lost_cell_comes_first_once_and_a_held_one_later(
    specs: list[CellSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("uadbench.benchmarks.executors.backlog.time.monotonic", lambda: clock[0])
    backlog = Backlog(specs)
    first = backlog.take()
    assert first == specs[0]
    assert backlog.try_again(first) and backlog.take() == first and not backlog.try_again(first)
    assert backlog.postpone(first)
    assert [backlog.take() for _ in range(4)] == [*specs[1:], None]
    assert backlog  # one is held
    clock[0] = 2.5
    assert backlog.take() == first and not backlog.postpone(first)


def test_what_somebody_else_runs_is_waited_for(specs: list[CellSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one is a thread that runs the cell for real while this process is told that it is held."""
    whole = here.run_spec
    held = specs[0]

    def run_spec(spec: CellSpec, *words: object) -> CellEnd:
        if spec is held:
            return CellEnd(AGAIN, "held by somebody")
        return whole(spec, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(here, "run_spec", run_spec)
    other = threading.Timer(0.5, whole, (held, SilentReporter()))
    other.start()
    outcomes = list(Here().run(specs, SilentReporter()))
    other.join()
    assert [outcome.spec.cell for outcome in outcomes] == [spec.cell for spec in (*specs[1:], held)]
    assert all(outcome.end.code == DONE and outcome.record.done for outcome in outcomes)


def test_finished_cells_are_outcomes_without_a_process(specs: list[CellSpec], tmp_path: Path) -> None:
    done = list(Here().run(specs, SilentReporter()))
    assert all(record_of(tmp_path / "runs", spec.job().cell).done for spec in specs)
    started = time.monotonic()
    again = list(Processes(["", ""]).run(specs, SilentReporter()))
    assert time.monotonic() - started < 1  # a process takes longer to start
    assert [one.spec.cell for one in again] == [one.spec.cell for one in done]
