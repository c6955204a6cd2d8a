"""What a shell completes after `--method`, `--preset` and `--metric`, found without importing PyTorch."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path


def complete_preset(incomplete: str) -> list[str]:
    """The presets that begin so."""
    return sorted(name for name, _ in _documents("uadbench.benchmarks.plan.presets") if name.startswith(incomplete))


def complete_method(incomplete: str) -> list[str]:
    """The rows, suites and the word "all" that begin so; rows of plug-ins are left out, as they would be imported."""
    return sorted({word for word in _method_words() if word.startswith(incomplete)})


def complete_metric(incomplete: str) -> list[str]:
    """The numbers that `bench compare` knows and that begin so."""
    from ..judgement.scan_numbers import COMPARABLE

    return [name for name in COMPARABLE if name.startswith(incomplete)]


def _method_words() -> Iterator[str]:
    yield "all"
    for name, file in _documents("uadbench.benchmarks.plan.suites"):
        yield name
        for entry in tomllib.loads(file.read_text(encoding="utf-8"))["row"]:
            yield entry.get("name", entry["row"])
    methods = find_spec("uadbench.methods")  # does not import it
    for folder in (methods.submodule_search_locations or ()) if methods is not None else ():
        for file in Path(folder).glob("*.py"):
            yield from _rows_in(ast.parse(file.read_text(encoding="utf-8")))


def _rows_in(module: ast.Module) -> Iterator[str]:
    """The names of the rows that a method's file makes: what stands first in `Row("name", …)`."""
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Name(id="Row"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def _documents(package: str) -> Iterator[tuple[str, Traversable]]:
    """The TOML files of a package, each with its name."""
    for file in sorted(resources.files(package).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            yield file.name.removesuffix(".toml"), file
