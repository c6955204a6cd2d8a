"""Run records by the words that a user has at hand.

A word is a cell's folder, its name (`bench list runs`) or its id; a parent's recipe id, or "recipe/data/splits"; the
name of a table row; or what MLflow calls a cell or a parent, the run id in its interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..records.record import CONFIG, RunRecord

_MLFLOW_ID_LENGTH = 32


def records_named(word: str, records: Sequence[RunRecord], mlflow_uri: str) -> list[RunRecord]:
    """The records that a word names: a cell, else a parent's, else those of a row; none where it names nothing.

    Args:
        word: what the user wrote.
        records: what it may name; a folder that lies elsewhere counts, too.
        mlflow_uri: where to look up a run id of MLflow.

    Raises:
        TrackingError: the word looks like a run id of MLflow, which is absent or unreachable.
    """
    path = Path(word)
    if (path / CONFIG).exists():
        return [RunRecord(path)]
    wanted = _ids(word, mlflow_uri)
    for matches in (_is_cell, _is_family, _is_row):
        named = [record for record in records if any(matches(record, one) for one in wanted)]
        if named:
            return named
    return []


def _is_cell(record: RunRecord, word: str) -> bool:
    return word in (record.folder.name, record.config.cell)


def _is_family(record: RunRecord, word: str) -> bool:
    return word in (record.config.recipe, "/".join(record.config.family))


def _is_row(record: RunRecord, word: str) -> bool:
    return word == record.config.row


def _ids(word: str, mlflow_uri: str) -> tuple[str, ...]:
    """The word, or the cell or family that MLflow's run of that id stands for."""
    if len(word) != _MLFLOW_ID_LENGTH or not set(word) <= set("0123456789abcdef"):
        return (word,)
    from .sync import named_by_run

    return (named_by_run(mlflow_uri, word) or word,)
