"""The folder layout that the field already shares: where each kind of file of a data set lies.

    DIR/Train/ixi/{t1,t2,mask}/       all healthy scans, whichever part they are in; a folder per modality
    DIR/Test/Brats21/{t2,mask,seg}/   scans with lesions
    DIR/splits/*.csv                  who trains, validates and tests
    DIR/splits/avail_t2.csv           optional: the healthy scans that have a T2; so for every modality
    DIR/splits/ages.csv               optional: ages (columns img_name, age) for a split of our own
    DIR/splits/sites.csv              optional: sites (columns img_name, site), where names do not tell them

A scan is called `<id>_t2.nii.gz`, its brain mask `<id>_mask.nii.gz`, its segmentation `<id>_seg.nii.gz`; that is how
scans are written, and any of `SUFFIXES` in any case is read (`.hdr` and `.img` are one scan). A set's folder
that holds a file PHANTOM.json is an export of the phantom and is called so wherever it is shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from .modality import Modality

#: The kinds of file beside the images, whose kind is their modality; each is the name of a folder.
MASK, SEGMENTATION = "mask", "seg"
#: Of the files that are read, in any case; a scan that is written has the first.
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh.gz", ".mgh", ".hdr.gz", ".hdr", ".img.gz", ".img")
PHANTOM_MARK = "PHANTOM.json"
SPLITS_FOLDER = "splits"
AGES, SITES = "ages.csv", "sites.csv"
FOLDS = 5


class _Placed(Protocol):
    """Whatever has a folder below the data directory: a data set."""

    @property
    def folder(self) -> str: ...


def suffix_of(name: str) -> str | None:
    """The suffix of a scan's file in lower case, such as ".nii.gz"; None of a file that is read as no scan."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def stem_of(name: str) -> str:
    """A file's name without the suffix that `suffix_of` finds."""
    return name[: len(name) - len(suffix_of(name) or "")]


def scan_path(directory: Path, data_set: _Placed, kind: str, scan: str) -> Path:
    """Where a scan's file of one kind ("t2", "mask" or "seg") is written: `<folder>/<kind>/<scan>_<kind>.nii.gz`."""
    return directory / data_set.folder / kind / f"{scan}_{kind}{SUFFIXES[0]}"


def available_csv(modality: Modality) -> str:
    """Name of the file that lists the healthy scans that have this modality."""
    return f"avail_{modality}.csv"
