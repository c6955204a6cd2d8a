"""The run record: a cell's folder on disk, and the truth about the run.

    <label>/
      config.json        what was run: recipe, row, preset, data, fold
      method.py          the method's text, where it is a file of the user's own
      environment.json   commit, machine, device, library versions
      state.json         status and seconds spent; `weights_from`: the cell whose training was taken over
      checkpoints/       last.ckpt (resume), best.ckpt (lowest healthy validation loss)
      history.csv        a line a validation: epoch, step, train_loss, val_loss, learning_rate
      untrained.json     healthy l1 of the network before training
      score.npz          what the score learnt from healthy validation scans, where it learns
      maps/              validation maps, kept only until the thresholds are known
      thresholds.json    a lesion set each: greedy and exact threshold with their pooled validation Dice
      scores.csv         a line a test volume
      metrics.json       the cell's numbers: means over test volumes
      figures/           reconstruction.png

Every file is written whole or not at all, so that a run killed at any moment goes on from what is there.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd

from ..datasets.atomic import locked
from .cell import Cell
from .errors import UserError
from .files import read_json, write_json, write_text, write_with

#: Name of the number of scans among the arrays of a score; no attribute of a class is called so.
_SCANS = "number of scans"

Status = Literal["new", "training", "scoring", "done", "failed"]


@dataclass(frozen=True)
class VolumeScore:
    """The scores of one test volume.

    Attributes:
        cohort: name of the data set.
        role: "healthy", "tumours" or "ms".
        subject: id of the subject.
        dice: Dice at the greedy threshold; None for a healthy volume.
        dice_exact: Dice at the exact optimum of the validation set; None for a healthy volume.
        auprc: average precision; None for a healthy volume.
        l1: mean |x - x_rec| over all voxels.
        l1_brain: the same inside the brain mask.
        lesion_ml: lesion volume in the scored slices, millilitres; None for a healthy volume.
        seconds: time of the reconstruction.
    """

    cohort: str
    role: str
    subject: str
    dice: float | None
    dice_exact: float | None
    auprc: float | None
    l1: float
    l1_brain: float
    lesion_ml: float | None
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """One line of the training history; the train loss is the mean since the last line."""

    epoch: int
    step: int
    train_loss: float
    val_loss: float
    learning_rate: float


@dataclass(frozen=True)
class ThresholdPair:
    """Both thresholds of one lesion set with the pooled validation Dice each reaches."""

    greedy: float
    greedy_dice: float
    exact: float
    exact_dice: float


_LineT = TypeVar("_LineT", VolumeScore, Epoch)


class RunRecord:
    """Read and write side of a cell's folder.

    Args:
        folder: the cell's folder; need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def config(self) -> dict[str, Any]:
        """What was run; empty where the folder holds no record."""
        return read_json(self.folder / "config.json") or {}

    @property
    def environment(self) -> dict[str, Any]:
        """Where it was run; empty where unknown."""
        return read_json(self.folder / "environment.json") or {}

    @property
    def state(self) -> dict[str, Any]:
        """Status and seconds spent."""
        return read_json(self.folder / "state.json") or {"status": "new"}

    @property
    def done(self) -> bool:
        """True once every number of the cell is on disk."""
        return bool(self.state["status"] == "done")

    @property
    def metrics(self) -> dict[str, float]:
        """The cell's numbers by name, e.g. "brats21/dice"; empty until done."""
        return read_json(self.folder / "metrics.json") or {}

    @property
    def thresholds(self) -> dict[str, ThresholdPair]:
        """Thresholds by lesion role; empty until found."""
        found = read_json(self.folder / "thresholds.json") or {}
        return {role: ThresholdPair(**pair) for role, pair in found.items()}

    @property
    def untrained(self) -> dict[str, float]:
        """The untrained network's healthy l1 (`l1`, `l1_brain`); empty where not measured."""
        return read_json(self.folder / "untrained.json") or {}

    @property
    def score_state(self) -> tuple[int, dict[str, np.ndarray]]:
        """What the score learnt (see `Score.state`), and from how many scans so far."""
        path = self.folder / "score.npz"
        if not path.exists():
            return 0, {}
        with np.load(path) as arrays:
            state = dict(arrays)
        return int(state.pop(_SCANS)), state

    @property
    def best_checkpoint(self) -> Path:
        """Weights with the lowest healthy validation loss."""
        return self.folder / "checkpoints" / "best.ckpt"

    @property
    def last_checkpoint(self) -> Path:
        """Everything needed to resume the training."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def method_file(self) -> Path:
        """The text of a method from the user's own file."""
        return self.folder / "method.py"

    @property
    def figure(self) -> Path:
        """The reconstruction figure."""
        return self.folder / "figures" / "reconstruction.png"

    def scores(self) -> tuple[VolumeScore, ...]:
        """Every test volume scored so far."""
        return self._lines("scores.csv", VolumeScore)

    def history(self) -> tuple[Epoch, ...]:
        """The training history so far."""
        return self._lines("history.csv", Epoch)

    def begin(self, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Write what is run and where; a record begun before keeps its state."""
        write_json(self.folder / "config.json", config)
        write_json(self.folder / "environment.json", environment)

    def set_state(self, status: Status, **values: Any) -> None:
        """Change the status; other values are merged into the state."""
        write_json(self.folder / "state.json", {**self.state, **values, "status": status})

    def save_scores(self, scores: tuple[VolumeScore, ...]) -> None:
        """Replace the table of scores."""
        self._save_lines("scores.csv", scores, VolumeScore)

    def save_history(self, history: tuple[Epoch, ...]) -> None:
        """Replace the training history."""
        self._save_lines("history.csv", history, Epoch)

    def save_thresholds(self, thresholds: dict[str, ThresholdPair]) -> None:
        """Write the thresholds of the lesion sets."""
        write_json(self.folder / "thresholds.json", {role: asdict(pair) for role, pair in thresholds.items()})

    def save_untrained(self, values: dict[str, float]) -> None:
        """Write the untrained network's healthy l1."""
        write_json(self.folder / "untrained.json", values)

    def save_score_state(self, scans: int, state: Mapping[str, np.ndarray]) -> None:
        """Write what the score learnt from so many scans."""
        arrays: dict[str, Any] = {**state, _SCANS: np.array(scans)}

        def save(path: Path) -> None:
            with path.open("wb") as handle:
                np.savez(handle, **arrays)

        write_with(self.folder / "score.npz", save)

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Write the cell's numbers."""
        write_json(self.folder / "metrics.json", metrics)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the cell for this process.

        Raises:
            UserError: another process runs the cell, or its folder cannot be written or locked.
        """
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.folder / ".lock", wait=False))
            except BlockingIOError as error:
                raise UserError(
                    f"another process is running the cell {self.folder}; wait for it or stop it, then try again"
                ) from error
            except OSError as error:
                reason = error.strerror or str(error)
                raise UserError(
                    f"cannot write and lock {self.folder}: {reason}; choose another --results, on a local disk"
                ) from error
            yield

    def _lines(self, name: str, kind: type[_LineT]) -> tuple[_LineT, ...]:
        path = self.folder / name
        if not path.exists():
            return ()
        table = pd.read_csv(path, dtype={"subject": str}).astype(object)
        table = table.where(table.notna(), None)
        return tuple(kind(**{str(key): value for key, value in line.items()}) for line in table.to_dict("records"))

    def _save_lines(self, name: str, lines: tuple[_LineT, ...], kind: type[_LineT]) -> None:
        table = pd.DataFrame([asdict(line) for line in lines], columns=[field.name for field in fields(kind)])
        text = io.StringIO()
        table.to_csv(text, index=False)
        write_text(self.folder / name, text.getvalue())


def record_of(runs: Path, cell: Cell) -> RunRecord:
    """The record of a cell under the folder of runs."""
    return RunRecord(runs / cell.label)


def all_records(runs: Path) -> tuple[RunRecord, ...]:
    """Every record under the folder of runs, by name."""
    if not runs.is_dir():
        return ()
    return tuple(RunRecord(path.parent) for path in sorted(runs.glob("*/config.json")))
