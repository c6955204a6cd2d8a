"""Shows on the driver's terminal what cells say of themselves in their folders, wherever they run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from ..engine.progress import Bar, Reporter
from ..records.running.progress import Sign, Stretch, forget_progress, read_progress


@dataclass
class _Shown:
    """What is shown of a cell.

    Attributes:
        process: the process that it comes from.
        heard: sentences and stretches of that process that were passed on.
        at: what the bar shows.
        context: the open bar's context; None where there is no bar.
        bar: the open bar.
    """

    process: str
    heard: int = 0
    at: Stretch = field(default_factory=Stretch)
    context: AbstractContextManager[Bar] | None = None
    bar: Bar | None = None

    def move(self, stretch: Stretch) -> None:
        """Show how far the stretch is."""
        if self.bar is not None:
            self.bar.advance(stretch.done - self.at.done)
            self.bar.note(stretch.note)
        self.at = stretch

    def close(self) -> None:
        """Take the bar away."""
        if self.context is not None:
            self.context.__exit__(None, None, None)
        self.context, self.bar, self.at = None, None, Stretch()


class Watcher:
    """One bar per running cell.

    Args:
        reporter: where bars and sentences go.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._shown: dict[Path, _Shown] = {}

    def look(self, folders: Iterable[Path]) -> None:
        """Show how far these cells are; the others are over, and what they said last is passed on.

        Args:
            folders: of the cells that run now.
        """
        running = tuple(folders)
        for folder in dict.fromkeys((*running, *self._shown)):
            sign = read_progress(folder)
            if sign is not None:
                self._show(folder, sign)
        for folder in set(self._shown) - set(running):
            self._shown.pop(folder).close()
            forget_progress(folder)

    def _show(self, folder: Path, sign: Sign) -> None:
        shown = self._shown.get(folder)
        if shown is None or shown.process != sign.process:
            if shown is not None:
                shown.close()
            shown = self._shown[folder] = _Shown(sign.process)
        new = sign.progress.count - shown.heard
        for past in sign.progress.past[-new:] if new > 0 else ():
            self._pass_on(shown, past)
        shown.heard = max(shown.heard, sign.progress.count)
        self._follow(shown, sign.progress.at)

    def _pass_on(self, shown: _Shown, past: str | Stretch) -> None:
        """Say a sentence, or bring a bar to its end."""
        if isinstance(past, str):
            self._reporter.say(past)
        else:
            self._follow(shown, past)
            shown.close()

    def _follow(self, shown: _Shown, at: Stretch) -> None:
        """Let the bar show a stretch, a new bar where it is another one."""
        if (shown.at.title, shown.at.total) != (at.title, at.total):
            shown.close()
            if at.title:
                shown.context = self._reporter.bar(at.title, at.total, at.begun)
                shown.bar = shown.context.__enter__()
                shown.at = at.model_copy(update={"done": at.begun})
        shown.move(at)
