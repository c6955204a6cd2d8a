"""The evaluation of a cell run: the score learns, thresholds are found on validation scans, test scans are scored."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress

import numpy as np

from ...datasets.cohort import Cohort
from ...methods import Detector
from ..records.checkpoint import load_weights
from ..records.record_files import RecordError, ThresholdPair, VolumeScore, read_arrays, write_arrays
from .cell_metrics import cell_metrics, tested_volumes
from .reading import make_reader
from .run_context import CellRun
from .samples import Draw, figure_samples
from .scoring import Reader, find_thresholds, lesion_free_scans, score_healthy, score_lesions, truth_of


def evaluate(run: CellRun, detector: Detector, draw: Draw | None) -> dict[str, float]:
    """The cell's numbers from its best weights; whatever the record holds already is not computed again.

    Raises:
        RecordError: the weights are missing or damaged.
        MemoryShortageError: memory ran out.
    """
    with run.scoring("loading the weights"):
        reader = make_reader(run.job, detector, run.device, run.halving)
        val_loss = load_weights(run.record, detector)
    run.record.set_state("scoring")
    with run.scoring("learning the score"):
        _learn_score(run, reader)
    with run.scoring("the search for thresholds"):
        thresholds = _thresholds(run, reader)
    with run.scoring("the scoring"):
        scores = _scores(run, reader, thresholds)
    with run.scoring("drawing the figure"):
        _draw(run, reader, thresholds, draw)
    return cell_metrics(run.job, run.record, scores, detector, val_loss)


def _learn_score(run: CellRun, reader: Reader) -> None:
    """Let a score learn from the fold's healthy validation scans; what it learnt is on disk after each."""
    if reader.score is None or not reader.score.learns:
        return
    done, state = run.record.score_state
    if state:
        reader.score.restore(state)
    subjects = run.job.data.splits.folds[run.job.fold].val
    with run.reporter.bar(f"learn {reader.score.info.name} {run.job.cell.label}", len(subjects), done) as bar:
        for number, subject in enumerate(subjects[done:], start=done + 1):
            reader.score.learn(reader.healthy_scan(run.job.data.healthy, subject))
            run.record.save_score_state(number, reader.score.state())
            bar.advance()


def _thresholds(run: CellRun, reader: Reader) -> dict[str, ThresholdPair]:
    """Thresholds of every lesion set, each from its validation volumes alone, lesion-free ones included."""
    job, found = run.job, run.record.thresholds
    for key, cohort in job.data.lesions.items():
        if key in found:
            continue
        subjects = job.data.splits.lesion[key].val
        lesion_free_scans(cohort, subjects, job.slab, job.plan.score, "validation")
        maps, truths = [], []
        with run.reporter.bar(f"threshold {cohort.title} {job.cell.label}", len(subjects)) as bar:
            for subject in subjects:
                maps.append(_kept_map(run, reader, cohort, subject))
                truths.append(truth_of(cohort, subject, job.slab))
                bar.advance()
        found[key] = find_thresholds(maps, truths, job.plan.score.threshold_steps)
        run.record.save_thresholds(found)
    shutil.rmtree(run.record.folder / "maps", ignore_errors=True)
    return found


def _kept_map(run: CellRun, reader: Reader, cohort: Cohort, subject: str) -> np.ndarray:
    """The score map of a validation volume, kept on disk until the threshold is known."""
    path = run.record.folder / "maps" / f"{cohort.name}-{subject}.npz"
    with suppress(RecordError, KeyError):  # one that is missing or damaged is made again
        return read_arrays(path)["score_map"]
    score_map = reader.read(cohort, subject).score_map
    write_arrays(path, {"score_map": score_map})
    return score_map


def _scores(run: CellRun, reader: Reader, thresholds: Mapping[str, ThresholdPair]) -> tuple[VolumeScore, ...]:
    """Scores of every test volume; each is on disk before the next is begun."""
    job = run.job
    for key, cohort in job.data.lesions.items():
        lesion_free_scans(cohort, job.test_scans(key), job.slab, job.plan.score, "test")
    scores = list(run.record.scores())
    known = {(score.cohort, score.subject) for score in scores}
    work = list(dict.fromkeys(tested_volumes(job)))
    missing = [(cohort, subject) for cohort, subject in work if (cohort.name, subject) not in known]
    with run.reporter.bar(f"score {job.cell.label}", len(work), len(work) - len(missing)) as bar:
        for cohort, subject in missing:
            if cohort.is_healthy:
                scores.append(score_healthy(reader, cohort, subject))
            else:
                scores.append(score_lesions(reader, cohort, subject, thresholds[cohort.key]))
            run.record.save_scores(tuple(scores))
            bar.advance()
    return tuple(scores)


def _draw(run: CellRun, reader: Reader, thresholds: Mapping[str, ThresholdPair], draw: Draw | None) -> None:
    """Draw the figure of reconstructions, where somebody can."""
    if draw is not None and not run.record.figure.exists():
        samples = figure_samples(run.job, reader, thresholds)
        draw(samples, run.record.figure, run.job.plan.score.min_voxels)
