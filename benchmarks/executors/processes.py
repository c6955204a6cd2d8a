"""Several cells at a time on this machine, each in a process of its own (`--on processes`).

Small networks do not keep two cores busy together, two cells do. Each place for a cell is a pool of Python's own with
one process, so that one that is killed, at whatever moment, loses its own cell and no other. A worker ends when the
main process does, however that one ends: checkpoints are atomic, so nothing is lost and no cell stays claimed.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Self

import torch

from ...allocator import keep_freed_memory
from ...cores import usable_cores
from ...unread import go_on_unread
from ...workers import (
    SECONDS_TO_BE_STOPPED,
    end_at_once_on_sigterm,
    end_with_parent,
    leave_ctrl_c_to_parent,
    signals_held,
)
from ..engine.environment import threads_per_worker
from ..engine.progress import Reporter, SilentReporter
from ..plan.request import Where
from .attempt import run_spec, stage_of
from .backlog import Backlog
from .base import AGAIN, DONE, KEPT, USER, CellEnd, Executor, Outcome, record_of_spec
from .here import Here, say_postponed
from .spec import CellSpec
from .watcher import Watcher

_LOOK = 0.25  # s between two looks at how far cells are
_CARDS = "CUDA_VISIBLE_DEVICES"
_SPAWN = multiprocessing.get_context("spawn")


class Processes(Executor):
    """Worker processes on this machine.

    Args:
        cards: for each worker the card that it sees, as CUDA_VISIBLE_DEVICES names it; "" for all of them.
        scratch: see `Where`.
    """

    name = "processes"
    summary = "several processes on this machine, on GPUs one a card"
    reads = frozenset({"jobs", "cells_per_gpu", "scratch"})

    def __init__(self, cards: Sequence[str], scratch: Path | None = None) -> None:
        self._cards = tuple(cards)
        self._scratch = scratch
        self.workers = len(self._cards)

    @classmethod
    def make(cls, where: Where, device: str, results: Path) -> Self:
        """An executor as the user wants it: a worker per core, or one or more per card."""
        if device != "cuda":
            return cls([""] * (where.jobs or usable_cores()), where.scratch)
        cards = visible_cards()
        places = [card for _ in range(where.cells_per_gpu or 1) for card in cards]
        count = where.jobs or len(places)
        return cls([places[number % len(places)] for number in range(count)], where.scratch)

    def run(self, specs: Sequence[CellSpec], reporter: Reporter) -> Iterator[Outcome]:
        """Run cells, as many at a time as there are workers; one alone is run in this process."""
        if self.workers == 1 or len(specs) == 1:
            yield from Here(self._scratch).run(specs, reporter)
            return
        team = _Team(specs, self._cards[: len(specs)], self._scratch, reporter)
        try:
            yield from team.run()
        finally:
            team.stop()


def visible_cards() -> tuple[str, ...]:
    """The cards of this machine that are ours, as CUDA_VISIBLE_DEVICES names them."""
    named = [word.strip() for word in os.environ.get(_CARDS, "").split(",") if word.strip()]
    return tuple(named) or tuple(map(str, range(torch.cuda.device_count())))


@dataclass
class _Place:
    """A place for one cell at a time.

    Attributes:
        card: the card that its process sees; "" for all.
        pool: of one process; None before the first cell, and after its process was lost.
        process: that process, once it has been given a cell.
        spec: the cell that it runs; None where it has none.
    """

    card: str
    pool: ProcessPoolExecutor | None = None
    process: BaseProcess | None = None
    spec: CellSpec | None = None

    def last_words(self) -> str:
        """What to say of a process that ended before its cell did."""
        if self.process is None:
            return "ended"
        self.process.join()
        code = self.process.exitcode or 0
        if code == -signal.SIGTERM:
            time.sleep(SECONDS_TO_BE_STOPPED)
        return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"


@dataclass
class _Team:
    """The places, and the cells that wait for one of them.

    Attributes:
        specs: the cells.
        cards: of the workers.
        scratch: see `Where`.
        reporter: where progress goes.
    """

    specs: Sequence[CellSpec]
    cards: Sequence[str]
    scratch: Path | None
    reporter: Reporter
    _running: dict[Future[CellEnd], _Place] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._backlog = Backlog(self.specs)
        self._watcher = Watcher(self.reporter)
        self._idle = [_Place(card) for card in self.cards]
        self._threads = threads_per_worker(len(self.cards))
        self._others = multiprocessing.active_children()

    def run(self) -> Iterator[Outcome]:
        """Run every cell, and yield each as it ends."""
        while self._backlog or self._running:
            yield from self._hand_out()
            ended = wait(self._running, _LOOK, FIRST_COMPLETED).done if self._running else self._pause()
            self._watcher.look(self._folders())
            for future in ended:
                outcome = self._take_back(future)
                if outcome is not None:
                    self._watcher.look(self._folders())
                    yield outcome

    def _pause(self) -> set[Future[CellEnd]]:
        """Wait where somebody else runs all that is left."""
        time.sleep(_LOOK)
        return set()

    def _folders(self) -> list[Path]:
        return [record_of_spec(place.spec).folder for place in self._running.values() if place.spec is not None]

    def _hand_out(self) -> Iterator[Outcome]:
        """Give a cell to each idle place; one that somebody else has finished meanwhile is an outcome at once."""
        while self._idle and (spec := self._backlog.take()) is not None:
            if record_of_spec(spec).done:
                yield Outcome.of(spec, CellEnd(DONE))
            else:
                self._give(self._idle.pop(0), spec)

    def _give(self, place: _Place, spec: CellSpec) -> None:
        known = multiprocessing.active_children()
        with signals_held():
            if place.pool is None:
                words = (place.card, self._threads)
                place.pool = ProcessPoolExecutor(1, mp_context=_SPAWN, initializer=_start, initargs=words)
            place.spec = spec
            future = place.pool.submit(_work, spec, self.scratch)
        if place.process is None:
            place.process = next((one for one in multiprocessing.active_children() if one not in known), None)
        self._running[future] = place

    def _take_back(self, future: Future[CellEnd]) -> Outcome | None:
        """Take in how a cell ended; an outcome where it is not run again."""
        place = self._running.pop(future)
        spec, place.spec = place.spec, None
        assert spec is not None  # a place that runs has one
        try:
            end = future.result()
        except BrokenProcessPool:
            return self._lose(place, spec)
        self._idle.append(place)
        if end.code == AGAIN:
            say_postponed(self._backlog, spec, end, self.reporter)
            return None
        return Outcome.of(spec, end)

    def _lose(self, place: _Place, spec: CellSpec) -> Outcome | None:
        """Let go of a process that died; its cell is tried once more, with one place fewer from then on.

        Its checkpoint goes with it, and what it lacked was memory, most likely. The second time is the last.
        """
        how = place.last_words()
        assert place.pool is not None  # it had a process
        place.pool.shutdown(wait=False)
        stage = stage_of(spec.job(), record_of_spec(spec))
        words = f"{spec.label}: its process {how} at {stage.doing}, perhaps for lack of memory"
        if not self._backlog.try_again(spec):
            self._idle.append(_Place(place.card))
            problem = f"{words}, for the second time; less is needed with {stage.advice}; {KEPT}"
            return Outcome.of(spec, CellEnd(USER, problem))
        places = len(self._idle) + len(self._running)
        if not places:
            self._idle.append(_Place(place.card))
        pace = f"{places} cells at a time" if places > 1 else "one cell at a time"
        self.reporter.say(f"  {words}; it is tried once more from its checkpoint, {pace} now")
        return None

    def stop(self) -> None:
        """Stop every process at once, whatever it does: all it writes is written whole or not at all."""
        pools = [place.pool for place in (*self._idle, *self._running.values()) if place.pool is not None]
        with signals_held():
            for process in multiprocessing.active_children():
                if process not in self._others:
                    process.kill()
            for pool in pools:
                pool.shutdown(wait=True, cancel_futures=True)


def _start(card: str, threads: int) -> None:
    """Called first in a worker process."""
    leave_ctrl_c_to_parent()
    go_on_unread()
    end_at_once_on_sigterm()
    if card:
        os.environ[_CARDS] = card  # read when the first tensor goes to a GPU
    torch.set_num_threads(threads)
    keep_freed_memory()
    gc.freeze()  # what was imported stays: the search for garbage after each cell takes 0.2 s less
    end_with_parent()


def _work(spec: CellSpec, scratch: Path | None) -> CellEnd:
    """What a worker process does with a cell."""
    return run_spec(spec, SilentReporter(), scratch)
