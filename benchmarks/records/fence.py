"""A folder that is written through a check: whoever may not write there any more finds out before anything changes.

A process may stand still for hours (SIGSTOP, a laptop's lid, a file server) while another one takes its folder over.
When it wakes up it goes on in the middle of whatever it did, so a question that was asked earlier is worth nothing.
Here it is asked when a write begins, and once more in the last moment. Not even a process that falls asleep after that
does harm, since whoever takes a folder over (`shut_out`) removes the temporary files, without which its rename fails,
and gives the files that grow in place a new copy, so that its line goes to one that nobody sees.
"""

from __future__ import annotations

import errno
import io
import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import WriteError
from ...files import remove, remove_partials, write_with


@dataclass(frozen=True)
class FencedFolder:
    """The only door through which a folder's files are written, renamed and removed.

    Whatever `check` raises leaves the folder as it was. Names are relative to the folder and may lie deeper.

    Attributes:
        path: the folder; need not exist yet.
        check: raises where this process may not write there any more.
    """

    path: Path
    check: Callable[[], None]

    def write_with(self, name: str, save: Callable[[Path], object]) -> None:
        """Let `save` write a file of its own format to a temporary path, which then takes the file's place.

        Raises:
            UserError: the disk is full, the folder cannot be written, or not by this process any more.
        """
        self.check()
        try:
            write_with(self.path / name, save, self.check)
        except WriteError as error:
            if error.errno == errno.ENOENT:  # somebody who took the folder over has removed the temporary file
                self.check()
            raise

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all; raises as `write_with` does."""
        self.write_with(name, lambda partial: partial.write_text(text, encoding="utf-8"))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file, readable, its keys in their order; raises as `write_with` does."""
        self.write_text(name, json.dumps(value, indent=2) + "\n")

    @contextmanager
    def opened(self, name: str) -> Iterator[io.FileIO]:
        """Open a file that is there to change it in place.

        The check follows the opening: if it passes, the file was opened before any take-over, and is no longer the one
        of that name after it.

        Raises:
            UserError: the disk is full, the file cannot be written, or not by this process any more.
        """
        path = self.path / name
        with _errors_told(path), path.open("r+b", buffering=0) as file:
            self.check()
            yield file

    def remove(self, name: str) -> None:
        """Remove a file or a whole folder in one step; nothing need stand there."""
        self.check()
        path = self.path / name
        with _errors_told(path):
            if path.is_dir() and not path.is_symlink():
                path = path.rename(path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial"))
            remove(path)

    def rename(self, name: str, target: Path) -> None:
        """Rename a file or a folder; `target` may lie elsewhere on the same disk and is replaced."""
        self.check()
        with _errors_told(target):
            remove(target)
            (self.path / name).rename(target)

    def shut_out(self, *growing: str) -> None:
        """Called first by whoever takes the folder over: end the writes of earlier holders, wherever they stand.

        Args:
            growing: names of the files that are changed in place.
        """
        self.check()
        if not self.path.is_dir():
            return
        for folder in (self.path, *(path for path in self.path.iterdir() if path.is_dir())):
            remove_partials(folder)
        for name in growing:
            path = self.path / name
            if path.is_file() and not path.is_symlink():
                self.write_with(name, lambda partial, path=path: shutil.copyfile(path, partial))  # type: ignore[misc]


@contextmanager
def _errors_told(path: Path) -> Iterator[None]:
    """Tell what the system says of a file as one sentence."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error
