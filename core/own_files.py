"""Files of the user's own that are run: a method, a data set.

A file is read once; its text is what runs, in this process and in every worker, however often it is edited meanwhile.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .errors import UserError
from .files import sha256_of_bytes
from .stopping import raise_stop

_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class FileKind:
    """What a file holds, for sentences.

    Attributes:
        option: the option that names it, "--method".
        noun: what it holds, "method".
        reason: why it must be one file, "so that its cell's id covers all of it".
        group: of the entry points by which an installed package offers the same.
    """

    option: str
    noun: str
    reason: str
    group: str


@dataclass(frozen=True)
class OwnFile:
    """A file of the user's own, as it was when it was read.

    Attributes:
        path: absolute path.
        text: content; travels to workers, which run the same.
        kind: what it holds.
    """

    path: Path
    text: bytes
    kind: FileKind

    @classmethod
    def read(cls, path: Path, kind: FileKind) -> OwnFile:
        """Read a file.

        Raises:
            UserError: there is no such file, or it cannot be read.
        """
        try:
            return cls(path.resolve(), path.read_bytes(), kind)
        except OSError as error:
            raise UserError(f"{kind.option} {path}: the file cannot be read: {error.strerror or error}") from error

    @property
    def module_name(self) -> str:
        """Name in `sys.modules`, by which what it defines travels to workers; one per path."""
        stem = re.sub(r"\W", "_", self.path.stem)
        return f"uadbench_own_{stem}_{sha256_of_bytes(os.fsencode(self.path))[:8]}"

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return sha256_of_bytes(self.text)

    def load(self) -> ModuleType:
        """Import the file, unless this very text is imported already.

        Raises:
            UserError: the import fails; the sentence names the line.
        """
        known = sys.modules.get(self.module_name)
        if known is not None and own_file_of(known) == self:
            return known
        loader = _Loader(self)
        spec = importlib.util.spec_from_file_location(self.module_name, self.path, loader=loader)
        assert spec is not None  # it is, where a loader is given
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.module_name] = module
        try:
            loader.exec_module(module)
        except BaseException as error:
            raise_stop(error)
            del sys.modules[self.module_name]
            raise UserError(f"{shown(self.path)} cannot be imported: {self._reason(error)}") from error
        return module

    def _reason(self, error: BaseException) -> str:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
        if missing and (self.path.parent / f"{missing}.py").is_file():
            return (
                f"it imports {missing}.py from beside it, but a {self.kind.noun} is one file, {self.kind.reason}; put "
                f"both into one file, or install a package that offers an entry point `{self.kind.group}`"
            )
        return explain(error, self.path)


class _Loader(importlib.machinery.SourceFileLoader):
    """Python's own loader, but for the text that was read, and without a cache of byte code.

    That cache goes by size and second of change: too coarse for a file that is being edited.
    """

    def __init__(self, file: OwnFile) -> None:
        super().__init__(file.module_name, str(file.path))
        self.file = file

    def get_data(self, path: str) -> bytes:
        return self.file.text

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return self.source_to_code(self.file.text, self.path)


def own_file_of(owner: type | ModuleType) -> OwnFile | None:
    """The user's file that a class or module comes from; None for what is installed."""
    module = owner if isinstance(owner, ModuleType) else sys.modules.get(owner.__module__)
    loader = getattr(module, "__loader__", None)
    return loader.file if isinstance(loader, _Loader) else None


# ---------------------------------------------------------------------------------------------------------------------
# Errors in the user's code


def explain(error: BaseException, file: Path | None) -> str:
    """An error in somebody's code as half a sentence: its kind, its message, and the line of the file it came from."""
    if isinstance(error, SyntaxError):
        return f"{error.msg} ({shown(Path(error.filename or '?'))}, line {error.lineno})"
    words = " ".join(str(error).split())
    words = words if len(words) <= _LONGEST_MESSAGE else f"{words[:_LONGEST_MESSAGE]}…"
    line = _line_in(error, file)
    place = f" ({shown(file)}, line {line})" if file is not None and line else ""
    return f"{type(error).__name__}{f': {words}' if words else ''}{place}"


def file_of(cls: type) -> Path | None:
    """The file that a class was defined in; None where there is none."""
    name = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return Path(name) if name else None


def _line_in(error: BaseException, file: Path | None) -> int | None:
    """The innermost line of a file that an error passed through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if file is not None and frame.filename == str(file)]
    return lines[-1] if lines else None


def shown(path: Path) -> str:
    """A path as short as it can be: below the working directory without it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
