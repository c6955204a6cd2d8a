"""`bench ui`: MLflow's own web interface, started where it can be, and gone with all its processes when it is stopped.

MLflow's server is a tree of processes, of which a signal reaches the root only. So the tree is a process group of its
own below a guard: this process ends the group on Ctrl-C and SIGTERM, and where it is killed itself, the guard sees the
pipe between them close and ends the group.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from ....errors import UserError
from .view import CURVES, VIEW

_GRACE_SECONDS = 5.0
_STDIN = 0
_EVERY_ADDRESS = ("", "0.0.0.0", "::")  # a server may listen on these; a browser cannot go there
#: What the server would start besides, for features of MLflow that this benchmark does not use.
_NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
#: MLflow's menu for trained models; left to itself it shows the one for language models, where runs are evaluations.
_TRAINING = "workflowType=machine_learning"
_REASONS = {
    errno.EADDRINUSE: "is taken; choose another with --port",
    errno.EACCES: "is for the system; choose one above 1023 with --port",
    errno.EADDRNOTAVAIL: "is not to be had, as the address is none of this machine's; try --host 127.0.0.1",
}


class EndedError(Exception):
    """A signal asks for the end.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def check_address(host: str, port: int) -> None:
    """See that a server can listen there.

    Raises:
        UserError: the host is not known or not this machine's, or the port is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise UserError(f"--host {host}: there is no such host; try --host 127.0.0.1") from error
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just gone is no hindrance
            probe.bind(address)
            probe.listen()
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"cannot be listened on ({error.strerror}); try another --port")
        raise UserError(f"port {port} on {host} {reason}") from error


def is_server(uri: str) -> bool:
    """Whether a store is an MLflow server, which has the interface already."""
    return uri.startswith(("http://", "https://"))


def runs_link(server: str, experiment: str) -> str:
    """Where MLflow 3 shows the runs of an experiment.

    Args:
        server: its address.
        experiment: the experiment's id.
    """
    return f"{_runs_page(server, experiment)}?{_TRAINING}"


def view_links(server: str, experiment: str) -> Iterator[str]:
    """What to say of the prepared views of MLflow 3, see `view.py`: methods side by side, and their curves.

    Args:
        server: its address.
        experiment: the experiment's id.
    """
    for title, view in (("Methods side by side", VIEW), ("Curves of all methods", CURVES)):
        page = f"{_runs_page(server, experiment)}?{_TRAINING}"
        yield f"{title}: {page}&viewStateShareKey={view}&compareRunsMode=CHART"


def _runs_page(server: str, experiment: str) -> str:
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs"


def serve(uri: str, experiment: str, host: str, port: int, say: Callable[[str], None]) -> int:
    """Run MLflow's interface until a signal ends it, and return the exit code that belongs to the signal.

    Args:
        uri: the store.
        experiment: id of the experiment that the printed link shows.
        host: address to listen on.
        port: port to listen on.
        say: prints a line.

    Raises:
        UserError: the server ended by itself.
    """
    address = _address(host, port)
    say(f"In some seconds the runs will be at {runs_link(address, experiment)} (Ctrl-C ends it).")
    for line in view_links(address, experiment):
        say(line)
    try:
        with _signals_raise():
            code = _run_group(_command(uri, host, port))
    except EndedError as end:
        say("The interface has ended.")
        return 128 + end.number
    raise UserError(f"MLflow's server on port {port} ended by itself, with exit code {code}; its words are above")


def _command(uri: str, host: str, port: int) -> list[str]:
    ui = [sys.executable, "-m", "mlflow", "ui", "--workers", "1"]
    return [*ui, "--backend-store-uri", uri, "--host", host, "--port", str(port)]


def _address(host: str, port: int) -> str:
    """What to type into a browser on this machine."""
    if host in _EVERY_ADDRESS:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `EndedError` for a while."""

    def end(number: int, frame: FrameType | None) -> None:
        raise EndedError(number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_group(command: Sequence[str]) -> int:
    """Run a command below a guard, and end all its processes in the end."""
    guard = subprocess.Popen(
        [sys.executable, "-m", __name__, *command],
        stdin=subprocess.PIPE,
        start_new_session=True,
        env=_NO_JOBS | os.environ,
    )
    try:
        return guard.wait()
    finally:
        _end_group(guard)


def _end_group(guard: subprocess.Popen[bytes]) -> None:
    """End a process group, first by asking; further signals are not listened to meanwhile."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(guard.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            guard.wait(_GRACE_SECONDS)
        os.killpg(guard.pid, signal.SIGKILL)
    guard.wait()


def _guard(command: Sequence[str]) -> int:
    """The guard's whole life: run the command, and take the group along if the pipe to the parent closes."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    # The guard leaves SIGTERM to the command, so that its end is seen.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_pipe, daemon=True).start()
    return child.wait()


def _end_with_pipe() -> None:
    # Not by sys.stdin: a thread that waits in there is a fatal error to an interpreter that ends.
    while os.read(_STDIN, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[1:]))
