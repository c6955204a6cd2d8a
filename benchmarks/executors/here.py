"""Cells one after the other in this process (`--on here`)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from ..engine.progress import Reporter
from ..plan.request import Where
from ..records.running.progress import forget_progress
from .attempt import run_spec
from .backlog import Backlog
from .base import AGAIN, DONE, CellEnd, Executor, Outcome, record_of_spec
from .spec import CellSpec

_PAUSE = 0.5  # s between two looks at cells that somebody else runs


class Here(Executor):
    """This process.

    Args:
        scratch: see `Where`.
    """

    name = "here"
    summary = "this process, one cell after the other"
    reads = frozenset({"scratch"})
    workers = 1

    def __init__(self, scratch: Path | None = None) -> None:
        self._scratch = scratch

    @classmethod
    def make(cls, where: Where, device: str, results: Path) -> Self:
        """This process, whatever the device."""
        return cls(where.scratch)

    def run(self, specs: Sequence[CellSpec], reporter: Reporter) -> Iterator[Outcome]:
        """Run cells in order; those that somebody else runs are waited for at the end."""
        backlog = Backlog(specs)
        while backlog:
            spec = backlog.take()
            if spec is None:
                time.sleep(_PAUSE)
                continue
            end = CellEnd(DONE) if record_of_spec(spec).done else run_spec(spec, reporter, self._scratch)
            if end.code == AGAIN:
                say_postponed(backlog, spec, end, reporter)
                continue
            forget_progress(record_of_spec(spec).folder)
            yield Outcome.of(spec, end)


def say_postponed(backlog: Backlog, spec: CellSpec, end: CellEnd, reporter: Reporter) -> None:
    """Postpone a cell that somebody else runs, and say so once."""
    if backlog.postpone(spec):
        reporter.say(f"  {spec.short}: {end.problem}; it is looked at again")
