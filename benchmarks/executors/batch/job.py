"""What a job does on its node: it runs `bench cell`, and has the cell written down before the job's time is over.

submitit pickles a `CellTask`, calls it on the node and, when SLURM warns the job, asks it for a checkpoint: what it
gets is put in the queue again. PyTorch is not imported here: the cell computes in a process of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....files import write_text
from ....methods import Frozen
from ....stopping import WARNING
from ..exit_codes import AGAIN, DEFECT, DONE, ENDINGS, USER

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

#: Seconds that are left to submitit for the requeue, of those between the warning and the end.
_FOR_THE_REQUEUE = 5.0
#: So often in a row may a job be put in the queue again without having got any further.
_MOST_FRUITLESS = 5
#: Seconds that a queue may take to end a job that it has sent SIGTERM.
_SECONDS_TO_BE_ENDED = 600.0
_POLL = 0.1  # s
#: What shows in a cell's folder that it has got further.
_PROGRESS = frozenset(
    {"checkpoints", "maps", "metrics.json", "reconstructions", "score.npz", "scores.csv", "thresholds.json",
     "untrained.json"}
)  # fmt: skip
_ERROR = "error: "


class JobEnd(Frozen):
    """How a job ended.

    Attributes:
        code: the exit code of `bench cell`.
        problem: the sentence of what went wrong; "" where nothing did.
        trace: the traceback of a defect; "" else.
    """

    code: int
    problem: str = ""
    trace: str = ""


@dataclass
class CellTask:
    """The cell of one job.

    Attributes:
        command: runs the cell.
        folder: of the cell's record.
        end: file in which is written how the job ended.
        log: file to which the cell prints.
        patience: s that the queue leaves a job between its warning and its end.
        fruitless: how many times in a row the cell has got no further.
    """

    command: tuple[str, ...]
    folder: str
    end: str
    log: str
    patience: float
    fruitless: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _begun: int = field(default=0, init=False, repr=False)
    _is_told_to_end: bool = field(default=False, init=False, repr=False)
    _marks: Mapping[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __call__(self) -> int:
        """Run the cell; returns 0 where it is done, and ends the process with the cell's exit code where it is not."""
        log = Path(self.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        Path(self.end).unlink(missing_ok=True)  # of a job that was put in the queue again by hand
        self._begun = log.stat().st_size if log.exists() else 0
        self._marks = progress_marks(Path(self.folder))
        self._process = _start(self.command, log)
        signal.signal(signal.SIGTERM, self._heed_end)
        code = _wait_for(self._child)
        if code not in ENDINGS and self._is_told_to_end:
            time.sleep(_SECONDS_TO_BE_ENDED)  # a job that ends by itself is over, one that is preempted comes again
        ended = self._write_end(code)
        if ended:
            sys.exit(ended)
        return ended

    def checkpoint(self) -> DelayedSubmission | None:
        """Called by submitit when the queue warns: the cell is written down, and what is left of it returned.

        Ends the process with the cell's exit code where the cell has ended by itself, or gets no further.
        """
        from submitit.core.utils import DelayedSubmission

        if self._process is not None:  # else the warning came before the cell was started
            code = self._stop_cell()
            if code in ENDINGS:
                self._write_end(code)
                sys.exit(code)
        got_on = progress_marks(Path(self.folder)) != self._marks
        fruitless = 0 if got_on else self.fruitless + 1
        if fruitless >= _MOST_FRUITLESS:
            self._give_up(fruitless)
        return DelayedSubmission(CellTask(self.command, self.folder, self.end, self.log, self.patience, fruitless))

    def _stop_cell(self) -> int:
        """Have the cell written down and stopped, within the time that there is; its exit code."""
        self._warn()
        if not _ends_within(self._child, max(self.patience / 2, self.patience - _FOR_THE_REQUEUE)):
            os.kill(self._child, signal.SIGKILL)
        return _wait_for(self._child)

    def _heed_end(self, number: int, frame: object) -> None:
        """The queue ends the job soon, whether it is cancelled or preempted."""
        self._is_told_to_end = True
        self._warn()

    @property
    def _child(self) -> int:
        """The number of the cell's process, which nobody else can get: what it leaves is never taken away."""
        assert self._process is not None
        return self._process.pid

    def _warn(self) -> None:
        os.kill(self._child, WARNING)

    def _write_end(self, code: int) -> int:
        """Write how the job ended; returns the code."""
        printed = Path(self.log).read_bytes()[self._begun :].decode(errors="replace")
        end = end_of(code, printed)
        write_text(Path(self.end), end.model_dump_json())
        return end.code

    def _give_up(self, times: int) -> None:
        problem = (
            f"its job was ended {times} times in a row before the cell got any further; give it more time, as "
            "--slurm time=24:00:00, or a longer warning, as signal=600"
        )
        write_text(Path(self.end), JobEnd(code=USER, problem=problem).model_dump_json())
        sys.exit(USER)


def end_of(code: int, printed: str) -> JobEnd:
    """How a job ended, by the exit code of its cell and by what that printed.

    Args:
        code: of the process; below 0 where a signal ended it.
        printed: by the process.
    """
    if code == DONE:
        return JobEnd(code=code)
    if code < 0:
        return JobEnd(code=AGAIN, problem=f"its process was killed ({signal.Signals(-code).name})")
    lines = [line for line in printed.splitlines() if line.strip()]
    said = [line for line in lines if line.lower().startswith(_ERROR)]
    problem = (said or lines or [f"its process ended with exit code {code}"])[-1]
    trace = printed[max(0, printed.rfind("Traceback")) :] if code == DEFECT else ""
    problem = problem[len(_ERROR) :] if said else problem
    return JobEnd(code=code if code in ENDINGS else AGAIN, problem=problem, trace=trace)


def progress_marks(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file of a cell's record that shows how far it has got.

    Args:
        folder: of the record; need not exist.
    """
    marks = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if name.parts[0] in _PROGRESS and not name.name.startswith("."):
            with suppress(OSError):
                status = path.stat()
                if path.is_file():
                    marks[str(name)] = (status.st_size, status.st_mtime_ns)
    return marks


def _start(command: tuple[str, ...], log: Path) -> subprocess.Popen[bytes]:
    """Start the cell's process.

    SIGTERM, which a queue sends to all processes of a job, would stop the cell where it stands. It is held back, and
    the cell is warned instead.
    """
    with log.open("ab") as file, _held_back(signal.SIGTERM):
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


@contextmanager
def _held_back(number: signal.Signals) -> Iterator[None]:
    """Within the block processes are started to which a signal never comes."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for(child: int) -> int:
    """The exit code of a child once it has ended, below 0 where a signal ended it.

    A signal's handler may wait for the child while the code that it interrupts does: nothing is locked, and the child
    is left where it is.
    """
    found = os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert found is not None
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _ends_within(child: int, seconds: float) -> bool:
    """Whether a child has ended after so many seconds."""
    deadline = time.monotonic() + seconds
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True
