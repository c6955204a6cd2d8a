"""The engine: runs a cell from nothing, or from wherever it was interrupted, to its numbers.

    untrained control → training → thresholds on the lesion validation sets → scores on the test sets → metrics → figure

Each stage looks at the run record first and does only what is missing. The stages know nothing of MLflow.
"""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch

from ...datasets.cohort import HEALTHY, Cohort, Data
from ...errors import UserError, shorten
from ...files import replacing
from ...methods import Detector
from ...metrics import dice, l1_error
from ...own_files import own_file_of
from ..contract.labels import labels_hidden
from ..figures.figures import Sample, reconstruction_figure
from ..plan.cell import Cell, Recipe
from ..plan.preset import Plan, Preset, build_detector, plan_for
from ..plan.suite import SuiteRow
from ..records.checkpoint import load_weights, save_weights
from ..records.record import RunRecord, record_of
from ..records.record_files import (
    CellConfig,
    CohortConfig,
    PreparedConfig,
    RecordError,
    ThresholdPair,
    VolumeScore,
    read_arrays,
    write_arrays,
)
from ..records.reuse import find_donor, take_over
from .arithmetic import arithmetic
from .environment import describe_environment
from .out_of_memory import Halving, memory_watched, scoring_stage, training_stage
from .progress import Reporter
from .scoring import (
    Reader,
    binarise,
    find_thresholds,
    lesion_free_scans,
    lesion_mask,
    score_healthy,
    score_lesions,
    score_of,
    scored_scans,
    truth_of,
)
from .slices import Slab
from .training import restore_history, train


@dataclass(frozen=True)
class Job:
    """A cell with everything needed to run it.

    Attributes:
        entry: the table row and its class.
        preset: where the numbers come from.
        plan: the numbers.
        data: the data source.
        fold: index of the fold.
        seed: the user's seed.
    """

    entry: SuiteRow
    preset: Preset
    plan: Plan
    data: Data
    fold: int
    seed: int

    @cached_property
    def cell(self) -> Cell:
        """The cell's identity."""
        recipe = Recipe.of(self.entry.method, self.plan, self.seed)
        return Cell(recipe, self.fold, self.data.name, self.data.fingerprint)

    @property
    def slab(self) -> Slab:
        """The slices that take part."""
        return Slab.central(self.data.healthy.store.shape[0], self.plan.data.slices)

    def test_scans(self, key: str) -> tuple[str, ...]:
        """The scans of a test set that are scored, see `scored_scans`."""
        splits = self.data.splits
        whole = splits.healthy_test if key == HEALTHY else splits.lesion[key].test
        return scored_scans(whole, self.plan.score.test_volumes)

    @property
    def fold_seed(self) -> int:
        """Seed of initialisation and slice choice; folds differ, so that their spread shows both kinds of chance."""
        return self.seed + 1000 * self.fold

    def detector(self) -> Detector:
        """A detector with the cell's own initial weights.

        Raises:
            UserError: numbers that do not fit together, e.g. patches that do not cover the image.
        """
        L.seed_everything(self.fold_seed, verbose=False)
        try:
            return build_detector(self.entry.method, self.plan)
        except ValueError as error:
            raise UserError(f"preset {self.preset.name}, row {self.entry.row.name}: {error}") from error

    def config(self) -> CellConfig:
        """What the run record and MLflow say about this cell."""
        cohorts = (self.data.healthy, *self.data.lesions.values())
        return CellConfig(
            cell=self.cell.id,
            recipe=self.cell.recipe.id,
            content=self.cell.recipe.content(),
            row=self.entry.row.name,
            title=self.entry.row.title,
            method=self.entry.method.info.name,
            control=self.entry.method.info.control,
            trainable=self.entry.method.trainable,
            preset=self.preset.name,
            changed=self.preset.changed,
            departures=self.preset.departures,
            data=self.data.name,
            data_title=self.data.title,
            cohorts={c.key: _cohort_config(c) for c in cohorts},
            fingerprint=self.data.fingerprint,
            splits=self.data.splits.name,
            fold=self.fold,
            folds=len(self.data.splits.folds),
            seed=self.seed,
            plan=self.plan.model_dump(mode="json", exclude_none=True),
        )


def _cohort_config(cohort: Cohort) -> CohortConfig:
    prepared = None if cohort.provenance is None else PreparedConfig(**asdict(cohort.provenance))
    return CohortConfig(name=cohort.name, title=cohort.title, prepared=prepared)


def jobs_for(entries: tuple[SuiteRow, ...], folds: tuple[int, ...], data: Data, preset: Preset, seed: int) -> list[Job]:
    """Every cell to run, each once, fold by fold within a row.

    Raises:
        UserError: a fold that the split does not have, or numbers that do not fit a method.
    """
    available = len(data.splits.folds)
    wrong = [str(fold) for fold in folds if not 0 <= fold < available]
    if wrong:
        raise UserError(f"{data.title} has folds 0 to {available - 1}; there is no fold {', '.join(wrong)}")
    jobs: dict[str, Job] = {}
    for entry in entries:
        plan = plan_for(preset, entry.method, entry.row, entry.score)
        for fold in folds:
            job = Job(entry, preset, plan, data, fold, seed)
            jobs.setdefault(job.cell.id, job)
    return list(jobs.values())


def check_lesions(job: Job) -> tuple[str, ...]:
    """Look at every lesion mask before anything is trained; sentences about scans without a lesion in view.

    Raises:
        UserError: an unhealthy scan has no lesion voxel in the slices that take part, and `score.lesion_free` is
            "refuse"; or no validation or test scan of a set has one.
    """
    settings = job.plan.score
    notes = []
    for key, cohort in job.data.lesions.items():
        val, test = job.data.splits.lesion[key].val, job.test_scans(key)
        free = lesion_free_scans(cohort, val, job.slab, settings, "validation")
        if free:
            notes.append(f"{_without(cohort, free, val, 'validation', job.slab)}; the threshold's pool keeps them")
        free = lesion_free_scans(cohort, test, job.slab, settings, "test")
        if free:
            notes.append(f"{_without(cohort, free, test, 'test', job.slab)}; score.lesion_free={settings.lesion_free}")
    return tuple(notes)


def _without(cohort: Cohort, free: tuple[str, ...], scans: tuple[str, ...], part: str, slab: Slab) -> str:
    place = f"without a lesion in slices {slab.start} to {slab.stop - 1}"
    return f"{cohort.title}: {len(free)} of {len(set(scans))} {part} scans {place}: {shorten(free)}"


def run_job(job: Job, runs: Path, device: str, reporter: Reporter) -> RunRecord:
    """Run one cell to its end; a finished cell is left alone.

    Args:
        job: what to run.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        reporter: where progress goes.

    Raises:
        UserError: something the user can mend; what was computed is kept.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    record = record_of(runs, job.cell)
    with record.lock(), arithmetic(job.plan.train, device):
        record.sweep()
        if record.done:
            return record
        started = time.monotonic()
        for sentence in record.put_aside_broken(job.cell):
            reporter.say(f"  warning: {sentence}")
        if record.state.trained and not record.history():
            restore_history(record)
        record.begin(job.config(), describe_environment(device))
        _keep_source(job, record)
        _reuse_weights(job, record, runs, reporter)
        halving = Halving(job.cell.label, reporter.say)
        detector = job.detector()
        with _scoring(job, "the untrained control", halving):
            _measure_untrained(job, detector, record, device, reporter, halving)
        with _training(job), labels_hidden(f"{type(detector).__name__}, training,"):
            _learn(job, detector, record, device, reporter)
        with _scoring(job, "loading the weights", halving):
            reader = _reader(job, detector, device, halving)
            val_loss = load_weights(record, detector)
        record.set_state("scoring")
        with _scoring(job, "learning the score", halving):
            _learn_score(job, reader, record, reporter)
        with _scoring(job, "the search for thresholds", halving):
            thresholds = _thresholds(job, reader, record, reporter)
        with _scoring(job, "the scoring", halving):
            scores = _scores(job, reader, record, thresholds, reporter)
        with _scoring(job, "drawing the figure", halving):
            _draw(job, reader, record, thresholds)
        record.save_metrics(_metrics(job, record, scores, detector, val_loss))
        record.finish(record.state.seconds + time.monotonic() - started)
    return record


def _training(job: Job) -> AbstractContextManager[None]:
    """Tell a lack of memory in what trains."""
    return memory_watched(lambda: training_stage(job.cell.label, "the training", job.entry.method, job.plan))


def _scoring(job: Job, what: str, halving: Halving) -> AbstractContextManager[None]:
    """Tell a lack of memory in what reconstructs."""
    return memory_watched(lambda: scoring_stage(job.cell.label, what, job.plan, halving))


def reader_of(job: Job, record: RunRecord, device: str) -> Reader:
    """A reader with the trained weights of a finished cell."""
    detector = job.detector()
    load_weights(record, detector)
    reader = _reader(job, detector, device)
    _, state = record.score_state
    if reader.score is not None and state:
        reader.score.restore(state)
    return reader


def _reader(job: Job, detector: Detector, device: str, halving: Halving | None = None) -> Reader:
    detector, halving = detector.to(device).eval(), halving or Halving()
    return Reader(detector, job.slab, job.plan.score, job.plan.train.precision, job.seed, score_of(job.plan), halving)


def _keep_source(job: Job, record: RunRecord) -> None:
    """Keep the text of a method from the user's own file beside its numbers."""
    file = own_file_of(job.entry.method)
    if file is not None:
        with replacing(record.method_file) as path:
            path.write_bytes(file.text)


def _reuse_weights(job: Job, record: RunRecord, runs: Path, reporter: Reporter) -> None:
    """Take over the weights of a cell that differs only in its scoring, so that nothing is trained twice."""
    if record.state.trained:
        return
    donor = find_donor(runs, job.cell)
    if donor is not None:
        take_over(record, donor)
        reporter.say(f"  {job.cell.label}: not trained again, the weights are those of {record.state.weights_from}")


def _learn_score(job: Job, reader: Reader, record: RunRecord, reporter: Reporter) -> None:
    """Let a score learn from the fold's healthy validation scans; what it learnt is on disk after each."""
    if reader.score is None or not reader.score.learns:
        return
    done, state = record.score_state
    if state:
        reader.score.restore(state)
    subjects = job.data.splits.folds[job.fold].val
    with reporter.bar(f"learn {reader.score.info.name} {job.cell.label}", len(subjects), done) as bar:
        for number, subject in enumerate(subjects[done:], start=done + 1):
            reader.score.learn(reader.healthy_scan(job.data.healthy, subject))
            record.save_score_state(number, reader.score.state())
            bar.advance()


def _measure_untrained(
    job: Job, detector: Detector, record: RunRecord, device: str, reporter: Reporter, halving: Halving
) -> None:
    """Healthy l1 of the initial weights: what a training must beat to have learned anything."""
    wanted = job.plan.score.untrained_control and job.entry.method.trainable
    if not wanted or record.untrained:
        return
    # the score has learnt nothing yet, and l1 needs none
    reader = replace(_reader(job, detector, device, halving), score=None)
    subjects = job.test_scans(HEALTHY)
    with reporter.bar(f"untrained control {job.cell.label}", len(subjects)) as bar:
        scores = []
        for subject in subjects:
            scores.append(score_healthy(reader, job.data.healthy, subject))
            bar.advance()
    record.save_untrained({"l1": _mean(s.l1 for s in scores), "l1_brain": _mean(s.l1_brain for s in scores)})
    detector.cpu().train()


def _learn(job: Job, detector: Detector, record: RunRecord, device: str, reporter: Reporter) -> None:
    """Train, or go on training, unless the training is finished."""
    if record.state.trained:
        return
    fold = job.data.splits.folds[job.fold]
    store = job.data.healthy.store
    record.set_state("training")
    if not record.last_checkpoint.exists():
        detector.absorb(torch.from_numpy(np.array(job.slab.of(store.volume(s))))[:, None] for s in fold.train)
    if job.entry.method.trainable:
        parts = (fold.train, fold.val)
        settings = job.plan.train
        train(detector, store, job.slab, parts, settings, record, seed=job.fold_seed, device=device, reporter=reporter)
    else:
        save_weights(record, detector.state_dict(), epoch=0, val_loss=0.0)
    record.set_state("training", trained=True)


def _thresholds(job: Job, reader: Reader, record: RunRecord, reporter: Reporter) -> dict[str, ThresholdPair]:
    """Thresholds of every lesion set, each from its validation volumes alone, those without a lesion in view too."""
    found = record.thresholds
    for key, cohort in job.data.lesions.items():
        if key in found:
            continue
        subjects = job.data.splits.lesion[key].val
        lesion_free_scans(cohort, subjects, job.slab, job.plan.score, "validation")
        maps, truths = [], []
        with reporter.bar(f"threshold {cohort.title} {job.cell.label}", len(subjects)) as bar:
            for subject in subjects:
                maps.append(_kept_map(reader, cohort, subject, record))
                truths.append(truth_of(cohort, subject, job.slab))
                bar.advance()
        found[key] = find_thresholds(maps, truths, job.plan.score.threshold_steps)
        record.save_thresholds(found)
    shutil.rmtree(record.folder / "maps", ignore_errors=True)
    return found


def _kept_map(reader: Reader, cohort: Cohort, subject: str, record: RunRecord) -> np.ndarray:
    """The score map of a validation volume, kept on disk until the threshold is known."""
    path = record.folder / "maps" / f"{cohort.name}-{subject}.npz"
    with suppress(RecordError, KeyError):  # one that is missing or damaged is made again
        return read_arrays(path)["score_map"]
    score_map = reader.read(cohort, subject).score_map
    write_arrays(path, {"score_map": score_map})
    return score_map


def _scores(
    job: Job, reader: Reader, record: RunRecord, thresholds: dict[str, ThresholdPair], reporter: Reporter
) -> tuple[VolumeScore, ...]:
    """Scores of every test volume; each is on disk before the next is begun."""
    for key, cohort in job.data.lesions.items():
        lesion_free_scans(cohort, job.test_scans(key), job.slab, job.plan.score, "test")
    scores = list(record.scores())
    known = {(score.cohort, score.subject) for score in scores}
    work = list(dict.fromkeys(_test_volumes(job)))
    missing = [(cohort, subject) for cohort, subject in work if (cohort.name, subject) not in known]
    with reporter.bar(f"score {job.cell.label}", len(work), len(work) - len(missing)) as bar:
        for cohort, subject in missing:
            if cohort.is_healthy:
                scores.append(score_healthy(reader, cohort, subject))
            else:
                scores.append(score_lesions(reader, cohort, subject, thresholds[cohort.key]))
            record.save_scores(tuple(scores))
            bar.advance()
    return tuple(scores)


def _metrics(
    job: Job, record: RunRecord, scores: tuple[VolumeScore, ...], detector: Detector, val_loss: float
) -> dict[str, float]:
    """The cell's numbers: means over test volumes, by data set.

    A scan that stands twice in a published test list counts twice, as published.
    """
    by_volume = {(score.cohort, score.subject): score for score in scores}
    tested = [by_volume[cohort.name, subject] for cohort, subject in _test_volumes(job)]
    result = {
        "parameters": float(sum(weight.numel() for weight in detector.parameters())),
        "seconds_score": sum(score.seconds for score in scores),
    }
    if job.entry.method.trainable:
        result["val_loss"] = val_loss
        result["seconds_train"] = record.state.seconds_train
    if record.untrained:
        result[f"{job.data.healthy.name}/l1_untrained"] = record.untrained["l1"]
    for cohort in (job.data.healthy, *job.data.lesions.values()):
        own = [score for score in tested if score.cohort == cohort.name]
        names = ("l1", "l1_brain") if cohort.is_healthy else ("dice", "dice_exact", "auprc")
        result |= {f"{cohort.name}/{name}": _mean_of(own, name) for name in names}
        result |= {f"{cohort.name}/{name}": float(count) for name, count in _counts(job, cohort, own).items()}
    return result


def _counts(job: Job, cohort: Cohort, scores: Sequence[VolumeScore]) -> dict[str, int]:
    """How many scans stand behind a set's numbers, how many its test list has, and how many show no lesion."""
    splits = job.data.splits
    healthy = cohort.is_healthy
    whole = splits.healthy_test if healthy else splits.lesion[cohort.key].test
    counts = {"scans_scored": len({score.subject for score in scores}), "scans_in_test": len(set(whole))}
    return counts if healthy else {**counts, "scans_lesion_free": len({s.subject for s in scores if not s.lesion_ml})}


def _test_volumes(job: Job) -> list[tuple[Cohort, str]]:
    cohorts = (job.data.healthy, *job.data.lesions.values())
    return [(cohort, subject) for cohort in cohorts for subject in job.test_scans(cohort.key)]


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _mean_of(scores: Sequence[VolumeScore], name: str) -> float:
    """Mean of the scores that there are: a volume without a lesion may have none."""
    values = [getattr(score, name) for score in scores]
    return _mean(value for value in values if value is not None)


def _draw(job: Job, reader: Reader, record: RunRecord, thresholds: dict[str, ThresholdPair]) -> None:
    """Draw the reconstruction figure, where matplotlib is installed: a bare GPU node has none."""
    if record.figure.exists() or importlib.util.find_spec("matplotlib") is None:
        return
    samples = figure_samples(job, reader, thresholds)
    reconstruction_figure(samples, record.figure, min_voxels=job.plan.score.min_voxels)


def figure_samples(job: Job, reader: Reader, thresholds: dict[str, ThresholdPair]) -> list[Sample]:
    """What figures show: the first test volume of each set that shows a lesion, chosen by no score."""
    chosen = [(cohort, _first_with_lesion(job, cohort)) for cohort in job.data.lesions.values()]
    chosen.append((job.data.healthy, job.test_scans(HEALTHY)[0]))
    return [_sample(job, reader, cohort, subject, thresholds) for cohort, subject in chosen]


def _first_with_lesion(job: Job, cohort: Cohort) -> str:
    return next(s for s in job.test_scans(cohort.key) if lesion_mask(cohort, s, job.slab).any())


def _sample(job: Job, reader: Reader, cohort: Cohort, subject: str, thresholds: dict[str, ThresholdPair]) -> Sample:
    reading = reader.read(cohort, subject)
    pair = thresholds.get(cohort.key)
    truth = None if cohort.is_healthy else truth_of(cohort, subject, job.slab)
    if truth is None or pair is None:
        error = l1_error(reading.original, reading.reconstruction)
        words = f"l1 {error * 1e3:.1f}e-3"
    else:
        found = binarise(reading.score_map, pair.greedy, job.plan.score)
        words = f"Dice {dice(truth.counted(found), truth.counted(truth.lesions)) * 100:.1f} %"
    return Sample(
        title=f"{cohort.title}\n{subject}\n{words}",
        original=reading.original,
        reconstruction=reading.reconstruction,
        score_map=reading.score_map,
        truth=None if truth is None else truth.lesions,
        threshold=None if pair is None else pair.greedy,
    )
