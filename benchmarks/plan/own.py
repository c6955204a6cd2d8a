"""Methods of the user's own, in a file: `bench run --method my_detector.py:MyDetector`.

The file is read once; its text is what runs, in this process and in every worker, however often it is edited meanwhile.
The SHA-256 of the text is part of the cell's id, so a changed file is another cell. Installed packages register their
methods by an entry point instead (`uadbench.methods`); the cell then carries the distribution's name and version.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ...errors import UserError
from ...methods import Frozen, MethodCard, MethodInfo
from ...methods.registry import ENTRY_POINTS, distribution_of, wrong_name
from ...own_files import FileKind, OwnFile, own_file_of, shown

if TYPE_CHECKING:
    from ...methods import Detector

#: What a file of the user's own is, in sentences.
METHOD_FILE = FileKind("--method", "method", "so that its cell's id covers all of it", ENTRY_POINTS)
#: How the source of a method from a file begins in a recipe; its SHA-256 follows.
FILE_SOURCE = "sha256:"


def read_file(path: Path) -> OwnFile:
    """Read a file that holds methods.

    Raises:
        UserError: there is no such file, or it cannot be read.
    """
    return OwnFile.read(path, METHOD_FILE)


def is_file(word: str) -> bool:
    """Whether a word after `--method` names a file and not a row."""
    return word.endswith(".py") or ".py:" in word


def load_detector(word: str) -> type[Detector]:
    """Load the class that `path/to/file.py:Class` names, or the only one that `path/to/file.py` holds.

    Raises:
        UserError: no such file, it cannot be imported, or what is named there is no method.
    """
    path, name = (word, "") if word.endswith(".py") else word.rsplit(":", 1)
    file = read_file(Path(path))
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
    from ...methods import Detector

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
    from ...methods import Detector

    classes = [item for item in vars(module).values() if isinstance(item, type) and issubclass(item, Detector)]
    return [cls for cls in classes if cls.__module__ == module.__name__ and hasattr(cls, "info")]


def _listed(classes: list[type[Detector]]) -> str:
    return " and ".join(cls.__name__ for cls in classes) or "no Detector"


def source_of(method: type[Detector] | MethodCard) -> str:
    """What of a method outside this package determines its numbers; "" for the package's own."""
    cls = method.cls if isinstance(method, MethodCard) else method
    if cls is None:  # known by its card alone, as the package's own are
        return ""
    file = own_file_of(cls)
    return FILE_SOURCE + file.digest if file is not None else distribution_of(cls)


def word_of(cls: type[Detector], row: str) -> str:
    """What `--method` takes for a row."""
    file = own_file_of(cls)
    return row if file is None else f"{shown(file.path)}:{cls.__name__}"
