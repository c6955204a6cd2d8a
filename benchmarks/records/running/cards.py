"""The NVIDIA cards that this process sees, as NVIDIA's management library (NVML, package nvidia-ml-py) reads them.

The library speaks of every card of the machine, CUDA only of those in CUDA_VISIBLE_DEVICES, whose rules are followed
here: indices or UUIDs, which may be cut short; what follows a card that is none does not count. Indices are taken in
the order of the bus, which is CUDA's own where all cards are alike or CUDA_DEVICE_ORDER is PCI_BUS_ID.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_MEGABYTE = 1e6


class Cards:
    """Reads load, memory and power of the cards of this process; what cannot be read is left out.

    Names are MLflow's, and number 0 is this process's first card, which PyTorch calls cuda:0: so folds that are trained
    on several cards of a machine share their charts.
    """

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        try:
            import pynvml
        except ImportError:
            return
        self._nvml = pynvml
        with suppress(pynvml.NVMLError):  # no card, no driver
            pynvml.nvmlInit()
            self._handles = _handles(pynvml)

    def read(self) -> dict[str, float]:
        """What the cards do now, by names such as "gpu_0_power_usage_watts"."""
        return {
            f"gpu_{number}_{name}": value
            for number, handle in enumerate(self._handles)
            for name, value in self._read(handle).items()
        }

    def _read(self, handle: Any) -> dict[str, float]:
        """What one card does: NVML tells percents, bytes and milliwatts, and not every card tells all."""
        nvml, found = self._nvml, {}
        with suppress(nvml.NVMLError):
            found["utilization_percentage"] = float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        with suppress(nvml.NVMLError):
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            found["memory_usage_megabytes"] = memory.used / _MEGABYTE
            found["memory_usage_percentage"] = 100 * memory.used / memory.total
        with suppress(nvml.NVMLError):
            found["power_usage_watts"] = nvml.nvmlDeviceGetPowerUsage(handle) / 1000
        return found


def _handles(nvml: Any) -> list[Any]:
    """A handle per card that CUDA shows to this process, in CUDA's order."""
    named = os.environ.get(_VISIBLE)
    if named is None:
        return [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
    found = []
    for word in named.split(","):
        handle = _handle(nvml, word.strip())
        if handle is None:
            break
        found.append(handle)
    return found


def _handle(nvml: Any, word: str) -> Any:
    """The card that a word of CUDA_VISIBLE_DEVICES means; None where it means none."""
    with suppress(nvml.NVMLError):
        if word.isdecimal():
            return nvml.nvmlDeviceGetHandleByIndex(int(word))
        if word.startswith("MIG-"):  # a part of a card
            return nvml.nvmlDeviceGetHandleByUUID(word)
        if word.startswith("GPU-"):
            every = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
            return next((handle for handle in every if nvml.nvmlDeviceGetUUID(handle).startswith(word)), None)
    return None
