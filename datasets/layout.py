"""The folder layout that the field already shares: where each kind of file of a data set lies.

    DIR/Train/ixi/{t2,mask}/          all healthy scans, whichever part they are in
    DIR/Test/Brats21/{t2,mask,seg}/   scans with tumours
    DIR/Test/MSLUB/{t2,mask,seg}/     scans with MS lesions
    DIR/splits/*.csv                  who trains, validates and tests
    DIR/splits/avail_t2.csv           optional: the healthy scans that have a T2
    DIR/splits/ages.csv               optional: ages (columns img_name, age) for a split of our own

A scan is called `<id>_t2.nii.gz`, its brain mask `<id>_mask.nii.gz`, its segmentation `<id>_seg.nii.gz`; that is how
scans are written, and any of `SUFFIXES` in any case is read (`.hdr` and `.img` are one scan). A set's folder
that holds a file PHANTOM.json is an export of the phantom and is called so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .cohort import Role

IMAGE, MASK, SEGMENTATION = "t2", "mask", "seg"
#: Of the files that are read, in any case; a scan that is written has the first.
SUFFIXES = (".nii.gz", ".nii", ".mgz", ".mgh.gz", ".mgh", ".hdr.gz", ".hdr", ".img.gz", ".img")
PHANTOM_MARK = "PHANTOM.json"
SPLITS_FOLDER = "splits"
AVAILABLE_T2 = "avail_t2.csv"
AGES = "ages.csv"
FOLDS = 5


@dataclass(frozen=True)
class DataSetInfo:
    """The identity of a data set: its names, its source and its place in the layout.

    Attributes:
        name: short name; the name of the file in datasets/ that describes it.
        title: name in tables.
        citation: who made it, and where to ask for it.
        role: what it is for.
        folder: its folder below the data directory.
        csv_prefix: its split files are `<csv_prefix>_test.csv` and so on.
        held_out: (k, n): of n published scans k are held out, for test (healthy) or for the threshold (lesions); a
            split of our own keeps this share.
        person_of: the person a scan shows, read from the scan's name.
        site_of: the site of a scan, read from its name, or None.
    """

    name: str
    title: str
    citation: str
    role: Role
    folder: str
    csv_prefix: str
    held_out: tuple[int, int]
    person_of: Callable[[str], str]
    site_of: Callable[[str], str | None]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The subfolders this set has: segmentations only where there are lesions."""
        return (IMAGE, MASK) if self.role is Role.HEALTHY else (IMAGE, MASK, SEGMENTATION)

    @property
    def test_csv(self) -> str:
        """Name of the file that lists the test scans."""
        return f"{self.csv_prefix}_test.csv"

    @property
    def val_csv(self) -> str:
        """Name of the file that lists the validation scans of a lesion set."""
        return f"{self.csv_prefix}_val.csv"

    def fold_csv(self, part: str, fold: int) -> str:
        """Name of the file that lists the "train" or "val" scans of a fold of the healthy set."""
        return f"{self.csv_prefix}_{part}_fold{fold}.csv"


def suffix_of(name: str) -> str | None:
    """The suffix of a scan's file in lower case, such as ".nii.gz"; None of a file that is read as no scan."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)


def stem_of(name: str) -> str:
    """A file's name without the suffix that `suffix_of` finds."""
    return name[: len(name) - len(suffix_of(name) or "")]


def scan_path(directory: Path, info: DataSetInfo, kind: str, scan: str) -> Path:
    """Where a scan's file of one kind ("t2", "mask" or "seg") is written: `<folder>/<kind>/<scan>_<kind>.nii.gz`."""
    return directory / info.folder / kind / f"{scan}_{kind}{SUFFIXES[0]}"
