"""The folder layout that the field already shares: where each kind of file of a data set lies.

    DIR/Train/ixi/{t2,mask}/          all healthy scans, whichever part they are in
    DIR/Test/Brats21/{t2,mask,seg}/   scans with tumours
    DIR/Test/MSLUB/{t2,mask,seg}/     scans with MS lesions
    DIR/splits/*.csv                  who trains, validates and tests

A scan is called `<id>_t2.nii.gz`, its brain mask `<id>_mask.nii.gz`, its segmentation `<id>_seg.nii.gz`. A set's folder
that holds a file PHANTOM.json is an export of the phantom and is called so wherever it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .cohort import Role

IMAGE, MASK, SEGMENTATION = "t2", "mask", "seg"
SUFFIXES = (".nii.gz", ".nii")
PHANTOM_MARK = "PHANTOM.json"
SPLITS_FOLDER = "splits"
AVAILABLE_T2 = "avail_t2.csv"
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
    """

    name: str
    title: str
    citation: str
    role: Role
    folder: str
    csv_prefix: str

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


def scan_path(directory: Path, info: DataSetInfo, kind: str, scan: str) -> Path:
    """Where a scan's file of one kind ("t2", "mask" or "seg") is written: `<folder>/<kind>/<scan>_<kind>.nii.gz`."""
    return directory / info.folder / kind / f"{scan}_{kind}{SUFFIXES[0]}"
