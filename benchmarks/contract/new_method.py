"""`bench new-method`: a file with a working detector and its test, to begin from."""

from __future__ import annotations

import importlib.util
import keyword
from importlib import resources
from pathlib import Path
from string import Template

from ...errors import UserError
from ...files import write_text
from ..plan.suite import taken_names


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `<name>.py` and `test_<name>.py` from the templates, and return their paths.

    Args:
        name: an identifier in small letters, e.g. "my_detector".
        folder: where to.

    Raises:
        UserError: the name will not do or is taken, or a file is there already.
    """
    _check_name(name)
    if not folder.is_dir():
        raise UserError(f"--dir {folder}: there is no such directory; make it first")
    paths = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in paths:
        if path.exists():
            raise UserError(f"{path} is there already; choose another name, or remove it first")
    words = name.split("_")
    fields = {
        "name": name,
        "row": "-".join(words),
        "cls": "".join(word.capitalize() for word in words),
        "title": " ".join(words).capitalize(),
    }
    for path, template in zip(paths, ("method.py.txt", "check.py.txt"), strict=True):
        text = (resources.files("uadbench.benchmarks.contract") / "templates" / template).read_text(encoding="utf-8")
        write_text(path, Template(text).substitute(fields))
    return paths


def next_steps(path: Path, check: Path) -> str:
    """The commands that come next."""
    return "\n".join(
        [
            f"Wrote {path} and {check}. Edit the first; then:",
            f"  python -m pytest {check}",
            f"  bench run --method {path} --folds 0",
            f"  bench run --method {path} --folds all",
            f"  bench table 1 --method {path}",
        ]
    )


def _check_name(name: str) -> None:
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower() or not name[0].isalpha():
        raise UserError(f"new-method {name}: write an identifier in small letters, such as my_detector")
    if {name, name.replace("_", "-")} & taken_names():
        raise UserError(f"new-method {name}: there is a method, row or suite of that name; choose another")
    if importlib.util.find_spec(name) is not None:
        raise UserError(
            f"new-method {name}: Python has a module of that name, which the file would hide; choose another"
        )
