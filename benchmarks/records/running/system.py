"""What the machine did while a cell ran, in `system.csv` beside its numbers, where the run was asked to watch it.

No number of the cell stands in this file, and the digests do not speak of it. Names are those of MLflow's own system
metrics, so that its pages show them on their page of that name.
"""

from __future__ import annotations

import csv
import io
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import UserError
from .cards import Cards

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
    """Reads processor and memory of this machine and the cards of this process."""

    def __init__(self) -> None:
        require_psutil()
        import psutil

        self._psutil: Any = psutil
        self._process = psutil.Process()
        self._cards = Cards()
        psutil.cpu_percent()  # what it says next is of the time since

    def sample(self) -> SystemSample:
        """What the machine does now; the load of the processor is the mean since the last sample."""
        memory = self._psutil.virtual_memory()
        values = {
            "cpu_utilization_percentage": self._psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MEGABYTE,
            "system_memory_usage_percentage": memory.percent,
            "process_memory_usage_megabytes": self._process.memory_info().rss / _MEGABYTE,
            **self._cards.read(),
        }
        return SystemSample(time.time(), {name: round(float(value), 1) for name, value in values.items()})


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
    sampler, file, over = Sampler(), _SystemFile(folder / SYSTEM_FILE), threading.Event()

    def note() -> None:
        with suppress(OSError):  # a disk that takes nothing more costs the user the sight of it
            file.add(sampler.sample())

    def run() -> None:
        while not over.wait(every):
            note()

    thread = threading.Thread(target=run, name="system metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        note()  # so that a short cell has a sample, too


class _SystemFile:
    """Adds samples to a file; of one that a killed process has left, its last line is cut off where it is torn.

    Args:
        path: of the file, which need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._head: list[str] = []
        with suppress(OSError, csv.Error):
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                os.truncate(path, whole)
            self._head = next(csv.reader(io.StringIO(content[:whole].decode(errors="replace"), newline="")), [])

    def add(self, sample: SystemSample) -> None:
        """Add a line, under the names of an earlier attempt where there was one, perhaps on a machine with other cards.

        Raises:
            OSError: the disk takes nothing more.
        """
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        head = self._head or ["time", *sorted(sample.values)]
        if not self._head:
            writer.writerow(head)
        writer.writerow([f"{sample.time:.3f}", *(sample.values.get(name, "") for name in head[1:])])
        with self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(text.getvalue())
        self._head = head


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
