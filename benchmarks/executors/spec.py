"""A cell as plain data: what travels to another process or machine and is run there.

A spec holds every number of the cell and the text of the user's own method, so that nothing but this package, the
results folder and the volume stores has to be there. It names the cell's id, too: whoever reads it computes the id
anew, and another version of the code or other data are refused before anything is computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...errors import UserError
from ...files import write_text
from ...methods import Frozen, Row, card_of, cards
from ...own_files import OwnFile, own_file_of
from ..engine.job import Job
from ..plan.cell import PROTOCOL_VERSION
from ..plan.own import METHOD_FILE
from ..plan.plan import Plan
from ..plan.preset import PresetLabel
from ..plan.suite import SuiteRow
from .data_file import DataPlace

#: Bytes of the user's file that are no UTF-8 come through unharmed.
_ENCODING, _ERRORS = "utf-8", "surrogateescape"


class OwnMethod(Frozen):
    """A method from a file of the user's own.

    Attributes:
        path: where the file lay; it need not be there any more.
        text: its content.
        name: of the class.
    """

    path: str
    text: str
    name: str


class CellSpec(Frozen):
    """All that is needed to run a cell.

    Attributes:
        cell: the id that the cell must have.
        label: name of the cell's folder.
        protocol: version of the protocol.
        method: registry name of the method.
        own: the method's text, where it is a file of the user's own.
        row: name of the table row.
        title: of the row.
        settings: what the row fixes.
        score: name of the score that takes the place of the method's own; "" keeps it.
        preset: name of the preset, what was changed in it, and where it leaves the paper.
        plan: every number.
        data: where the data file lies.
        fold: index of the fold.
        seed: the user's seed.
        runs: absolute path of the folder of run records.
        device: "cpu" or "cuda".
        system_metrics: whether the machine is watched while the cell runs.
    """

    cell: str
    label: str
    protocol: int
    method: str
    own: OwnMethod | None
    row: str
    title: str
    settings: dict[str, Any]
    score: str
    preset: PresetLabel
    plan: Plan
    data: DataPlace
    fold: int
    seed: int
    runs: str
    device: str
    system_metrics: bool = False

    @classmethod
    def of(cls, job: Job, data: DataPlace, runs: Path, device: str, *, system_metrics: bool = False) -> CellSpec:
        """The spec of a job.

        Args:
            job: the cell.
            data: where its data were written.
            runs: the folder of run records.
            device: "cpu" or "cuda".
            system_metrics: whether the machine is watched while the cell runs.
        """
        return cls(
            cell=job.cell.id,
            label=job.cell.label,
            protocol=PROTOCOL_VERSION,
            method=job.entry.card.info.name,
            own=_own_method(job),
            row=job.entry.row.name,
            title=job.entry.row.title,
            settings=dict(job.entry.row.settings),
            score=job.entry.score,
            preset=job.preset,
            plan=job.plan,
            data=data,
            fold=job.fold,
            seed=job.seed,
            runs=str(runs.resolve()),
            device=device,
            system_metrics=system_metrics,
        )

    @property
    def short(self) -> str:
        """The row and the fold, for sentences."""
        return f"{self.title}, fold {self.fold}"

    def job(self, scratch: Path | None = None) -> Job:
        """The cell, ready to be run here.

        Args:
            scratch: a folder on a disk of this machine, to which the volume stores are copied once; None leaves them.

        Raises:
            UserError: the code here is another version, or the method or the data are not those of the driver.
            DataError: a volume store is not there.
        """
        if self.protocol != PROTOCOL_VERSION:
            raise UserError(
                f"{self.label} was handed out under protocol version {self.protocol}, and uadbench here has version "
                f"{PROTOCOL_VERSION}; install the same version on every machine"
            )
        row = Row(self.row, self.title, self.settings)
        entry = SuiteRow(row, card_of(self._class()), self.score)
        job = Job(entry, self.preset, self.plan, self.data.open(scratch), self.fold, self.seed)
        if job.cell.id != self.cell:
            raise UserError(
                f"{self.label} would be the cell {job.cell.id} here: the code or a package of a method on this machine "
                "is another version than where the run was started; install the same on every machine"
            )
        return job

    def _class(self) -> Any:
        if self.own is not None:
            text = self.own.text.encode(_ENCODING, _ERRORS)
            return getattr(OwnFile(Path(self.own.path), text, METHOD_FILE).load(), self.own.name)
        known = cards()
        if self.method not in known:
            raise UserError(
                f"{self.label}: there is no method {self.method!r} here; install the package that brings it"
            )
        return known[self.method].load()

    def write(self, folder: Path) -> Path:
        """Write the spec into a folder, as LABEL.json; returns the file."""
        path = folder / f"{self.label}.json"
        write_text(path, self.model_dump_json(indent=2))
        return path

    @classmethod
    def read(cls, path: Path) -> CellSpec:
        """Read a spec.

        Raises:
            UserError: there is no such file, or it is no spec of this version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: the file cannot be read: {error.strerror or error}") from error
        except ValidationError as error:
            raise UserError(
                f"{path} is no cell that `bench run` of this version has handed out; start the run again"
            ) from error


def _own_method(job: Job) -> OwnMethod | None:
    cls = job.entry.card.cls
    file = None if cls is None else own_file_of(cls)
    if cls is None or file is None:
        return None
    return OwnMethod(path=str(file.path), text=file.text.decode(_ENCODING, _ERRORS), name=cls.__name__)
