"""The contract of executors: they are handed cells, run them somewhere, and say how each ended.

An executor moves cells, never numbers: a cell has the same numbers wherever it is run, and they lie in its run record.
A cell whose process or machine was lost is tried once more; what the user must mend is not. A cell that somebody else
runs meanwhile is waited for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Self

from ...errors import UserError
from ..engine.progress import Reporter
from ..plan.request import Where
from ..records.record import RunRecord
from .exit_codes import AGAIN, DEFECT, DONE, USER
from .spec import CellSpec

__all__ = ["AGAIN", "DEFECT", "DONE", "USER", "CellEnd", "Executor", "Outcome", "record_of_spec"]


#: How a sentence ends that tells of a cell which did not come to its end.
KEPT = "what was finished is kept: the same command goes on"


@dataclass(frozen=True)
class CellEnd:
    """How a cell ended.

    Attributes:
        code: 0 done, 2 the user's to mend, 3 a defect of this package, 75 to be tried again.
        problem: the sentence of what went wrong; "" where nothing did.
        trace: the traceback of a defect; "" else.
    """

    code: int
    problem: str = ""
    trace: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a cell ended, and where its numbers are.

    Attributes:
        spec: the cell.
        record: its run record.
        end: how it ended.
    """

    spec: CellSpec
    record: RunRecord
    end: CellEnd

    @classmethod
    def of(cls, spec: CellSpec, end: CellEnd) -> Self:
        """The outcome of a spec's cell."""
        return cls(spec, record_of_spec(spec), end)

    @property
    def problem(self) -> str:
        """The sentence of what went wrong; "" where nothing did."""
        return self.end.problem


def record_of_spec(spec: CellSpec) -> RunRecord:
    """The run record of a spec's cell."""
    return RunRecord(Path(spec.runs) / spec.label)


class Executor(ABC):
    """A place where cells run.

    Attributes:
        name: what `--on` takes.
        summary: half a sentence for lists.
        reads: names of what it heeds in `Where`.
        workers: cells at a time, for the forecast; 0 where nobody knows.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    reads: ClassVar[frozenset[str]]
    workers: int

    @classmethod
    @abstractmethod
    def make(cls, where: Where, device: str, results: Path) -> Self:
        """An executor as the user wants it.

        Args:
            where: what the user says.
            device: "cpu" or "cuda".
            results: the folder of runs, volume stores and the MLflow file.

        Raises:
            UserError: an option means nothing here, or the place cannot be reached.
        """

    @abstractmethod
    def run(self, specs: Sequence[CellSpec], reporter: Reporter) -> Iterator[Outcome]:
        """Run cells and yield each as it ends; one that fails does not stop the others.

        Args:
            specs: what to run, in this order as far as it goes.
            reporter: where progress goes.

        Raises:
            KeyboardInterrupt: Ctrl-C; the same command goes on.
        """

    def submission(self, labels: Sequence[str]) -> str:
        """What would be handed to a queue, for `--dry-run`; "" where there is none.

        Args:
            labels: names of the cells' folders.
        """
        return ""

    @classmethod
    def refuse_unread(cls, where: Where) -> None:
        """See that everything that the user says of the place is read here.

        Raises:
            UserError: an option is not.
        """
        plain = Where(on=where.on)
        given = [one.name for one in fields(where) if getattr(where, one.name) != getattr(plain, one.name)]
        unread = [name for name in given if name not in cls.reads]
        if unread:
            option = f"--{unread[0].replace('_', '-')}"
            raise UserError(f"{option} means nothing with --on {cls.name}; leave it out")
