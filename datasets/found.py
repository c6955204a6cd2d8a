"""What lies in a data directory: which scans of which known set, as files by kind. No scan is read here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, shorten
from .base import DataSet
from .cohort import HEALTHY, Subject
from .layout import PHANTOM_MARK, stem_of, suffix_of
from .modality import Modality
from .scans.scan_file import is_pair, scan_parts

_PHANTOM_TITLES = {HEALTHY: "phantom healthy", "tumours": "phantom tumours", "ms": "phantom MS"}


@dataclass(frozen=True)
class People:
    """What tables say of the people behind scans.

    Attributes:
        ages: years by scan.
        sites: scanners or hospitals by scan.
    """

    ages: Mapping[str, float]
    sites: Mapping[str, str]


@dataclass(frozen=True)
class FoundSet:
    """A data set that lies in a directory.

    Attributes:
        data_set: its identity.
        modality: the contrast of its images, which is their kind of file, too.
        files: for each kind of file ("t2", "mask", "seg") the path of each scan.
        is_phantom: whether it is an export of the phantom.
        doubled: a sentence for each scan that has two files of one kind; the first in order of name is in `files`.
    """

    data_set: DataSet
    modality: Modality
    files: Mapping[str, Mapping[str, Path]]
    is_phantom: bool
    doubled: tuple[str, ...] = ()

    @property
    def scans(self) -> tuple[str, ...]:
        """Every scan that has an image, in order of name."""
        return tuple(sorted(self.files[self.modality]))

    @property
    def complete(self) -> frozenset[str]:
        """The scans of which no file is missing."""
        return frozenset(self.files[self.modality]).intersection(*self.files.values())

    @property
    def key(self) -> str:
        """The word for the set in metrics and columns."""
        return self.data_set.key

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of file that a complete scan has."""
        return self.data_set.kinds(self.modality)

    @property
    def name(self) -> str:
        """Name of the cohort: the set's own, or the phantom's."""
        return f"phantom-{self.key}" if self.is_phantom else self.data_set.name

    @property
    def title(self) -> str:
        """Title of the cohort: the set's own, or the phantom's."""
        if not self.is_phantom:
            return self.data_set.title
        return _PHANTOM_TITLES.get(self.key, f"phantom {self.data_set.title}")

    def subject(self, scan: str, people: People) -> Subject:
        """The subject behind a scan: its site is what its name tells, else what a table does."""
        return Subject(scan, people.ages.get(scan), self.data_set.site_of(scan) or people.sites.get(scan))


def find_sets(directory: Path, known: Sequence[DataSet], modality: Modality) -> dict[str, FoundSet]:
    """By key, the known sets of which scans of one modality lie in a directory, the healthy one first.

    Raises:
        DataError: there is no such directory, no healthy set or more than one, or a scan has two files of one kind.
    """
    if not directory.is_dir():
        raise DataError(f"{directory} is no directory; give --data a directory that holds {healthy_places(known)}")
    found = [find_set(directory, data_set, modality) for data_set in known]
    doubled = [sentence for one in found for sentence in one.doubled]
    if doubled:
        raise DataError(doubled[0])
    there = [one for one in found if one.scans]
    refuse_two_healthy(directory, there)
    if not any(one.key == HEALTHY for one in there):
        raise DataError(_no_healthy_scans(directory, known, modality))
    return {one.key: one for one in sorted(there, key=lambda one: one.key != HEALTHY)}


def refuse_two_healthy(directory: Path, found: Sequence[FoundSet]) -> None:
    """See that methods have one set to learn from.

    Raises:
        DataError: they have more.
    """
    healthy = [f"{one.title} ({one.data_set.folder})" for one in found if one.key == HEALTHY]
    if len(healthy) > 1:
        raise DataError(
            f"{directory} holds scans of {len(healthy)} healthy sets, {' and '.join(healthy)}, but a run learns from "
            "one; move the others to directories of their own"
        )


def unknown_folders(directory: Path, known: Sequence[DataSet], modality: Modality) -> tuple[str, ...]:
    """The folders that hold images of this modality and belong to no known set: its file was not given, perhaps."""
    claimed = {one.folder for one in known}
    folders = (path.parent.relative_to(directory).as_posix() for path in sorted(directory.glob(f"*/*/{modality}/")))
    return tuple(folder for folder in folders if folder not in claimed)


def unknown_note(directory: Path, known: Sequence[DataSet], modality: Modality) -> tuple[str, ...]:
    """A sentence about the folders that belong to no known set, without its full stop; none where there are none."""
    unknown = unknown_folders(directory, known, modality)
    verbs = "belongs to no known data set and is" if len(unknown) == 1 else "belong to no known data set and are"
    return (f"{shorten(unknown)} {verbs} left out; give its file by --data-set FILE.py",) if unknown else ()


def healthy_places(known: Sequence[DataSet]) -> str:
    """Where the scans of a healthy set may lie, in words."""
    folders = [one.folder for one in known if one.is_healthy]
    return " or ".join(filter(None, (", ".join(folders[:-1]), *folders[-1:])))


def _no_healthy_scans(directory: Path, known: Sequence[DataSet], modality: Modality) -> str:
    """What is missing, and what is there instead: other modalities of a healthy set."""
    healthy = [one for one in known if one.is_healthy]
    others = [
        other
        for other in Modality
        if other is not modality and any(find_set(directory, one, other).scans for one in healthy)
    ]
    if others:
        return (
            f"{directory} holds no healthy scans in {modality.upper()}, but in "
            f"{shorten(tuple(other.upper() for other in others))}; choose --modality {others[0]}"
        )
    missing = f"{directory} holds no healthy scans; they are expected {as_files(modality)} in {healthy_places(known)}"
    return "; ".join((missing, *unknown_note(directory, known, modality)))


def as_files(modality: Modality) -> str:
    """How the image of a scan is called below the folder of its set, in words."""
    return f"as {modality}/<scan>_{modality}.nii.gz"


def find_set(directory: Path, data_set: DataSet, modality: Modality) -> FoundSet:
    """What lies in a directory of one data set in one modality, which may be nothing."""
    folder = directory / data_set.folder
    indices = {kind: _index(folder / kind, kind) for kind in data_set.kinds(modality)}
    files = {kind: index for kind, (index, _) in indices.items()}
    doubled = tuple(sentence for _, sentences in indices.values() for sentence in sentences)
    return FoundSet(data_set, modality, files, (folder / PHANTOM_MARK).exists(), doubled)


def _index(folder: Path, kind: str) -> tuple[dict[str, Path], list[str]]:
    """The files of a folder by scan, "IXI002-Guys-0828" for IXI002-Guys-0828_t2.nii.gz; what stands twice.

    A pair of .hdr and .img is one scan, named by its header.
    """
    index: dict[str, Path] = {}
    doubled: list[str] = []
    if not folder.is_dir():
        return index, doubled
    for path in sorted(folder.iterdir()):
        if suffix_of(path.name) is None or path.name.startswith("."):
            continue
        scan = stem_of(path.name).removesuffix(f"_{kind}")
        if scan not in index:
            index[scan] = path
        elif is_pair(index[scan], path) and path in scan_parts(index[scan]):
            index[scan] = scan_parts(path)[0]
        else:
            doubled.append(f"{index[scan]} and {path.name} are the same scan; remove one of them")
    return index, doubled
