"""A cell run: from nothing, or from wherever it was interrupted, to the cell's numbers.

    untrained control → training → thresholds on the lesion validation sets → scores on the test sets → metrics → figure

Each stage looks at the run record first and does only what is missing. The stages know nothing of MLflow.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ...datasets.cohort import HEALTHY, Cohort
from ...files import replacing
from ...methods import Detector
from ...out_of_memory import memory_watched
from ...own_files import own_file_of
from ..contract.labels import labels_hidden
from ..records.checkpoint import load_weights, save_weights
from ..records.record import RunRecord, record_of
from ..records.record_files import RecordError, ThresholdPair, VolumeScore, read_arrays, write_arrays
from ..records.reuse import find_donor, take_over
from .arithmetic import arithmetic
from .cell_metrics import cell_metrics, tested_volumes, untrained_metrics
from .environment import describe_environment
from .job import Job
from .memory import Halving, scoring_stage, training_stage
from .progress import Reporter
from .reading import make_reader
from .samples import Draw, figure_samples
from .scoring import Reader, find_thresholds, lesion_free_scans, score_healthy, score_lesions, truth_of
from .training import restore_history, train


def run_job(job: Job, runs: Path, device: str, reporter: Reporter, draw: Draw | None = None) -> RunRecord:
    """Run one cell to its end; a finished cell is left alone.

    Args:
        job: what to run.
        runs: the folder of run records.
        device: "cpu" or "cuda".
        reporter: where progress goes.
        draw: draws the cell's figure; None draws none.

    Raises:
        UserError: something the user can mend; what was computed is kept.
        KeyboardInterrupt: Ctrl-C; the same command goes on.
    """
    record = record_of(runs, job.cell)
    with record.lock(), arithmetic(job.plan.train, device):
        record.sweep()
        if not record.done:
            CellRun(job, record, device, reporter, Halving(job.cell.label, reporter.say), draw).run()
    return record


@dataclass(frozen=True)
class CellRun:
    """One cell on its way to its numbers; all that it has computed lies in the record.

    Attributes:
        job: what is run.
        record: the cell's folder, which this process holds.
        device: "cpu" or "cuda".
        reporter: where progress goes.
        halving: the batch size of reconstructions, which shrinks where memory runs out.
        draw: draws the cell's figure; None draws none.
    """

    job: Job
    record: RunRecord
    device: str
    reporter: Reporter
    halving: Halving
    draw: Draw | None

    def run(self) -> None:
        """Do what is missing, stage by stage."""
        started = time.monotonic()
        self._begin()
        detector = self.job.detector()
        with self._scoring("the untrained control"):
            self._measure_untrained(detector)
        with self._training(), labels_hidden(f"{type(detector).__name__}, training,"):
            self._learn(detector)
        with self._scoring("loading the weights"):
            reader = make_reader(self.job, detector, self.device, self.halving)
            val_loss = load_weights(self.record, detector)
        self.record.set_state("scoring")
        with self._scoring("learning the score"):
            self._learn_score(reader)
        with self._scoring("the search for thresholds"):
            thresholds = self._thresholds(reader)
        with self._scoring("the scoring"):
            scores = self._scores(reader, thresholds)
        with self._scoring("drawing the figure"):
            self._draw(reader, thresholds)
        self.record.save_metrics(cell_metrics(self.job, self.record, scores, detector, val_loss))
        self.record.finish(self.record.state.seconds + time.monotonic() - started)

    def _begin(self) -> None:
        """Put aside what is broken, write what is run and where, and take over weights that fit."""
        for sentence in self.record.put_aside_broken(self.job.cell):
            self.reporter.say(f"  warning: {sentence}")
        if self.record.state.trained and not self.record.history():
            restore_history(self.record)
        self.record.begin(self.job.config(), describe_environment(self.device))
        self._keep_source()
        self._reuse_weights()

    def _training(self) -> AbstractContextManager[None]:
        """Tell a lack of memory in what trains."""
        job = self.job
        return memory_watched(lambda: training_stage(job.cell.label, "the training", job.entry.method, job.plan))

    def _scoring(self, what: str) -> AbstractContextManager[None]:
        """Tell a lack of memory in what reconstructs."""
        return memory_watched(lambda: scoring_stage(self.job.cell.label, what, self.job.plan, self.halving))

    def _keep_source(self) -> None:
        """Keep the text of a method from the user's own file beside its numbers."""
        file = own_file_of(self.job.entry.method)
        if file is not None:
            with replacing(self.record.method_file) as path:
                path.write_bytes(file.text)

    def _reuse_weights(self) -> None:
        """Take over the weights of a cell that differs only in its scoring, so that nothing is trained twice."""
        if self.record.state.trained:
            return
        donor = find_donor(self.record.folder.parent, self.job.cell)
        if donor is not None:
            take_over(self.record, donor)
            words = f"not trained again, the weights are those of {self.record.state.weights_from}"
            self.reporter.say(f"  {self.job.cell.label}: {words}")

    def _measure_untrained(self, detector: Detector) -> None:
        """Healthy l1 of the initial weights: what a training must beat to have learned anything."""
        wanted = self.job.plan.score.untrained_control and self.job.entry.method.trainable
        if not wanted or self.record.untrained:
            return
        # the score has learnt nothing yet, and l1 needs none
        reader = replace(make_reader(self.job, detector, self.device, self.halving), score=None)
        subjects = self.job.test_scans(HEALTHY)
        with self.reporter.bar(f"untrained control {self.job.cell.label}", len(subjects)) as bar:
            scores = []
            for subject in subjects:
                scores.append(score_healthy(reader, self.job.data.healthy, subject))
                bar.advance()
        self.record.save_untrained(untrained_metrics(scores))
        detector.cpu().train()

    def _learn(self, detector: Detector) -> None:
        """Train, or go on training, unless the training is finished."""
        job, record = self.job, self.record
        if record.state.trained:
            return
        fold = job.data.splits.folds[job.fold]
        store = job.data.healthy.store
        record.set_state("training")
        if not record.last_checkpoint.exists():
            detector.absorb(torch.from_numpy(np.array(job.slab.of(store.volume(s))))[:, None] for s in fold.train)
        if job.entry.method.trainable:
            train(
                detector,
                store,
                job.slab,
                (fold.train, fold.val),
                job.plan.train,
                record,
                seed=job.fold_seed,
                device=self.device,
                reporter=self.reporter,
            )
        else:
            save_weights(record, detector.state_dict(), epoch=0, val_loss=0.0)
        record.set_state("training", trained=True)

    def _learn_score(self, reader: Reader) -> None:
        """Let a score learn from the fold's healthy validation scans; what it learnt is on disk after each."""
        if reader.score is None or not reader.score.learns:
            return
        done, state = self.record.score_state
        if state:
            reader.score.restore(state)
        subjects = self.job.data.splits.folds[self.job.fold].val
        with self.reporter.bar(f"learn {reader.score.info.name} {self.job.cell.label}", len(subjects), done) as bar:
            for number, subject in enumerate(subjects[done:], start=done + 1):
                reader.score.learn(reader.healthy_scan(self.job.data.healthy, subject))
                self.record.save_score_state(number, reader.score.state())
                bar.advance()

    def _thresholds(self, reader: Reader) -> dict[str, ThresholdPair]:
        """Thresholds of every lesion set, each from its validation volumes alone, lesion-free ones included."""
        job, found = self.job, self.record.thresholds
        for key, cohort in job.data.lesions.items():
            if key in found:
                continue
            subjects = job.data.splits.lesion[key].val
            lesion_free_scans(cohort, subjects, job.slab, job.plan.score, "validation")
            maps, truths = [], []
            with self.reporter.bar(f"threshold {cohort.title} {job.cell.label}", len(subjects)) as bar:
                for subject in subjects:
                    maps.append(self._kept_map(reader, cohort, subject))
                    truths.append(truth_of(cohort, subject, job.slab))
                    bar.advance()
            found[key] = find_thresholds(maps, truths, job.plan.score.threshold_steps)
            self.record.save_thresholds(found)
        shutil.rmtree(self.record.folder / "maps", ignore_errors=True)
        return found

    def _kept_map(self, reader: Reader, cohort: Cohort, subject: str) -> np.ndarray:
        """The score map of a validation volume, kept on disk until the threshold is known."""
        path = self.record.folder / "maps" / f"{cohort.name}-{subject}.npz"
        with suppress(RecordError, KeyError):  # one that is missing or damaged is made again
            return read_arrays(path)["score_map"]
        score_map = reader.read(cohort, subject).score_map
        write_arrays(path, {"score_map": score_map})
        return score_map

    def _scores(self, reader: Reader, thresholds: Mapping[str, ThresholdPair]) -> tuple[VolumeScore, ...]:
        """Scores of every test volume; each is on disk before the next is begun."""
        job = self.job
        for key, cohort in job.data.lesions.items():
            lesion_free_scans(cohort, job.test_scans(key), job.slab, job.plan.score, "test")
        scores = list(self.record.scores())
        known = {(score.cohort, score.subject) for score in scores}
        work = list(dict.fromkeys(tested_volumes(job)))
        missing = [(cohort, subject) for cohort, subject in work if (cohort.name, subject) not in known]
        with self.reporter.bar(f"score {job.cell.label}", len(work), len(work) - len(missing)) as bar:
            for cohort, subject in missing:
                if cohort.is_healthy:
                    scores.append(score_healthy(reader, cohort, subject))
                else:
                    scores.append(score_lesions(reader, cohort, subject, thresholds[cohort.key]))
                self.record.save_scores(tuple(scores))
                bar.advance()
        return tuple(scores)

    def _draw(self, reader: Reader, thresholds: Mapping[str, ThresholdPair]) -> None:
        """Draw the figure of reconstructions."""
        if self.draw is not None and not self.record.figure.exists():
            samples = figure_samples(self.job, reader, thresholds)
            self.draw(samples, self.record.figure, self.job.plan.score.min_voxels)
