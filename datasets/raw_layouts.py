"""Downloads as they come: which scan each file of IXI, BraTS21 or MSLUB belongs to, in folders and in tars.

    IXI       IXI-T2/IXI002-Guys-0828-T2.nii.gz; ages in IXI.xls (or the same sheet saved as IXI.csv)
    BraTS21   BraTS2021_00000/BraTS2021_00000_t2.nii.gz, …_seg.nii.gz
    MSLUB     patient01/patient01_T2W.nii.gz, …_brainmask.nii.gz, …_consensus_gt.nii.gz; also without the prefix, in
              lower case, and with a copy of the scan as acquired below raw/

Names decide, not folders, so a set may lie deeper or flat. Other modalities of the same scans are passed over, and what
belongs to nothing is listed. A plain .tar is read in place: its list of members says where each file begins, so a
single scan is copied out without a pass over the whole archive. Of a tar that is cut short, what is whole is used.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from . import brats21, ixi, mslub
from .ages import read_sheet
from .errors import DataError, shorten
from .layout import IMAGE, MASK, SEGMENTATION, SUFFIXES, DataSetInfo

#: How temporary folders of unpacked members begin.
UNPACKED = ".uadbench-"

_OTHER = "other"  # a file of the set that the benchmark does not need
_AGE_SHEETS = ("IXI.csv", "IXI.xls")  # who saved the sheet as a CSV had a reason
_TAR_BLOCK = 512  # bytes; a tar ends with two of zeros
_ARCHIVES = (".tar.gz", ".tgz", ".zip", ".rar", ".7z")


@dataclass(frozen=True)
class RawFile:
    """A file of a download, on its own or inside a tar.

    Attributes:
        path: the file, or the tar that holds it.
        member: its name in the tar; None for a file on its own.
        offset: where it begins in the tar, bytes.
        size: its length in the tar, bytes.
        root: the folder of the download; what lies above it says nothing.
    """

    path: Path
    member: str | None = None
    offset: int = 0
    size: int = 0
    root: Path | None = None

    @property
    def name(self) -> PurePosixPath:
        """Its path within the download, as far as names matter."""
        if self.member is not None:
            return PurePosixPath(self.member)
        return PurePosixPath((self.path.relative_to(self.root) if self.root else self.path).as_posix())

    def __str__(self) -> str:
        """Its name for messages and manifest, on one line whatever bytes it is made of."""
        return _printable(str(self.path) if self.member is None else f"{self.path}:{self.member}")

    @contextmanager
    def opened(self, folder: Path | None = None) -> Iterator[Path]:
        """Give a path to read it from; a member of a tar is copied to a temporary folder for that time.

        Args:
            folder: where temporary folders are made; None is the system's own place.

        Raises:
            DataError: the tar cannot be read or ends before the member does.
            OSError: the temporary folder cannot be written.
        """
        if self.member is None:
            yield self.path
            return
        suffix = _suffix(self.name.name) or ""
        with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=folder) as place:
            copy = Path(place) / f"scan{suffix}"
            self._extract(copy)
            yield copy

    def _extract(self, copy: Path) -> None:
        left = self.size
        try:
            with copy.open("wb") as out:
                for block in self._blocks():
                    out.write(block)
                    left -= len(block)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(copy)) from error
        if left:
            raise DataError(f"{_printable(str(self.path))} ends in the middle of {self.member}; download it again")

    def _blocks(self) -> Iterator[bytes]:
        """The content of a member, block by block."""
        left = self.size
        try:
            with self.path.open("rb") as archive:
                archive.seek(self.offset)
                while left and (block := archive.read(min(left, 1 << 20))):
                    yield block
                    left -= len(block)
        except OSError as error:
            raise DataError(f"{self} cannot be read ({error.strerror or error}); copy or download it again") from error


@dataclass(frozen=True)
class RawScan:
    """The files of one scan.

    Attributes:
        id: its name in the published splits.
        files: by kind: "t2", and "mask" and "seg" where they are there.
    """

    id: str
    files: Mapping[str, RawFile]


@dataclass(frozen=True)
class RawSet:
    """What a download holds.

    Attributes:
        info: the set.
        source: the folder or tar that was given.
        scans: complete scans in order of name.
        incomplete: for each scan that misses a file that nothing replaces, a sentence.
        damaged: for each archive or folder that could not be read to its end, a sentence.
        unplaced: NIfTI files, tables and archives that belong to nothing.
        passed_over: number of files of the set that are not needed, such as other modalities.
        ages: years by scan.
        notes: what the user should know.
    """

    info: DataSetInfo
    source: Path
    scans: tuple[RawScan, ...]
    incomplete: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    unplaced: tuple[str, ...] = ()
    passed_over: int = 0
    ages: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """What was recognised, for the screen."""
        counted = f"{self.info.title}: {len(self.scans)} complete scans, {len(self.incomplete)} incomplete; "
        lines = [f"{counted}{self.passed_over} files not needed, {len(self.unplaced)} not recognised."]
        if self.unplaced:
            lines.append(f"Not recognised: {shorten(self.unplaced)}.")
        return tuple(lines)


@dataclass(frozen=True)
class _Place:
    """Whose file it is, of which kind; of several the one of lowest rank is taken."""

    scan: str
    kind: str
    rank: int = 0


def find_raw(info: DataSetInfo, raw: Path) -> RawSet:
    """Recognise a download.

    Args:
        info: the set that it is said to be.
        raw: its folder, which may hold tars, or the tar.

    Raises:
        DataError: nothing there, nothing that can be read, or no scan of this set.
    """
    place = _PLACES[info.name]
    found: dict[str, dict[str, list[tuple[_Place, RawFile]]]] = defaultdict(lambda: defaultdict(list))
    unplaced: list[RawFile] = []
    passed_over = 0
    listing = _list_files(raw)
    sheets = [sheet for name in _AGE_SHEETS if raw.is_file() and (sheet := raw.with_name(name)).is_file()]
    for file in listing.files:
        placed = place(file.name) if _suffix(file.name.name) else None
        if placed is not None and placed.kind != _OTHER:
            found[placed.scan][placed.kind].append((placed, file))
        elif placed is not None:
            passed_over += 1
        elif info.name == ixi.INFO.name and file.name.name in _AGE_SHEETS and file.member is None:
            sheets.append(file.path)
        else:
            unplaced.append(file)
    if not found:
        raise DataError(_nothing_found(info, raw, listing))
    twins: list[str] = []
    scans = {scan: _chosen(kinds, twins) for scan, kinds in sorted(found.items())}
    passed_over += sum(len(files) for kinds in found.values() for files in kinds.values())
    passed_over -= sum(len(files) for files in scans.values())
    incomplete = {scan: reason for scan, files in scans.items() if (reason := _missing(info, scan, files))}
    complete = tuple(RawScan(scan, files) for scan, files in scans.items() if scan not in incomplete)
    ages, notes = _ages(sheets, complete) if info.name == ixi.INFO.name else ({}, ())
    names = tuple(str(file) for file in unplaced)
    return RawSet(
        info, raw, complete, incomplete, listing.damaged, names, passed_over, ages, (*notes, *_twin_note(twins))
    )


def _nothing_found(info: DataSetInfo, raw: Path, listing: _Listing) -> str:
    """Why a download is not of this set, and what it may be instead."""
    if listing.damaged:
        return next(iter(listing.damaged.values()))
    said = f"{raw} holds no file named like {_EXAMPLES[info.name]}, so it is no {info.title} download"
    for other in _INFOS:
        if any(_suffix(file.name.name) and _PLACES[other.name](file.name) for file in listing.files):
            return f"{said}; it looks like {other.title}: bench prepare {other.name}"
    packed = [str(file) for file in listing.files if file.name.name.lower().endswith(_ARCHIVES)]
    if packed:
        return f"{said}; unpack {packed[0]} first"
    return f"{said}; it holds {len(listing.files)} other files: {shorten(tuple(map(str, listing.files)), shown=1)}"


def _missing(info: DataSetInfo, scan: str, files: Mapping[str, RawFile]) -> str | None:
    if IMAGE not in files:
        there = ", ".join(str(file) for file in files.values())
        return f"{scan} has no T2 image, only {there}; add the image or remove the rest"
    if SEGMENTATION in info.kinds and SEGMENTATION not in files:
        return f"{scan} has no segmentation beside {files[IMAGE]}; add it or remove the scan"
    return None


def _chosen(kinds: Mapping[str, Sequence[tuple[_Place, RawFile]]], twins: list[str]) -> dict[str, RawFile]:
    """One file a kind: first the image, best one that lies with a segmentation; then what lies nearest to it.

    Args:
        kinds: a scan's files by kind.
        twins: gets a few words on each two files between which nothing but their names decides.
    """
    with_labels = {file.name.parent for _, file in kinds.get(SEGMENTATION, ())}
    chosen: dict[str, RawFile] = {}
    for kind in (IMAGE, MASK, SEGMENTATION):
        folders = {chosen[IMAGE].name.parent} if IMAGE in chosen else with_labels
        ranks = {
            file: (file.name.parent not in folders, placed.rank, file.member is not None)
            for placed, file in kinds.get(kind, ())
        }
        files = sorted(ranks, key=lambda file: (ranks[file], str(file)))
        if files:
            chosen[kind] = files[0]
        twins += [f"{files[0]} and {files[1]}" for _ in files[1:2] if ranks[files[0]] == ranks[files[1]]]
    return chosen


def _twin_note(twins: Sequence[str]) -> tuple[str, ...]:
    if not twins:
        return ()
    more = f" ({len(twins)} such pairs)" if len(twins) > 1 else ""
    return (f"{twins[0]} are the same by their names{more}; the first is used",)


# ------------------------------------------------------------------------------------------------ what lies there


@dataclass(frozen=True)
class _Listing:
    """The files of a download in order of name, and a sentence for each archive or folder that is not whole."""

    files: tuple[RawFile, ...]
    damaged: Mapping[str, str]


def _list_files(raw: Path) -> _Listing:
    """Every file of a download, tars opened; hidden files and folders are not part of it.

    Raises:
        DataError: there is nothing, or nothing that can be read.
    """
    try:
        if raw.is_file():
            if raw.suffix != ".tar":
                raise DataError(f"{raw} is neither a folder nor a plain .tar; unpack it and give the folder")
            return _open_tars([raw], raw.parent, {})
        if not raw.is_dir():
            raise DataError(f"{raw} does not exist; give the folder or the .tar that was downloaded")
    except OSError as error:
        raise DataError(f"{raw} cannot be read ({error.strerror}); check its permissions") from error
    damaged: dict[str, str] = {}
    paths = sorted(_walk(raw, damaged))
    if not paths and not damaged:
        raise DataError(f"{raw} is empty; give the folder or the .tar that was downloaded")
    return _open_tars(paths, raw, damaged)


def _walk(raw: Path, damaged: dict[str, str]) -> Iterator[Path]:
    """Files below a folder, links followed but no folder twice; a link to nothing counts as a file, to be reported."""

    def report(error: OSError) -> None:
        name = _printable(str(error.filename))
        damaged[name] = f"{name} cannot be read ({error.strerror}); check its permissions"

    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(raw, onerror=report, followlinks=True):
        state = Path(folder).stat()
        if (state.st_dev, state.st_ino) in seen:
            folders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        paths = (Path(folder, name) for name in files if not _is_hidden(name))
        yield from (path for path in paths if path.is_file() or path.is_symlink())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _open_tars(paths: Sequence[Path], root: Path, damaged: dict[str, str]) -> _Listing:
    files: list[RawFile] = []
    for path in paths:
        if path.suffix != ".tar":
            files.append(RawFile(path, root=root))
            continue
        members, problem = _members(path)
        files += members
        if problem:
            damaged[_printable(str(path))] = problem
    return _Listing(tuple(files), damaged)


def _members(path: Path) -> tuple[list[RawFile], str | None]:
    """The files in a tar up to where it is whole, and what is wrong with it."""
    name = _printable(str(path))
    members: list[RawFile] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                hidden = any(_is_hidden(part) for part in PurePosixPath(member.name.removeprefix("./")).parts)
                if member.isreg() and not member.issparse() and not hidden:
                    members.append(RawFile(path, member.name, member.offset_data, member.size))
            if _ends_at(path, archive.offset):
                return members, None
    except (tarfile.TarError, EOFError) as error:
        if not members:
            return [], f"{name} is no plain tar ({error}); download it again, or unpack it and give the folder"
    except OSError as error:
        return members, f"{name} cannot be read ({error.strerror or error}); check its permissions or copy it again"
    return members, f"{name} is cut short: it has no end mark; download it again for the scans that it lacks"


def _ends_at(path: Path, offset: int) -> bool:
    """Whether a tar's end mark stands there; tarfile takes a cut between two files or a damaged header for the end."""
    with path.open("rb") as archive:
        archive.seek(offset)
        return archive.read(_TAR_BLOCK) == bytes(_TAR_BLOCK)


def _printable(text: str) -> str:
    """A file name as one line that any terminal can show: control characters and stray bytes are escaped."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def _stem(name: str) -> str:
    return name[: -len(_suffix(name) or "")]


# -------------------------------------------------------------------------------------------------- whose file it is

_IXI = re.compile(r"(?P<scan>IXI\d+-[A-Za-z]+-\d+)[-_](?P<kind>[A-Za-z0-9_]+?)(-\d+)?$")
_BRATS = re.compile(r"(?P<scan>BraTS2021_\d{5})_(?P<kind>[A-Za-z0-9_]+)$")
_PATIENT = re.compile(r"patient_?0*(?P<number>\d+)", re.IGNORECASE)
_MASK_NAMES = frozenset({"mask", "brainmask", "brain_mask"})
_LABEL_NAMES = frozenset(
    {"seg", "gt", "consensus_gt", "consensus", "consensus_seg", "lesion", "lesions", "lesion_mask"}
)
_OTHER_NAMES = frozenset(
    {"t1", "t1w", "t1wks", "t1w_ks", "t1ks", "t1ce", "t1c", "t1gd", "pd", "pdw", "mra", "dti", "flair", "t2flair"}
)


def _kind(name: str) -> str | None:
    name = name.lower()
    if name in ("t2", "t2w"):
        return IMAGE
    if name in _MASK_NAMES:
        return MASK
    if name in _LABEL_NAMES:
        return SEGMENTATION
    return _OTHER if name in _OTHER_NAMES else None


def _place_by(pattern: re.Pattern[str], path: PurePosixPath) -> _Place | None:
    match = pattern.match(_stem(path.name))
    kind = _kind(match["kind"]) if match else None
    return _Place(match["scan"], kind) if match and kind else None


def _place_ixi(path: PurePosixPath) -> _Place | None:
    return _place_by(_IXI, path)


def _place_brats(path: PurePosixPath) -> _Place | None:
    return _place_by(_BRATS, path)


def _place_mslub(path: PurePosixPath) -> _Place | None:
    """The patient stands in the file's name or else in that of a folder; raw copies rank behind coregistered ones."""
    stem = _stem(path.name)
    own = _PATIENT.match(stem)
    owners = [own] if own else [match for part in reversed(path.parts[:-1]) if (match := _PATIENT.fullmatch(part))]
    kind = _kind(stem[own.end() :].lstrip("_-") if own else stem)
    if not owners or kind is None:
        return None
    folders = [part.lower() for part in path.parts[:-1]]
    return _Place(f"patient{int(owners[0]['number']):02d}", kind, rank=2 if "raw" in folders else int("mni" in folders))


_PLACES: Mapping[str, Callable[[PurePosixPath], _Place | None]] = {
    ixi.INFO.name: _place_ixi,
    brats21.INFO.name: _place_brats,
    mslub.INFO.name: _place_mslub,
}
_INFOS = (ixi.INFO, brats21.INFO, mslub.INFO)
_EXAMPLES: Mapping[str, str] = {
    ixi.INFO.name: "IXI002-Guys-0828-T2.nii.gz",
    brats21.INFO.name: "BraTS2021_00000_t2.nii.gz",
    mslub.INFO.name: "patient01_T2W.nii.gz",
}


# ------------------------------------------------------------------------------------------------------------ ages


def _ages(sheets: Sequence[Path], scans: Sequence[RawScan]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Age in years by scan from IXI's sheet; a sheet that cannot be read is a note, never an error."""
    if not sheets:
        return {}, ("no IXI.xls lies with the scans, so their ages stay unknown",)
    path = min(sheets, key=lambda sheet: _AGE_SHEETS.index(sheet.name))
    try:
        years = read_sheet(path)
    except DataError as error:
        return {}, (f"{error}; ages stay unknown",)
    ages = {scan.id: years[person] for scan in scans if (person := ixi.person_of(scan.id)) in years}
    missing = len(scans) - len(ages)
    return ages, ((f"{missing} of {len(scans)} IXI scans have no age in {path.name}",) if missing else ())
