"""Standard output and error that may fail: what is said then goes nowhere, and what is done is done.

`bench list methods | head -2` has heard enough; `bench run 2>&1 | head -5` has heard enough of a run that takes hours;
the disk of a run's log may be full. Python would raise an error out of whatever was speaking, a progress bar say, and
the run would end with it.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import Any, TextIO

#: What shells say of a process that wrote to nobody: 128 and the number of SIGPIPE.
UNREAD = 128 + signal.SIGPIPE
_STANDARD = (1, 2)


class _Pipe(io.FileIO):
    """A file descriptor that leads nowhere once it cannot be written to; child processes inherit that.

    Args:
        number: of the descriptor, which stays open.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.problem: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write, or let it be written to nowhere from now on."""
        try:
            return super().write(data)
        except OSError as error:
            self.problem = error
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return super().write(data)


def go_on_unread() -> None:
    """Let this process go on whatever befalls its output; streams that another program has put there stay."""
    sys.stdout, sys.stderr = _going_on(sys.stdout), _going_on(sys.stderr)


def unsaid() -> OSError | None:
    """Why not all could be said on standard output, if so; whatever waits to be said is said first.

    BrokenPipeError is a reader who left.
    """
    pipe = _pipe_of(sys.stdout)
    if not isinstance(pipe, _Pipe):
        return None
    sys.stdout.flush()
    return pipe.problem


def _going_on(stream: TextIO) -> TextIO:
    pipe = _pipe_of(stream)
    if pipe is None or isinstance(pipe, _Pipe) or not isinstance(stream, io.TextIOWrapper):
        return stream
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(pipe.fileno())),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _pipe_of(stream: TextIO | None) -> io.FileIO | None:
    """What leads out of the process behind a stream; None of a stream that another program has put there."""
    buffer = getattr(stream, "buffer", None)
    raw = getattr(buffer, "raw", buffer)  # Python started with -u has no buffer in between
    return raw if isinstance(raw, io.FileIO) and raw.fileno() in _STANDARD else None
