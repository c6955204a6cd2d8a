"""`bench ui`: wrong addresses are one sentence, and no process outlives it, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.tracking.pages import interface
from uadbench.errors import UserError

linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked for in /proc")
MARK = "UADBENCH_TEST_MARK"


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_taken_port_is_one_sentence(taken: int, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["ui", "--port", str(taken), "--results", str(tmp_path)])
    assert answer.exit_code == 2
    assert answer.stderr == f"error: port {taken} on 127.0.0.1 is taken; choose another with --port\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("port", ["99999999", "0", "-1", "x"])
def test_a_port_that_is_none_is_refused(port: str, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["ui", "--port", port, "--results", str(tmp_path)])
    assert answer.exit_code == 2 and "Invalid value for '--port'" in answer.stderr


@pytest.mark.parametrize("host", ["no-such-host.invalid", "", "a" * 300, "ü.invalid", "192.0.2.1"])
def test_a_host_that_is_none_or_another_is_one_sentence(host: str) -> None:
    if host == "":
        return  # every address of this machine, to the system
    with pytest.raises(UserError, match=r"there is no such host|is none of this machine's"):
        interface.check_address(host, 5000)


# What MLflow's server does, in small: a process that starts another, which listens; the first leaves it at its end.
TREE = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
time.sleep(300)
"""
PARENT = f"""
import sys
from uadbench.benchmarks.tracking.pages import interface
try:
    with interface._signals_raise():
        interface._run_group([sys.executable, "-c", {TREE!r}])
except interface.EndedError as end:
    sys.exit(128 + end.number)
"""


def _marked(mark: str) -> list[int]:
    """The living processes that carry a mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            dead = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] == "Z"
            if not dead and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _wait_for(number: int, mark: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while len(_marked(mark)) != number:
        assert time.monotonic() < end, f"{len(_marked(mark))} processes instead of {number}"
        time.sleep(0.1)


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_its_end(number: signal.Signals) -> None:
    mark = f"{os.getpid()}-{number}"
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env={**os.environ, MARK: mark})
    try:
        _wait_for(4, mark)  # parent, guard, command and what the command started
        parent.send_signal(number)
        code = parent.wait(30)
        assert code == (-number if number == signal.SIGKILL else 128 + number)
        _wait_for(0, mark, 10)
    finally:
        for process in _marked(mark):
            os.kill(process, signal.SIGKILL)


def _experiment_by_the_server(port: int) -> str:
    """The id of the experiment, by MLflow's REST interface."""
    import json
    import urllib.request

    address = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/get-by-name?experiment_name=uadbench"
    with urllib.request.urlopen(address, timeout=30) as answer:
        return str(json.load(answer)["experiment"]["experiment_id"])


@linux
def test_a_server_that_ends_by_itself_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = f"{os.getpid()}-itself"
    monkeypatch.setenv(MARK, mark)
    leaves = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)']); sys.exit(3)"
    )
    monkeypatch.setattr(interface, "_command", lambda *_: [sys.executable, "-c", leaves])
    try:
        with pytest.raises(UserError, match=r"port 5000 ended by itself, with exit code 3"):
            interface.serve("sqlite:///nowhere.db", "1", "127.0.0.1", 5000, lambda line: None)
        _wait_for(0, mark, 10)
    finally:
        for process in _marked(mark):
            os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:5000"),
        ("::1", "http://[::1]:5000"),
        ("0.0.0.0", "http://localhost:5000"),
        ("::", "http://localhost:5000"),
    ],
)
def test_the_link_is_one_for_a_browser(host: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(interface, "_run_group", lambda command: 1)
    with pytest.raises(UserError):
        interface.serve("sqlite:///nowhere.db", "7", host, 5000, lines.append)
    assert f"{address}/#/experiments/7/runs?workflowType=machine_learning " in lines[0]
    shared = f"{address}/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey="
    assert [line.partition("&compareRunsMode=CHART")[0].rpartition(": ")[2] for line in lines[1:]] == [
        f"{shared}uadbench",
        f"{shared}uadbench-curves",
    ]


def test_mlflow_has_a_page_where_the_link_lands() -> None:
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed here")
    scripts = (Path(mlflow.__file__).parent / "server" / "js" / "build").rglob("*.js")
    texts = [script.read_text(encoding="utf-8") for script in scripts]
    for word in ('"/experiments/:experimentId/runs"', '"workflowType"', '"machine_learning"', "viewStateShareKey"):
        assert any(word in text for text in texts), word


def test_of_a_store_that_is_a_server_the_server_shows_the_runs(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uadbench.benchmarks.tracking import sync

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@runs.invalid/mlflow/")
    monkeypatch.setattr(sync, "prepare_store", lambda uri: "12")
    answer = CliRunner().invoke(app, ["ui", "--port", str(taken), "--results", str(tmp_path)])
    assert answer.exit_code == 0
    assert "https://runs.invalid/mlflow/#/experiments/12/runs" in answer.stderr and "secret" not in answer.stderr


@linux
def test_the_interface_answers_says_where_and_leaves_nothing(tmp_path: Path, taken: int) -> None:
    import urllib.request

    pytest.importorskip("mlflow", reason="MLflow is not installed here")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mark = f"{os.getpid()}-real"
    command = [
        str(Path(sys.executable).with_name("bench")),
        "ui",
        "--port",
        str(port),
        "--results",
        str(tmp_path / "a?b"),
    ]
    with (tmp_path / "said").open("wb") as said:
        parent = subprocess.Popen(command, env={**os.environ, MARK: mark}, stderr=said, stdout=said)
    try:
        end = time.monotonic() + 120
        while True:
            assert parent.poll() is None and time.monotonic() < end, (tmp_path / "said").read_text(encoding="utf-8")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                    assert answer.status == 200
                break
            except OSError:
                time.sleep(0.5)
        assert len(_marked(mark)) >= 3
        number = _experiment_by_the_server(port)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(90) == 128 + signal.SIGTERM
        _wait_for(0, mark, 10)
    finally:
        for process in _marked(mark):
            os.kill(process, signal.SIGKILL)
    text = (tmp_path / "said").read_text(encoding="utf-8")
    assert f"http://127.0.0.1:{port}/#/experiments/{number}/runs" in text
    assert "Traceback" not in text and "Fatal" not in text
