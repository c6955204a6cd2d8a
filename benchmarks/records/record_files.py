"""What the files of a run record hold, as typed models: whatever else stands in one is damage, and said in a sentence.

A record may be years old, come from elsewhere or have suffered a full disk, so nothing in it is believed unseen.
"""

from __future__ import annotations

import csv
import errno
import io
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ...datasets.cohort import is_phantom_name
from ...errors import UserError, WriteError
from ...files import sha256_of_file
from .fence import FencedFolder

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Status = Literal["new", "training", "scoring", "done", "failed"]

_T = TypeVar("_T")
_OTHER_VERSION = "another version of uadbench wrote it; move the folder away, then try again"


class RecordError(UserError):
    """A file of a run record is missing, damaged or of another version."""


class Recorded(BaseModel):
    """Base of the models: immutable, no conversions; keys of later versions are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class PreparedConfig(Recorded):
    """How the scans of a cohort were prepared, see `datasets.cohort.Provenance`."""

    atlas: str
    atlas_sha256: str | None
    n4_levels: int
    atlas_modality: str | None = None


class CohortConfig(Recorded):
    """A cohort that took part."""

    name: str
    title: str
    prepared: PreparedConfig | None = None

    @property
    def is_phantom(self) -> bool:
        """Whether its brains are simulated."""
        return is_phantom_name(self.name)


class CellConfig(Recorded):
    """What was run (`config.json`).

    Attributes:
        cell: id of the cell.
        recipe: id of the recipe.
        content: all that determines the numbers, see `Recipe.content`.
        row: name of the table row.
        title: its title.
        method: registry name.
        control: whether it is a control.
        trainable: whether it is trained by gradients.
        preset: name of the preset.
        changed: the `key=value` words on top of it.
        departures: where its numbers leave the paper's.
        data: name of the data source.
        data_title: its title.
        cohorts: by key of a set.
        fingerprint: hash of prepared volumes and splits.
        splits: name of the splits.
        fold: index of the fold.
        folds: number of folds.
        seed: the user's seed.
        plan: the resolved preset.
    """

    cell: str
    recipe: str
    content: dict[str, Any]
    row: str
    title: str
    method: str
    control: bool
    trainable: bool
    preset: str
    changed: tuple[str, ...]
    departures: tuple[str, ...]
    data: str
    data_title: str
    cohorts: dict[str, CohortConfig]
    fingerprint: str
    splits: str
    fold: int
    folds: int
    seed: int
    plan: dict[str, Any]

    @property
    def modality(self) -> str:
        """The contrast of the scans; of a record from before there were others, T2."""
        return str(self.content.get("modality", "t2"))

    @property
    def preset_title(self) -> str:
        """The preset and what was changed in it."""
        return " ".join([self.preset, *self.changed])

    @property
    def family(self) -> tuple[str, str, str]:
        """Recipe, data and splits: the cells that are folds of one experiment."""
        return self.recipe, self.data, self.splits


class CellState(Recorded):
    """How far a cell is (`state.json`).

    Attributes:
        status: for people; what is finished is told by the digests.
        trained: whether the training is over.
        seconds: time spent until the cell was finished.
        seconds_train: of these, in training.
        weights_from: the cell whose training was taken over.
    """

    status: Status = "new"
    trained: bool = False
    seconds: float = 0.0
    seconds_train: float = 0.0
    weights_from: str | None = None


class Digests(Recorded):
    """The proof that a cell is finished (`digests.json`): its id, and the SHA-256 of each of its files."""

    cell: str
    files: dict[str, str]


@dataclass(frozen=True)
class VolumeScore:
    """The scores of one test volume.

    Attributes:
        cohort: name of the data set.
        role: the key of its set, "healthy", "tumours", "ms" or another.
        subject: id of the subject.
        dice: Dice at the greedy threshold; None for a healthy volume, and for what `note` leaves out of the mean.
        dice_exact: Dice at the exact optimum of the validation set; None as above.
        auprc: average precision; None as above.
        l1: mean |x - x_rec| over all voxels.
        l1_brain: the same inside the brain mask.
        lesion_ml: lesion volume in the scored slices, millilitres; None for a healthy volume.
        seconds: time of the reconstruction.
        note: why a score of an unhealthy volume is missing or 0 by convention: it has no lesion in view.
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
    note: str | None = None


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


LineT = TypeVar("LineT", bound="DataclassInstance")


def read_as(path: Path, kind: Any) -> Any:
    """A JSON file as a value of a type; None where there is no file.

    Args:
        path: the file.
        kind: a model, or any type that pydantic knows.

    Raises:
        RecordError: it cannot be read, is no JSON in UTF-8, or holds something else.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror or error})") from error
    try:
        return TypeAdapter(kind).validate_json(content)
    except ValidationError as error:
        raise RecordError(f"{path} {_problem(error)}") from error


def read_lines(path: Path, kind: type[LineT], *, appended: bool = False) -> tuple[LineT, ...]:
    """The lines of a CSV file; none where there is no file.

    Args:
        path: the file.
        kind: of the lines.
        appended: it grows a line at a time; where its process was killed the last may be cut, and is passed over.

    Raises:
        RecordError: it cannot be read, is no text in UTF-8, or a line is cut or holds something else.
    """
    try:
        content = path.read_bytes()
        text = content[: content.rfind(b"\n") + 1 if appended else None].decode()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path} is damaged: it is no text in UTF-8") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    there = rows.fieldnames or ()
    wanted = [field.name for field in fields(kind) if field.name in there]
    try:
        # A column with a default came with a later version, so an older file may lack it.
        missing = [one.name for one in fields(kind) if one.name not in there and one.default is MISSING]
        if missing:
            raise RecordError(f"{path} is damaged: it has no column {missing[0]}")
        adapter = TypeAdapter(kind)
        return tuple(adapter.validate_python({name: row[name] or None for name in wanted}) for row in rows)
    except ValidationError as error:
        raise RecordError(f"{path} is damaged at line {rows.line_num}: {_problem(error)}") from error
    except csv.Error as error:
        raise RecordError(f"{path} is damaged at line {rows.line_num}: {error}") from error


def write_lines(folder: FencedFolder, name: str, lines: Iterable[LineT], kind: type[LineT]) -> None:
    """Write a CSV file atomically; numbers keep every digit.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    folder.write_text(name, _header(kind) + "".join(map(_line, lines)))


def append_lines(
    folder: FencedFolder, name: str, lines: Sequence[LineT], kind: type[LineT], *, durable: bool = True
) -> None:
    """Add lines to a CSV file, which then holds what `write_lines` would have written.

    A line that a kill had cut is removed first; one that this very call cuts is what `read_lines` passes over.

    Args:
        folder: where the file lies.
        name: of the file; need not be there.
        lines: to add, at its end.
        kind: of the lines.
        durable: wait until the disk has them, so that not even a power cut costs one that came before another file's.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    if not (folder.path / name).exists():
        write_lines(folder, name, lines, kind)
        return
    with folder.opened(name) as file:
        whole = _whole_lines(file)
        file.seek(whole)
        file.truncate()
        content = (("" if whole else _header(kind)) + "".join(map(_line, lines))).encode()
        if file.write(content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if durable:
            os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until the disk has a file to whose end lines were added.

    Raises:
        UserError: the disk is full, or the file is not there.
    """
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


def _whole_lines(file: io.FileIO) -> int:
    """Bytes up to the end of the last line that is whole."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 4096)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _header(kind: type[DataclassInstance]) -> str:
    return _csv([field.name for field in fields(kind)])


def _line(line: DataclassInstance) -> str:
    return _csv(list(asdict(line).values()))


def _csv(values: list[Any]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def file_digest(path: Path) -> str:
    """SHA-256 of a file of a record.

    Raises:
        RecordError: it cannot be read.
    """
    try:
        return sha256_of_file(path)
    except OSError as error:
        raise RecordError(f"{path} cannot be read ({error.strerror or error})") from error


def archive_problem(path: Path) -> str:
    """What is wrong with a checkpoint, by the checksums of the zip archive that it is; "" of a whole or missing one."""
    if not path.exists():
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        return f"is no whole checkpoint ({' '.join(str(error).split()) or type(error).__name__})"
    return "" if bad is None else f"is no whole checkpoint (checksum of {bad})"


def write_arrays(folder: FencedFolder, name: str, arrays: Mapping[str, Any]) -> None:
    """Write named arrays atomically, each with a checksum.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """

    def save(partial: Path) -> None:
        with partial.open("wb") as handle:
            np.savez(handle, **arrays)

    folder.write_with(name, save)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote; whatever else lies there is refused, and no code of it is run.

    Raises:
        RecordError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise RecordError(f"{path} is damaged: {' '.join(str(error).split())[:200] or type(error).__name__}") from error


def _problem(error: ValidationError) -> str:
    """The first thing that is wrong, in words."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return f"is damaged: {first['msg'].removeprefix('Invalid JSON: ')}"
    if first["type"] == "missing" and place:
        return f"lacks {place}, so {_OTHER_VERSION}"
    return f"is damaged: {place or 'it'}: {first['msg'][:1].lower()}{first['msg'][1:]}"
