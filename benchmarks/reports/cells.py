"""The frame of cells: one row per cell, whichever source it was read from.

What tells a cell from another comes first (`IDENTITY`), then per set `<key>/cohort` and `<key>/title`, then the numbers
as `<key>/<metric>`, such as "tumours/dice". The key is what the run knows a set by ("healthy", "tumours", "ms", …); the
cohort is the data set that stood there. A number that was not measured is NaN, and so is one that is none; the set's
`cohort` tells whether the set was there. `origin` is who computed a cell elsewhere, and "" of one from here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from ..records.origin import origin_of
from ..records.record import DIGESTS, RecordWarning, RunRecord
from ..records.record_files import CellConfig, CohortConfig, RecordError, VolumeScore

if TYPE_CHECKING:
    import pandas as pd

    from ..tracking.fold_result import FoldResult

_T = TypeVar("_T")

#: What a table needs to know of a cell, beside its sets and its numbers.
IDENTITY = (
    "id",
    "row",
    "title",
    "method",
    "preset",
    "changes",
    "data",
    "data_title",
    "modality",
    "splits",
    "fold",
    "folds",
    "seed",
    "started",
    "recipe",
    "fingerprint",
    "origin",
    "commit",
)
#: What a run record knows beyond that.
RECORDED = ("score", "protocol", "control", "trainable", "state", "done", "seconds", "device")
#: What tells the volumes of one cell from those of another.
_OF_A_VOLUME = ("id", "row", "title", "preset", "changes", "data", "modality", "fold", "seed", "done")
_SCORES = ("dice", "dice_exact", "auprc", "l1", "l1_brain", "lesion_ml", "seconds")


def cells_of_results(results: Iterable[FoldResult]) -> pd.DataFrame:
    """The frame of finished cells that were read from MLflow or for it: what a table needs."""
    import pandas as pd

    lines = []
    for result in results:
        cohorts = {key: CohortConfig(name=name, title=title) for key, (name, title) in result.cohorts.items()}
        identity = {"id": result.cell, **{name: getattr(result, name) for name in IDENTITY if name != "id"}}
        lines.append({**identity, **_sets(cohorts), **_numbers(cohorts, result.metrics)})
    return pd.DataFrame(lines, columns=_columns(IDENTITY, lines))


def cells_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The frame of cells of run records, finished or not; a damaged record is left out and costs a warning."""
    import pandas as pd

    lines = list(_readable(_line, records))
    return pd.DataFrame(lines, columns=_columns((*IDENTITY, *RECORDED), lines))


def volumes_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The frame of scored test volumes: one row per cell and volume, those of unfinished cells too.

    `set` is the key of the set, `cohort` the data set and `subject` the scan; a score that a volume has not is NaN.
    Scores are fractions, lesions millilitres.
    """
    import pandas as pd

    lines = [line for found in _readable(_volume_lines, records) for line in found]
    names = ["set" if field.name == "role" else field.name for field in fields(VolumeScore)]
    frame = pd.DataFrame(lines, columns=[*_OF_A_VOLUME, *names])
    return frame.astype(dict.fromkeys(_SCORES, float))


def sets_in(cells: pd.DataFrame) -> list[str]:
    """Keys of the sets that cells of a frame have, by name."""
    keys = sorted(name.removesuffix("/cohort") for name in cells.columns if name.endswith("/cohort"))
    return [key for key in keys if cells[f"{key}/cohort"].notna().any()]


def is_simulated(cells: pd.DataFrame, key: str) -> bool:
    """Whether the brains of a set are simulated in any cell of a frame."""
    names = cells[f"{key}/cohort"].dropna().unique()
    return any(CohortConfig(name=name, title=name).is_phantom for name in names)


def _readable(read: Callable[[RunRecord], _T], records: Iterable[RunRecord]) -> Iterator[_T]:
    """What is read of each record; one that is damaged, or was changed after it was finished, costs a warning."""
    for record in records:
        try:
            if (record.folder / DIGESTS).exists() and (problem := record.problem()):
                raise RecordError(f"{record.folder} {problem}")
            yield read(record)
        except RecordError as error:
            warnings.warn(f"a run record is left out: {error}", RecordWarning, stacklevel=4)


def _line(record: RunRecord) -> dict[str, Any]:
    config, state, environment, done = record.config, record.state, record.environment, record.done
    score, origin = (config.plan.get("score_by") or {}).get("name", ""), origin_of(record)
    status = "scoring" if state.status == "done" and not done else state.status
    return {
        **_identity(config, environment),
        "origin": "" if origin is None else origin.who,
        "score": score,
        "protocol": config.content.get("protocol"),
        "control": config.control,
        "trainable": config.trainable,
        "state": status,
        "done": done,
        "seconds": state.seconds,
        "device": environment.get("device", ""),
        **_sets(config.cohorts),
        **_numbers(config.cohorts, record.metrics if done else {}),
    }


def _identity(config: CellConfig, environment: Mapping[str, str]) -> dict[str, Any]:
    named = {name: getattr(config, name) for name in IDENTITY if name in CellConfig.model_fields}
    return {
        **named,
        "modality": config.modality,
        "id": config.cell,
        "changes": " ".join(config.changed),
        "started": environment.get("started", ""),
        "commit": environment.get("commit", ""),
    }


def _volume_lines(record: RunRecord) -> list[dict[str, Any]]:
    config = record.config
    head = {**_identity(config, {}), "done": record.done}
    return [{**head, **asdict(score), "set": score.role} for score in record.scores()]


def _sets(cohorts: Mapping[str, CohortConfig]) -> dict[str, str]:
    """Name and title of the data set that stood for each key; a title always says where the set is the phantom."""
    words = {}
    for key, cohort in cohorts.items():
        hidden = cohort.is_phantom and "phantom" not in cohort.title.lower()
        words[f"{key}/cohort"] = cohort.name
        words[f"{key}/title"] = f"phantom {cohort.title}" if hidden else cohort.title
    return words


def _numbers(cohorts: Mapping[str, CohortConfig], metrics: Mapping[str, float]) -> dict[str, float]:
    """The numbers by key of the set instead of its name."""
    keys = {cohort.name: key for key, cohort in cohorts.items()}
    numbers = {}
    for name, value in metrics.items():
        cohort, slash, metric = name.partition("/")
        numbers[f"{keys[cohort]}/{metric}" if slash and cohort in keys else name] = value
    return numbers


def _columns(first: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """These columns first, then the sets, then the numbers, each as first met."""
    names = dict.fromkeys(name for line in lines for name in line if name not in first)
    sets = [name for name in names if name.endswith(("/cohort", "/title"))]
    return [*first, *sets, *(name for name in names if name not in sets)]
