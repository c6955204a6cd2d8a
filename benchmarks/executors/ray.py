"""Cells on Ray, over the machines and cards of a cluster (`--on ray`).

Ray finds a place for each cell, starts its process and says when that, or its machine, is lost. What a cell computes
goes into its record on the results folder, which every machine must see; nothing but a code and a sentence comes back.
A cell that was lost goes on from its checkpoint elsewhere, and its claim sees to it that it never runs twice.
"""

from __future__ import annotations

import gc
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from typing import Any, Self

from ...allocator import keep_freed_memory
from ...cores import usable_cores
from ...errors import UserError
from ...workers import end_at_once_on_sigterm
from ..engine.progress import Reporter, SilentReporter
from ..plan.request import Where
from ..records.attempts import ATTEMPTS, highest, last_holder, server_time
from .attempt import run_spec, stage_of
from .backlog import Backlog
from .base import AGAIN, DONE, KEPT, USER, CellEnd, Executor, Outcome, record_of_spec
from .here import say_postponed
from .ray_cluster import RayCluster, Share, address_of, share_for
from .spec import CellSpec
from .watcher import Watcher

_LOOK = 1.0  # s between two looks at how far cells are
_SURVEY = 10.0  # s between two looks at the machines, and at signs of life
#: How often a cell is tried again: what a process dies of may be the cell's own need, a machine dies for itself.
_TRIES = {"process": 1, "machine": 3}
_TIMES = {2: "second", 4: "fourth"}


class OnRay(Executor):
    """A Ray cluster.

    Args:
        cluster: the cluster; one of our own is started by `run`.
        where: what the user says.
        device: "cpu" or "cuda": on what the cells compute.
    """

    name = "ray"
    summary = "a Ray cluster: one on this machine that ends with the run, ray://HOST:10001, or what RAY_ADDRESS says"
    reads = frozenset({"cpus_per_cell", "gpus_per_cell", "scratch"})

    def __init__(self, cluster: RayCluster, where: Where, device: str) -> None:
        self._cluster = cluster
        self._where = where
        self._device = device
        self.workers = self._places(self._share())

    @classmethod
    def make(cls, where: Where, device: str, results: Path) -> Self:
        """An executor on a cluster that runs, or that is started when the first cell is.

        Raises:
            UserError: Ray is not installed, nobody answers, or no machine has what a cell needs.
        """
        if where.gpus_per_cell:  # where the run is started there may be no GPU
            device = "cuda"
        cluster = RayCluster(address_of(where.on), usable_cores(), device)
        if not cluster.is_own:
            cluster.open()
        return cls(cluster, where, device)

    def run(self, specs: Sequence[CellSpec], reporter: Reporter) -> Iterator[Outcome]:
        """Run cells and yield each as it ends, see `Executor.run`.

        Raises:
            UserError: no machine has what a cell needs, or the cluster was lost.
        """
        try:
            self._cluster.open()
            share = self._share()
            hands = _Hands(self._cluster.ray, share, self._where.scratch)
            there = [spec.model_copy(update={"device": self._device}) for spec in specs]
            yield from _Team(there, hands, lambda: self._places(share), reporter).run()
        except ConnectionError as error:
            raise UserError(f"the Ray cluster was lost ({error}); {KEPT}") from error
        finally:
            self._cluster.close()

    def _share(self) -> Share:
        where = self._where
        return share_for(self._cluster.nodes(), self._device, where.cpus_per_cell, where.gpus_per_cell)

    def _places(self, share: Share) -> int:
        return sum(share.places(node) for node in self._cluster.nodes())


@dataclass(frozen=True)
class _Loss:
    """What took a cell's process away.

    Attributes:
        what: "process" or "machine".
        words: half a sentence for the user.
    """

    what: str
    words: str


class _Hands:
    """Hands cells to Ray and hears how they end.

    Args:
        ray: the module.
        share: what a cell gets.
        scratch: see `Where`.
    """

    def __init__(self, ray: Any, share: Share, scratch: Path | None) -> None:
        self._ray = ray
        self._words = (share.threads, scratch)
        # Whether a cell is tried again is said by the backlog; Ray would not ask whose fault it was.
        self._task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0)(run_in_worker)

    def give(self, spec: CellSpec) -> Any:
        """Hand over a cell; what stands for its end comes back."""
        return self._task.options(name=spec.label).remote(spec.model_dump_json(), *self._words)

    def drop(self, given: Any) -> None:
        """Want no more of a cell; its process is killed, if it can be reached."""
        self._ray.cancel(given, force=True)

    def ended(self, given: Sequence[Any]) -> list[Any]:
        """Those of what `give` returned that have ended, waiting a moment for the first."""
        if not self._ray.wait(given, num_returns=1, timeout=_LOOK)[0]:
            return []
        return list(self._ray.wait(given, num_returns=len(given), timeout=0)[0])

    def hear(self, given: Any) -> CellEnd | _Loss:
        """How a cell ended.

        Raises:
            UserError: the machines cannot run cells of this package.
        """
        known = self._ray.exceptions
        try:
            return CellEnd(*self._ray.get(given))
        except known.RayTaskError as error:
            raise UserError(
                f"a machine of the Ray cluster cannot run cells: {_last_line(error)}; install the same uadbench there"
            ) from error
        except (known.NodeDiedError, known.LocalRayletDiedError):
            return _Loss("machine", "its machine was lost")
        except known.OutOfMemoryError:
            return _Loss("process", "Ray ended its process, as its machine ran short of memory")
        except known.RayError as error:
            return _Loss("process", f"its process was lost ({type(error).__name__})")


@dataclass(frozen=True)
class _Cell:
    """A cell that Ray has.

    Attributes:
        spec: the cell.
        attempts: the number of attempts that were made at it before.
    """

    spec: CellSpec
    attempts: int

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return record_of_spec(self.spec).folder

    def is_silent(self, now: float) -> bool:
        """Whether this attempt has begun and given no sign of life for its lease.

        Args:
            now: the file server's time.
        """
        holder = None
        with suppress(OSError):  # a file server that is away for a while
            holder = last_holder(self.folder, now)
        if holder is None or holder.attempt is None or holder.number <= self.attempts:
            return False
        return holder.attempt.ended is None and holder.age > holder.attempt.lease


class _Team:
    """The cells that wait, and those that Ray has.

    Ray gets no more cells than there are places: one more would queue at some machine, and where that freezes Ray waits
    for it for minutes, the other machines with it.

    Args:
        specs: the cells.
        hands: hands them to Ray.
        count_places: how many cells the machines hold that are there now.
        reporter: where progress goes.
    """

    def __init__(
        self, specs: Sequence[CellSpec], hands: _Hands, count_places: Callable[[], int], reporter: Reporter
    ) -> None:
        self._backlog = Backlog(specs)
        self._hands = hands
        self._count_places = count_places
        self._reporter = reporter
        self._watcher = Watcher(reporter)
        self._given: dict[Any, _Cell] = {}
        self._places = 0
        self._surveyed = -inf

    def run(self) -> Iterator[Outcome]:
        """Run every cell, and yield each as it ends."""
        while self._backlog or self._given:
            yield from self._survey()
            yield from self._hand_out()
            ended = self._hands.ended(list(self._given)) if self._given else self._pause()
            for given in ended:
                outcome = self._take_back(given)
                if outcome is not None:
                    yield outcome
            self._watcher.look([cell.folder for cell in self._given.values()])

    def _survey(self) -> Iterator[Outcome]:
        """Count the places anew from time to time, and take back cells whose machine is frozen or cut off.

        Ray hears of a machine that is gone by its closed connections, of one that is merely silent after minutes.
        """
        if time.monotonic() < self._surveyed + _SURVEY:
            return
        self._surveyed = time.monotonic()
        self._places = self._count_places()
        now = server_time(next(iter(self._given.values())).folder.parent) if self._given else 0.0
        for given in [given for given, cell in self._given.items() if cell.is_silent(now)]:
            self._hands.drop(given)
            loss = _Loss("machine", "its machine gave no sign of life any more")
            outcome = self._lose(self._given.pop(given).spec, loss)
            if outcome is not None:
                yield outcome

    def _pause(self) -> list[Any]:
        """Wait where somebody else runs all that is left, or no machine is there."""
        time.sleep(_LOOK)
        return []

    def _hand_out(self) -> Iterator[Outcome]:
        """Give Ray what it has room for; a cell that somebody else has finished meanwhile is an outcome at once."""
        while len(self._given) < self._places and (spec := self._backlog.take()) is not None:
            record = record_of_spec(spec)
            if record.done:
                yield Outcome.of(spec, CellEnd(DONE))
            else:
                cell = _Cell(spec, highest(record.folder / ATTEMPTS))
                self._given[self._hands.give(spec)] = cell

    def _take_back(self, given: Any) -> Outcome | None:
        """Take in how a cell ended; an outcome where it is not run again."""
        spec = self._given.pop(given).spec
        end = self._hands.hear(given)
        if isinstance(end, _Loss):
            return self._lose(spec, end)
        if end.code == AGAIN:
            say_postponed(self._backlog, spec, end, self._reporter)
            return None
        return Outcome.of(spec, end)

    def _lose(self, spec: CellSpec, loss: _Loss) -> Outcome | None:
        """A cell without its process is tried again from its checkpoint, until it has been lost too often."""
        most, stage = _TRIES[loss.what], stage_of(spec.job(), record_of_spec(spec))
        words = f"{spec.label}: {loss.words} at {stage.doing}"
        if not self._backlog.try_again(spec, loss.what, most):
            advice = f"less memory is needed with {stage.advice}; " if loss.what == "process" else ""
            return Outcome.of(spec, CellEnd(USER, f"{words}, for the {_TIMES[most + 1]} time; {advice}{KEPT}"))
        self._reporter.say(f"  {words}; it is tried again from its checkpoint")
        return None


def run_in_worker(text: str, threads: int, scratch: Path | None) -> tuple[int, str, str]:
    """What a worker process of Ray does: one cell.

    Args:
        text: its spec, as JSON.
        threads: of PyTorch.
        scratch: see `Where`.

    Returns:
        Code, problem and traceback, see `CellEnd`.
    """
    spec = CellSpec.model_validate_json(text)
    if not Path(spec.runs).parent.is_dir():
        where = f"{socket.gethostname()} does not see {Path(spec.runs).parent}"
        return USER, f"{spec.label}: {where}; choose --results on a disk that all machines share", ""
    _settle(threads)
    end = run_spec(spec, SilentReporter(), scratch)
    return end.code, end.problem, end.trace


@cache
def _settle(threads: int) -> None:
    """Let this process be as one of our own workers is; that it ends with its cluster is Ray's part.

    What was imported stays, so the search for garbage that follows each cell need not look at it.
    """
    import torch

    gc.freeze()
    end_at_once_on_sigterm()
    torch.set_num_threads(min(threads, torch.get_num_threads()))
    keep_freed_memory()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
