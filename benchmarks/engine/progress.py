"""Progress of long work: one line with a bar and an honest estimate, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ...stopping import raise_stop


class Bar(Protocol):
    """A bar in progress."""

    def advance(self, steps: int = 1) -> None:
        """Move on by some steps.

        Raises:
            KeyboardInterrupt: somebody stops the run, and a library has swallowed that.
        """

    def note(self, text: str) -> None:
        """Say something behind the bar, e.g. the validation loss."""


class Reporter(Protocol):
    """Where progress and remarks go."""

    def bar(self, title: str, total: int, done: int = 0) -> AbstractContextManager[Bar]:
        """Open a bar of `total` steps, `done` of them finished earlier."""

    def say(self, text: str) -> None:
        """Print a line."""


class SilentReporter:
    """Reports nothing; for tests and for use as a library."""

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        """Open a bar that shows nothing."""
        yield _SilentBar()

    def say(self, text: str) -> None:
        """Swallow a line."""


class _SilentBar:
    def advance(self, steps: int = 1) -> None:
        raise_stop()

    def note(self, text: str) -> None:
        pass


class RichReporter:
    """Reports on a terminal, several bars at a time; where the output is a file, a line when each bar ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left", markup=False),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            speed_estimate_period=120,
        )

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        """Open a bar with elapsed and remaining time."""
        task = self._progress.add_task(title, total=total, completed=done, note="")
        bar = _RichBar(self._progress, task)
        if self._console.is_terminal and len(self._progress.tasks) == 1:
            self._progress.start()
        try:
            yield bar
        finally:
            self._progress.remove_task(task)
            if self._console.is_terminal and not self._progress.tasks:
                self._progress.stop()
        if not self._console.is_terminal:
            count = total if bar.done >= total - done else f"{done + bar.done} of {total}"
            self.say(f"  {title}: {count} done {bar.last_note}".rstrip())

    def say(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, highlight=False, markup=False)


class _RichBar:
    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task
        self.done = 0
        self.last_note = ""

    def advance(self, steps: int = 1) -> None:
        self.done += steps
        self._progress.advance(self._task, steps)
        raise_stop()

    def note(self, text: str) -> None:
        self.last_note = text
        self._progress.update(self._task, note=text)
