"""The DICOM series in a folder, or among files: found, told apart, listed without a word on the patient, chosen.

A series is what the scanner made in one go. Where it holds several volumes, such as the proton density and the T2 of a
dual echo, they are told apart by echo time and kind of picture, and count as series of their own: 3a and 3b.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from string import ascii_lowercase

from ...errors import UserError
from .header import Header, NoImage, Slice, read_header

LEAST_SLICES = 5  # fewer are no volume of a head: a localiser, a sample, a screenshot
_MR = ("MR", "OT", "")
_MOST_LOCALISING = 12  # slices of one orientation in a localiser that shows several
_LOCALISER_WORDS = frozenset({"loc", "localizer", "localiser", "scout", "survey", "3plane"})
#: Of a description only these words are shown. They name how a picture was made; any other may be somebody's name.
_TECHNIQUES = """
    t1 t1w t2 t2w pd pdw flair dark fluid stir tirm dir dwi adc dti swi epi ir irse
    tse fse frfse se gre ge ffe tfe tfl flash spgr fspgr bravo mprage mp2rage
    space cube vista vfl haste ssfse propeller blade ciss fiesta spair spir fs fatsat
    2d 3d ax axial tra transversal sag sagittal cor coronal mpr iso pre post gd ce dual echo mag phase norm map
"""
_TECHNIQUE_WORDS = _LOCALISER_WORDS | frozenset(_TECHNIQUES.split())


@dataclass(frozen=True)
class Series:
    """A volume's slices, in the order of their files.

    Attributes:
        label: what it is called: its number, and a letter where several share that.
        uid: of the series, to be chosen by; never shown.
        modality: "MR" and so on; empty where it is not said.
        technique: how it was made, in words that are no one's name.
        transfer_syntaxes: UIDs of how its pixels are packed.
        is_localiser: whether it only served to plan others.
        is_lossy: whether its pixels have been through lossy compression.
        slices: its pictures, at least one.
    """

    label: str
    uid: str
    modality: str
    technique: str
    transfer_syntaxes: tuple[str, ...]
    is_localiser: bool
    is_lossy: bool
    slices: tuple[Slice, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold the slices, each once."""
        return tuple(dict.fromkeys(one.file for one in self.slices))

    @property
    def is_volume(self) -> bool:
        """Whether it may be a scan of a head, to be predicted unasked."""
        return not self.is_localiser and self.modality in _MR and len(self.slices) >= LEAST_SLICES

    def line(self) -> str:
        """It in one line: label, technique, slices and their size."""
        rows, columns = self.slices[0].size
        technique = f"{self.technique}, " if self.technique else ""
        return f"{self.label}: {technique}{len(self.slices)} slices of {columns} x {rows}"


@dataclass(frozen=True)
class FoundSeries:
    """What DICOM files hold.

    Attributes:
        place: which files they are, for messages: "DICOM input 1".
        series: all of them, by number.
        passed_over: how many files are no image, by what they are.
    """

    place: str
    series: tuple[Series, ...]
    passed_over: tuple[tuple[NoImage, int], ...]

    def choose(self, words: Sequence[str]) -> tuple[Series, ...]:
        """The series that are called by these words, each a label or a UID; without words, the only volume.

        Raises:
            UserError: there is no such series, or there are none or several to choose from; they are listed.
        """
        if words:
            return tuple(self._called(word) for word in dict.fromkeys(words))
        volumes = [one for one in self.series if one.is_volume]
        if len(volumes) == 1:
            return (volumes[0],)
        if not volumes:
            raise UserError(f"{self.place} holds no MR volume ({self._account()}); give the folder of the scan")
        listed = "; ".join(one.line() for one in volumes)
        raise UserError(f"{self.place} holds {len(volumes)} series, choose with --series: {listed}")

    def notes(self) -> tuple[str, ...]:
        """What was passed over, for the screen."""
        return tuple(f"{self.place}: passed over {_count(count, what)}" for what, count in self.passed_over)

    def _called(self, word: str) -> Series:
        found = [one for one in self.series if word.casefold() == one.label or word == one.uid]
        if len(found) == 1:
            return found[0]
        listed = "; ".join(one.line() for one in self.series) or self._account()
        said = "is no single series" if found else "is none"
        raise UserError(f"--series {word} {said} of {self.place}, which holds: {listed}")

    def _account(self) -> str:
        """What there is instead of a volume."""
        other = Counter(_why_no_volume(one) for one in self.series)
        counts = [
            *((count, what) for what, count in other.items()),
            *((count, what) for what, count in self.passed_over),
        ]
        return ", ".join(_count(count, what) for count, what in counts) or "no files"


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file in a folder and its folders, in the order of their names."""
    for where, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(where, name)).is_file())


def find_series(files: Iterable[Path], place: str) -> FoundSeries:
    """The series that files belong to, by their headers.

    Args:
        files: regular files, DICOM or not.
        place: what to call them in messages.

    Raises:
        DataError: a DICOM file is damaged.
    """
    headers: list[Header] = []
    passed_over: Counter[NoImage] = Counter()
    for number, path in enumerate(files, start=1):
        read = read_header(path, f"{place}: file {number} in the order of their names")
        if isinstance(read, NoImage):
            passed_over[read] += 1
        else:
            headers.append(read)
    ordered = sorted(headers, key=lambda header: (header.number, header.uid))
    found: list[tuple[list[Header], tuple[Slice, ...]]] = []
    for _, group in groupby(ordered, key=lambda header: (header.number, header.uid)):
        members = list(group)
        found += [(members, volume) for volume in _volumes([one for header in members for one in header.slices])]
    labels = _labels([members[0].number for members, _ in found])
    series = tuple(_series(label, *volume) for label, volume in zip(labels, found, strict=True))
    return FoundSeries(place, series, tuple(sorted(passed_over.items())))


def technique_of(description: str, echo_ms: float | None, timing: tuple[float | None, float | None]) -> str:
    """How a series was made: the words of its description that are known to name a technique, and its times."""
    words = [word for word in _words(description) if word in _TECHNIQUE_WORDS]
    times = (("TR", timing[0]), ("TE", echo_ms), ("TI", timing[1]))
    said = [f"{name} {value:.4g} ms" for name, value in times if value]
    return ", ".join([*([" ".join(dict.fromkeys(words))] if words else []), *said])


def _series(label: str, headers: Sequence[Header], slices: tuple[Slice, ...]) -> Series:
    first = headers[0]
    return Series(
        label=label,
        uid=first.uid,
        modality=first.modality,
        technique=technique_of(first.description, slices[0].echo_ms, first.timing),
        transfer_syntaxes=tuple(sorted({header.transfer_syntax for header in headers})),
        is_localiser=_is_localiser(first.description, slices),
        is_lossy=any(header.is_lossy for header in headers),
        slices=slices,
    )


def _is_localiser(description: str, slices: Sequence[Slice]) -> bool:
    """Whether the scanner says so, or the series shows a few slices in each of several directions."""
    kinds = {word.upper() for one in slices for word in one.kind}
    if "LOCALIZER" in kinds or _LOCALISER_WORDS & set(_words(description)):
        return True
    directions = Counter(tuple(round(value, 1) for value in (*one.row, *one.column)) for one in slices)
    return len(directions) > 1 and max(directions.values()) < _MOST_LOCALISING


def _words(text: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", text.lower())


def _volumes(slices: Sequence[Slice]) -> list[tuple[Slice, ...]]:
    """The volumes of a series: one, unless pictures lie at one place that echo time or kind tell apart."""
    if not _share_places(slices):
        return [tuple(slices)]
    keys: tuple[Callable[[Slice], Hashable], ...] = (
        lambda one: one.echo_ms,
        lambda one: one.kind,
        lambda one: (one.echo_ms, one.kind),
    )
    for key in keys:
        parts: dict[Hashable, list[Slice]] = {}
        for one in slices:
            parts.setdefault(key(one), []).append(one)
        if not any(_share_places(part) for part in parts.values()):
            return [tuple(part) for part in parts.values()]
    return [tuple(slices)]


def _share_places(slices: Sequence[Slice]) -> bool:
    return len({(one.position, one.row, one.column) for one in slices}) < len(slices)


def _labels(numbers: Sequence[int]) -> list[str]:
    """The numbers, with a letter behind those that are several."""
    counts, seen = Counter(numbers), Counter[int]()
    labels = []
    for number in numbers:
        letter = _letters(seen[number]) if counts[number] > 1 else ""
        labels.append(f"{number}{letter}")
        seen[number] += 1
    return labels


def _letters(index: int) -> str:
    """The letters of an index: a, b to z, aa, ab and so on."""
    before, last = divmod(index, len(ascii_lowercase))
    return (_letters(before - 1) if before else "") + ascii_lowercase[last]


def _why_no_volume(series: Series) -> str:
    if series.modality not in _MR:
        return f"series of {series.modality}"
    return "localiser" if series.is_localiser else f"series of less than {LEAST_SLICES} slices"


def _count(count: int, what: str) -> str:
    return f"{count} x {what}"
