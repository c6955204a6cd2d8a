"""Which records are sent: the finished ones of those that a user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ..records.record import RunRecord, all_records, finished
from ..tracking.database import store_uri
from ..tracking.named import records_named
from .contents import label_of
from .packing import why_not_sent

_ALL = "all"


@dataclass(frozen=True)
class Choice:
    """Finished records by the words that name them.

    Attributes:
        records: each once.
        notes: what was left out, in sentences.
    """

    records: tuple[RunRecord, ...]
    notes: tuple[str, ...]


def choose(words: Sequence[str], results: Path) -> Choice:
    """The finished records that some words name.

    Args:
        words: cells, parents, rows or MLflow's ids of them, see `tracking.named`; "all" is whatever is finished.
        results: the results folder.

    Raises:
        UserError: a word names nothing, or nothing of what it names is finished.
    """
    everything = all_records(results / "runs")
    named = {label_of(record.config): record for word in words for record in _named(word, everything, results)}
    problems = {label: why_not_sent(record) for label, record in named.items()}
    notes = [f"Left out: {label}, which {problem}." for label, problem in problems.items() if problem]
    return Choice(tuple(record for label, record in named.items() if not problems[label]), tuple(notes))


def _named(word: str, everything: Sequence[RunRecord], results: Path) -> Sequence[RunRecord]:
    """What one word names, of which something is finished."""
    if word == _ALL:
        done = finished(everything)
        if not done:
            raise UserError(f"{word}: nothing is finished under {results / 'runs'}; run something first")
        return done
    found = records_named(word, everything, store_uri(results))
    if not found:
        known = ", ".join(sorted({record.config.row for record in finished(everything)})) or "none"
        raise UserError(
            f"{word}: no cell, parent or row of that name under {results / 'runs'}; `bench list runs` lists them, "
            f"finished rows: {known}"
        )
    if not any(record.done for record in found):
        raise UserError(f"{word}: {found[0].folder.name} {why_not_sent(found[0])}; run it to its end first")
    return found
