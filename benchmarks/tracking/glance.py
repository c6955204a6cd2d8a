"""Which cells a SQLite file of MLflow holds, read without MLflow, whose import takes seconds.

Only ids are read, to learn whether MLflow holds a cell whose run record is not here. Where the file cannot be read so,
because another version of MLflow has other tables, say, nobody knows, and MLflow is asked itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from .tags import CELL, COMPLETE, DATA, EXPERIMENT

_CELLS = f"""
    SELECT cell.value FROM runs
    JOIN experiments ON experiments.experiment_id = runs.experiment_id AND experiments.name = '{EXPERIMENT}'
    JOIN tags AS cell ON cell.run_uuid = runs.run_uuid AND cell.key = '{CELL}'
    JOIN tags AS whole ON whole.run_uuid = runs.run_uuid AND whole.key = '{COMPLETE}'
    JOIN tags AS data ON data.run_uuid = runs.run_uuid AND data.key = '{DATA}'
    WHERE runs.lifecycle_stage = 'active' AND data.value = ?
"""


def complete_cells(database: Path, data: Sequence[str]) -> frozenset[str] | None:
    """The ids of the complete cells of data sources in a SQLite file; None where nobody knows without MLflow.

    Args:
        database: the file; one that is not there holds none.
        data: names of data sources.
    """
    if not database.exists():
        return frozenset()
    try:
        with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as connection:
            return frozenset(cell for name in data for (cell,) in connection.execute(_CELLS, (name,)))
    except sqlite3.Error:
        return None
