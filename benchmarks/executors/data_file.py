"""The data of a run as a file: who trains and who tests, and where the prepared volumes lie.

The raw scans, and the libraries that read them, are not needed any more: a node that has PyTorch and sees the volume
stores, or a copy of them, can run a cell.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...datasets.cohort import Cohort, Data, Provenance, Splits
from ...datasets.modality import Modality
from ...datasets.store.copy import copied_store
from ...datasets.store.store import VolumeStore
from ...errors import DataError, UserError
from ...files import sha256_of_bytes, write_text
from ...methods import Frozen

_SPLITS: TypeAdapter[Splits] = TypeAdapter(Splits)
_NAMED_BY = 12  # digits of the fingerprint in the file's name


class CohortFile(Frozen):
    """A cohort without its volumes, which lie in a store.

    Attributes:
        name: see `Cohort`, and so are those that follow.
        title: see `Cohort`.
        key: see `Cohort`.
        modality: see `Cohort`.
        provenance: see `Cohort`.
        store: absolute path of its volume store.
        fingerprint: of the store.
    """

    name: str
    title: str
    key: str
    modality: Modality
    provenance: Provenance | None
    store: str
    fingerprint: str

    @classmethod
    def of(cls, cohort: Cohort) -> CohortFile:
        """What is written of a cohort."""
        return cls(
            name=cohort.name,
            title=cohort.title,
            key=cohort.key,
            modality=cohort.modality,
            provenance=cohort.provenance,
            store=str(cohort.store.folder.resolve()),
            fingerprint=cohort.store.fingerprint,
        )

    def open(self, scratch: Path | None) -> Cohort:
        """The cohort with its volumes, which are copied to `scratch` first where there is one."""
        folder = Path(self.store)
        if scratch is not None:
            folder = copied_store(folder, scratch, self.fingerprint)
        store = VolumeStore.open(folder, self.fingerprint)
        return Cohort(self.name, self.title, self.key, store, self.modality, self.provenance)


class DataFile(Frozen):
    """All that a cell reads, but for the volumes.

    Attributes:
        name: see `Data`.
        title: see `Data`.
        healthy: the cohort methods learn from.
        lesions: the cohorts they are tested on.
        splits: who trains, validates and tests, as JSON.
    """

    name: str
    title: str
    healthy: CohortFile
    lesions: tuple[CohortFile, ...]
    splits: str

    @classmethod
    def of(cls, data: Data) -> DataFile:
        """What is written of data."""
        return cls(
            name=data.name,
            title=data.title,
            healthy=CohortFile.of(data.healthy),
            lesions=tuple(map(CohortFile.of, data.lesions.values())),
            splits=_SPLITS.dump_json(data.splits).decode(),
        )

    def open(self, scratch: Path | None) -> Data:
        """The data, with volumes.

        Raises:
            DataError: a volume store is not there, or is another one than when the run began.
        """
        lesions = {one.key: one.open(scratch) for one in self.lesions}
        return Data(self.name, self.title, self.healthy.open(scratch), lesions, _SPLITS.validate_json(self.splits))


class DataPlace(Frozen):
    """Where a data file lies, and that it is the one that was meant.

    Attributes:
        path: absolute.
        sha256: of its bytes.
    """

    path: str
    sha256: str

    def open(self, scratch: Path | None = None) -> Data:
        """Read the file and open the volumes that it speaks of.

        Args:
            scratch: a folder on a disk of this machine, to which the volume stores are copied once; None leaves them.

        Raises:
            UserError: the file is not there, or not the one that was meant.
            DataError: a volume store is not there, or is another one than when the run began.
        """
        path = Path(self.path)
        try:
            content = path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(
                f"{path} cannot be read here: {reason}; the results folder must be seen by every machine"
            ) from error
        if sha256_of_bytes(content) != self.sha256:
            raise UserError(f"{path} was changed since this cell was handed out; start the run again")
        try:
            return DataFile.model_validate_json(content).open(scratch)
        except ValidationError as error:
            raise DataError(f"{path} was written by another version of uadbench; start the run again") from error


def write_data(data: Data, folder: Path) -> DataPlace:
    """Write the data file of a run.

    Args:
        data: what its cells read.
        folder: where the file goes.
    """
    text = DataFile.of(data).model_dump_json(indent=2)
    path = folder.resolve() / f"data-{data.fingerprint[:_NAMED_BY]}.json"
    write_text(path, text)
    return DataPlace(path=str(path), sha256=sha256_of_bytes(text.encode()))


def read_data(folder: Path, fingerprint: str) -> Data | None:
    """The data that a run of this results folder wrote a data file of; None where no run did.

    Args:
        folder: where the files are.
        fingerprint: of the data.

    Raises:
        DataError: a volume store is not there any more, or is another one than when the run began.
    """
    path = folder / f"data-{fingerprint[:_NAMED_BY]}.json"
    if not path.is_file():
        return None
    data = DataPlace(path=str(path), sha256=sha256_of_bytes(path.read_bytes())).open()
    return data if data.fingerprint == fingerprint else None
