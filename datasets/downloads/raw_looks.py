"""What a download is that is none of the sets: other years, other sets of the same makers, copies without names.

Their scans show other people, or the same under other names than in the published split, so none is taken for a set of
the benchmark on a guess; but who has one deserves to hear which one it is, in what it differs and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..layout import stem_of, suffix_of
from .raw_files import RawFile

_GET_BRATS = "get the training set of BraTS 2021, whose files are called BraTS2021_00000_t2.nii.gz"
_YEARS = "its scans bear other names than those of BraTS21 in the published split and are in part of other people"


@dataclass(frozen=True)
class _Look:
    """A kind of download by its names.

    Attributes:
        title: what it seems to be; of the pattern's groups {year} and {task} are put in.
        pattern: of the file's stem, or of the name of the folder that was made of the file.
        unlike: in what it is unlike the sets that are read.
        remedy: what to do.
    """

    title: str
    pattern: re.Pattern[str]
    unlike: str
    remedy: str

    def match(self, file: RawFile) -> re.Match[str] | None:
        name = file.name
        parent = stem_of(name.parent.name) if suffix_of(name.parent.name) else ""
        return self.pattern.match(stem_of(name.name)) or self.pattern.match(parent)

    def said(self, match: re.Match[str]) -> str:
        return self.title.format(**{key: value or "" for key, value in match.groupdict().items()})


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_LOOKS = (
    _Look("BraTS 20{year}", _pattern(r"BraTS[-_]?(20)?(?P<year>1[3-9]|20)[-_].*[-_]\w+$"), _YEARS, _GET_BRATS),
    _Look(
        "BraTS 2023 or later ({task})",
        _pattern(r"BraTS-(?P<task>[A-Z]+)(-RT)?-\d{4,5}-\d+[-_]\w+$"),
        f"{_YEARS} (GLI is glioma; MEN, MET, PED and SSA are other patients altogether)",
        _GET_BRATS,
    ),
    _Look("BraTS 2013 to 2016", _pattern(r"VSD\.Brain\."), _YEARS, _GET_BRATS),
    _Look(
        "the Medical Segmentation Decathlon's brain tumours (BraTS 2016 and 2017, renamed)",
        _pattern(r"BRATS_\d{3}$"),
        "each file holds all modalities of a scan under a number of its own",
        _GET_BRATS,
    ),
    _Look(
        "a copy of BraTS 2021 by numbers alone (as RSNA-MICCAI's on radiogenomics)",
        _pattern(r"\d{5}_(t1|t1ce|t2|flair|seg)$"),
        "a number does not say of which year",
        "call the files BraTS2021_NNNNN_t2.nii.gz and _seg if you know that they are, else " + _GET_BRATS,
    ),
    _Look(
        "the longitudinal set of MS patients (Lesjak 2016)",
        _pattern(r"(patient\d+[-_])?study\d[-_]\w+$"),
        "its patients are others than MSLUB's under the same numbers, and it marks changes of lesions",
        "get the cross-sectional set (Lesjak 2018), patient01 to patient30 with T2W, brainmask and consensus_gt",
    ),
    _Look(
        "a BIDS data set",
        _pattern(r"sub-[A-Za-z0-9]+_.*\w+$"),
        "its names do not say which scan of a published split a file is",
        "get the set as its makers publish it, or call the files as they do",
    ),
    _Look(
        "a DICOM export",
        _pattern(r"(.*\.dcm|IM[-_]?\d+|Image-\d+\.dcm)$"),
        "a scan is a folder of slices there",
        "convert it with dcm2niix and give the files the names that the set's makers use",
    ),
)


def look_of(files: Sequence[RawFile]) -> str | None:
    """A sentence on what a download seems to be; None where nothing is known of its names."""
    found = next(iter(_found(files)), None)
    if found is None:
        return None
    title, look, names = found
    return f"it looks like {title} ({_such(names)}): {look.unlike}; {look.remedy}"


def looks_among(files: Sequence[RawFile]) -> tuple[str, ...]:
    """A note on each kind of download that lies among the files of another."""
    return tuple(
        f"{_such(names)} looks like {title} and is left out: {look.unlike}" for title, look, names in _found(files)
    )


def _found(files: Sequence[RawFile]) -> list[tuple[str, _Look, list[str]]]:
    """What is recognised, the most frequent first: its title, its look and the files."""
    names: dict[str, list[str]] = {}
    looks: dict[str, _Look] = {}
    for file in files:
        for look in _LOOKS:
            match = look.match(file)
            if match is not None:
                title = look.said(match)
                names.setdefault(title, []).append(str(file))
                looks[title] = look
                break
    return [(title, looks[title], names[title]) for title in sorted(names, key=lambda one: -len(names[one]))]


def _such(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
