"""The run record: a cell's folder on disk, and the truth about the run.

    <label>/
      config.json        what was run: recipe, row, preset, data, fold
      method.py          the method's text, where it is a file of the user's own
      environment.json   commit, machine, device, library versions
      origin.json        of a record that was imported: who computed it
      state.json         status and seconds spent; `weights_from`: the cell whose training was taken over
      checkpoints/       last.ckpt (resume), best.ckpt (lowest healthy validation loss)
      history.csv        a line a validation: epoch, step, train_loss, val_loss, learning_rate
      untrained.json     healthy l1 of the network before training
      score.npz          what the score learnt from healthy validation scans, where it learns
      maps/              validation maps, kept only until the thresholds are known
      thresholds.json    a lesion set each: greedy and exact threshold with their pooled validation Dice
      detection.json     how test volumes are measured beside the paper's numbers, see `detections.py`
      detections.csv, lesions.csv, froc.csv, histograms.csv
                         what was found in each, added when it is scored; a record of before they were has none
      scores.csv         a line a test volume, added when it is scored
      reconstructions/   of every volume that was scored, where `score.keep` says so
      metrics.json       the cell's numbers: means over test volumes
      figures/           reconstruction.png; until it is drawn, what it shows
      digests.json       written last: the cell's id, and the SHA-256 of every file that its numbers stand in
      reopened.json      the digests of a finished cell, while `bench score` adds to it; it counts meanwhile
      error.log          the traceback of what nobody had foreseen, where there was such an end
      attempts/          a file per attempt: where, when, how it ended; the last one's holder alone may write here

Every file is written whole or not at all, and the scores a line at a time, so that a run killed at any moment goes on
from what is there. A cell is finished when its digests are there and fit: a number that was changed by hand, a file
that was cut, a record copied under another cell's name do not count, and what is missing is computed again.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from pydantic import Field

from ..plan.cell_id import cell_id
from .attempts import LEASE, HeldError, check_free
from .claims import Claim, claimed
from .detections import DETECTION_FILES, DETECTION_VERSION, GROWING, HISTOGRAMS, DetectionFiles, files_of
from .fence import FencedFolder
from .record_files import (
    CellConfig,
    CellState,
    Digests,
    Epoch,
    RecordError,
    Status,
    ThresholdPair,
    VolumeScore,
    append_lines,
    file_digest,
    read_arrays,
    read_as,
    read_lines,
    sync,
    write_arrays,
    write_lines,
)

if TYPE_CHECKING:
    from ..plan.cell import Cell

#: Name of the number of scans among the arrays of a score; no attribute of a class is called so.
_SCANS = "number of scans"
CONFIG, ENVIRONMENT, STATE, DIGESTS = "config.json", "environment.json", "state.json", "digests.json"
ERROR_LOG = "error.log"
METRICS, THRESHOLDS, UNTRAINED = "metrics.json", "thresholds.json", "untrained.json"
SCORES, HISTORY, SCORE_STATE = "scores.csv", "history.csv", "score.npz"
BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"
METHOD, FIGURES, FIGURE = "method.py", "figures", "figures/reconstruction.png"
#: Of a record that was computed elsewhere, see `origin.py`.
ORIGIN = "origin.json"
#: The digests of a finished cell, while something is added to it.
REOPENED = "reopened.json"
#: What the digests speak of, as far as a cell has it. The state holds no number of the cell.
COVERED = (
    *(CONFIG, ENVIRONMENT, METRICS, THRESHOLDS, UNTRAINED, SCORES, HISTORY, SCORE_STATE, BEST),
    *DETECTION_FILES,
)
#: What takes long to read is compared when it is used; weights may be removed to make room, too.
_COMPARED_LATER = (BEST, HISTOGRAMS)
_ID_LENGTH = 12
_HEX = frozenset("0123456789abcdef")
_Numbers = dict[str, Annotated[float, Field(strict=True)]]


class RecordWarning(UserWarning):
    """A run record is left out, and why."""


class RunRecord:
    """Read and write side of a cell's folder.

    Whatever is read raises a `RecordError` where the file is damaged. Whatever is written goes through `fenced`: where
    another process runs the cell it raises a `HeldError` or, had this process held it before, a `LostClaimError`, and
    nothing is changed.

    Args:
        folder: the cell's folder; need not exist yet.
        claim: by which this process holds the cell, see `claimed`; without one, nobody may hold it while it is written.
    """

    def __init__(self, folder: Path, claim: Claim | None = None) -> None:
        self.folder = folder
        self.fenced = FencedFolder(folder, partial(check_free, folder) if claim is None else claim.check)
        self._claim = claim

    @property
    def config(self) -> CellConfig:
        """What was run.

        Raises:
            RecordError: the folder holds no record, or the file is damaged.
        """
        found: CellConfig | None = read_as(self.folder / CONFIG, CellConfig)
        if found is None:
            raise RecordError(f"{self.folder} holds no {CONFIG}, so it is no run record")
        return found

    @property
    def environment(self) -> dict[str, str]:
        """Where it was run; empty where unknown."""
        return read_as(self.folder / ENVIRONMENT, dict[str, str]) or {}

    @property
    def state(self) -> CellState:
        """Status and seconds spent."""
        return read_as(self.folder / STATE, CellState) or CellState()

    @property
    def done(self) -> bool:
        """True once nothing is left to do: every number of the cell is on disk, and nobody has changed one."""
        return (self.folder / DIGESTS).exists() and not self.problem()

    @property
    def counts(self) -> bool:
        """Whether every number of the cell is there, unchanged; something may be added to it just now."""
        return self.was_finished and not self.problem()

    @property
    def was_finished(self) -> bool:
        """Whether the cell was finished once; whether it still counts is another question."""
        return (self.folder / DIGESTS).exists() or self.is_reopened

    @property
    def is_reopened(self) -> bool:
        """Whether the cell was finished, and is open for something to be added."""
        return (self.folder / REOPENED).exists() and not (self.folder / DIGESTS).exists()

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of the files that a finished cell was finished with, by name; empty of one that never was."""
        found: Digests | None = read_as(self.folder / (REOPENED if self.is_reopened else DIGESTS), Digests)
        return {} if found is None else found.files

    @property
    def detection(self) -> DetectionFiles:
        """What was found in each test volume, beside the paper's numbers."""
        return DetectionFiles(self.fenced)

    @property
    def detection_version(self) -> int:
        """Version of the rules by which the cell was finished with what was found in each test volume.

        0 where there is nothing of it, not all, or where it does not mean what it means today.
        """
        with suppress(RecordError):
            config, known = self.detection.config, self.digests
            if config is None or not known.keys() >= set(files_of(config.version)):
                return 0
            return config.version if file_digest(self.folder / HISTOGRAMS) == known[HISTOGRAMS] else 0
        return 0

    @property
    def has_detection(self) -> bool:
        """Whether the cell was finished with what was found in each test volume, measured by the rules of today."""
        return self.detection_version == DETECTION_VERSION

    @property
    def metrics(self) -> dict[str, float]:
        """The cell's numbers by name, e.g. "brats21/dice"; empty until done."""
        return read_as(self.folder / METRICS, _Numbers) or {}

    @property
    def thresholds(self) -> dict[str, ThresholdPair]:
        """Thresholds by key of a lesion set; empty until found."""
        return read_as(self.folder / THRESHOLDS, dict[str, ThresholdPair]) or {}

    @property
    def untrained(self) -> dict[str, float]:
        """The untrained network's healthy l1 (`l1`, `l1_brain`); empty where not measured."""
        return read_as(self.folder / UNTRAINED, _Numbers) or {}

    @property
    def score_state(self) -> tuple[int, dict[str, np.ndarray]]:
        """What the score learnt (see `Score.state`), and from how many scans so far."""
        path = self.folder / SCORE_STATE
        if not path.exists():
            return 0, {}
        state = read_arrays(path)
        if _SCANS not in state:
            raise RecordError(f"{path} is damaged: it lacks the {_SCANS}")
        return int(state.pop(_SCANS)), state

    @property
    def best_checkpoint(self) -> Path:
        """Weights with the lowest healthy validation loss."""
        return self.folder / BEST

    @property
    def last_checkpoint(self) -> Path:
        """Everything needed to resume the training."""
        return self.folder / LAST

    @property
    def method_file(self) -> Path:
        """The text of a method from the user's own file."""
        return self.folder / METHOD

    @property
    def figure(self) -> Path:
        """The reconstruction figure."""
        return self.folder / FIGURE

    def scores(self) -> tuple[VolumeScore, ...]:
        """Every test volume scored so far; a line that a kill has cut does not count."""
        return read_lines(self.folder / SCORES, VolumeScore, appended=True)

    def history(self) -> tuple[Epoch, ...]:
        """The training history so far."""
        return read_lines(self.folder / HISTORY, Epoch)

    def begin(self, config: CellConfig, environment: dict[str, str]) -> None:
        """Write what is run and where; a record begun before keeps its state."""
        self.fenced.remove(DIGESTS)
        self.fenced.remove(REOPENED)
        self.fenced.remove(ORIGIN)
        self.fenced.write_json(CONFIG, config.model_dump(mode="json"))
        self.fenced.write_json(ENVIRONMENT, environment)

    def set_state(self, status: Status, **values: Any) -> None:
        """Change the status; other values are merged into the state."""
        state = self.state.model_copy(update={**values, "status": status})
        self.fenced.write_json(STATE, state.model_dump(mode="json", exclude_none=True))

    def save_scores(self, scores: tuple[VolumeScore, ...]) -> None:
        """Replace the table of scores."""
        write_lines(self.fenced, SCORES, scores, VolumeScore)

    def add_score(self, score: VolumeScore) -> None:
        """Add a line to the table of scores."""
        append_lines(self.fenced, SCORES, [score], VolumeScore)

    def save_history(self, history: tuple[Epoch, ...]) -> None:
        """Replace the training history."""
        write_lines(self.fenced, HISTORY, history, Epoch)

    def save_thresholds(self, thresholds: dict[str, ThresholdPair]) -> None:
        """Write the thresholds of the lesion sets."""
        self.fenced.write_json(THRESHOLDS, {role: asdict(pair) for role, pair in thresholds.items()})

    def save_untrained(self, values: dict[str, float]) -> None:
        """Write the untrained network's healthy l1."""
        self.fenced.write_json(UNTRAINED, values)

    def save_score_state(self, scans: int, state: Mapping[str, np.ndarray]) -> None:
        """Write what the score learnt from so many scans."""
        write_arrays(self.fenced, SCORE_STATE, {**state, _SCANS: np.array(scans)})

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Write the cell's numbers."""
        self.fenced.write_json(METRICS, metrics)

    def finish(self, seconds: float) -> None:
        """Mark the cell as finished: every number is there, and nothing is written after the digests.

        Args:
            seconds: time spent on the cell in all.
        """
        self.set_state("done", seconds=seconds)
        self._write_digests(DIGESTS, {name: file_digest(self.folder / name) for name in COVERED if self._has(name)})

    def reopen(self) -> None:
        """Open a finished cell for what is found in its test volumes.

        What was there of that does not count any more, but for lines of an older version: they count until
        `forget_detection`, so that a cell to which nothing can be added keeps them. Whenever this is interrupted, the
        cell is finished or open, and counts.
        """
        if not 0 < self.detection_version < DETECTION_VERSION:
            self._write_digests(DIGESTS, self._without_detection())
            for name in DETECTION_FILES:
                self.fenced.remove(name)
        self.fenced.rename(DIGESTS, self.folder / REOPENED)

    def forget_detection(self) -> None:
        """Before what was found is measured anew: whatever there is of it does not count any more."""
        if self.is_reopened:
            self._write_digests(REOPENED, self._without_detection())

    def _without_detection(self) -> Mapping[str, str]:
        return {name: digest for name, digest in self.digests.items() if name not in DETECTION_FILES}

    def close(self, *, added: bool) -> None:
        """Finish a cell that was reopened; its numbers are those that it was finished with before.

        Args:
            added: what was found in the test volumes is there, whole.
        """
        there = [name for name in DETECTION_FILES if added and self._has(name)]  # all of them, or those of a version
        files = {name: file_digest(self.folder / name) for name in there}
        self._write_digests(REOPENED, {**self.digests, **files})
        self.fenced.rename(REOPENED, self.folder / DIGESTS)

    def _write_digests(self, name: str, files: Mapping[str, str]) -> None:
        for growing in GROWING:
            if growing in files:
                sync(self.folder / growing)
        self.fenced.write_json(name, Digests(cell=self.config.cell, files=dict(files)).model_dump())

    def _has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def problem(self) -> str:
        """Why a finished cell does not count any more, in words that follow its name; "" where it counts."""
        try:
            name = REOPENED if self.is_reopened else DIGESTS
            digests: Digests | None = read_as(self.folder / name, Digests)
            if digests is None:
                return "is not finished"
            return self._mismatch(digests, self.config)
        except RecordError as error:
            return f"is damaged: {error}"

    def _mismatch(self, digests: Digests, config: CellConfig) -> str:
        for name, digest in digests.files.items():
            if name not in COVERED:  # a path of a stranger's choice is not even looked at
                return f"is damaged: {DIGESTS} names {name[:80]!r}, which is no file of a record"
            if name in _COMPARED_LATER:
                continue
            if not (self.folder / name).exists():
                return f"is not whole: {name} is missing"
            if file_digest(self.folder / name) != digest:
                return f"is not whole: {name} was changed after the cell was finished"
        if digests.cell != config.cell or not self._is_own(config):
            return f"holds the files of another cell, {config.cell}"
        return ""

    def _is_own(self, config: CellConfig) -> bool:
        """Whether the config says what its id is the hash of, and the folder is called after it, if after any."""
        suffix = self.folder.name.rpartition("-")[2]
        is_label = len(suffix) == _ID_LENGTH and set(suffix) <= _HEX
        named = suffix == config.cell if is_label else True
        return named and cell_id(config.content, config.fold, config.fingerprint) == config.cell

    def check_weights(self) -> None:
        """See that the weights are those that the cell was finished with; of an open cell nothing is known yet.

        Raises:
            RecordError: they were changed.
        """
        known = self.digests.get(BEST)
        if known is not None and file_digest(self.best_checkpoint) != known:
            raise RecordError(
                f"{self.best_checkpoint} is not the file that the cell was finished with; move {self.folder} away and "
                "run the cell again"
            )

    def remove_leftovers(self) -> None:
        """Remove what killed processes left half-written; where somebody runs the cell, it is theirs to do."""
        with suppress(HeldError):
            self.fenced.shut_out()

    @contextmanager
    def claimed(self, environment: dict[str, str], lease: float = LEASE) -> Iterator[Self]:
        """Hold the cell for this process: the record that is given can write, whatever another process does meanwhile.

        What an earlier holder, killed or frozen, was writing is ended first.

        Args:
            environment: where it is run, see `describe_environment`; kept with the attempt.
            lease: seconds without a sign of life after which another process may take the cell over.

        Raises:
            HeldError: another process runs the cell.
            LostClaimError: another process took it over meanwhile.
            UserError: its folder cannot be written.
        """
        with claimed(self.folder, environment, lease) as claim:
            held = type(self)(self.folder, claim)
            held.fenced.shut_out(SCORES, *GROWING)
            yield held

    def raise_if_lost(self) -> None:
        """Raise where this process has lost the cell, as far as it is known; quick enough for every step.

        Raises:
            LostClaimError: another process took it over.
        """
        if self._claim is not None:
            self._claim.raise_if_lost()


def record_of(runs: Path, cell: Cell) -> RunRecord:
    """The record of a cell under the folder of runs."""
    return RunRecord(runs / cell.label)


def all_records(runs: Path) -> tuple[RunRecord, ...]:
    """Every record under the folder of runs, by name; one that does not say what it is costs a warning."""
    if not runs.is_dir():
        return ()
    found = (RunRecord(path.parent) for path in sorted(runs.glob(f"*/{CONFIG}")) if path.parent.suffix != ".broken")
    return tuple(record for record in found if _is_readable(record))


def finished(records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """Those that are finished; one that was, and is not whole any more, costs a warning."""
    whole = []
    for record in records:
        if not record.was_finished:
            continue
        problem = record.problem()
        if problem:
            warnings.warn(
                f"{record.folder} {problem}; it is left out, and `bench run` with its options makes it whole",
                RecordWarning,
                stacklevel=2,
            )
        else:
            whole.append(record)
    return tuple(whole)


def _is_readable(record: RunRecord) -> bool:
    try:
        record.config  # noqa: B018
    except RecordError as error:
        warnings.warn(f"a run record is left out: {error}", RecordWarning, stacklevel=3)
        return False
    return True
