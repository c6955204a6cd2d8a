"""What a table needs to know of one finished cell, whether MLflow tells it or the cell's run record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...metrics import MeanStd, mean_std
from ..records.origin import origin_of
from ..records.record import RunRecord
from ..records.record_files import CellConfig

#: What a person reads of a cell; its tags have the same names.
SHOWN = ("row", "title", "method", "preset")


@dataclass(frozen=True)
class FoldResult:
    """What a table needs to know of one finished cell, read from MLflow or from its run record.

    Attributes:
        cell: id of the cell.
        recipe: id of the recipe.
        data: name of the data source.
        data_title: its name in tables.
        splits: name of the splits.
        fingerprint: hash of the prepared volumes and the splits.
        fold: index of the fold.
        folds: number of folds of the splits.
        started: when the cell was run, ISO 8601.
        cohorts: role to (name, title) of each data set that was there.
        metrics: the cell's numbers, e.g. "brats21/dice".
        row: name of the table row it was run for; "" where MLflow was told by an early version.
        title: its title.
        method: registry name.
        preset: name of the preset.
        changes: the `key=value` words on top of it.
        seed: the user's seed.
        modality: the contrast of the scans.
        origin: who computed it, where that was elsewhere; "" of a cell from here.
        commit: of the code that computed it.
    """

    cell: str
    recipe: str
    data: str
    data_title: str
    splits: str
    fingerprint: str
    fold: int
    folds: int
    started: str
    cohorts: Mapping[str, tuple[str, str]]
    metrics: Mapping[str, float] = field(default_factory=dict)
    row: str = ""
    title: str = ""
    method: str = ""
    preset: str = ""
    changes: str = ""
    seed: int = 0
    modality: str = "t2"
    origin: str = ""
    commit: str = ""

    @classmethod
    def of_record(cls, record: RunRecord) -> FoldResult:
        """Read a finished cell from its run record.

        Raises:
            RecordError: a file is damaged, or another version of uadbench wrote the record.
        """
        config, environment, origin = record.config, record.environment, origin_of(record)
        words = {word: getattr(config, word) for word in (*SHOWN, "modality", "seed")}
        words |= {"origin": "" if origin is None else origin.who, "commit": environment.get("commit", "")}
        identity = identity_of(config, environment)
        return cls(**identity, **words, metrics=record.metrics, changes=" ".join(config.changed))

    @property
    def family(self) -> tuple[str, str, str]:
        """Recipe, data and splits: the cells that are folds of one experiment."""
        return self.recipe, self.data, self.splits


def identity_of(config: CellConfig, environment: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a FoldResult without its metrics."""
    words = ("cell", "recipe", "data", "data_title", "splits", "fingerprint", "fold", "folds")
    cohorts = {role: (cohort.name, cohort.title) for role, cohort in config.cohorts.items()}
    return {
        **{word: getattr(config, word) for word in words},
        "started": environment.get("started", ""),
        "cohorts": cohorts,
    }


def over_folds(values: Sequence[float]) -> MeanStd:
    """Mean and sample standard deviation; both NaN where a training went astray and left a number that is none."""
    return mean_std(values) if all(map(math.isfinite, values)) else MeanStd(math.nan, math.nan)


def newest_folds(results: Iterable[FoldResult]) -> list[FoldResult]:
    """One result per fold: the newest, where the data were changed and the fold was run again."""
    newest: dict[int, FoldResult] = {}
    for result in sorted(results, key=lambda result: (result.started, result.cell)):
        newest[result.fold] = result
    return [newest[fold] for fold in sorted(newest)]
