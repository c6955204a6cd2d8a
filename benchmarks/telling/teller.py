"""The run's end of telling MLflow: orders go to a process of its own, so that a slow server costs nothing.

That process imports MLflow, waits for the server and draws a parent's plots; the run only writes a line to it when a
cell is over. At the end it is waited for as long as it gets on, and not for ever: what MLflow has missed, `bench sync`
repairs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from ..engine.progress import Reporter
from ..tracking.store import Uploads
from .messages import Begin, Done, End, Failed, Message, Sign

_HELPER = "uadbench.benchmarks.telling.helper"
_PATIENCE = 45.0  # s without a sign, at the end
_MOST = 180.0  # s of waiting at the end, in all
_UPLOAD = 600.0  # s for either, where weights or models are uploaded
_SAY_AFTER = 5.0  # s of waiting after which the user is told for what
_GRACE = 0.5  # s to show a stopped run as stopped: Ctrl-C ends within a second
_POLL = 0.05  # s


class Teller:
    """Gives orders to the process that tells MLflow.

    Args:
        begin: what it is about.
        reporter: where its warnings go.
    """

    def __init__(self, begin: Begin, reporter: Reporter) -> None:
        self._reporter = reporter
        self._is_patient = begin.checkpoint or begin.model
        self._given = self._left = 0
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        self._sign = time.monotonic()
        # A group of its own, so that a terminal's Ctrl-C does not reach it; -P, as the user's folder is no library.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _HELPER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            process_group=0,
        )
        self._thread = threading.Thread(target=self._listen, name="MLflow", daemon=True)
        self._thread.start()
        self._send(begin)

    def done(self, folder: Path) -> None:
        """A cell is finished."""
        self._given += 1
        self._left += 1
        self._send(Done(folder=str(folder)))

    def failed(self, folder: Path, problem: str) -> None:
        """A cell has failed."""
        self._send(Failed(folder=str(folder), problem=problem))

    def finish(self) -> None:
        """Wait for what is still to be told, as long as something comes of it."""
        self._send(End())
        patience, most = (_UPLOAD, _UPLOAD) if self._is_patient else (_PATIENCE, _MOST)
        began = self._sign = time.monotonic()
        has_said = False
        while self._process.poll() is None:
            now = time.monotonic()
            if now - self._sign > patience or now - began > most:
                break
            if now - began > _SAY_AFTER and not has_said:
                has_said = True
                self._reporter.say("MLflow is told of the last cells (Ctrl-C leaves that to `bench sync`)")
            time.sleep(_POLL)
        is_late = self._process.poll() is None
        self._close()
        if is_late:
            self._reporter.say(
                "warning: MLflow does not answer in time; the run records keep everything, run `bench sync`"
            )
        elif self._process.returncode:
            self._reporter.say(f"warning: telling MLflow ended early ({self._last_words()}); run `bench sync`")

    def stop(self) -> None:
        """The run was stopped: leave a moment to show that."""
        self._send(End(stopped=True))
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        self._close()

    def _send(self, message: Message) -> None:
        """Pass an order on; a process that is not there any more is no trouble before the end."""
        assert self._process.stdin is not None
        with suppress(OSError, ValueError):
            self._process.stdin.write(message.line())
            self._process.stdin.flush()

    def _listen(self) -> None:
        """Hear signs of life; a thread, so that a warning is said when it comes."""
        assert self._process.stdout is not None
        with suppress(OSError, ValueError):
            for line in self._process.stdout:
                sign = Sign.model_validate_json(line)
                self._sign, self._left = time.monotonic(), sign.left
                if sign.warning:
                    self._reporter.say(f"warning: {sign.warning}")

    def _close(self) -> None:
        """End the process, if it has not ended, and whatever belongs to it."""
        self._process.kill()
        self._process.wait()
        self._thread.join(_GRACE)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _last_words(self) -> str:
        """The last line that the process has written to stderr."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"exit code {self._process.returncode}"


@contextmanager
def telling(folders: Sequence[Path], uri: str, uploads: Uploads, reporter: Reporter) -> Iterator[Teller]:
    """Let MLflow be told of cells while they run, and wait for the last of it at the end.

    Args:
        folders: of the cells, absolute.
        uri: the store.
        uploads: what MLflow gets beside the numbers.
        reporter: where warnings go.
    """
    names = tuple(str(folder) for folder in folders)
    teller = Teller(Begin(uri=uri, folders=names, checkpoint=uploads.checkpoint, model=uploads.model), reporter)
    try:
        yield teller
    except BaseException:
        teller.stop()
        raise
    try:
        teller.finish()
    except BaseException:
        teller.stop()
        raise
