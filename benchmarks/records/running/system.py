"""What the machine did while a cell ran, in `system.csv` beside its numbers, where the run was asked to watch it.

No number of the cell stands in this file, and the digests do not speak of it. Names are those of MLflow's own system
metrics, so that its pages show them on their page of that name.
"""

from __future__ import annotations

import csv
import io
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import UserError

SYSTEM_FILE = "system.csv"
EVERY = 10.0  # s between two samples, as MLflow's own
_MEGABYTE = 1e6


@dataclass(frozen=True)
class SystemSample:
    """What the machine did at one moment.

    Attributes:
        time: seconds since 1970.
        values: by MLflow's names, e.g. "cpu_utilization_percentage".
    """

    time: float
    values: Mapping[str, float]


def require_psutil() -> None:
    """See that the machine can be watched.

    Raises:
        UserError: psutil is not installed.
    """
    try:
        import psutil  # noqa: F401
    except ImportError as error:
        raise UserError(
            "--system-metrics needs psutil, which is not installed here; `pip install psutil nvidia-ml-py`, or leave "
            "the option out"
        ) from error


class Sampler:
    """Reads processor, memory, disk and cards of this machine."""

    def __init__(self) -> None:
        require_psutil()
        import psutil

        self._psutil: Any = psutil
        self._process = psutil.Process()
        self._cards = _cards()
        psutil.cpu_percent()  # what it says next is of the time since

    def sample(self) -> SystemSample:
        """What the machine does now; the load of the processor is the mean since the last sample."""
        memory = self._psutil.virtual_memory()
        values = {
            "cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_usage_megabytes": self._process.memory_info().rss / _MEGABYTE,
        }
        for number, read in enumerate(self._cards):
            values |= {f"gpu_{number}_{name}": value for name, value in read().items()}
        return SystemSample(time.time(), {name: round(float(value), 1) for name, value in values.items()})


def _cards() -> list[Callable[[], dict[str, float]]]:
    """A reader per card of NVIDIA's; none where there is no card, no driver or no library that asks it."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001  (the library raises errors of its own, which only it knows)
        return []
    handles = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]

    def reader(handle: Any) -> Callable[[], dict[str, float]]:
        def read() -> dict[str, float]:
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            found = {
                "memory_usage_megabytes": memory.used / _MEGABYTE,
                "memory_usage_percentage": 100 * memory.used / memory.total,
            }
            with suppress(pynvml.NVMLError):  # not every card counts these
                found["utilization_percentage"] = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu
                found["power_usage_watts"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000
            return found

        return read

    return [reader(handle) for handle in handles]


@contextmanager
def watched(folder: Path, every: float | None) -> Iterator[None]:
    """Watch the machine for a while, by a thread that reads a few numbers now and then.

    Args:
        folder: the cell's; a new attempt goes on in the same file.
        every: seconds between two samples; None watches nothing.
    """
    if every is None:
        yield
        return
    sampler, over = Sampler(), threading.Event()

    def run() -> None:
        while not over.wait(every):
            _append(folder / SYSTEM_FILE, sampler.sample())

    thread = threading.Thread(target=run, name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _append(folder / SYSTEM_FILE, sampler.sample())  # so that a short cell has one, too


def _append(path: Path, sample: SystemSample) -> None:
    """Add a line; a disk that takes nothing more costs the user the sight of it."""
    with suppress(OSError):
        names = sorted(sample.values)
        head = ["time", *names]
        is_new = not path.exists() or path.stat().st_size == 0
        if not is_new:
            with path.open(encoding="utf-8", newline="") as file:
                head = next(csv.reader(file))  # of an earlier attempt, perhaps on a machine with other cards
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        if is_new:
            writer.writerow(head)
        writer.writerow([f"{sample.time:.3f}", *(sample.values.get(name, "") for name in head[1:])])
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())


def read_system(folder: Path) -> tuple[SystemSample, ...]:
    """What was watched of a cell, in order; a line that is no line is passed over, and no file is nothing.

    Args:
        folder: the cell's.
    """
    found = []
    with suppress(OSError, UnicodeDecodeError, csv.Error):
        content = (folder / SYSTEM_FILE).read_bytes()
        rows = csv.DictReader(io.StringIO(content[: content.rfind(b"\n") + 1].decode(), newline=""))
        for row in rows:
            with suppress(ValueError, TypeError, KeyError):
                when = float(row.pop("time"))
                values = {name: float(value) for name, value in row.items() if name and value}
                found.append(SystemSample(when, values))
    return tuple(found)
