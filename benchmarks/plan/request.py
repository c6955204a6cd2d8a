"""A request: methods, numbers, data, folds and a seed in the words of the command line, and the reading of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from ...datasets.cohort import Data
from ...datasets.modality import Modality
from ...errors import UserError
from .plan import brought_sections, check_changes, plan_for
from .preset import Preset, load_preset
from .suite import SuiteRow, select_rows, with_score

#: The executors of this package, one module each, and the group by which installed packages bring others.
EXECUTORS = ("here", "processes", "ray", "slurm")
EXECUTOR_ENTRY_POINTS = "uadbench.executors"


@dataclass(frozen=True)
class Where:
    """Where cells run, in the words of the command line; 0, None and "" leave it to the executor.

    Attributes:
        on: an executor's name, or an address that begins with it and "://".
        jobs: cells at a time on this machine.
        cells_per_gpu: cells that share a card of this machine.
        gpus_per_cell: cards of a cell; a fraction lets several share one.
        cpus_per_cell: cores of a cell.
        parallel: cells of a queue at a time.
        slurm: options of SLURM jobs, "partition=gpu,time=12:00:00".
        scratch: a folder on a disk of each machine, to which volume stores are copied.
    """

    on: str = "processes"
    jobs: int = 0
    cells_per_gpu: int = 0
    gpus_per_cell: float | None = None
    cpus_per_cell: int = 0
    parallel: int = 0
    slurm: str = ""
    scratch: Path | None = None

    @property
    def name(self) -> str:
        """The executor's name."""
        return self.on.partition("://")[0]

    def require_known(self) -> None:
        """See that there may be such an executor, without importing any.

        Raises:
            UserError: there is none.
        """
        if self.name not in EXECUTORS and not entry_points(group=EXECUTOR_ENTRY_POINTS):
            raise UserError(f"--on {self.on}: choose {', '.join(EXECUTORS)}")

    @property
    def is_here(self) -> bool:
        """Whether everything is done in this process, the preparation of volumes too."""
        return self.on == "here"


@dataclass(frozen=True)
class Request:
    """What somebody wants, in the words of the command line.

    Attributes:
        methods: rows, suites, "all", or FILE.py:CLASS.
        scores: scores that take the place of the methods' own, each making a row of its own; none keeps them.
        folds: "all", or indices such as "0,2".
        data: "phantom", or a directory of prepared scans.
        data_sets: files of the user's own that describe data sets.
        modality: the contrast of the scans.
        preset: name, or path of a .toml file.
        changes: `section.key=value`.
        seed: of initialisation, slice choice and noise.
        device: "auto", "cpu" or "cuda".
        splits: "published", "deleaked" or "own"; None for the data's own choice.
        results: folder of runs, volume stores and the MLflow file.
        where: where cells run, see `Where`.
        train: False only scores again what is trained, and refuses what is not.
        with_checkpoint: whether MLflow gets the weights too.
        with_model: whether MLflow gets a model of each cell that `mlflow.pyfunc.load_model` reads.
        system_metrics: whether load and memory of the machine are noted while cells run.
    """

    methods: tuple[str, ...]
    scores: tuple[str, ...] = ()
    folds: str = "all"
    data: str = "phantom"
    data_sets: tuple[Path, ...] = ()
    modality: Modality = Modality.T2
    preset: str = "demo"
    changes: tuple[str, ...] = ()
    seed: int = 0
    device: str = "auto"
    splits: str | None = None
    results: Path = Path("results")
    where: Where = Where()
    train: bool = True
    with_checkpoint: bool = False
    with_model: bool = False
    system_metrics: bool = False


def requested_rows(methods: Sequence[str], scores: Sequence[str] = ()) -> tuple[SuiteRow, ...]:
    """The table rows that are asked for, each with each of the scores.

    Raises:
        UserError: there is no such row or score.
    """
    rows = select_rows(list(methods))
    return tuple(with_score(row, name) for row in rows for name in scores) if scores else rows


def requested_preset(name: str, changes: Sequence[str], rows: Sequence[SuiteRow] = (), *, alone: bool = True) -> Preset:
    """The preset with its changes, which may name numbers that the chosen methods bring along.

    Args:
        name: name or path.
        changes: `section.key=value`.
        rows: the rows that read it.
        alone: no other rows read it, so that a change that none of these reads is refused.

    Raises:
        UserError: no such preset, or a number will not do; it is said before data are prepared.
    """
    preset = load_preset(name, changes, brought_sections(row.card for row in rows))
    check_changes(preset, rows, alone=alone)
    for row in rows:
        plan_for(preset, row.card, row.row, row.score)
    return preset


def fold_numbers(word: str) -> tuple[int, ...] | None:
    """The folds that `--folds` names; None for all.

    Raises:
        UserError: the word is neither "all" nor indices, or one of them stands there twice.
    """
    if word == "all":
        return None
    parts = [part.strip() for part in word.split(",")]
    # Only these ten digits: int() also takes those of other scripts, signs and underscores.
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UserError(f"--folds {word}: write all, or indices such as 0,2")
    folds = [int(part) for part in parts]
    twice = [fold for fold in dict.fromkeys(folds) if folds.count(fold) > 1]
    if twice:
        raise UserError(f"--folds {word}: fold {twice[0]} stands there {folds.count(twice[0])} times; write it once")
    return tuple(folds)


def chosen_folds(folds: tuple[int, ...] | None, data: Data) -> tuple[int, ...]:
    """The folds of the data's split that are asked for; None are all.

    Raises:
        UserError: a fold that the split does not have.
    """
    available = len(data.splits.folds)
    chosen = tuple(range(available)) if folds is None else folds
    wrong = [str(fold) for fold in chosen if not 0 <= fold < available]
    if wrong:
        raise UserError(f"{data.title} has folds 0 to {available - 1}; there is no fold {', '.join(wrong)}")
    return chosen
