"""What MLflow is told of a cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from ...files import sha256_of_file, sha256_of_json
from ..records.origin import origin_of
from ..records.record import RunRecord
from ..records.record_files import CellConfig, Epoch
from ..records.running.live import LiveEpoch
from ..records.running.system import SystemSample, read_system
from .fold_result import identity_of
from .names import HISTORY, SYSTEM, told
from .tags import (
    ARCHIVE,
    CELL,
    DATA,
    FORBIDDEN,
    ORIGIN,
    PARAM_LENGTH,
    PARENT,
    RECIPE,
    RESULT,
    SPLITS,
    TAG_LENGTH,
)

#: Prefix of the parameters of a method's own.
_SETTINGS = "settings"
#: Parameter that says how large the network is; known once a cell has been trained.
_SIZE = "network.parameters"
#: Letters of a digest that MLflow takes.
_DIGEST_LENGTH = 36


@dataclass(frozen=True)
class Point:
    """A metric at one epoch."""

    key: str
    value: float
    step: int
    time: int


@dataclass(frozen=True)
class DataNote:
    """The data of a cell, as MLflow lists them among a run's inputs.

    Attributes:
        name: of the data source.
        digest: the first letters of the hash of the prepared volumes and the splits, as many as MLflow takes.
        source: data, splits and the whole hash, JSON.
        profile: the data sets by role, and the fold, JSON.
    """

    name: str
    digest: str
    source: str
    profile: str

    @classmethod
    def of(cls, config: CellConfig) -> DataNote:
        """What a cell's configuration says of its data."""
        source = {"data": config.data, "splits": config.splits, "fingerprint": config.fingerprint}
        sets = {role: {"name": cohort.name, "title": cohort.title} for role, cohort in config.cohorts.items()}
        profile = {"sets": sets, "modality": config.modality, "folds": config.folds}
        return cls(config.data, config.fingerprint[:_DIGEST_LENGTH], _json(source), _json(profile))


@dataclass(frozen=True)
class Report:
    """A cell as MLflow shows it; two equal reports have equal digests."""

    cell: str
    family: tuple[str, str, str]
    title: str
    parent_title: str
    note: str
    params: dict[str, str]
    points: tuple[Point, ...]
    tags: dict[str, str]
    texts: dict[str, str]
    files: tuple[Path, ...]
    data: DataNote
    start: int
    end: int

    @classmethod
    def begun(cls, record: RunRecord) -> Report:
        """What can be said of a cell before it has a number: what is run, where, and on which data.

        Raises:
            RecordError: a file is damaged.
        """
        config, environment = record.config, record.environment
        start = _milliseconds(environment.get("started"), record)
        return cls(
            cell=config.cell,
            family=config.family,
            title=f"{config.title} · fold {config.fold}",
            parent_title=_parent_title(config),
            note=_note(config),
            params=_params(config),
            points=(),
            tags={**_tags(config, environment), **_weights(record), **_origin(record)},
            texts={"preset.json": _preset_text(config)},
            files=(),
            data=DataNote.of(config),
            start=start,
            end=start,
        )

    @classmethod
    def of(cls, record: RunRecord) -> Report:
        """Read all of it from a finished run record."""
        begun, metrics = cls.begun(record), record.metrics
        train = int(1000 * metrics.get("seconds_train", 0.0))
        end = begun.start + train + int(1000 * metrics.get("seconds_score", 0.0))
        history = _history(record, begun.start, train)
        return replace(
            begun,
            params={**begun.params, **_size(metrics)},
            points=(*history, *_system(record), *_final(record, end)),
            tags={**begun.tags, **_lesion_free(record)},
            files=tuple(path for path in (record.folder / "scores.csv", record.figure) if path.exists()),
            end=end,
        )

    @cached_property
    def digest(self) -> str:
        """Hash of everything that is logged, except the checkpoint, which is logged by choice."""
        files = {path.name: sha256_of_file(path) for path in self.files}
        points = [[point.key, repr(point.value), point.step] for point in self.points]
        tags = {key: value for key, value in self.tags.items() if key not in (ORIGIN, ARCHIVE)}
        data = [self.data.name, self.data.digest, self.data.source, self.data.profile]
        content = [self.title, self.params, points, tags, self.texts, files, data]
        return sha256_of_json(content)


def _parent_title(config: CellConfig) -> str:
    seed = [f"seed {config.seed}"] if config.seed else []
    return " · ".join([config.title, f"{config.data_title}, {config.modality.upper()}", config.preset_title, *seed])


def _note(config: CellConfig) -> str:
    """The parent's description in MLflow, Markdown."""
    cohorts = ", ".join(cohort.title for cohort in config.cohorts.values())
    lines = [f"{config.title} on {config.data_title} ({cohorts}; {config.modality.upper()}), preset `{config.preset}`."]
    if config.departures:
        lines += ["", "Departures from the paper:", *(f"* {departure}" for departure in config.departures)]
    return "\n".join(lines)


def _params(config: CellConfig) -> dict[str, str]:
    """What determines the numbers of a cell but its fold; the settings of its method below `settings.`.

    MLflow's page *Compare* begins with the first three parameters of the alphabet in which runs differ. Those are
    method, size of the network and row, as the names of all that methods have for themselves come later.
    """
    words = {word: getattr(config, word) for word in ("method", "row", "modality", "seed")}
    plan = {_SETTINGS if section == "method" else section: values for section, values in config.plan.items()}
    flat = {**words, **_flatten(plan)}
    return {FORBIDDEN.sub("_", key): str(value)[:PARAM_LENGTH] for key, value in flat.items()}


def _size(metrics: Mapping[str, float]) -> dict[str, str]:
    return {_SIZE: f"{metrics['parameters']:.0f}"} if "parameters" in metrics else {}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys: `{"train": {"epochs": 3}}` is `train.epochs = 3`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _tags(config: CellConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Short names are for people who filter in MLflow's UI; by `uadbench.*` this module finds its runs again."""
    words = ("method", "row", "title", "fold", "data", "data_title", "modality", "splits", "preset", "seed")
    tags = {word: getattr(config, word) for word in words}
    tags |= {f"env.{FORBIDDEN.sub('_', key)}": value for key, value in environment.items()}
    tags |= {"changed": " ".join(config.changed), "phantom": _phantom(config), PARENT: _parent_title(config)}
    tags |= {CELL: config.cell, RECIPE: config.recipe, DATA: config.data, SPLITS: config.splits}
    tags |= {RESULT: json.dumps(identity_of(config, environment), sort_keys=True)}
    tags |= {"mlflow.source.name": "bench", "mlflow.source.git.commit": environment.get("commit", "")}
    return {key: str(value)[:TAG_LENGTH] for key, value in tags.items() if value != ""}


def _weights(record: RunRecord) -> dict[str, str]:
    """Whose training these weights come from, where they were taken over."""
    donor = record.state.weights_from
    return {"weights_from": donor} if donor else {}


def _origin(record: RunRecord) -> dict[str, str]:
    """Who computed the cell, where that was elsewhere."""
    found = origin_of(record)
    return {} if found is None else {ORIGIN: found.who[:TAG_LENGTH], ARCHIVE: found.sha256[:TAG_LENGTH]}


def _lesion_free(record: RunRecord) -> dict[str, str]:
    """The test scans that have no lesion in view, by name, where there are any."""
    names = [f"{score.cohort}: {score.subject}" for score in record.scores() if score.note]
    return {"lesion_free": "; ".join(names)[:TAG_LENGTH]} if names else {}


def _phantom(config: CellConfig) -> str:
    """Whether the data sets are the embedded phantom: "yes", "no" or "partly"."""
    simulated = [cohort.is_phantom for cohort in config.cohorts.values()]
    if all(simulated):
        return "yes"
    return "partly" if any(simulated) else "no"


def _history(record: RunRecord, start: int, milliseconds: int) -> Iterator[Point]:
    """Metrics by epoch; their times are spread evenly over the training, the record keeps none."""
    history = record.history()
    for count, epoch in enumerate(history, start=1):
        time = start + milliseconds * count // len(history)
        yield from epoch_points(epoch, time)


def epoch_points(epoch: Epoch | LiveEpoch, time: int) -> Iterator[Point]:
    """The curves at one validation.

    Args:
        epoch: the validation.
        time: when it was, milliseconds since 1970.
    """
    for key in HISTORY:
        value = getattr(epoch, key)
        if value is not None:
            yield Point(key, float(value), int(epoch.epoch), time)


def _system(record: RunRecord) -> Iterator[Point]:
    """What the machine did, where the run was asked to watch it."""
    for number, sample in enumerate(read_system(record.folder)):
        yield from sample_points(sample, number)


def sample_points(sample: SystemSample, number: int) -> Iterator[Point]:
    """What the machine did at one moment.

    Args:
        sample: the moment.
        number: how many were before it.
    """
    for key, value in sample.values.items():
        yield Point(f"{SYSTEM}{key}", value, number, int(1000 * sample.time))


def _final(record: RunRecord, end: int) -> Iterator[Point]:
    """The cell's numbers and its thresholds, by the names that MLflow shows."""
    cohorts = {role: (cohort.name, cohort.title) for role, cohort in record.config.cohorts.items()}
    for key, value in told(record.metrics, cohorts).items():
        yield Point(key, float(value), 0, end)
    for role, pair in record.thresholds.items():
        yield Point(f"threshold/{role}/greedy", pair.greedy, 0, end)
        yield Point(f"threshold/{role}/greedy_dice", pair.greedy_dice, 0, end)
        yield Point(f"threshold/{role}/exact", pair.exact, 0, end)
        yield Point(f"threshold/{role}/exact_dice", pair.exact_dice, 0, end)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _preset_text(config: CellConfig) -> str:
    words = {"preset", "changed", "departures", "plan", "content", "fingerprint"}
    return json.dumps(config.model_dump(mode="json", include=words), indent=2, sort_keys=True) + "\n"


def _milliseconds(started: str | None, record: RunRecord) -> int:
    if started:
        return int(datetime.fromisoformat(started).timestamp() * 1000)
    return int((record.folder / "config.json").stat().st_mtime * 1000)
