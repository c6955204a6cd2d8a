"""Claims: which process may write in a cell's folder, on one machine or on many that share a file system.

A claim is the file of an attempt (see `attempts`). While it is held a thread touches the file from time to time. One
whose file was not touched for its lease, or whose process has ended on this machine, is taken over by making the next
number; whoever held it before finds out at its next write, which then does not happen. Nothing here needs the file
locks of the system, which mean nothing on many network file systems and are held by a frozen process for ever.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import UserError, WriteError
from ...files import remove_partials, write_with
from ...stopping import exit_code
from .attempts import (
    ATTEMPTS,
    LEASE,
    Attempt,
    HeldError,
    Holder,
    How,
    Temporary,
    highest,
    last_holder,
    path_of,
    read_attempt,
    temporary,
)

_BEATS = 6  # signs of life per lease
_LONGEST_PROBLEM = 2000  # letters
#: What a file system says that has no second names for files.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


class LostClaimError(UserError):
    """Another process has taken the cell over, or its folder is gone; this one changes nothing any more."""


class Claim:
    """A cell held by this process; see `claimed`.

    Args:
        cell: the cell's folder.
        number: of the attempt, whose file is there.
        attempt: what the file says.
    """

    def __init__(self, cell: Path, number: int, attempt: Attempt) -> None:
        self._cell = cell
        self._folder = cell / ATTEMPTS
        self._number = number
        self._attempt = attempt
        self._path = path_of(self._folder, number)
        self._is_lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="signs of life", daemon=True)

    def check(self) -> None:
        """See that the cell is still ours, by the files.

        Raises:
            LostClaimError: somebody else holds it, or it was given back.
            WriteError: the files cannot be read.
        """
        try:
            is_ours = not self._over.is_set() and self._is_ours()
        except OSError as error:
            raise WriteError(error.errno, error.strerror or str(error), str(self._path)) from error
        self._is_lost = self._is_lost or not is_ours
        self.raise_if_lost()

    def raise_if_lost(self) -> None:
        """Raise what `check` would, as far as it is known already: this looks at no file.

        Raises:
            LostClaimError: the cell was taken over.
        """
        if self._is_lost:
            raise LostClaimError(self._loss())

    def _is_ours(self) -> bool:
        """Whether our number is the highest, and is ours: somebody may have removed the folder and begun anew."""
        try:
            return highest(self._folder) == self._number and self._attempt.token in self._path.read_text("utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return False

    def _loss(self) -> str:
        holder = None
        with suppress(OSError):
            holder = last_holder(self._cell, now=0.0)  # its age does not matter, and asking for it makes a file
        if holder is None:
            return f"the folder {self._cell} was removed while its cell was run; run the same command again"
        if holder.attempt is not None and holder.attempt.token == self._attempt.token:
            return f"the cell {self._cell} is no longer run by this process; run the same command again"
        return (
            f"the cell {self._cell} was taken over by {holder.words} while this process gave no sign of life; nothing "
            "was changed since, and the cell goes on there"
        )

    def begin(self, before: Holder | None) -> None:
        """Give signs of life from now on, and say of the holder before how it ended, if it did not.

        Args:
            before: who held the cell, as it was seen then.
        """
        self._thread.start()
        with suppress(OSError):  # it is only told to people
            remove_partials(self._folder)
            if before is not None and before.attempt is not None and before.attempt.ended is None:
                self._write(before.path, before.attempt.with_end("lost", before.loss))

    def release(self, how: How, problem: str = "") -> None:
        """Give the cell back, and say how the attempt ended; of a cell that was lost nothing is said.

        Args:
            how: it ended.
            problem: the sentence of what went wrong; "" where nothing did.
        """
        try:
            self._write(self._path, self._attempt.with_end(how, problem[:_LONGEST_PROBLEM]))
        except LostClaimError:
            pass
        except WriteError:  # a full disk; time takes no room
            with suppress(OSError, LostClaimError):
                self.check()
                os.utime(self._path, (0, 0))
        finally:
            self._over.set()

    def _write(self, path: Path, attempt: Attempt) -> None:
        self.check()
        write_with(path, lambda partial: partial.write_text(attempt.text(), encoding="utf-8"), self.check)

    def _beat(self) -> None:
        """Give signs of life until the claim is given back or lost."""
        while not self._over.wait(self._attempt.lease / _BEATS):
            with suppress(OSError):  # a file server that is away for a while
                if not self._is_ours():
                    self._is_lost = True
                    return
                os.utime(self._path)


@contextmanager
def claimed(cell: Path, environment: dict[str, str], lease: float = LEASE) -> Iterator[Claim]:
    """Hold a cell for this process, and write down how the attempt ended.

    Args:
        cell: the cell's folder; made where it is missing.
        environment: of the attempt, see `Attempt`.
        lease: seconds without a sign of life after which another process may take the cell over.

    Raises:
        HeldError: another process runs the cell.
        LostClaimError: another process took it over meanwhile.
        UserError: the folder cannot be written.
    """
    claim, before = _take(cell, environment, lease)
    try:
        claim.begin(before)
        yield claim
    except BaseException as error:
        claim.release(*_end_by(error))
        raise
    claim.release("done")


def _take(cell: Path, environment: dict[str, str], lease: float) -> tuple[Claim, Holder | None]:
    """Make the next attempt at a cell that nobody holds; the claim, and who held the cell before."""
    folder = cell / ATTEMPTS
    if folder.is_symlink():
        raise UserError(f"{folder} is a link, perhaps to files of somebody else; remove it, then try again")
    try:
        attempt = Attempt.here(environment, lease)
        while True:
            with temporary(folder, "attempt", attempt.text()) as made:
                before = last_holder(cell, made.time)
                if before is not None and before.is_alive:
                    raise HeldError(cell, before)
                number = 1 if before is None else before.number + 1
                if _link(made, path_of(folder, number), attempt):
                    return Claim(cell, number, attempt), before  # else somebody was quicker
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write {folder}: {reason}; make room or choose another --results") from error


def _link(made: Temporary, path: Path, attempt: Attempt) -> bool:
    """Give the file of an attempt its number; whether it is ours now."""
    try:
        os.link(made.path, path)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return _create(path, attempt)
        if error.errno not in (errno.EEXIST, errno.ENOENT):
            raise
        # An answer may get lost on a network: then the file is there because we made it.
        found = read_attempt(path)
        return found is not None and found.token == attempt.token
    return True


def _create(path: Path, attempt: Attempt) -> bool:
    """The same on a file system without links; for a moment the file is empty, and so that of an unknown holder."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(attempt.text())
    except FileExistsError:
        return False
    return True


def _end_by(error: BaseException) -> tuple[How, str]:
    """How an attempt ended that an error ended."""
    if exit_code(error) is not None:
        return "stopped", ""
    words = " ".join(str(error).split())
    return "failed", words if isinstance(error, UserError) else f"{type(error).__name__}: {words}".rstrip(": ")
