"""Telling MLflow costs a run nothing: by a process of its own, which may be slow, down, killed or absent."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.records.fence import FencedFolder
from uadbench.benchmarks.records.running.live import LiveHistory
from uadbench.benchmarks.telling import helper as helper_module
from uadbench.benchmarks.telling import teller as teller_module
from uadbench.benchmarks.telling.helper import Helper
from uadbench.benchmarks.telling.messages import Begin, Done, End, Failed, Sign
from uadbench.benchmarks.telling.teller import Teller, telling
from uadbench.benchmarks.tracking.store import Uploads
from uadbench.benchmarks.tracking.sync import fold_results

Make = Callable[..., Any]
PLAIN = Uploads()


class Heard(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def entry(entry_of: Make) -> SuiteRow:
    return entry_of("toy", "Toy")


@contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        held = []

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept())
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_cells_are_told_by_another_process(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    records = [fake_record(tmp_path, entry, fold, data="by another") for fold in range(2)]
    heard = Heard()
    with telling([record.folder for record in records], mlflow_uri, PLAIN, heard) as teller:
        for record in records:
            started = time.monotonic()
            teller.done(record.folder)
            assert time.monotonic() - started < 0.1
    assert not [line for line in heard.lines if line.startswith("warning")]
    assert len(fold_results(mlflow_uri, "by another")) == 2
    assert teller._process.returncode == 0


def test_a_server_that_never_answers_costs_the_run_nothing(
    tmp_path: Path, entry: SuiteRow, fake_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller_module, "_PATIENCE", 1.0)
    record = fake_record(tmp_path, entry, data="silent")
    heard = Heard()
    with silent_server() as uri, telling([record.folder], uri, PLAIN, heard) as teller:
        started = time.monotonic()
        for _ in range(500):  # more than a pipe holds
            teller.done(record.folder)
        assert time.monotonic() - started < 1
        left = time.monotonic()
    assert time.monotonic() - left < 10, "the end is not waited for for ever"
    (warning,) = [line for line in heard.lines if line.startswith("warning")]
    assert "run `bench sync`" in warning


def test_a_server_that_is_down_is_said_once(tmp_path: Path, entry: SuiteRow, fake_record: Make) -> None:
    records = [fake_record(tmp_path, entry, fold, data="down") for fold in range(3)]
    heard = Heard()
    with telling([record.folder for record in records], "http://me:secret@127.0.0.1:9", PLAIN, heard) as teller:
        for record in records:
            teller.done(record.folder)
    (warning,) = [line for line in heard.lines if line.startswith("warning")]
    assert "run `bench sync`" in warning and "secret" not in warning


def test_a_killed_teller_is_said_and_the_run_goes_on(tmp_path: Path, entry: SuiteRow, fake_record: Make) -> None:
    record = fake_record(tmp_path, entry, data="killed")
    heard = Heard()
    with telling([record.folder], "http://127.0.0.1:9", PLAIN, heard) as teller:
        os.kill(teller._process.pid, signal.SIGKILL)
        teller._process.wait()
        teller.done(record.folder)
    (warning,) = [line for line in heard.lines if line.startswith("warning")]
    assert "ended early" in warning and "bench sync" in warning


def test_it_ends_with_the_run_however_that_ends(tmp_path: Path) -> None:
    with silent_server() as uri:
        teller = Teller(Begin(uri=uri, folders=(), checkpoint=False, model=False), Heard())
        assert teller._process.stdin is not None
        teller._process.stdin.close()  # what the kernel does for a killed run
        assert teller._process.wait(20) == 1
        teller._close()
        with pytest.raises(KeyboardInterrupt), telling([tmp_path], uri, PLAIN, Heard()) as stopped:
            started = time.monotonic()
            raise KeyboardInterrupt
        assert time.monotonic() - started < 6
        assert stopped._process.poll() is not None


# ------------------------------------------------------------------------------------------------- what it does inside


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_store_that_comes_back_is_told_what_it_missed(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    records = [fake_record(tmp_path, entry, fold, data="back again") for fold in range(2)]
    signs: list[Sign] = []
    clock = Clock()
    begin = Begin(uri="http://127.0.0.1:9", folders=(), checkpoint=False, model=False)
    helper = Helper(begin, signs.append, clock)
    for record in records:
        helper.order(Done(folder=str(record.folder)))
        helper.work()
    assert [bool(sign.warning) for sign in signs] == [True], "one warning, one try"
    helper._begin = begin.model_copy(update={"uri": mlflow_uri})
    helper.work()
    assert fold_results(mlflow_uri, "back again") == (), "it rests"
    clock.now = 61.0
    helper.work()
    assert len(fold_results(mlflow_uri, "back again")) == 2
    assert signs[-1].left == 0


def test_the_last_try_is_made_at_the_end(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    record = fake_record(tmp_path, entry, data="last try")
    begin = Begin(uri="http://127.0.0.1:9", folders=(), checkpoint=False, model=False)
    helper = Helper(begin, lambda sign: None, Clock())
    helper.order(Done(folder=str(record.folder)))
    helper.work()
    helper._begin = begin.model_copy(update={"uri": mlflow_uri})
    helper.order(End())
    helper.finish()
    assert len(fold_results(mlflow_uri, "last try")) == 1


def test_a_cell_that_cannot_be_told_does_not_keep_the_others_from_it(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    broken = fake_record(tmp_path, entry, 0, data="one broken")
    (broken.folder / "config.json").write_text("{")
    whole = fake_record(tmp_path, entry, 1, data="one broken")
    signs: list[Sign] = []
    helper = Helper(Begin(uri=mlflow_uri, folders=(), checkpoint=False, model=False), signs.append, Clock())
    with pytest.warns(UserWarning, match="left out"):
        for record in (broken, whole):
            helper.order(Done(folder=str(record.folder)))
        helper.work()
    assert [result.cell for result in fold_results(mlflow_uri, "one broken")] == [whole.config.cell]


def test_it_looks_at_running_cells_and_shows_how_they_end(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    from mlflow import MlflowClient

    records = [fake_record(tmp_path, entry, fold, data="seen", done=False, fingerprint="seen") for fold in range(2)]
    folders = tuple(str(record.folder) for record in records)
    helper = Helper(Begin(uri=mlflow_uri, folders=folders, checkpoint=False, model=False), lambda sign: None, Clock())

    def shown() -> dict[str, tuple[str, str | None]]:
        client = MlflowClient(mlflow_uri)
        number = client.get_experiment_by_name("uadbench").experiment_id
        runs = client.search_runs([number], "tags.`uadbench.data` = 'seen' and tags.`uadbench.kind` = 'fold'")
        return {run.data.tags["fold"]: (run.info.status, run.data.tags.get("problem")) for run in runs}

    for record in records:
        LiveHistory(FencedFolder(record.folder, lambda: None)).begin(record.history()[:1])
    helper.work()
    assert shown() == {"0": ("RUNNING", None), "1": ("RUNNING", None)}
    helper.order(Failed(folder=folders[0], problem="the loss is no number"))
    helper.order(End(stopped=True))
    assert shown() == {"0": ("FAILED", "the loss is no number"), "1": ("KILLED", None)}


def test_what_is_to_be_uploaded_is_passed_on(
    tmp_path: Path, entry: SuiteRow, fake_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(helper_module, "sync_record", lambda record, uri, **words: told.append(words))
    record = fake_record(tmp_path, entry, data="uploads")
    for checkpoint, model in ((True, False), (False, True)):
        begin = Begin(uri="http://127.0.0.1:9", folders=(), checkpoint=checkpoint, model=model)
        helper = Helper(begin, lambda sign: None, Clock())
        helper.order(Done(folder=str(record.folder)))
        helper.work()
        assert (told[-1]["with_checkpoint"], told[-1]["with_model"]) == (checkpoint, model)
        assert told[-1]["parent_files"] is helper_module.parent_files


@pytest.mark.parametrize(
    ("checkpoint", "model", "is_late"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_uploads_are_waited_for_longer(
    checkpoint: bool, model: bool, is_late: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller_module, "_PATIENCE", 0.0)
    heard = Heard()
    with telling([], "http://127.0.0.1:9", Uploads(checkpoint, model), heard):
        pass
    assert bool([line for line in heard.lines if "does not answer in time" in line]) == is_late
