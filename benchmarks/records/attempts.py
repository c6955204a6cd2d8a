"""Who ran a cell: a file per attempt in its folder. The one with the highest number holds the cell, or held it last.

    <label>/attempts/000001.json, 000002.json, …

A number is taken by linking a file that is whole already to it, which succeeds for exactly one process, on network file
systems too. The file's time is the holder's last sign of life. It is compared with the time of a file made on the spot:
both are told by the file server's clock, so those of the machines may differ. No file of an attempt is ever removed, so
that no number comes twice.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from ...errors import UserError, WriteError
from .record_files import Recorded, RecordError, read_as

ATTEMPTS = "attempts"
LEASE = 60.0  # s without a sign of life, after which a holder on another machine counts as lost
_LONGEST_LEASE = 3600.0  # s that are believed of a file that says more
_NAME = re.compile(r"(\d{6,})\.json")
_LONGEST = 200  # letters of a command line or of a host's name that are kept

How = Literal["done", "failed", "stopped", "lost"]


class HeldError(UserError):
    """Another process runs the cell.

    Args:
        cell: the cell's folder.
        holder: who runs it.
    """

    def __init__(self, cell: Path, holder: Holder) -> None:
        super().__init__(
            f"another process is running the cell {cell}: {holder.words}, its last sign of life "
            f"{max(0.0, holder.age):.0f} s ago; wait for it or stop it, then try again"
        )
        self.holder = holder


class ProcessMark(Recorded):
    """A process, told apart from every other one of its machine, now and later.

    Attributes:
        host: name of the machine.
        boot: the kernel's id of its start; "" where it has none, and nothing can be known of a process.
        namespace: the kernel's id of the container's process numbers.
        pid: its number.
        started: when it began, in ticks of the kernel.
    """

    host: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Self:
        """This process."""
        boot, namespace = "", ""
        with suppress(OSError):
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
            namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115  (it leads to no path)
        pid = os.getpid()
        return cls(host=socket.gethostname(), boot=boot, namespace=namespace, pid=pid, started=_started(pid))

    def is_gone(self) -> bool:
        """Whether it has ended; of a process of another machine or container that cannot be seen."""
        here = ProcessMark.here()
        if not here.boot or (self.host, self.boot, self.namespace) != (here.host, here.boot, here.namespace):
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:  # another user's
            pass
        started = _started(self.pid)
        return started not in ("", self.started)


def _started(pid: int) -> str:
    """When a process began, in ticks since the machine's start; "" where that cannot be seen, "ended" of a zombie."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "ended" if words[0] in "ZX" else words[19]
    except (OSError, IndexError):
        return ""


class Attempt(Recorded):
    """What the file of an attempt says.

    Attributes:
        token: tells this attempt from every other.
        process: who makes it.
        command: its command line.
        lease: seconds without a sign of life after which another process may take the cell over.
        environment: commit, machine, device, library versions, see `describe_environment`.
        begun: when, ISO 8601.
        ended: when; None while it goes on, or where its process was killed.
        how: "done": the cell has all its numbers; "failed": an error; "stopped": Ctrl-C or a scheduler; "lost":
            somebody else found no sign of life.
        problem: the sentence of what went wrong; "" where nothing did.
    """

    token: str
    process: ProcessMark
    command: str
    lease: float
    environment: dict[str, str]
    begun: str
    ended: str | None = None
    how: How | None = None
    problem: str = ""

    @classmethod
    def here(cls, environment: dict[str, str], lease: float) -> Self:
        """A new attempt of this process."""
        return cls(
            token=secrets.token_hex(16),
            process=ProcessMark.here(),
            command=shlex.join(sys.argv)[:_LONGEST],
            lease=lease,
            environment=environment,
            begun=_now(),
        )

    def with_end(self, how: How, problem: str = "") -> Self:
        """The same, ended now."""
        return self.model_copy(update={"ended": _now(), "how": how, "problem": problem})

    def text(self) -> str:
        """What stands in the file."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Holder:
    """Who holds a cell, or held it last.

    Attributes:
        number: of the attempt.
        path: its file.
        attempt: what the file says; None where it is damaged.
        age: seconds since the last sign of life.
    """

    number: int
    path: Path
    attempt: Attempt | None
    age: float

    @property
    def is_alive(self) -> bool:
        """Whether the cell is held: the attempt goes on, its process is there and gives signs of life.

        Of a file that cannot be read the time alone counts, and so it does of one that came from another machine. A
        time in the future is no sign of life: a holder's next one brings it back.
        """
        attempt = self.attempt
        if attempt is None:
            return abs(self.age) <= LEASE
        if attempt.ended is not None or attempt.process.is_gone():
            return False
        return abs(self.age) <= min(attempt.lease, _LONGEST_LEASE)

    @property
    def loss(self) -> str:
        """What became of one who is not alive and did not say so."""
        if self.attempt is not None and self.attempt.process.is_gone():
            return "its process was killed"
        return f"it gave no sign of life for {self.age:.0f} s"

    @property
    def words(self) -> str:
        """Process, machine and command line."""
        if self.attempt is None:
            return "an unknown process"
        process = self.attempt.process
        return f"process {process.pid} on {_shown(process.host)} ({_shown(self.attempt.command)})"


def _shown(words: str) -> str:
    """Words of a file that may come from anywhere, fit for a terminal."""
    return words[:_LONGEST] if words and words.isprintable() else "?"


def highest(folder: Path) -> int:
    """The highest number in a folder of attempts; 0 where there is none.

    On a network file system, too, it is the server's answer: opening a folder asks whether what is known of it holds.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            found = [int(match[1]) for entry in entries if (match := _NAME.fullmatch(entry.name))]
    except FileNotFoundError:
        return 0
    return max(found, default=0)


def path_of(folder: Path, number: int) -> Path:
    """The file of an attempt."""
    return folder / f"{number:06d}.json"


def read_attempt(path: Path) -> Attempt | None:
    """An attempt; None where the file is missing or damaged."""
    try:
        found: Attempt | None = read_as(path, Attempt)
    except RecordError:
        return None
    return found


def attempts_of(cell: Path) -> tuple[Attempt, ...]:
    """Every attempt at a cell, in order; files that cannot be read are passed over.

    Args:
        cell: the cell's folder.
    """
    paths = [path for path in (cell / ATTEMPTS).glob("*.json") if _NAME.fullmatch(path.name)]
    read = [read_attempt(path) for path in sorted(paths, key=lambda path: int(path.stem))]
    return tuple(attempt for attempt in read if attempt is not None)


def last_holder(cell: Path, now: float | None = None) -> Holder | None:
    """Who holds a cell, or held it last; None where nobody ever did.

    Args:
        cell: the cell's folder.
        now: the file server's time, see `server_time`; None asks for it where it matters.
    """
    folder = cell / ATTEMPTS
    number = highest(folder)
    if not number:
        return None
    path = path_of(folder, number)
    attempt = read_attempt(path)
    if attempt is not None and attempt.ended is not None:
        return Holder(number, path, attempt, 0.0)
    now = server_time(folder) if now is None else now
    return Holder(number, path, attempt, now - path.stat().st_mtime)


def check_free(cell: Path) -> None:
    """See that no process runs a cell.

    Raises:
        HeldError: one does.
        WriteError: the files of its attempts cannot be read.
    """
    try:
        holder = last_holder(cell)
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(cell / ATTEMPTS)) from error
    if holder is not None and holder.is_alive:
        raise HeldError(cell, holder)


def server_time(folder: Path) -> float:
    """The time by the clock that files in a folder are marked with; this machine's where it cannot be written."""
    try:
        with temporary(folder, "now", "") as made:
            return made.time
    except OSError:
        return time.time()


@dataclass(frozen=True)
class Temporary:
    """A temporary file, and when it was made, by the file server's clock."""

    path: Path
    time: float


@contextmanager
def temporary(folder: Path, name: str, text: str) -> Iterator[Temporary]:
    """Write a temporary file, which is gone after the block.

    Args:
        folder: where; made where it is missing.
        name: what its name begins with.
        text: its content, flushed to the disk.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{name}.{secrets.token_hex(8)}.partial"
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o666), "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            os.utime(file.fileno())  # no time of our own: the server puts down its
            yield Temporary(path, os.fstat(file.fileno()).st_mtime)
        finally:
            path.unlink(missing_ok=True)
