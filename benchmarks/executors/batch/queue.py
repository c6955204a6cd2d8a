"""What SLURM says: its limits, and how its jobs of ours stand."""

from __future__ import annotations

import getpass
import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import NamedTuple

from ....errors import UserError

_PATIENCE = 60  # s for an answer
#: One line a task, also of those that wait; those that ended stay for a while (MinJobAge).
_FORMAT = "%j|%K|%i|%T|%N|%r"
#: SLURM's own default.
_MAX_ARRAY_SIZE = 1001
_OVER = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
     "TIMEOUT"}
)  # fmt: skip


class QueueError(UserError):
    """SLURM does not answer, or refuses."""


class Place(NamedTuple):
    """One task of an array: the name of the array's jobs, and the task's number."""

    array: str
    number: int


@dataclass(frozen=True)
class Task:
    """A task as the queue knows it.

    Attributes:
        job: its number, as scancel takes it.
        state: SLURM's word, e.g. RUNNING.
        node: where it runs; "" where it does not.
        reason: why it waits; "" where it does not.
    """

    job: str
    state: str
    node: str = ""
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in _OVER

    @property
    def is_running(self) -> bool:
        """Whether it holds a node."""
        return self.state == "RUNNING"


def require_slurm() -> None:
    """See that this machine can hand in jobs.

    Raises:
        UserError: it cannot.
    """
    missing = [name for name in ("sbatch", "squeue", "srun", "scontrol") if shutil.which(name) is None]
    if missing:
        raise UserError(
            f"--on slurm: there is no {missing[0]} on this machine's path; start the run on a login node of the cluster"
        )
    if importlib.util.find_spec("submitit") is None:
        raise UserError("--on slurm needs submitit, which is not installed here; pip install 'uadbench[slurm]'")


def max_array_size() -> int:
    """How many tasks an array may have, by the controller's configuration.

    Raises:
        QueueError: it does not answer.
    """
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask("scontrol", "show", "config"), re.MULTILINE)
    return max(1, int(match.group(1))) if match else _MAX_ARRAY_SIZE


def tasks() -> dict[Place, Task]:
    """Every task of this user that the queue still knows.

    Raises:
        QueueError: it does not answer.
    """
    words = ("--noheader", "--array", "--states=all", f"--user={getpass.getuser()}", f"--format={_FORMAT}")
    found = {}
    for line in _ask("squeue", *words).splitlines():
        name, index, job, state, node, reason = (*line.split("|", 5), *[""] * 6)[:6]
        place = Place(name, int(index) if index.isdigit() else 0)
        reason = "" if reason in ("None", "(null)") else reason
        found[place] = Task(job, state, node, "" if node else reason)
    return found


def _ask(*command: str) -> str:
    """The answer of a command of SLURM."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QueueError(f"{command[0]} gives no answer ({error}); is the cluster's controller up?") from error
    if answer.returncode:
        raise QueueError(f"{command[0]} gives no answer ({last_line(answer.stderr)}); is the cluster's controller up?")
    return answer.stdout


def last_line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
