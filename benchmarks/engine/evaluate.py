"""The evaluation of a cell run: the score learns, thresholds are found on validation scans, test scans are scored.

Beside the scores stands what is found in each test scan (see `records.detections`); `add_detection` gives it to a cell
that was finished without.

The network goes from volume to volume without a pause: other threads do meanwhile what follows a reconstruction. Those
read lesion masks; the method's own thread may not (see `contract.labels`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from lightning.pytorch.utilities.seed import isolate_rng

from ...datasets.cohort import Cohort
from ...in_order import in_order
from ...methods import Detector
from ...stopwatch import spent
from ..records.checkpoint import load_weights
from ..records.detection_lines import Measured
from ..records.detections import DetectionConfig
from ..records.kept import keep
from ..records.record import FIGURE
from ..records.record_files import RecordError, ThresholdPair, VolumeScore, file_digest, read_arrays, write_arrays
from ..records.reuse import kept_reconstructions
from .cell_metrics import cell_metrics, tested_volumes
from .detection.config import belongs_to, detection_config, validation_sets
from .detection.lines import kept_lines
from .detection.measure import Measurer
from .reading import Reader, make_reader
from .run_context import CellRun
from .samples import Draw, KeptReadings, figure_samples, figure_volumes
from .scoring import (
    Inferred,
    Reading,
    find_thresholds,
    lesion_free_scans,
    score_healthy,
    score_lesions,
    truth_of,
)

#: Threads that measure while the network reconstructs, and volumes that may wait for them: some megabytes each.
_THREADS, _AHEAD = 2, 4
_MAPS = "maps"


@dataclass(frozen=True)
class _Seen:
    """A volume on its way from the network to its numbers."""

    cohort: Cohort
    subject: str
    inferred: Inferred

    @property
    def volume(self) -> tuple[str, str]:
        """Name of the cohort, subject."""
        return self.cohort.name, self.subject


def evaluate(run: CellRun, detector: Detector, draw: Draw | None) -> dict[str, float]:
    """The cell's numbers from its best weights; whatever the record holds already is not computed again.

    Raises:
        RecordError: the weights are missing or damaged.
        MemoryShortageError: memory ran out.
    """
    reader, val_loss = _reader(run, detector)
    run.record.set_state("scoring")
    thresholds, scores, kept = _evaluated(run, reader, draw)
    with run.scoring("drawing the figure"), spent("figure"):
        _draw(run, reader, kept, thresholds, draw)
    return cell_metrics(run.job, run.record, scores, detector, val_loss)


def add_detection(run: CellRun, detector: Detector) -> None:
    """Measure what is found in the test volumes of a cell that has its numbers; none of these is computed again.

    Raises:
        RecordError: the weights are missing or damaged; nothing was measured.
        MemoryShortageError: memory ran out.
    """
    reader, _ = _reader(run, detector)
    _evaluated(run, reader, None)


def _reader(run: CellRun, detector: Detector) -> tuple[Reader, float]:
    """A reader with the cell's best weights, and their validation loss."""
    with run.scoring("loading the weights"):
        reader = make_reader(run.job, detector, run.device, run.halving)
        val_loss = load_weights(run.record, detector)
        return replace(reader, kept=kept_reconstructions(run.record.folder.parent, run.job.cell)), val_loss


def _evaluated(
    run: CellRun, reader: Reader, draw: Draw | None
) -> tuple[dict[str, ThresholdPair], tuple[VolumeScore, ...], KeptReadings]:
    """Thresholds, scores of every test volume, and the readings that the figure shows."""
    with run.scoring("learning the score"):
        _learn_score(run, reader)
    stream = _Stream.of(run, reader, draw)
    with run.scoring("the search for thresholds"):
        thresholds = _thresholds(run, stream)
        config = _detection(run, stream, thresholds)
    with run.scoring("the scoring"):
        scores = _scores(run, stream, thresholds, Measurer(config, reader.slab, reader.settings))
    return thresholds, scores, stream.for_figure


@dataclass(frozen=True)
class _Stream:
    """Volumes that go through the network one by one, and through the rest beside it.

    Attributes:
        run: the cell.
        reader: with its weights.
        weights: SHA-256 of them where reconstructions are kept; "" where they are not.
        for_figure: where the readings that the figure shows are kept.
    """

    run: CellRun
    reader: Reader
    weights: str
    for_figure: KeptReadings

    @classmethod
    def of(cls, run: CellRun, reader: Reader, draw: Draw | None) -> _Stream:
        """The stream of a cell whose score has learnt what it learns."""
        keeps = run.job.plan.score.keep == "reconstructions"
        drawn = draw is not None and not run.record.figure.exists()
        return cls(
            run,
            reader,
            file_digest(run.record.best_checkpoint) if keeps else "",
            KeptReadings(run.record.fenced, figure_volumes(run.job) if drawn else ()),
        )

    @property
    def threads(self) -> int:
        """A score from elsewhere may not stand two calls at a time."""
        return _THREADS if self.reader.score is None else 1

    def seen(self, volumes: list[tuple[Cohort, str]]) -> Iterator[_Seen]:
        """Let the network see one volume after the other."""
        for cohort, subject in volumes:
            yield _Seen(cohort, subject, self.reader.infer(cohort, subject))

    def keep(self, seen: _Seen) -> None:
        """Keep the reconstructions, where `score.keep` says so and nobody has them."""
        if self.weights and not seen.inferred.was_kept:
            keep(self.run.record.fenced, self.weights, seen.cohort, seen.subject, seen.inferred.reconstructions)

    def write_map(self, seen: _Seen) -> None:
        """Keep the score map of a validation volume until the threshold is known."""
        self.keep(seen)
        score_map = self.reader.finish(seen.inferred).score_map
        write_arrays(self.run.record.fenced, _map_name(seen.cohort, seen.subject), {"score_map": score_map})

    def measure(self, seen: _Seen, work: _Work) -> tuple[VolumeScore | None, Measured | None]:
        """The scores of a test volume and what is found in it, each where it is not known yet."""
        self.keep(seen)
        cohort, subject = seen.cohort, seen.subject
        reading = self.reader.finish(seen.inferred)
        if self.for_figure.wants(cohort, subject):
            self.for_figure.write(cohort, subject, reading)
        with spent("metrics"):
            score = None if seen.volume in work.scored else self._score(seen, reading, work.thresholds)
        with spent("detection"):
            measured = None if seen.volume in work.measured else work.measurer.measure(cohort, subject, reading)
        return score, measured

    def _score(self, seen: _Seen, reading: Reading, thresholds: Mapping[str, ThresholdPair]) -> VolumeScore:
        cohort, subject = seen.cohort, seen.subject
        if cohort.is_healthy:
            return score_healthy(cohort, subject, seen.inferred)
        pair, settings = thresholds[cohort.key], self.reader.settings
        return score_lesions(cohort, subject, reading, pair, self.reader.slab, settings)


@dataclass(frozen=True)
class _Work:
    """What is to be done with test volumes.

    Attributes:
        thresholds: by key of a lesion set.
        measurer: measures what is found.
        scored: the volumes whose scores are on disk: name of the cohort, subject.
        measured: those of which is on disk what is found in them.
    """

    thresholds: Mapping[str, ThresholdPair]
    measurer: Measurer
    scored: Set[tuple[str, str]]
    measured: Set[tuple[str, str]]


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


def _thresholds(run: CellRun, stream: _Stream) -> dict[str, ThresholdPair]:
    """Thresholds of every lesion set, each from its validation volumes alone, lesion-free ones included."""
    job, found = run.job, run.record.thresholds
    for key, cohort in job.data.lesions.items():
        if key in found:
            continue
        subjects = job.data.splits.lesion[key].val
        lesion_free_scans(cohort, subjects, job.slab, job.plan.score, "validation")
        _write_maps(run, stream, cohort, subjects)
        with spent("metrics"):
            found[key] = find_thresholds(
                lambda c=cohort, names=subjects: (_read_map(run, c, name) for name in names),  # type: ignore[misc]
                lambda c=cohort, names=subjects: (truth_of(c, name, job.slab) for name in names),  # type: ignore[misc]
                job.plan.score.threshold_steps,
            )
        run.record.save_thresholds(found)
    return found


def _detection(run: CellRun, stream: _Stream, thresholds: Mapping[str, ThresholdPair]) -> DetectionConfig:
    """How test volumes are measured; needs the maps of all validation volumes, those of healthy ones too."""
    files = run.record.detection
    config = files.config
    if config is None or not belongs_to(config, thresholds):
        with isolate_rng():  # a method that draws from the global generators scores test volumes as it ever did
            for cohort, subjects in validation_sets(run.job):
                _write_maps(run, stream, cohort, subjects)
        with spent("detection"):
            config = detection_config(run.job, thresholds, partial(_read_map, run))
        run.record.forget_detection()
        files.begin(config)
    run.record.fenced.remove(_MAPS)
    return config


def _write_maps(run: CellRun, stream: _Stream, cohort: Cohort, subjects: tuple[str, ...]) -> None:
    """Write the score maps of validation volumes that are not on disk yet."""
    missing = [subject for subject in dict.fromkeys(subjects) if not _has_map(run, cohort, subject)]
    if not missing:
        return
    total = len(set(subjects))
    maps = in_order(
        stream.write_map,
        stream.seen([(cohort, subject) for subject in missing]),
        threads=stream.threads,
        ahead=_AHEAD,
    )
    title = f"threshold {cohort.title} {run.job.cell.label}"
    with run.reporter.bar(title, total, total - len(missing)) as bar, closing(maps):
        for _ in maps:
            bar.advance()


def _map_name(cohort: Cohort, subject: str) -> str:
    return f"{_MAPS}/{cohort.name}-{subject}.npz"


def _read_map(run: CellRun, cohort: Cohort, subject: str) -> np.ndarray:
    return read_arrays(run.record.folder / _map_name(cohort, subject))["score_map"]


def _has_map(run: CellRun, cohort: Cohort, subject: str) -> bool:
    """Whether the map is there; one that is damaged is made again."""
    try:
        _read_map(run, cohort, subject)
    except (RecordError, KeyError):
        return False
    return True


def _scores(
    run: CellRun, stream: _Stream, thresholds: Mapping[str, ThresholdPair], measurer: Measurer
) -> tuple[VolumeScore, ...]:
    """Scores of every test volume, each a line on disk as soon as it and those before it are there.

    The line of a volume's score is written last, so that whatever has one has all.
    """
    job, files = run.job, run.record.detection
    for key, cohort in job.data.lesions.items():
        lesion_free_scans(cohort, job.test_scans(key), job.slab, job.plan.score, "test")
    every = list(dict.fromkeys(tested_volumes(job)))
    scores = list(run.record.scores())
    known = frozenset((score.cohort, score.subject) for score in scores)
    work = _Work(thresholds, measurer, known, kept_lines(files, every))
    there = work.scored & work.measured
    missing = [(cohort, subject) for cohort, subject in every if (cohort.name, subject) not in there]
    measured = in_order(partial(stream.measure, work=work), stream.seen(missing), threads=stream.threads, ahead=_AHEAD)
    with run.reporter.bar(f"score {job.cell.label}", len(every), len(every) - len(missing)) as bar, closing(measured):
        for score, found in measured:
            if found is not None:
                files.add(found)
            if score is not None:
                run.record.add_score(score)
                scores.append(score)
            bar.advance()
    return tuple(scores)


def _draw(
    run: CellRun, reader: Reader, kept: KeptReadings, thresholds: Mapping[str, ThresholdPair], draw: Draw | None
) -> None:
    """Draw the figure of reconstructions, where somebody can, from what was reconstructed for the scores."""
    if draw is not None and not run.record.figure.exists():
        samples = figure_samples(run.job, reader, thresholds, kept)
        run.record.fenced.write_with(FIGURE, lambda path: draw(samples, path, run.job.plan.score.min_voxels))
    kept.remove()
