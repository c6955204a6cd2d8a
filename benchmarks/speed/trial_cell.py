"""A whole cell on random volumes: where its seconds go on a machine that has no data.

The volumes are noise, so the numbers mean nothing; the time does: it trains the preset's network on as many volumes as
IXI has, validates, writes checkpoints, scores and post-processes, through the same code as any cell.

    python -m uadbench.benchmarks.speed.trial_cell --method maediff --preset paper --device cuda --out cell.json
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ...datasets.cohort import HEALTHY, Cohort, Data, Fold, Part, Splits, Subject
from ...datasets.modality import Modality
from ...datasets.scans.preparation import PreparedVolume
from ...datasets.store.build import build_store
from ...errors import UserError
from ...files import write_json
from ..engine.cell_run import run_job
from ..engine.environment import choose_device, describe_environment, settle_process
from ..engine.job import jobs_for
from ..engine.progress import SilentReporter
from ..plan.request import requested_preset
from ..plan.suite import select_rows
from ..records.cost import cost_of
from .gpu_day import run_program
from .memory import count_job

_LESIONS = "tumours"
_RADIUS = 0.4  # of the brain, in sides of a slice
_LESION = 0.125  # edge of the lesion, in sides of a slice


@dataclass(frozen=True)
class Size:
    """How many volumes a trial has.

    Attributes:
        train: healthy ones to train on.
        val: healthy ones to validate on.
        test: healthy ones, and ones with a lesion, to score.
        threshold: ones with a lesion to choose the threshold on.
    """

    train: int
    val: int
    test: int
    threshold: int


#: Training and validation as large as a fold of IXI; few volumes to score, since each costs the same.
IXI = Size(358, 44, 4, 2)
SMALL = Size(16, 2, 2, 1)


def random_data(folder: Path, size: Size, shape: tuple[int, int, int]) -> Data:
    """A healthy cohort and one with lesions, of noise inside a disc, prepared under a folder.

    Args:
        folder: where the volume stores go.
        size: how many volumes.
        shape: [D, H, W] of a volume.
    """
    counts = {HEALTHY: size.train + size.val + size.test, _LESIONS: size.threshold + size.test}
    cohorts = {key: _cohort(folder / key, key, count, shape) for key, count in counts.items()}
    healthy, ill = (cohorts[key].store.ids for key in (HEALTHY, _LESIONS))
    fold = Fold(healthy[: size.train], healthy[size.train : size.train + size.val])
    part = Part(ill[: size.threshold], ill[size.threshold :])
    splits = Splits("own", (fold,), healthy[size.train + size.val :], {_LESIONS: part})
    return Data("noise", "noise", cohorts[HEALTHY], {_LESIONS: cohorts[_LESIONS]}, splits)


def _cohort(folder: Path, key: str, count: int, shape: tuple[int, int, int]) -> Cohort:
    subjects = [Subject(f"{key}-{number}", None, None) for number in range(count)]
    prepare = partial(_noise, shape, key == _LESIONS)
    manifest = {"what": "noise", "shape": list(shape), "preparation": {"factor": 2}}
    store = build_store(folder, subjects, prepare, manifest, has_lesions=key == _LESIONS, jobs=1)
    return Cohort(f"noise-{key}", f"noise {key}", key, store, Modality.T2)


def _noise(shape: tuple[int, int, int], has_lesion: bool, subject: Subject) -> PreparedVolume:
    """Noise inside a disc, and a bright block in those that are ill; each subject has its own."""
    number = int(subject.id.rpartition("-")[2])
    _, height, width = shape
    y, x = np.ogrid[:height, :width]
    disc = np.hypot(y - height / 2, x - width / 2) < _RADIUS * min(height, width)
    mask = np.broadcast_to(disc, shape).copy()
    volume = np.where(mask, np.random.default_rng(number).random(shape, dtype=np.float32) / 2, np.float32(0))
    if not has_lesion:
        return PreparedVolume(volume, mask, None)
    edge = max(2, round(_LESION * height))
    lesion = np.zeros(shape, dtype=bool)
    lesion[:, height // 2 : height // 2 + edge, width // 2 : width // 2 + edge] = True
    volume[lesion] = 0.95
    return PreparedVolume(volume, mask, lesion)


def main(
    out: Annotated[Path, typer.Option("--out", help="The JSON file.")],
    method: Annotated[str, typer.Option("--method", help="A table row.")] = "maediff",
    preset: Annotated[str, typer.Option("--preset", help="A preset, or the path of one.")] = "paper",
    change: Annotated[list[str], typer.Option("--set", help="section.key=value; repeatable.")] = [],  # noqa: B006
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    small: Annotated[bool, typer.Option("--small", help="A few volumes instead of a fold of IXI.")] = False,
) -> None:
    """Run one cell on noise from its first step to its last number, and write its bill."""
    chosen = choose_device(device)
    settle_process()
    entries = select_rows([method])
    numbers = requested_preset(preset, change, entries)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = random_data(folder / "data", SMALL if small else IXI, numbers.preparation.shape)
        [job, *others] = jobs_for(entries, (0,), data, numbers, 0)
        if others:
            raise UserError(f"--method {method}: name one row, not {1 + len(others)}")
        record = run_job(job, folder / "runs", chosen, SilentReporter(), count=count_job)
        cost = cost_of(record)
        found = {
            "environment": describe_environment(chosen),
            "row": job.entry.row.name,
            "preset": numbers.name,
            "changes": list(numbers.changed),
            "epochs": job.plan.train.epochs,
            "cost": None if cost is None else cost.model_dump(mode="json", exclude_none=True),
        }
    write_json(out, found)


if __name__ == "__main__":
    run_program(main)
