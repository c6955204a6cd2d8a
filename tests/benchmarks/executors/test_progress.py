"""Progress through the records: what a process says the driver shows, each sentence once, each bar to its end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.progress import Bar
from uadbench.benchmarks.executors.watcher import Watcher
from uadbench.benchmarks.records.claims import claimed
from uadbench.benchmarks.records.running import progress
from uadbench.benchmarks.records.running.progress import (
    CellProgress,
    RecordReporter,
    Stretch,
    forget_progress,
    read_progress,
)


class Screen:
    """Remembers bars (title, how far, note) and sentences in the order in which they end."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.open: list[str] = []

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        line: list[Any] = [title, done, total, ""]
        self.open.append(title)

        class OneBar:
            def advance(self, steps: int = 1) -> None:
                line[1] += steps

            def note(self, text: str) -> None:
                line[3] = text

        yield OneBar()
        self.open.remove(title)
        self.lines.append(tuple(line))

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_EVERY", -1.0)


def test_bars_and_sentences_reach_the_driver_once(tmp_path: Path) -> None:
    screen, folder = Screen(), tmp_path / "cell"
    watcher = Watcher(screen)
    watcher.look([folder])  # nobody has begun
    with RecordReporter(folder) as cell:
        cell.say("put aside")
        with cell.bar("train", 10, 2) as bar:
            bar.advance(3)
            watcher.look([folder])
            assert screen.open == ["train"] and screen.lines == ["put aside"]
            bar.note("loss 0.1")
            bar.advance(5)
        with cell.bar("threshold", 4) as bar:  # begun and over between two looks
            bar.advance(4)
        with cell.bar("score", 5) as bar:
            bar.advance()
            watcher.look([folder])
            bar.advance()
    watcher.look([])
    assert screen.lines == ["put aside", ("train", 10, 10, "loss 0.1"), ("threshold", 4, 4, ""), ("score", 2, 5, "")]
    assert screen.open == []
    assert not (folder / "progress").exists()


def test_another_process_has_a_bar_of_its_own(tmp_path: Path) -> None:
    screen = Screen()
    watcher = Watcher(screen)
    first, second = RecordReporter(tmp_path), RecordReporter(tmp_path)
    second._path = second._path.with_name("elsewhere-7.json")
    with first.bar("train", 10) as bar:
        bar.advance(4)
        watcher.look([tmp_path])
        with second.bar("train", 10, 4) as again:
            again.advance(2)
            newest = second._path.stat().st_mtime + 1
            os.utime(second._path, (newest, newest))
            sign = read_progress(tmp_path)
            assert sign is not None and sign.process == "elsewhere-7"
            watcher.look([tmp_path])
    assert screen.lines == [("train", 4, 10, "")]  # the first bar is gone, the second open
    assert screen.open == ["train"]


def test_the_rate_is_that_of_this_process(tmp_path: Path) -> None:
    reporter = RecordReporter(tmp_path)
    with reporter.bar("train", 100, 40) as bar:
        bar.advance(10)
        sign = read_progress(tmp_path)
        assert sign is not None
        found = sign.progress.model_copy(update={"since": 1000.0, "now": 1020.0})
    assert found.seconds_left == 20.0 / 10 * 50
    assert found.model_copy(update={"at": Stretch(title="train", total=9)}).seconds_left is None


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"at": 3}), "\x00"])
def test_a_damaged_file_is_no_sign(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "here-1.json").write_text(text)
    assert read_progress(tmp_path) is None


def test_a_disk_that_takes_nothing_costs_a_bar_and_no_cell(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("in the way")
    with RecordReporter(tmp_path) as cell, cell.bar("train", 3) as bar:
        bar.advance()
    assert read_progress(tmp_path) is None
    forget_progress(tmp_path)


def test_the_holder_is_the_one_who_is_shown_and_who_writes(tmp_path: Path) -> None:
    """A woken process whose cell somebody else holds, here a child that ended since, leaves no sign any more."""
    reporter = RecordReporter(tmp_path)
    reporter.say("mine")
    child = os.fork()
    if child == 0:
        with claimed(tmp_path, {}):
            os._exit(0)  # its file stays as that of the last holder
    os.waitpid(child, 0)
    reporter.say("woken")
    sign = read_progress(tmp_path)
    assert sign is not None and sign.progress.past == ("mine",)
    with claimed(tmp_path, {}):
        other = reporter._path.with_name("elsewhere-7.json")
        other.write_text(CellProgress(past=("theirs",), count=1).model_dump_json())
        later = time.time() + 60
        os.utime(other, (later, later))
        reporter.say("mine again")
        sign = read_progress(tmp_path)
    assert sign is not None and sign.progress.past[-1] == "mine again"
