"""Downloads as they come: which scan each file of IXI, BraTS21 or MSLUB belongs to, in folders and in tars.

    IXI       IXI-T2/IXI002-Guys-0828-T2.nii.gz; ages in IXI.xls (or the same sheet saved as IXI.csv)
    BraTS21   BraTS2021_00000/BraTS2021_00000_t2.nii.gz, …_seg.nii.gz; copies that write BraTS21, or in lower case
    MSLUB     patient01/patient01_T2W.nii.gz, …_brainmask.nii.gz, …_consensus_gt.nii.gz; also without the prefix, in
              lower case, and with a copy of the scan as acquired below raw/

Names decide, not folders, so a set may lie deeper or flat; but where a copy made a folder of each file
(BraTS2021_00000_t2.nii/00000057_brain_t2.nii), that folder's name counts. Other modalities of the same scans are passed
over, and what belongs to nothing is listed. Other years and sets of the same makers show other people under other
names: they are recognised (see `raw_looks`), said, and never taken for the set.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ...errors import DataError, shorten
from .. import brats21, ixi, mslub
from ..layout import IMAGE, MASK, SEGMENTATION, DataSetInfo, stem_of, suffix_of
from .ages import read_sheet
from .raw_files import Listing, RawFile, list_files
from .raw_looks import look_of, looks_among

_OTHER = "other"  # a file of the set that the benchmark does not need
_AGE_SHEETS = ("IXI.csv", "IXI.xls")  # who saved the sheet as a CSV had a reason
_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".zip", ".rar", ".7z")


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
    listing = list_files(raw)
    sheets = [sheet for name in _AGE_SHEETS if raw.is_file() and (sheet := raw.with_name(name)).is_file()]
    for file in listing.files:
        placed = _placed(place, file.name)
        if placed is not None and placed.kind != _OTHER:
            found[placed.scan][placed.kind].append((placed, file))
        elif placed is not None:
            passed_over += 1
        elif info.name == ixi.INFO.name and file.name.name in _AGE_SHEETS and file.member is None:
            sheets += [file.path] if file.path.is_file() else []
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
    notes = (*notes, *_twin_note(twins), *_packed_note(unplaced), *looks_among(unplaced))
    return RawSet(info, raw, complete, incomplete, listing.damaged, names, passed_over, ages, notes)


def _placed(place: Callable[[PurePosixPath], _Place | None], path: PurePosixPath) -> _Place | None:
    """Whose file it is by its name, or else by that of the folder that was made of it."""
    if suffix_of(path.name) is None:
        return None
    placed = place(path)
    if placed is None and suffix_of(path.parent.name) is not None:
        placed = place(path.parent)
        return None if placed is None else replace(placed, rank=placed.rank + 1)
    return placed


def _nothing_found(info: DataSetInfo, raw: Path, listing: Listing) -> str:
    """Why a download is not of this set, and what it may be instead."""
    if listing.damaged:
        return next(iter(listing.damaged.values()))
    said = f"{raw} holds no file named like {_EXAMPLES[info.name]}, so it is no {info.title} download"
    for other in _INFOS:
        mine = [str(file) for file in listing.files if _placed(_PLACES[other.name], file.name)]
        if mine and other is info:
            return f"{said}; it holds other modalities of {info.title} alone, such as {mine[0]}: get its T2 images, too"
        if mine:
            return f"{said}; it looks like {other.title}: bench prepare {other.name}"
    look = look_of(listing.files)
    if look is not None:
        return f"{said}; {look}"
    packed = _packed(listing.files)
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
            file: (file.problem is not None, file.name.parent not in folders, placed.rank, file.member is not None)
            for placed, file in kinds.get(kind, ())
        }
        files = sorted(ranks, key=lambda file: (ranks[file], str(file)))
        if files:
            chosen[kind] = files[0]
        twins += [f"{files[0]} and {files[1]}" for _ in files[1:2] if ranks[files[0]] == ranks[files[1]]]
    return chosen


def _packed(files: Sequence[RawFile]) -> list[str]:
    return [str(file) for file in files if file.name.name.lower().endswith((*_ARCHIVES, ".tar"))]


def _packed_note(files: Sequence[RawFile]) -> tuple[str, ...]:
    found = tuple(_packed(files))
    return (f"{shorten(found)} is packed and was not looked into; unpack it if it holds scans",) if found else ()


def _twin_note(twins: Sequence[str]) -> tuple[str, ...]:
    if not twins:
        return ()
    more = f" ({len(twins)} such pairs)" if len(twins) > 1 else ""
    return (f"{twins[0]} are the same by their names{more}; the first is used",)


# -------------------------------------------------------------------------------------------------- whose file it is

_IXI = re.compile(
    r"IXI(?P<person>\d+)-(?P<site>[A-Za-z]+)-(?P<number>\d+)[-_](?P<kind>[A-Za-z0-9_]+?)(-\d+)?$", re.IGNORECASE
)
_IXI_SITES = {"guys": "Guys", "hh": "HH", "iop": "IOP"}
_BRATS = re.compile(r"BraTS[-_]?(20)?21[-_](Training[-_])?(?P<number>\d{5})[-_](?P<kind>[A-Za-z0-9_]+)$", re.IGNORECASE)
_PATIENT = re.compile(r"patient[ _-]?0*(?P<number>\d+)", re.IGNORECASE)
_OTHER_PATIENTS = "longitudinal"  # of Lesjak's second set, under the same numbers
_MASK_NAMES = frozenset({"mask", "brainmask", "brain_mask"})
_LABEL_NAMES = frozenset(
    {"seg", "gt", "consensus_gt", "consensus", "consensus_seg", "lesion", "lesions", "lesion_mask"}
)
_OTHER_NAMES = frozenset(
    {
        "t1",
        "t1w",
        "t1wks",
        "t1w_ks",
        "t1ks",
        "t1ce",
        "t1c",
        "t1gd",
        "pd",
        "pdw",
        "mra",
        "dti",
        "flair",
        "t2flair",
        "t1n",
        "t2f",
    }
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


def _place_ixi(path: PurePosixPath) -> _Place | None:
    match = _IXI.match(stem_of(path.name))
    kind = _kind(match["kind"]) if match else None
    if match is None or kind is None:
        return None
    site = _IXI_SITES.get(match["site"].lower(), match["site"])
    return _Place(f"IXI{match['person']}-{site}-{match['number']}", kind)


def _place_brats(path: PurePosixPath) -> _Place | None:
    match = _BRATS.match(stem_of(path.name))
    kind = _kind(match["kind"]) if match else None
    return _Place(f"BraTS2021_{match['number']}", kind) if match and kind else None


def _place_mslub(path: PurePosixPath) -> _Place | None:
    """The patient stands in the file's name or else in that of a folder; raw copies rank behind coregistered ones."""
    stem = stem_of(path.name)
    own = _PATIENT.match(stem)
    owners = [own] if own else [match for part in reversed(path.parts[:-1]) if (match := _PATIENT.fullmatch(part))]
    kind = _kind(stem[own.end() :].lstrip("_- ") if own else stem)
    if not owners or kind is None:
        return None
    folders = [part.lower() for part in path.parts[:-1]]
    if any(folder.startswith(_OTHER_PATIENTS) for folder in folders):
        return None
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
