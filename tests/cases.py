"""What several tests share beside fixtures: places, and a network all of whose paths count."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from uadbench.benchmarks.engine.job import Job
    from uadbench.benchmarks.engine.progress import Reporter
    from uadbench.benchmarks.executors.base import Outcome
    from uadbench.benchmarks.records.record import RunRecord

TESTS = Path(__file__).parent
ROOT = TESTS.parent
#: The preset on which a cell runs in seconds.
TINY = TESTS / "tiny.toml"
#: Real scans and facts that are not part of the project; tests that want them skip where they are absent.
SHARED = ROOT.parent / "shared"

_NetT = TypeVar("_NetT", bound=nn.Module)


def awake(net: _NetT) -> _NetT:
    """Fill the zero-initialised layers, so that every path counts."""
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return net


def as_version_1(record: RunRecord) -> None:
    """Make a finished cell one of before FROC: no ladder, no `froc.csv`, no edges of the ladder in its histograms."""
    from uadbench.benchmarks.records.detection_lines import VolumeHistogram, pack, unpack
    from uadbench.benchmarks.records.detections import DETECTION, FROC, HISTOGRAMS
    from uadbench.benchmarks.records.record_files import file_digest, write_lines

    files = record.detection
    assert files.config is not None
    old = files.config.model_copy(update={"version": 1, "ladder": ()})
    kept = np.searchsorted(files.config.edges, old.edges)

    def merged(word: str) -> str:
        counts = unpack(word)
        below = np.cumsum(counts)[kept]
        return pack(np.diff(below, prepend=0, append=counts.sum()).astype(np.int64))

    lines = [replace(one, inside=merged(one.inside), outside=merged(one.outside)) for one in files.histograms()]
    write_lines(record.fenced, HISTOGRAMS, lines, VolumeHistogram)
    text = json.loads((record.folder / DETECTION).read_text())
    del text["ladder"]
    (record.folder / DETECTION).write_text(json.dumps({**text, "version": 1}))
    (record.folder / FROC).unlink()
    digests = json.loads((record.folder / "digests.json").read_text())
    del digests["files"][FROC]
    digests["files"] |= {name: file_digest(record.folder / name) for name in (DETECTION, HISTOGRAMS)}
    (record.folder / "digests.json").write_text(json.dumps(digests))


def run_jobs(jobs: Sequence[Job], runs: Path, device: str, workers: int, reporter: Reporter) -> Iterator[Outcome]:
    """Run cells as `bench run` does, one after the other in this process or in worker processes."""
    from uadbench.benchmarks.executors.data_file import write_data
    from uadbench.benchmarks.executors.here import Here
    from uadbench.benchmarks.executors.processes import Processes
    from uadbench.benchmarks.executors.spec import CellSpec

    place = write_data(jobs[0].data, runs.parent / "specs")
    specs = [CellSpec.of(job, place, runs, device) for job in jobs]
    executor = Here() if workers == 1 else Processes([""] * workers)
    return executor.run(specs, reporter)


class Untold:
    """Stands for the teller where no MLflow is to be told; notes what it would have been told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Path]] = []

    def done(self, folder: Path) -> None:
        self.heard.append(("done", folder))

    def failed(self, folder: Path, problem: str) -> None:
        self.heard.append(("failed", folder))


@contextmanager
def untold(*words: object) -> Iterator[Untold]:
    """Takes the place of `uadbench.benchmarks.experiment.telling`, which starts a process and imports MLflow."""
    yield Untold()
