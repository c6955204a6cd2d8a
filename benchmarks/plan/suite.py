"""Suites: which rows make which table, as data.

A suite row names a registered row (`row = "pddpm-s16"`) and may change its title or fix more settings: the ablations
of Table 2 are the same class with other arguments. `[columns]` says what is reported of lesion sets and healthy sets.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from ...errors import UserError
from ...methods import MethodCard, Row, UnknownMethodError, card_of, card_rows, cards
from . import own

if TYPE_CHECKING:
    from ...methods import Detector


@dataclass(frozen=True)
class SuiteRow:
    """One line of a table.

    Attributes:
        row: name, title and fixed settings.
        card: what is known of the method that makes it.
        score: name of the score plug-in that takes the place of the method's own; "" keeps it.
    """

    row: Row
    card: MethodCard
    score: str = ""

    @property
    def method(self) -> type[Detector]:
        """The class that makes it; imports PyTorch, so that who only reads asks the card."""
        return self.card.load()


@dataclass(frozen=True)
class Suite:
    """A table.

    Attributes:
        name: what `bench table` takes.
        title: its caption.
        rows: from top to bottom.
        lesion_metrics: the columns of each lesion set, see `judgement.measures.METRICS`.
        healthy_metrics: those of the healthy set.
    """

    name: str
    title: str
    rows: tuple[SuiteRow, ...]
    lesion_metrics: tuple[str, ...] = ("dice", "auprc")
    healthy_metrics: tuple[str, ...] = ("l1",)


def suite_names() -> tuple[str, ...]:
    """The suites that travel with the package."""
    folder = resources.files("uadbench.benchmarks.plan.suites")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def suites_in_order() -> list[str]:
    """The suites' names, the paper's tables first."""
    return sorted(suite_names(), key=lambda name: (not name.startswith("table"), name))


def suites_by_row() -> dict[str, list[str]]:
    """Row names to the names of the suites they stand in; rows of no suite are not there."""
    found: dict[str, list[str]] = {}
    for suite in suites_in_order():
        for entry in load_suite(suite).rows:
            found.setdefault(entry.row.name, []).append(suite)
    return found


def load_suite(name: str) -> Suite:
    """Read a suite by name, e.g. "table1".

    Raises:
        UserError: there is no such suite.
    """
    if name not in suite_names():
        raise UserError(f"there is no suite {name!r}; choose one of {', '.join(suite_names())}")
    resource = resources.files("uadbench.benchmarks.plan.suites") / f"{name}.toml"
    document = tomllib.loads(resource.read_text(encoding="utf-8"))
    rows = tuple(_suite_row(entry) for entry in document["row"])
    columns = {f"{part}_metrics": tuple(names) for part, names in document.get("columns", {}).items()}
    return Suite(name=name, title=document["title"], rows=rows, **columns)


def select_rows(names: list[str]) -> tuple[SuiteRow, ...]:
    """Turn the words after `--method` into rows: a row, a suite, `all`, or a file; each row once, in order.

    Raises:
        UserError: a word is none of these, or two rows have one name.
    """
    chosen: dict[str, SuiteRow] = {}
    for name in names:
        for entry in _rows_of(name):
            known = chosen.setdefault(entry.row.name, entry)
            if known.card != entry.card:
                raise UserError(f"two methods make a row {entry.row.name!r}; give one of them another name")
    return tuple(chosen.values())


def with_score(entry: SuiteRow, name: str) -> SuiteRow:
    """The row with another score, e.g. "maediff+ssim"; `l1` on a method that scores by l1 anyhow is the row itself.

    Raises:
        UserError: there is no such score, or the row has another score already.
    """
    from ...metrics.scores import UnknownScoreError, score_named

    if entry.score:
        raise UserError(f"{entry.row.name}+{name}: a row has one score, and this one has +{entry.score} already")
    try:
        score = score_named(name)
    except UnknownScoreError as error:
        raise UserError(str(error)) from error
    if name == "l1" and entry.card.scores_by_l1:
        return entry
    row = Row(f"{entry.row.name}+{name}", f"{entry.row.title} · {score.info.title}", entry.row.settings)
    return SuiteRow(row, entry.card, name)


def _rows_of(name: str) -> tuple[SuiteRow, ...]:
    base, plus, score = name.rpartition("+")
    if plus and not own.is_file(score):  # a plus sign may be part of a file's name
        return tuple(with_score(entry, score) for entry in _rows_of(base))
    if own.is_file(name):
        return _own_rows(name)
    if name == "all":
        return tuple(entry for suite in suite_names() for entry in load_suite(suite).rows)
    if name in suite_names():
        return load_suite(name).rows
    known = {entry.row.name: entry for suite in suite_names() for entry in load_suite(suite).rows}
    if name in known:
        return (known[name],)
    return (_registered(name),)


def _own_rows(word: str) -> tuple[SuiteRow, ...]:
    """The rows of a method in a file of the user's, none of which may take the name of another."""
    cls = own.load_detector(word)
    taken = taken_names(cls)
    for name in (cls.info.name, *(row.name for row in cls.info.rows)):
        if name in taken:
            raise UserError(f"{word}: the name {name!r} in {cls.__name__}.info is taken; choose another")
    return tuple(SuiteRow(row, card_of(cls)) for row in cls.info.rows)


def taken_names(cls: type[Detector] | None = None) -> frozenset[str]:
    """Every word that `--method` knows and every method's name, but for those of one class."""
    infos = [card.info for card in cards().values() if cls is None or card.cls is not cls]
    names = {name for info in infos for name in (info.name, *(row.name for row in info.rows))}
    suites = {entry.row.name for suite in suite_names() for entry in load_suite(suite).rows}
    return frozenset({*names, *suites, *suite_names(), "all"})


def _registered(name: str) -> SuiteRow:
    known = card_rows()
    if name not in known:
        words = [*sorted(known), *suite_names(), "all"]
        raise UserError(f"there is no method {name!r}; choose one of {', '.join(dict.fromkeys(words))}")
    card, row = known[name]
    return SuiteRow(row, card)


def _suite_row(entry: dict[str, object]) -> SuiteRow:
    known = card_rows()
    base = str(entry["row"])
    if base not in known:
        raise UnknownMethodError(f"a suite names the row {base!r}, which no method makes")
    card, row = known[base]
    settings = entry.get("settings", {})
    merged = {**row.settings, **(settings if isinstance(settings, dict) else {})}
    return SuiteRow(Row(str(entry.get("name", row.name)), str(entry.get("title", row.title)), merged), card)
