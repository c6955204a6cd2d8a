"""Which scans are to be predicted, and what their results are called: files, or series of DICOM files.

Whatever is called by a DICOM file or folder could be called by a patient. So such a scan is known by its series' number
or by the name that the user gives it, in every message, record and file name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ...datasets.dicom.header import is_dicom
from ...datasets.dicom.series import FoundSeries, Series, files_below, find_series
from ...datasets.dicom.stack import open_series
from ...datasets.layout import suffix_of
from ...datasets.scans.native import OpenedScan, open_scan
from ...datasets.scans.scan_file import is_pair, sha256_of
from ...datasets.scans.scan_header import ReadLimits
from ...datasets.splits.own import scan_of
from ...errors import DataError, UserError
from ...files import sha256_of_bytes, sha256_of_file

_GOOD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class NewScan(Protocol):
    """A scan to predict."""

    @property
    def name(self) -> str:
        """What its results are called."""
        ...

    @property
    def title(self) -> str:
        """What messages call the scan itself."""
        ...

    @property
    def source(self) -> str:
        """What the record calls it."""
        ...

    @property
    def mask(self) -> Path | None:
        """Its brain mask, where it has one."""
        ...

    @property
    def mask_source(self) -> str | None:
        """What the record calls the mask."""
        ...

    @property
    def overwrites(self) -> bool:
        """Whether results of another scan that have its name give way to its own."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of its content.

        Raises:
            DataError: it cannot be read.
        """
        ...

    def open(self, limits: ReadLimits) -> OpenedScan:
        """Read it.

        Raises:
            DataError: it cannot be read, or makes no sense.
        """
        ...

    def told(self, reason: str) -> str:
        """A message about it, without what must not be told."""
        ...


@dataclass(frozen=True)
class ScanFile:
    """A scan of one file, or of a pair, and its brain mask where it has one.

    Attributes:
        path: the file.
        mask: the mask's.
        given_name: what the user calls it; empty takes the file's name.
    """

    path: Path
    mask: Path | None = None
    given_name: str = ""

    @property
    def name(self) -> str:
        """What the user says, or the file's name without suffix and modality, as in the data layout."""
        return self.given_name or scan_of(self.path.name)

    @property
    def title(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def source(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def mask_source(self) -> str | None:
        """The mask's path."""
        return None if self.mask is None else str(self.mask)

    @property
    def overwrites(self) -> bool:
        """A file that changed is predicted anew."""
        return True

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the file, or of both of a pair.

        Raises:
            DataError: it cannot be read.
        """
        return sha256_of(self.path)

    def open(self, limits: ReadLimits) -> OpenedScan:
        """Read the file."""
        return open_scan(self.path, limits)

    def told(self, reason: str) -> str:
        """The message as it is: the user gave the file its name."""
        return reason


@dataclass(frozen=True)
class DicomScan:
    """A scan that is a series of DICOM files.

    Attributes:
        series: it.
        place: which of the inputs it is from, for messages.
        mask: its brain mask, where it has one.
        given_name: what the user calls it; empty takes the series' number.
    """

    series: Series
    place: str
    mask: Path | None = None
    given_name: str = ""

    @property
    def name(self) -> str:
        """What the user says, or the number of the series; neither is a patient's."""
        return self.given_name or f"series-{self.series.label}"

    @property
    def title(self) -> str:
        """Its place among the inputs."""
        return f"{self.place}, series {self.series.label}"

    @property
    def source(self) -> str:
        """The series in a line."""
        return f"DICOM series {self.series.line()}"

    @property
    def mask_source(self) -> str | None:
        """That there is one; its file's name may be the patient's."""
        return None if self.mask is None else "given"

    @property
    def overwrites(self) -> bool:
        """Many patients have a series 3."""
        return False

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the files, whatever they are called, and of which frames of them are meant.

        Raises:
            DataError: one cannot be read.
        """
        try:
            digests = {file: sha256_of_file(file) for file in self.series.files}
        except OSError as error:
            raise DataError(f"{self.title} has a file that cannot be read ({error.strerror}); copy it again") from error
        frames = sorted(f"{digests[one.file]}:{one.frame}" for one in self.series.slices)
        return sha256_of_bytes("".join(frames).encode())

    def open(self, limits: ReadLimits) -> OpenedScan:
        """Read the series."""
        return open_series(self.series, self.title, limits)

    def told(self, reason: str) -> str:
        """The message without the paths of files."""
        for path, word in self._secrets:
            reason = reason.replace(path, word)
        return reason

    @cached_property
    def _secrets(self) -> tuple[tuple[str, str], ...]:
        """Paths with what to say instead. No message of ours holds one of a DICOM file; a library's might."""
        words = {} if self.mask is None else {str(self.mask): "its mask", self.mask.name: "its mask"}
        words |= {str(file.absolute()): "one of its files" for file in self.series.files}
        return tuple(sorted(words.items(), key=lambda pair: len(pair[0]), reverse=True))


@dataclass(frozen=True)
class FoundScans:
    """The scans, and what the user should know of how they were found."""

    scans: tuple[NewScan, ...]
    notes: tuple[str, ...] = ()


def find_scans(
    paths: Sequence[Path], masks: Sequence[Path] = (), names: Sequence[str] = (), series: Sequence[str] = ()
) -> FoundScans:
    """The scans that paths stand for, in order.

    Args:
        paths: scan files, DICOM files, of which all given make one input, and folders of DICOM files.
        masks: none, or a brain mask per scan.
        names: none, or a name per scan, for its results.
        series: which series of DICOM inputs, by number or UID; none takes the only volume of each.

    Raises:
        UserError: masks, names or series do not fit, a path is neither, or two scans would write the same results.
        DataError: a DICOM file is damaged.
    """
    notes: list[str] = []
    found: list[Path | tuple[str, Series]] = []
    for one in _inputs(paths):
        if isinstance(one, Path):
            found.append(one)
            continue
        found += [(one.place, chosen) for chosen in one.choose(series)]
        notes += one.notes()
    if series and all(isinstance(one, Path) for one in found):
        raise UserError("--series chooses among DICOM series, and no DICOM file or folder was given; leave it out")
    partners: Sequence[Path | None] = _as_many("masks", "--mask", masks, len(found)) or [None] * len(found)
    called = _as_many("names", "--name", names, len(found)) or [""] * len(found)
    for name in called:
        if name and not _GOOD_NAME.fullmatch(name):
            raise UserError(f"--name {name}: take letters, digits, dots, hyphens and underscores only")
    scans = [_scan(*each) for each in zip(found, partners, called, strict=True)]
    return FoundScans(_distinct(scans), tuple(notes))


def _scan(found: Path | tuple[str, Series], mask: Path | None, name: str) -> NewScan:
    if isinstance(found, Path):
        return ScanFile(found, mask, name)
    place, series = found
    return DicomScan(series, place, mask, name)


def _inputs(paths: Sequence[Path]) -> Iterator[Path | FoundSeries]:
    """Scan files as they are, and what DICOM inputs hold.

    Raises:
        UserError: a path is neither; it is named by its place, as its name may be a patient's.
    """
    files = [path for path in paths if is_dicom(path)]
    folders = [path for path in paths if path.is_dir()]
    count = len(folders) + bool(files)
    number, files_done = 0, False
    for at, path in enumerate(paths, start=1):
        is_file = path in files
        if is_file and files_done:
            continue
        if is_file or path in folders:
            number += 1
            files_done |= is_file
            place = "the DICOM input" if count == 1 else f"DICOM input {number}"
            yield find_series(sorted(files) if is_file else files_below(path), place)
        elif path.exists() and not suffix_of(path.name):
            raise UserError(f"scan {at} of those given is no DICOM by its content and no other scan by its name")
        elif not suffix_of(path.name):
            raise UserError(f"scan {at} of those given does not exist; check its path")
        else:
            yield path


def _as_many(what: str, option: str, given: Sequence[str] | Sequence[Path], count: int) -> Sequence[Any]:
    """What was given once per scan, or nothing.

    Raises:
        UserError: there are more or fewer.
    """
    if given and len(given) != count:
        raise UserError(
            f"{count} scans and {len(given)} {what} were given; give {option} once per scan, in their order"
        )
    return given


def _distinct(scans: Iterable[NewScan]) -> tuple[NewScan, ...]:
    """The scans, those that stand there twice once.

    Raises:
        UserError: two would write the same results.
    """
    known: dict[str, NewScan] = {}
    for scan in scans:
        other = known.setdefault(scan.name, scan)
        if other is not scan and not _is_same(other, scan):
            raise UserError(
                f"{other.title} and {scan.title} would both write {scan.name}_*; give each a --name, or predict them "
                "into two --out folders"
            )
        known[scan.name] = scan
    return tuple(known.values())


def _is_same(one: NewScan, other: NewScan) -> bool:
    """Whether two stand for one scan: the same file, or the two of a pair."""
    if not (isinstance(one, ScanFile) and isinstance(other, ScanFile)):
        return False
    same_place = one.path.parent == other.path.parent
    return one.path == other.path or (same_place and is_pair(one.path, other.path))
