"""Arrays of jobs: which cells they hold, on the disk, and how cells are dealt out to several.

    results/slurm/<array>/
      array.json         the labels of its cells, in order; written before the array is handed in
      <label>.end.json   how a cell's job ended
      <label>.log        what the cell's process printed
      *_submission.sh    and what else submitit keeps

The jobs of an array carry its name. So a driver that starts again finds out from the queue, and from nothing that a
kill could have kept from being written, which cells are being seen to.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from ....files import write_text
from ....methods import Frozen
from ..base import CellEnd
from .job import JobEnd

#: Folder of arrays below the results folder.
SLURM = "slurm"
CellT = TypeVar("CellT")
_ARRAY, _END = "array.json", ".end.json"


class Array(Frozen):
    """An array that was handed in, or was about to be.

    Attributes:
        name: of its jobs and of its folder.
        labels: of its cells, in the order of the tasks.
    """

    name: str
    labels: tuple[str, ...]

    @classmethod
    def of(cls, labels: Sequence[str]) -> Array:
        """A new array of cells."""
        return cls(name=f"uadbench-{secrets.token_hex(4)}", labels=tuple(labels))


@dataclass(frozen=True)
class Shelf:
    """The arrays of a results folder.

    Attributes:
        folder: where they lie.
    """

    folder: Path

    @classmethod
    def of(cls, results: Path) -> Shelf:
        """That of a results folder."""
        return cls(results.resolve() / SLURM)

    def folder_of(self, array: Array) -> Path:
        """The folder of an array."""
        return self.folder / array.name

    def end_file(self, array: Array, label: str) -> Path:
        """The file in which the job of a cell says how it ended."""
        return self.folder / array.name / f"{label}{_END}"

    def log_file(self, array: Array, label: str) -> Path:
        """The file in which a cell's process prints."""
        return self.folder / array.name / f"{label}.log"

    def write(self, array: Array) -> None:
        """Write down which cells an array holds."""
        write_text(self.folder_of(array) / _ARRAY, array.model_dump_json(indent=2))

    def arrays(self) -> tuple[Array, ...]:
        """Every array, in no order; what cannot be read is passed over."""
        found = []
        for path in self.folder.glob(f"*/{_ARRAY}"):
            with suppress(OSError, ValidationError):
                found.append(Array.model_validate_json(path.read_bytes()))
        return tuple(found)

    def ended(self, names: Iterable[str]) -> frozenset[tuple[str, str]]:
        """Name of the array and label of every cell whose job has said how it ended.

        A network file system, too, is asked anew what is in a folder.

        Args:
            names: of arrays.
        """
        found = []
        for name in names:
            with suppress(OSError):
                files = (entry.name for entry in os.scandir(self.folder / name))
                found += [(name, file.removesuffix(_END)) for file in files if file.endswith(_END)]
        return frozenset(found)

    def end(self, array: Array, label: str) -> CellEnd | None:
        """How the job of a cell ended; None where it has not, or could not say so any more."""
        with suppress(OSError, ValidationError):
            found = JobEnd.model_validate_json(self.end_file(array, label).read_bytes())
            return CellEnd(found.code, found.problem, found.trace)
        return None


@dataclass(frozen=True)
class Share(Generic[CellT]):
    """The cells of one array.

    Attributes:
        cells: the cells.
        at_a_time: how many of them may run together.
        after: number of the share that must be over first; None for none.
    """

    cells: tuple[CellT, ...]
    at_a_time: int
    after: int | None = None


def shares(cells: Sequence[CellT], most: int, parallel: int) -> tuple[Share[CellT], ...]:
    """Deal cells out to as few arrays as may be, which together run no more than `parallel` at a time.

    Where there are more arrays than cells may run at a time, each of the first `parallel` runs one, and each of the
    others waits until one of them is over, however its cells ended.

    Args:
        cells: the cells, in the order in which they are to begin.
        most: tasks of an array.
        parallel: cells at a time; 0 is all of them.
    """
    count = -(-len(cells) // most)
    lanes = min(count, parallel or count)
    width, wider = divmod(parallel or len(cells), max(1, lanes))
    dealt = (tuple(cells[number::count]) for number in range(count))
    return tuple(
        Share(some, min(len(some), width + (number % lanes < wider)), number - lanes if number >= lanes else None)
        for number, some in enumerate(dealt)
    )
