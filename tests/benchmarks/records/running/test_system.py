"""What the machine did while a cell ran."""

from __future__ import annotations

import builtins
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uadbench.benchmarks.records.running.system import SYSTEM_FILE, Sampler, read_system, require_psutil, watched
from uadbench.errors import UserError

psutil = pytest.importorskip("psutil", reason="psutil is not installed here")


def test_a_sample_says_what_psutil_says() -> None:
    values = Sampler().sample().values
    assert 0 <= values["cpu_utilization_percentage"] <= 100
    assert values["system_memory_usage_percentage"] == pytest.approx(psutil.virtual_memory().percent, abs=15)
    before = values["process_memory_usage_megabytes"]
    block = np.ones(100_000_000 // 8)
    after = Sampler().sample().values["process_memory_usage_megabytes"]
    assert after - before == pytest.approx(block.nbytes / 1e6, abs=30)


def test_a_cell_is_watched_and_the_next_attempt_goes_on(tmp_path: Path) -> None:
    with watched(tmp_path, 0.05):
        time.sleep(0.3)
    first = read_system(tmp_path)
    assert len(first) >= 3
    assert all(later.time >= earlier.time for earlier, later in pairwise(first))
    with watched(tmp_path, 60.0):
        pass
    assert read_system(tmp_path)[: len(first)] == first
    assert len(read_system(tmp_path)) == len(first) + 1, "a short one has a sample, too"


def test_nobody_asked_nothing_watched(tmp_path: Path) -> None:
    with watched(tmp_path, None):
        pass
    assert list(tmp_path.iterdir()) == []
    assert read_system(tmp_path) == ()


def test_a_machine_with_other_cards_and_a_torn_line_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text("time,cpu_utilization_percentage,gpu_0_power_usage_watts\n1.5,20.0,300.0\nodd,1,2\n")
    with watched(tmp_path, 60.0):
        pass
    first, second = read_system(tmp_path)
    assert first.values == {"cpu_utilization_percentage": 20.0, "gpu_0_power_usage_watts": 300.0}
    assert set(second.values) == {"cpu_utilization_percentage"}
    path.write_bytes(path.read_bytes()[:-4])
    assert read_system(tmp_path) == (first,)


def test_what_a_kill_has_torn_is_not_glued_to_what_comes_next(tmp_path: Path) -> None:
    path = tmp_path / SYSTEM_FILE
    path.write_text("time,cpu_utilization_percentage\n10.0,50.0\n20.0,7")
    with watched(tmp_path, 60.0):
        pass
    first, second = read_system(tmp_path)
    assert (first.time, first.values) == (10.0, {"cpu_utilization_percentage": 50.0})
    assert abs(second.time - time.time()) < 60
    assert path.read_text().count("\n") == 3


def test_a_disk_that_takes_nothing_more_costs_no_cell(tmp_path: Path) -> None:
    with watched(tmp_path / "no such folder", 0.01):
        time.sleep(0.1)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / SYSTEM_FILE).mkdir()
    with watched(tmp_path, 0.01):
        time.sleep(0.1)
    assert read_system(tmp_path) == ()


def test_no_thread_outlives_the_watching(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), watched(tmp_path, 0.01):
        assert "system metrics" in [thread.name for thread in threading.enumerate()]
        raise KeyboardInterrupt
    assert "system metrics" not in [thread.name for thread in threading.enumerate()]


def test_without_psutil_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def bare(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "psutil":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", bare)
    with pytest.raises(UserError, match="pip install psutil"):
        require_psutil()
