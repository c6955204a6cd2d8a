"""NVIDIA's cards as a cell's process sees them, by a library that stands in for NVIDIA's at its functions.

What the functions give is taken from NVIDIA's reference of NVML: utilisation in percent, memory in bytes, power in
milliwatts, cards in the order of the bus.
"""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from uadbench.benchmarks.records.running.cards import Cards
from uadbench.benchmarks.records.running.system import read_system, watched

GIB = 2**30


class Nvml(ModuleType):
    """NVIDIA's library on a machine with three cards, of which any function can be made to fail."""

    class NVMLError(Exception):
        """The base of the library's errors."""

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.broken: set[str] = set()
        self.lost: set[str] = set()

    def _answer(self, function: str, handle: str, value: Any) -> Any:
        if function in self.broken or handle in self.lost:
            raise self.NVMLError(function)
        return value

    def nvmlInit(self) -> None:
        self._answer("nvmlInit", "", None)

    def nvmlDeviceGetCount(self) -> int:
        return int(self._answer("nvmlDeviceGetCount", "", 3))

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index >= 3:
            raise self.NVMLError("Invalid Argument")
        return str(self._answer("nvmlDeviceGetHandleByIndex", "", f"card {index}"))

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid != "MIG-part-of-1":
            raise self.NVMLError("Not Found")
        return "part of card 1"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return f"GPU-{'abc'[int(handle[-1])]}0123456"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        # `memory` is the time in which memory was read or written, not how much of it is taken
        rates = SimpleNamespace(gpu=90 + int(handle[-1]), memory=7)
        return SimpleNamespace(**vars(self._answer("nvmlDeviceGetUtilizationRates", handle, rates)))

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        memory = SimpleNamespace(total=80 * GIB, used=20 * GIB, free=60 * GIB)
        return SimpleNamespace(**vars(self._answer("nvmlDeviceGetMemoryInfo", handle, memory)))

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return int(self._answer("nvmlDeviceGetPowerUsage", handle, 250_000 + int(handle[-1])))


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    library = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return library


def shown() -> list[int]:
    """Which cards are read, told by their load, in order."""
    values = Cards().read()
    return [int(values[f"gpu_{number}_utilization_percentage"]) - 90 for number in range(len(values) // 4)]


def test_names_and_units_are_mlflows(nvml: Nvml, monkeypatch: pytest.MonkeyPatch) -> None:
    from_nvml = Cards().read()
    assert {name: value for name, value in from_nvml.items() if name.startswith("gpu_1_")} == {
        "gpu_1_utilization_percentage": 91.0,
        "gpu_1_memory_usage_megabytes": pytest.approx(20 * GIB / 1e6),
        "gpu_1_memory_usage_percentage": 25.0,
        "gpu_1_power_usage_watts": pytest.approx(250.001),
    }
    monitor = pytest.importorskip("mlflow.system_metrics.metrics.gpu_monitor", reason="MLflow is not installed here")
    monkeypatch.setattr(monitor, "pynvml", nvml, raising=False)
    nvml.nvmlDeviceGetEnforcedPowerLimit = lambda handle: 500_000  # type: ignore[attr-defined]
    theirs = monitor.GPUMonitor()
    theirs.collect_metrics()
    expected = theirs.aggregate_metrics()
    assert set(from_nvml) == {name for name in expected if "power_usage_percentage" not in name}
    assert {name: round(value, 1) for name, value in from_nvml.items()}.items() <= expected.items()


@pytest.mark.parametrize(
    ("visible", "cards"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2", [2]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("GPU-b0123456", [1]),
        ("GPU-c,GPU-a", [2, 0]),
        ("0,-1,1", [0]),
        ("1,7,2", [1]),
        ("GPU-none,1", []),
        ("NoDevFiles", []),
        ("MIG-part-of-1", [1]),
    ],
)
def test_a_process_reads_the_cards_that_cuda_shows_it(
    visible: str | None, cards: list[int], nvml: Nvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert shown() == cards


@pytest.mark.parametrize("function", ["nvmlInit", "nvmlDeviceGetCount", "nvmlDeviceGetHandleByIndex"])
def test_where_no_card_can_be_asked_the_rest_is_told(function: str, nvml: Nvml, tmp_path: Path) -> None:
    nvml.broken.add(function)
    with watched(tmp_path, 60.0):
        pass
    (sample,) = read_system(tmp_path)
    assert "cpu_utilization_percentage" in sample.values
    assert not [name for name in sample.values if name.startswith("gpu_")]


@pytest.mark.parametrize(
    ("function", "lines"),
    [
        ("nvmlDeviceGetUtilizationRates", {"utilization_percentage"}),
        ("nvmlDeviceGetMemoryInfo", {"memory_usage_megabytes", "memory_usage_percentage"}),
        ("nvmlDeviceGetPowerUsage", {"power_usage_watts"}),
    ],
)
def test_what_a_card_does_not_tell_costs_that_line_alone(function: str, lines: set[str], nvml: Nvml) -> None:
    every = set(Cards().read())
    nvml.broken.add(function)
    assert every - set(Cards().read()) == {f"gpu_{number}_{line}" for number in range(3) for line in lines}


def test_a_card_that_falls_off_the_bus_while_a_cell_runs_ends_nothing(nvml: Nvml, tmp_path: Path) -> None:
    with watched(tmp_path, 60.0):
        nvml.lost.add("card 1")
    (sample,) = read_system(tmp_path)
    assert {name.split("_")[1] for name in sample.values if name.startswith("gpu_")} == {"0", "2"}


def test_without_the_library_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def bare(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pynvml":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", bare)
    assert Cards().read() == {}
