"""Downloads as they come: which scan each file of a data set belongs to, in folders and in tars.

How files are called is said by the data set itself (`DataSet.recognise`). Names decide, not folders, so a set may lie
deeper or flat; but where a copy made a folder of each file (BraTS2021_00000_t2.nii/00000057_brain_t2.nii), that
folder's name counts. Other modalities of the same scans are passed over, and what belongs to nothing is listed. Other
years and sets of the same makers show other people under other names: they are recognised (see `raw_looks`), said, and
never taken for the set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ...errors import DataError, shorten
from ..base import DataSet, Participant, Placed, Recognise
from ..layout import MASK, SEGMENTATION, suffix_of
from ..modality import Modality
from .raw_files import Listing, RawFile, list_files
from .raw_looks import look_of, looks_among

_ARCHIVES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".zip", ".rar", ".7z")


@dataclass(frozen=True)
class RawScan:
    """The files of one scan.

    Attributes:
        id: its name in the published splits.
        files: by kind: the modality, and "mask" and "seg" where they are there.
    """

    id: str
    files: Mapping[str, RawFile]


@dataclass(frozen=True)
class RawSet:
    """What a download holds.

    Attributes:
        data_set: the set.
        modality: the contrast of the images that are wanted.
        source: the folder or tar that was given.
        scans: complete scans in order of name.
        incomplete: for each scan that misses a file that nothing replaces, a sentence.
        damaged: for each archive or folder that could not be read to its end, a sentence.
        unplaced: NIfTI files, tables and archives that belong to nothing.
        passed_over: number of files of the set that are not needed, such as other modalities.
        ages: years by scan.
        sites: sites by scan, of those whose names do not tell it.
        notes: what the user should know.
    """

    data_set: DataSet
    modality: Modality
    source: Path
    scans: tuple[RawScan, ...]
    incomplete: Mapping[str, str] = field(default_factory=dict)
    damaged: Mapping[str, str] = field(default_factory=dict)
    unplaced: tuple[str, ...] = ()
    passed_over: int = 0
    ages: Mapping[str, float] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """What was recognised, for the screen."""
        counted = f"{self.data_set.title}: {len(self.scans)} complete scans, {len(self.incomplete)} incomplete; "
        lines = [f"{counted}{self.passed_over} files not needed, {len(self.unplaced)} not recognised."]
        if self.unplaced:
            lines.append(f"Not recognised: {shorten(self.unplaced)}.")
        return tuple(lines)


def find_raw(data_set: DataSet, raw: Path, modality: Modality, known: Sequence[DataSet] = ()) -> RawSet:
    """Recognise a download.

    Args:
        data_set: the set that it is said to be.
        raw: its folder, which may hold tars, or the tar.
        modality: of the images that are wanted.
        known: other sets, which it may be instead.

    Raises:
        DataError: the set lacks the modality; nothing there, nothing that can be read, or no scan of this set.
    """
    refuse_lacking(data_set, modality)
    wanted = (modality, MASK, SEGMENTATION)
    found: dict[str, dict[str, list[tuple[Placed, RawFile]]]] = defaultdict(lambda: defaultdict(list))
    unplaced: list[RawFile] = []
    passed_over = 0
    listing = list_files(raw)
    sheets = _sheets_beside(data_set, raw)
    for file in listing.files:
        placed = _placed(data_set.recognise, file.name)
        if placed is not None and placed.kind in wanted:
            found[placed.scan][placed.kind].append((placed, file))
        elif placed is not None:
            passed_over += 1
        elif _is_sheet(data_set, file):
            sheets += [file.path] if file.path.is_file() else []
        else:
            unplaced.append(file)
    if not found:
        raise DataError(_nothing_found(data_set, raw, modality, listing, known))
    twins: list[str] = []
    scans = {scan: _chosen(kinds, modality, twins) for scan, kinds in sorted(found.items())}
    passed_over += sum(len(files) for kinds in found.values() for files in kinds.values())
    passed_over -= sum(len(files) for files in scans.values())
    kinds = data_set.kinds(modality)
    incomplete = {scan: reason for scan, files in scans.items() if (reason := _missing(kinds, scan, files))}
    complete = tuple(RawScan(scan, files) for scan, files in scans.items() if scan not in incomplete)
    people, notes = _people(data_set, sheets, complete)
    unfit = {scan: one.unfit for scan, one in people.items() if one.unfit}
    complete = tuple(scan for scan in complete if scan.id not in unfit)
    people = {scan: one for scan, one in people.items() if scan not in unfit}
    notes = (*notes, *_unfit_note(unfit), *_twin_note(twins), *_packed_note(unplaced), *looks_among(unplaced))
    return RawSet(
        data_set,
        modality,
        raw,
        complete,
        incomplete,
        listing.damaged,
        tuple(str(file) for file in unplaced),
        passed_over,
        ages={scan: one.age for scan, one in people.items() if one.age is not None},
        sites={scan: one.site for scan, one in people.items() if one.site and data_set.site_of(scan) is None},
        notes=notes,
    )


def refuse_lacking(data_set: DataSet, modality: Modality) -> None:
    """See that a set ships a modality.

    Raises:
        DataError: it does not.
    """
    if modality not in data_set.modalities:
        shipped = ", ".join(data_set.modalities)
        raise DataError(f"{data_set.title} has no {modality.upper()}; choose --modality of {shipped}")


def _placed(recognise: Recognise, path: PurePosixPath) -> Placed | None:
    """Whose file it is by its name, or else by that of the folder that was made of it."""
    if suffix_of(path.name) is None:
        return None
    placed = recognise(path)
    if placed is None and suffix_of(path.parent.name) is not None:
        placed = recognise(path.parent)
        return None if placed is None else replace(placed, rank=placed.rank + 1)
    return placed


def _nothing_found(data_set: DataSet, raw: Path, modality: Modality, listing: Listing, known: Sequence[DataSet]) -> str:
    """Why a download is not of this set, and what it may be instead."""
    if listing.damaged:
        return next(iter(listing.damaged.values()))
    said = f"{raw} holds no file named like {data_set.modalities[modality]}, so it is no {data_set.title} download"
    mine = _files_of(data_set, listing)
    if mine:
        return (
            f"{said}; it holds other modalities of {data_set.title} alone, such as {mine[0]}: get its "
            f"{modality.upper()} images, too"
        )
    others = [other for other in known if other is not data_set and _files_of(other, listing)]
    if others:
        ways = " or ".join(f"{other.title}: bench prepare {other.name}" for other in others)
        return f"{said}; it looks like {ways}"
    look = look_of(listing.files)
    if look is not None:
        return f"{said}; {look}"
    packed = _packed(listing.files)
    if packed:
        return f"{said}; unpack {packed[0]} first"
    return f"{said}; it holds {len(listing.files)} other files: {shorten(tuple(map(str, listing.files)), shown=1)}"


def _files_of(data_set: DataSet, listing: Listing) -> list[str]:
    return [str(file) for file in listing.files if _placed(data_set.recognise, file.name)]


def _missing(kinds: Sequence[str], scan: str, files: Mapping[str, RawFile]) -> str | None:
    """Why a scan cannot be prepared; None if all is there that nothing replaces: masks can be made."""
    image = kinds[0]
    if image not in files:
        there = ", ".join(str(file) for file in files.values())
        return f"{scan} has no {image.upper()} image, only {there}; add the image or remove the rest"
    if SEGMENTATION in kinds and SEGMENTATION not in files:
        return f"{scan} has no segmentation beside {files[image]}; add it or remove the scan"
    return None


def _chosen(
    kinds: Mapping[str, Sequence[tuple[Placed, RawFile]]], image: Modality, twins: list[str]
) -> dict[str, RawFile]:
    """One file per kind: first the image, best one that lies with a segmentation; then what lies nearest to it.

    Args:
        kinds: a scan's files by kind.
        image: the kind of the image.
        twins: gets a few words on each two files between which nothing but their names decides.
    """
    with_labels = {file.name.parent for _, file in kinds.get(SEGMENTATION, ())}
    chosen: dict[str, RawFile] = {}
    for kind in (image, MASK, SEGMENTATION):
        folders = {chosen[image].name.parent} if image in chosen else with_labels
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


# ---------------------------------------------------------------------------------------------------------- people


def _sheets_beside(data_set: DataSet, raw: Path) -> list[Path]:
    """The tables of people that lie beside a tar."""
    names = () if data_set.participants is None else data_set.participants.names
    return [sheet for name in names if raw.is_file() and (sheet := raw.with_name(name)).is_file()]


def _is_sheet(data_set: DataSet, file: RawFile) -> bool:
    return data_set.participants is not None and file.member is None and file.name.name in data_set.participants.names


def _unfit_note(unfit: Mapping[str, str]) -> tuple[str, ...]:
    """Who is left out for what the table of people says."""
    if not unfit:
        return ()
    verb = "scan is" if len(unfit) == 1 else "scans are"
    return (f"{len(unfit)} {verb} left out: {shorten(tuple(f'{scan}, {why}' for scan, why in unfit.items()))}",)


def _people(
    data_set: DataSet, sheets: Sequence[Path], scans: Sequence[RawScan]
) -> tuple[dict[str, Participant], tuple[str, ...]]:
    """By scan, what the table of people says; a table that cannot be read is a note, never an error."""
    sheet = data_set.participants
    if sheet is None:
        return {}, ()
    if not sheets:
        return {}, (f"no {sheet.names[-1]} lies with the scans, so {sheet.without}",)
    path = min(sheets, key=lambda one: (sheet.names.index(one.name), len(one.parts), str(one)))
    try:
        read = sheet.read(path)
    except DataError as error:
        return {}, (f"{error}; {sheet.without}",)
    people = {scan.id: read[person] for scan in scans if (person := data_set.person_of(scan.id)) in read}
    missing = len(scans) - sum(one.age is not None for one in people.values())
    title = data_set.title
    return people, ((f"{missing} of {len(scans)} {title} scans have no age in {path.name}",) if missing else ())
