"""Cores and threads: what is used is what is ours, and the record says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from uadbench.benchmarks.engine import environment
from uadbench.benchmarks.executors.processes import Processes
from uadbench.benchmarks.plan.request import Where
from uadbench.cores import CoreFacts


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Three of sixteen cores, eight threads."""
    monkeypatch.setattr(CoreFacts, "here", classmethod(lambda cls: cls(16, 16, 2.5, {})))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("cores")
def test_cells_and_threads_are_as_many_as_the_cores_that_are_ours() -> None:
    assert Processes.make(Where(), "cpu", Path()).workers == 3
    assert [environment.threads_per_worker(workers) for workers in (1, 2, 3, 9)] == [3, 1, 1, 1]
    environment.keep_to_own_cores()
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("cores")
def test_the_users_word_on_threads_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    environment.keep_to_own_cores()
    assert torch.get_num_threads() == 8


@pytest.mark.usefixtures("cores")
def test_the_record_says_both_counts_and_the_threads() -> None:
    told = environment.describe_environment("cpu")
    assert ", 3 of 16 cores, " in told["machine"]
    assert told["device"] == "CPU, 8 threads" and told["threads"] == "8"


def test_a_machine_of_our_own_is_told_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CoreFacts, "here", classmethod(lambda cls: cls(2, 2, None, {})))
    assert ", 2 cores, " in environment.describe_environment("cpu")["machine"]
