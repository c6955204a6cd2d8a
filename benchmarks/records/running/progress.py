"""How far a cell is, in its folder: the process that runs it writes, whoever wants to know reads.

Each process writes a file of its own below `progress/`, and only while no other process holds the cell or held it last,
so that one that was frozen and wakes up changes nothing that is shown. The file is rewritten about once a second,
whole, and stays until whoever handed out the cell has read it (`forget_progress`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from ....files import remove
from ..attempts import ProcessMark, last_holder
from ..record_files import Recorded

FOLDER = "progress"
_EVERY = 1.0  # s between two writes
_KEPT = 50  # sentences and stretches


class Stretch(Recorded):
    """A stretch of work, as a bar shows it.

    Attributes:
        title: e.g. "train ae-fold0-…"; "" between two stretches.
        total: its steps.
        begun: steps that were done when it was begun, by an earlier process.
        done: steps that are done.
        note: a remark, e.g. the validation loss.
    """

    title: str = ""
    total: int = 0
    begun: int = 0
    done: int = 0
    note: str = ""


class CellProgress(Recorded):
    """What a process says of its cell.

    Attributes:
        at: what it is at.
        since: when that was begun, seconds since 1970 by the clock of that machine.
        now: when this was written, likewise.
        past: sentences for the user and stretches that are over, in order; only the last are kept.
        count: how many there were so far.
    """

    at: Stretch = Stretch()
    since: float = 0.0
    now: float = 0.0
    past: tuple[str | Stretch, ...] = Field(default=(), strict=False)
    count: int = 0

    @property
    def seconds_left(self) -> float | None:
        """Until what it is at is done, at the rate so far; None where that is not known."""
        made, took = self.at.done - self.at.begun, self.now - self.since
        return took / made * (self.at.total - self.at.done) if made > 0 and took > 0 else None


@dataclass(frozen=True)
class Sign:
    """The newest progress of a cell.

    Attributes:
        process: name of the process that wrote it.
        progress: what it says.
    """

    process: str
    progress: CellProgress


def read_progress(folder: Path) -> Sign | None:
    """What the process says that holds a cell or held it last, else the newest sign; None where there is none."""
    holder = _process_of(folder)
    named = "" if holder is None else _name(holder)
    files = [(path.name == named, path.stat().st_mtime, path) for path in _files(folder)]
    for _, _, path in sorted(files, reverse=True):
        with suppress(OSError, ValidationError):
            return Sign(path.stem, CellProgress.model_validate_json(path.read_bytes()))
    return None


def _process_of(folder: Path) -> ProcessMark | None:
    """The process that holds a cell or held it last; None where that is not known."""
    with suppress(OSError):
        holder = last_holder(folder, now=0.0)  # its age does not matter, and asking for it makes a file
        return None if holder is None or holder.attempt is None else holder.attempt.process
    return None


def _name(process: ProcessMark) -> str:
    return f"{process.host}-{process.pid}.json"


def forget_progress(folder: Path) -> None:
    """Remove what processes have said of a cell that is over."""
    remove(folder / FOLDER)


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        for path in (folder / FOLDER).iterdir():
            if path.suffix == ".json" and path.exists():
                yield path


class RecordReporter:
    """A reporter that writes into the folder of a cell; a disk that takes nothing more costs the user a bar.

    Use it as a context manager, so that what was said last is written.

    Args:
        folder: of the cell.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = ProcessMark.here()
        self._path = folder / FOLDER / _name(self._process)
        self._state = CellProgress()
        self._written = 0.0

    def __enter__(self) -> RecordReporter:
        self._write()
        return self

    def __exit__(self, *error: object) -> None:
        self._change(at=Stretch())

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[RecordReporter]:
        """Open a bar of `total` steps, `done` of them finished earlier."""
        self._change(at=Stretch(title=title, total=total, begun=done, done=done), since=time.time())
        try:
            yield self
        finally:
            self._add(self._state.at, at=Stretch())

    def advance(self, steps: int = 1) -> None:
        """Move on by some steps."""
        self._set_at(done=self._state.at.done + steps)
        if time.monotonic() - self._written > _EVERY:
            self._write()

    def note(self, text: str) -> None:
        """Say something behind the bar."""
        self._set_at(note=text)

    def say(self, text: str) -> None:
        """Keep a sentence for whoever looks."""
        self._add(text)

    def _add(self, past: str | Stretch, **values: object) -> None:
        self._change(past=(*self._state.past, past)[-_KEPT:], count=self._state.count + 1, **values)

    def _set_at(self, **values: object) -> None:
        self._state = self._state.model_copy(update={"at": self._state.at.model_copy(update=values)})

    def _change(self, **values: object) -> None:
        self._state = self._state.model_copy(update=values)
        self._write()

    def _write(self) -> None:
        """Write the file beside its place and rename it; nothing depends on it, so it is not flushed to the disk."""
        self._written = time.monotonic()
        self._state = self._state.model_copy(update={"now": time.time()})
        if _process_of(self._folder) not in (None, self._process):
            return
        partial = self._path.with_name(f".{self._path.name}.partial")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(self._state.model_dump_json(), encoding="utf-8")
            partial.replace(self._path)
