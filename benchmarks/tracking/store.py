"""MLflow is told from the run records, never the other way round.

    experiment "uadbench"   says in its description how it is laid out
      parent run    a (recipe, data, splits): parameters, mean and spread over folds, table and plots
        child run   a fold: parameters, metrics by epoch, test metrics by data set, thresholds, artifacts

The record on disk is the truth; this module repeats it. Every run is found again by its tags, and a child's tag
`uadbench.complete` (a hash of its content) is written last. So a sync that was killed at any moment is simply repeated:
a child without the tag is filled up where all that it holds is true, one that holds anything else, or has another hash,
is deleted and written anew, and one that is whole is left alone. A child that shows a running cell is one without the
tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..records.record import RunRecord
from .database import TrackingError, database_of, without_password
from .fold_result import SHOWN, FoldResult, newest_folds, over_folds
from .model import log_model
from .names import FOLDS_DONE, HISTORY, SPREAD, headline, numbers_of, told
from .pages.description import EXPERIMENT_TAGS
from .pages.view import VIEW_TAG, names_in, view_state
from .relocation import artifacts_beside
from .report import Point, Report
from .tags import (
    CELL,
    CHECKPOINT,
    COMPLETE,
    DATA,
    EXPERIMENT,
    KIND,
    MODEL,
    NAMES,
    NAMES_VERSION,
    NOTE,
    OF_A_FAMILY,
    ORIGIN,
    PARENT_ID,
    RECIPE,
    RESULT,
    SHOWN_OF,
    SPLITS,
)
from .writing import log, log_data


class Uploads(NamedTuple):
    """What MLflow gets beside the numbers.

    Attributes:
        checkpoint: the best weights.
        model: a model that `mlflow.pyfunc.load_model` reads.
    """

    checkpoint: bool = False
    model: bool = False


class ParentFile(NamedTuple):
    """An artifact of a parent.

    Attributes:
        name: its path below the parent's artifacts, e.g. "plots/training.png".
        content: its bytes, in the file's own format.
    """

    name: str
    content: bytes


class Store:
    """The experiment in an MLflow store.

    Args:
        client: MLflow's.
        uri: the store.
    """

    def __init__(self, client: Any, uri: str) -> None:
        self.client = client
        self._view = ""
        self.experiment = self._find_experiment(uri)

    def parent(self, report: Report) -> str:
        """The id of the parent run, made where there is none; of two that a race made the older stays."""
        tags = {KIND: "parent", **_family_tags(report.family)}
        found = self.runs(tags)
        usable = [run for run in found if run.data.tags.get(NAMES) == NAMES_VERSION]
        wanted = {word: report.tags[word] for word in OF_A_FAMILY if word in report.tags}
        wanted |= {NOTE: report.note, "mlflow.source.name": "bench", NAMES: NAMES_VERSION}
        if usable:
            run = usable[0]
        else:
            # The metrics of one that an earlier version wrote have other names, and MLflow cannot take them away.
            kept = _tags_of_users(found[0], {**wanted, **tags}) if found else {}
            run, wanted = self.create(report.parent_title, {**tags, **kept}, report.start), {**wanted, **kept}
        for other in found:
            if other.info.run_id != run.info.run_id:
                self.client.delete_run(other.info.run_id)
        known = run.data.tags
        log(
            self.client,
            run.info.run_id,
            params={key: value for key, value in report.params.items() if key not in run.data.params},
            tags={key: value for key, value in wanted.items() if key not in known},
        )
        if not run.inputs.dataset_inputs:
            log_data(self.client, run.info.run_id, report.data)
        return str(run.info.run_id)

    def child(self, report: Report, parent: str, record: RunRecord, uploads: Uploads) -> bool:
        """Write the child run of a cell unless it is there and whole; returns whether anything was written."""
        found = self.runs({KIND: "fold", CELL: report.cell})
        whole = [run for run in found if run.data.tags.get(COMPLETE) == report.digest]
        whole = whole or [run for run in found if _knows_more(run, report)]
        if whole:
            run_id, tags = whole[0].info.run_id, whole[0].data.tags
            if whole[0].info.status != "FINISHED":  # somebody who showed it live came a moment too late
                self.client.set_terminated(run_id, "FINISHED", end_time=report.end)
        else:
            run_id, tags = self._fill_or_write(found, report, parent), {PARENT_ID: parent}
        for run in found:
            if run.info.run_id != run_id:
                self.client.delete_run(run.info.run_id)
        if tags[PARENT_ID] != parent:
            self.client.set_tag(run_id, PARENT_ID, parent)
        # What an earlier run of the cell was given, its successor gets, too.
        had = {key for run in found for key in (CHECKPOINT, MODEL) if key in run.data.tags}
        uploads = Uploads(uploads.checkpoint or CHECKPOINT in had, uploads.model or MODEL in had)
        uploaded = self._upload(run_id, tags, record, uploads)
        return uploaded or not whole

    def summarise(self, family: tuple[str, str, str], parent: str) -> tuple[FoldResult, ...]:
        """Bring the parent's means, spreads and number of folds up to date; returns the folds behind them."""
        children = self.runs({KIND: "fold", **_family_tags(family)})
        for child in children:
            if child.data.tags.get(PARENT_ID) != parent:  # of one that lost a race, and is deleted
                self.client.set_tag(child.info.run_id, PARENT_ID, parent)
        results = newest_folds(_results_in(children))
        run = self.client.get_run(parent)
        now = int(datetime.now(UTC).timestamp() * 1000)
        known = run.data.metrics
        # Compared as text, so that a NaN equals itself and is not logged again and again.
        changed = [
            Point(key, value, 0, now) for key, value in _summary(results).items() if repr(known.get(key)) != repr(value)
        ]
        if changed or run.info.status != "FINISHED":
            log(self.client, parent, points=changed)
            end = max((_end(result) for result in results), default=run.info.start_time)
            self.client.set_terminated(parent, "FINISHED", end_time=end)
        if results:
            self._show(self.experiment, headline(results[-1].metrics, results[-1].cohorts))
        return tuple(results)

    def needs_files(self, parent: str, digest: str) -> bool:
        """Whether a parent's table and plots were made of something else."""
        return bool(self.client.get_run(parent).data.tags.get(SHOWN_OF) != digest)

    def show_files(self, parent: str, files: Sequence[ParentFile], digest: str, scratch: Path) -> None:
        """Log a parent's table and plots.

        Args:
            parent: its run id.
            files: the artifacts.
            digest: of what they were made of.
            scratch: an empty folder.
        """
        for file in files:
            path = scratch / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
        self.client.log_artifacts(parent, str(scratch))
        self.client.set_tag(parent, SHOWN_OF, digest)

    def results(self, tags: Mapping[str, str]) -> Iterator[FoldResult]:
        """The complete cells with these tags."""
        yield from _results_in(self.runs({KIND: "fold", **tags}))

    def run(self, run_id: str) -> Any:
        """A run, one that was deleted, too; None where there is no such run."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def told_of(self, run: Any) -> list[tuple[str, int, str]]:
        """Every point that a run holds: name, step and value as text, so that a NaN equals itself."""
        return [
            (key, int(point.step), repr(float(point.value)))
            for key in run.data.metrics
            for point in self.client.get_metric_history(run.info.run_id, key)
        ]

    def runs(self, tags: Mapping[str, str], more: str = "") -> list[Any]:
        """Every run with these tags, oldest first.

        Args:
            tags: names and values.
            more: a further condition of MLflow's query language.
        """
        words = [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
        query, found, token = " and ".join([*words, *([more] if more else [])]), [], None
        while True:
            page = self.client.search_runs([self.experiment], query, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))

    def create(self, title: str, tags: Mapping[str, str], start: int) -> Any:
        """Make a run.

        Args:
            title: its name.
            tags: its tags.
            start: when what it shows was begun, milliseconds since 1970.
        """
        return self.client.create_run(self.experiment, start_time=start, tags=dict(tags), run_name=title)

    def _fill_or_write(self, found: Sequence[Any], report: Report, parent: str) -> str:
        """The id of the child, whole: one that shows the running cell is gone on with where all that it holds is so."""
        for run in found:
            if COMPLETE not in run.data.tags and self._is_true(run, report):
                self._fill(run, report)
                return str(run.info.run_id)
        kept = _tags_of_users(found[0], report.tags) if found else {}
        run = self.create(report.title, {**report.tags, **kept, KIND: "fold", PARENT_ID: parent}, report.start)
        self._fill(run, report)
        return str(run.info.run_id)

    def _is_true(self, run: Any, report: Report) -> bool:
        """Whether a run holds nothing that the report does not say, and nothing twice."""
        there = self.told_of(run)
        said = {(point.key, point.step, repr(point.value)) for point in report.points}
        params = all(report.params.get(key) == value for key, value in run.data.params.items())
        return params and len(set(there)) == len(there) and said.issuperset(there)

    def _fill(self, run: Any, report: Report) -> None:
        """Write what a run lacks of a report, and say last that it is whole."""
        run_id = str(run.info.run_id)
        there = set(self.told_of(run))
        missing = [point for point in report.points if (point.key, point.step, repr(point.value)) not in there]
        known = run.data
        log(
            self.client,
            run_id,
            params={key: value for key, value in report.params.items() if key not in known.params},
            points=self._after_the_live_ones(run, missing),
            tags={key: value for key, value in report.tags.items() if known.tags.get(key) != value},
        )
        log_data(self.client, run_id, report.data)
        for name, text in report.texts.items():
            self.client.log_text(run_id, text, name)
        for path in report.files:
            self.client.log_artifact(run_id, str(path))
        self.client.set_terminated(run_id, "FINISHED", end_time=report.end)
        self.client.set_tag(run_id, COMPLETE, report.digest)

    def _after_the_live_ones(self, run: Any, points: Sequence[Point]) -> list[Point]:
        """The points of a curve behind those that were told live; the record does not know when they were made."""
        last: dict[str, int] = {}
        for key in {point.key for point in points}.intersection(run.data.metrics):
            last[key] = max(point.timestamp for point in self.client.get_metric_history(run.info.run_id, key))
        return [replace(point, time=max(point.time, last.get(point.key, 0))) for point in points]

    def _upload(self, run_id: str, tags: Mapping[str, str], record: RunRecord, uploads: Uploads) -> bool:
        """Upload weights and model where they are wanted and not there; returns whether anything was."""
        checkpoint = uploads.checkpoint and record.best_checkpoint.exists() and CHECKPOINT not in tags
        if checkpoint:
            self.client.log_artifact(run_id, str(record.best_checkpoint), "checkpoints")
            self.client.set_tag(run_id, CHECKPOINT, "yes")
        model = uploads.model and MODEL not in tags and log_model(self.client, run_id, record)
        if model:
            self.client.set_tag(run_id, MODEL, "yes")
        return checkpoint or model

    def _find_experiment(self, uri: str) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT) or self._make_experiment(uri)
        if experiment.lifecycle_stage == "deleted":
            number = experiment.experiment_id
            raise TrackingError(
                f"the experiment {EXPERIMENT} at {without_password(uri)} was deleted; bring it back "
                f"with `mlflow experiments restore -x {number}` or remove it with `mlflow gc`, then run `bench sync`"
            )
        number = str(experiment.experiment_id)
        for key, value in EXPERIMENT_TAGS.items():
            if key not in experiment.tags:
                self.client.set_experiment_tag(number, key, value)
        self._view = experiment.tags.get(VIEW_TAG, "")
        if not self._view:
            self._show(number, ())
        return number

    def _show(self, experiment: str, names: Iterable[str]) -> None:
        """Let the experiment's view show these metrics beside those that it shows already."""
        state = view_state([*names_in(self._view), *names])
        if state != self._view:
            self.client.set_experiment_tag(experiment, VIEW_TAG, state)
            self._view = state

    def _make_experiment(self, uri: str) -> Any:
        """Make the experiment, or find the one that somebody else has made meanwhile."""
        from mlflow.exceptions import MlflowException

        database = database_of(uri)
        place = None if database is None else artifacts_beside(database)
        try:
            self.client.create_experiment(EXPERIMENT, artifact_location=place)
        except MlflowException:
            if self.client.get_experiment_by_name(EXPERIMENT) is None:
                raise
        return self.client.get_experiment_by_name(EXPERIMENT)


def _results_in(runs: Iterable[Any]) -> Iterator[FoldResult]:
    """The complete cells among runs of folds."""
    for run in runs:
        if COMPLETE in run.data.tags:
            identity = json.loads(run.data.tags[RESULT])
            identity["cohorts"] = {role: tuple(pair) for role, pair in identity["cohorts"].items()}
            known = run.data.tags
            words: dict[str, Any] = {word: known.get(word, "") for word in SHOWN}
            words |= {"changes": known.get("changed", ""), "seed": int(known.get("seed", 0))}
            words |= {"modality": known.get("modality", "t2"), "commit": known.get("env.commit", "")}
            words |= {"origin": known.get(ORIGIN, "")}
            metrics = numbers_of(run.data.metrics)
            yield FoldResult(**identity, **words, metrics=metrics)


def _summary(results: Sequence[FoldResult]) -> dict[str, float]:
    """What a parent says of its folds: means by the names of the numbers, spreads below a prefix, once each."""
    cohorts = results[-1].cohorts if results else {}
    means, spreads = {}, {}
    for key in sorted({key for result in results for key in result.metrics}):
        values = [result.metrics[key] for result in results if key in result.metrics]
        means[key], std = over_folds(values)
        if len(values) > 1:
            spreads[key] = std
    spread = {f"{SPREAD}{key}": value for key, value in told(spreads, {}).items()}
    return {**told(means, cohorts), **spread, FOLDS_DONE: float(len(results))}


def _knows_more(run: Any, report: Report) -> bool:
    """Whether a whole run of this cell holds a number that the record has lost, such as its training curve."""
    if COMPLETE not in run.data.tags:
        return False
    said = {point.key: point.value for point in report.points}
    curves = set(HISTORY).intersection(run.data.metrics) - set(said)
    return bool(curves or set(numbers_of(run.data.metrics)) - set(numbers_of(said)))


def _tags_of_users(run: Any, ours: Mapping[str, str]) -> dict[str, str]:
    """The tags that somebody has put on a run by hand, which a run that takes its place keeps."""
    known = ("mlflow.", "uadbench.", "env.")
    return {
        key: value
        for key, value in run.data.tags.items()
        if (key == NOTE or not key.startswith(known)) and key not in ours
    }


def _quoted(value: str) -> str:
    """A word of MLflow's query language, which knows both quotation marks and no escape."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _end(result: FoldResult) -> int:
    """When a cell was finished, milliseconds: its start and the time it took."""
    seconds = result.metrics.get("seconds_train", 0.0) + result.metrics.get("seconds_score", 0.0)
    start = datetime.fromisoformat(result.started).timestamp() if result.started else 0.0
    return int(1000 * (start + seconds))


def _family_tags(family: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip((RECIPE, DATA, SPLITS), family, strict=True))
