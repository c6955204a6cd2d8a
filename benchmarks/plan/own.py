"""Methods of the user's own, in a file: `bench run --method my_detector.py:MyDetector`.

The file is read once; its text is what runs, in this process and in every worker, however often it is edited meanwhile.
The SHA-256 of the text is part of the cell's id, so a changed file is another cell. Installed packages register their
methods by an entry point instead (`uadbench.methods`); the cell then carries the distribution's name and version.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from ...errors import UserError
from ...methods import Detector, Frozen, MethodInfo
from ...methods.registry import distribution_of, wrong_name
from ...stopping import raise_stop

_LONGEST_MESSAGE = 300
#: How the source of a method from a file begins in a recipe; its SHA-256 follows.
FILE_SOURCE = "sha256:"


@dataclass(frozen=True)
class OwnFile:
    """A file that holds methods, as it was when it was read.

    Attributes:
        path: absolute path.
        text: content; travels to workers, which run the same.
    """

    path: Path
    text: bytes

    @classmethod
    def read(cls, path: Path) -> OwnFile:
        """Read a file.

        Raises:
            UserError: there is no such file, or it cannot be read.
        """
        try:
            return cls(path.resolve(), path.read_bytes())
        except OSError as error:
            raise UserError(f"--method {path}: the file cannot be read: {error.strerror or error}") from error

    @property
    def module_name(self) -> str:
        """Name in `sys.modules`, by which classes travel to workers; one a path."""
        stem = re.sub(r"\W", "_", self.path.stem)
        return f"uadbench_own_{stem}_{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]}"

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text).hexdigest()

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
                f"it imports {missing}.py from beside it, but a method is one file, so that its cell's id covers all "
                "of it; put both into one file, or install a package that offers an entry point `uadbench.methods`"
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


def is_file(word: str) -> bool:
    """Whether a word after `--method` names a file and not a row."""
    return word.endswith(".py") or ".py:" in word


def load_detector(word: str) -> type[Detector]:
    """Load the class that `path/to/file.py:Class` names, or the only one that `path/to/file.py` holds.

    Raises:
        UserError: no such file, it cannot be imported, or what is named there is no method.
    """
    path, name = (word, "") if word.endswith(".py") else word.rsplit(":", 1)
    file = OwnFile.read(Path(path))
    module = file.load()
    found = getattr(module, name, None) if name else _only_detector(module, file)
    if found is None:
        raise UserError(f"{shown(file.path)} holds no {name}; it holds {_listed(_detectors(module))}")
    if not isinstance(found, type):
        raise UserError(f"{shown(file.path)}: {name} is no class; name the class of a Detector")
    if vars(module).get(found.__qualname__) != found:
        raise UserError(f"{shown(file.path)}: {found.__name__} must be defined at the top level of the file")
    return checked_class(found, shown(file.path))


def detectors_in(file: OwnFile) -> list[type[Detector]]:
    """Every method that a file defines, after running it.

    Raises:
        UserError: it cannot be imported.
    """
    return _detectors(file.load())


def checked_class(cls: type, place: str) -> type[Detector]:
    """See that a class can be a method at all, before it is made.

    Args:
        cls: the class.
        place: where it stands, for the message.

    Raises:
        UserError: it is no Detector, or lacks `info`, `Settings` or a method that the engine calls.
    """
    who = f"{place}: {cls.__name__}"
    if not issubclass(cls, Detector):
        raise UserError(f"{who} is no Detector; derive it from uadbench.methods.Detector")
    info = getattr(cls, "info", None)
    if not isinstance(info, MethodInfo) or not info.rows:
        raise UserError(f"{who} has no info; give it `info = MethodInfo(...)` with at least one Row")
    if wrong := wrong_name(info):
        raise UserError(f"{who}.info: {wrong}")
    settings = getattr(cls, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, Frozen)):
        raise UserError(f"{who} has no Settings; give it `Settings = ...`, a class derived from Frozen")
    needed = ("training_step", "validation_step", "reconstruct") if cls.trainable else ("reconstruct",)
    for name in needed:
        if getattr(cls, name) is getattr(Detector, name):
            raise UserError(f"{who} does not implement {name}, which {_why(name)}")
    return cls


def _why(name: str) -> str:
    if name == "reconstruct":
        return "every method needs"
    return "a method that trains needs (one that does not sets `trainable = False`)"


def _only_detector(module: ModuleType, file: OwnFile) -> type[Detector]:
    found = _detectors(module)
    if len(found) != 1:
        choose = f"; name one, as in {file.path.name}:{found[0].__name__}" if found else " with an `info`"
        raise UserError(f"{shown(file.path)} holds {_listed(found)}{choose}")
    return found[0]


def _detectors(module: ModuleType) -> list[type[Detector]]:
    """The methods that a module defines, without those it imports."""
    classes = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Detector)]
    return [cls for cls in classes if cls.__module__ == module.__name__ and hasattr(cls, "info")]


def _listed(classes: list[type[Detector]]) -> str:
    return " and ".join(cls.__name__ for cls in classes) or "no Detector"


def own_file_of(owner: type | ModuleType) -> OwnFile | None:
    """The user's file that a class or module comes from; None for what is installed."""
    module = owner if isinstance(owner, ModuleType) else sys.modules.get(owner.__module__)
    loader = getattr(module, "__loader__", None)
    return loader.file if isinstance(loader, _Loader) else None


def source_of(cls: type[Detector]) -> str:
    """What of a class outside this package determines its numbers; "" for the package's own methods."""
    file = own_file_of(cls)
    return FILE_SOURCE + file.digest if file is not None else distribution_of(cls)


def word_of(cls: type[Detector], row: str) -> str:
    """What `--method` takes for a row."""
    file = own_file_of(cls)
    return row if file is None else f"{shown(file.path)}:{cls.__name__}"


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
