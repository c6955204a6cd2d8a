"""What a cell cost: seconds by stage, memory and arithmetic, in `cost.json` beside its numbers.

No number of the cell stands in this file. The digests do not speak of it, a damaged or a missing one is no cost at all,
and one that cannot be written stops nothing: a bill is worth no run.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from ...errors import WriteError
from .attempts import HeldError
from .claims import LostClaimError
from .record import RunRecord
from .record_files import Recorded, RecordError, read_as

COST = "cost.json"
#: Stages of a bill in the order in which they are shown; a method of the user's own may add others behind them.
STAGES = (
    "data",
    "noise",
    "step",
    "checkpoint",
    "validation",
    "reconstruct",
    "post-process",
    "metrics",
    "detection",
    "figure",
    "mlflow",
)
MLFLOW = "mlflow"
MemoryKind = Literal["GPU", "process"]


@dataclass(frozen=True)
class Arithmetic:
    """What is counted of a method, whatever the machine.

    Attributes:
        slice_gflop: GFLOP to reconstruct one slice.
        step_gflop: GFLOP of a training step; None where nothing is trained, or where a step cannot be counted.
    """

    slice_gflop: float
    step_gflop: float | None


class CellCost(Recorded):
    """The bill of a cell, all its sessions together.

    Attributes:
        recipe: id of the recipe, by which sister folds find what was counted.
        seconds: by stage; what other threads did stands beside the time of the main one, not within it.
        total: wall-clock seconds of the sessions, telling MLflow included; a session that was killed outright counts
            up to the last stage that it finished.
        sessions: how often the cell was begun or gone on with.
        peak_bytes: most memory at once.
        peak_of: what was measured: tensors allocated on the GPU, or the resident memory of the whole process, which may
            have run other cells before.
        slice_gflop: GFLOP to reconstruct one slice; None where they were not counted.
        step_gflop: GFLOP of a training step; None where nothing is trained, or where a step cannot be counted.
        gflop: GFLOP of training, validation and scoring in all, counted for a step and a slice and multiplied; a
            validation slice counts as a third of one in a step. None until the cell is finished.
    """

    recipe: str = ""
    seconds: dict[str, float] = Field(default_factory=dict)
    total: float = 0.0
    sessions: int = 0
    peak_bytes: int | None = None
    peak_of: MemoryKind | None = None
    slice_gflop: float | None = None
    step_gflop: float | None = None
    gflop: float | None = None

    @property
    def arithmetic(self) -> Arithmetic | None:
        """What was counted of the method; None where nothing was."""
        return None if self.slice_gflop is None else Arithmetic(self.slice_gflop, self.step_gflop)

    @property
    def unaccounted(self) -> float:
        """Seconds that no stage accounts for; 0 where stages of several threads passed at once."""
        return max(0.0, self.total - sum(self.seconds.values()))

    def plus(self, other: CellCost) -> CellCost:
        """The bill with a further session on it."""
        stages = {name: self.seconds.get(name, 0.0) + other.seconds.get(name, 0.0) for name in self.seconds}
        peaks = [one for one in (self, other) if one.peak_bytes is not None]
        highest = max(peaks, key=lambda one: (one.peak_of == "GPU", one.peak_bytes or 0), default=self)
        return CellCost(
            recipe=other.recipe or self.recipe,
            seconds={**other.seconds, **stages},
            total=self.total + other.total,
            sessions=self.sessions + other.sessions,
            peak_bytes=highest.peak_bytes,
            peak_of=highest.peak_of,
            slice_gflop=self.slice_gflop if other.slice_gflop is None else other.slice_gflop,
            step_gflop=self.step_gflop if other.step_gflop is None else other.step_gflop,
            gflop=self.gflop if other.gflop is None else other.gflop,
        )


def cost_of(record: RunRecord) -> CellCost | None:
    """A cell's bill; None where there is none, or where it is damaged."""
    try:
        found: CellCost | None = read_as(record.folder / COST, CellCost)
    except RecordError:
        return None
    return found


def save_cost(record: RunRecord, cost: CellCost) -> None:
    """Write a cell's bill, where it can be written."""
    with suppress(WriteError, HeldError, LostClaimError):
        record.fenced.write_json(COST, cost.model_dump(mode="json", exclude_none=True))


def counted_before(runs: Path, recipe: str) -> Arithmetic | None:
    """What a sister fold counted of the same recipe; None where none did."""
    for path in runs.glob(f"*/{COST}"):
        cost = cost_of(RunRecord(path.parent))
        if cost is not None and cost.recipe == recipe and cost.arithmetic is not None:
            return cost.arithmetic
    return None


def add_seconds(record: RunRecord, stage: str, seconds: float) -> None:
    """Add a stage to a cell's bill after its run, where there is a bill."""
    cost = cost_of(record)
    if cost is not None:
        save_cost(record, cost.plus(CellCost(seconds={stage: seconds}, total=seconds)))
