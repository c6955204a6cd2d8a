"""Suites: which rows make which table, as data.

A suite row names a registered row (`row = "pddpm-s16"`) and may change its title or fix more settings: the ablations
of Table 2 are the same class with other arguments.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from ..methods import Detector, Row, UnknownMethodError, rows
from .errors import UserError


@dataclass(frozen=True)
class SuiteRow:
    """One line of a table.

    Attributes:
        row: name, title and fixed settings.
        method: the class that makes it.
    """

    row: Row
    method: type[Detector]


@dataclass(frozen=True)
class Suite:
    """A table: its name, caption and rows from top to bottom."""

    name: str
    title: str
    rows: tuple[SuiteRow, ...]


def suite_names() -> tuple[str, ...]:
    """The suites that travel with the package."""
    folder = resources.files("uadbench.benchmarks.suites")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load_suite(name: str) -> Suite:
    """Read a suite by name, e.g. "table1".

    Raises:
        UserError: there is no such suite.
    """
    resource = resources.files("uadbench.benchmarks.suites") / f"{name}.toml"
    if not resource.is_file():
        raise UserError(f"there is no suite {name!r}; choose one of {', '.join(suite_names())}")
    document = tomllib.loads(resource.read_text(encoding="utf-8"))
    return Suite(name=name, title=document["title"], rows=tuple(_suite_row(entry) for entry in document["row"]))


def select_rows(names: list[str]) -> tuple[SuiteRow, ...]:
    """Turn the words after `--method` into rows: a row, a suite, or `all`; each row once, in order.

    Raises:
        UserError: a word is neither.
    """
    chosen: dict[str, SuiteRow] = {}
    for name in names:
        for entry in _rows_of(name):
            chosen.setdefault(entry.row.name, entry)
    return tuple(chosen.values())


def _rows_of(name: str) -> tuple[SuiteRow, ...]:
    if name == "all":
        return tuple(entry for suite in suite_names() for entry in load_suite(suite).rows)
    if name in suite_names():
        return load_suite(name).rows
    known = {entry.row.name: entry for suite in suite_names() for entry in load_suite(suite).rows}
    if name in known:
        return (known[name],)
    return (_registered(name),)


def _registered(name: str) -> SuiteRow:
    known = rows()
    if name not in known:
        words = [*sorted(known), *suite_names(), "all"]
        raise UserError(f"there is no method {name!r}; choose one of {', '.join(dict.fromkeys(words))}")
    cls, row = known[name]
    return SuiteRow(row=row, method=cls)


def _suite_row(entry: dict[str, object]) -> SuiteRow:
    known = rows()
    base = str(entry["row"])
    if base not in known:
        raise UnknownMethodError(f"a suite names the row {base!r}, which no method makes")
    cls, row = known[base]
    settings = entry.get("settings", {})
    merged = {**row.settings, **(settings if isinstance(settings, dict) else {})}
    return SuiteRow(Row(str(entry.get("name", row.name)), str(entry.get("title", row.title)), merged), cls)
