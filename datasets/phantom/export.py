"""The phantom as NIfTI files, in the layout that the field shares: what `bench prepare phantom --nifti DIR` writes.

Every set's folder carries a file PHANTOM.json, so that the directory is called a phantom wherever it is shown. Images
hold whole numbers and are written losslessly: read back, they prepare to the very volumes of the built-in phantom.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Iterable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from ...files import read_json, replacing, write_json
from ...workers import be_a_good_child, in_workers
from ..cohort import Subject
from ..layout import MASK, PHANTOM_MARK, SEGMENTATION, SPLITS_FOLDER, scan_path
from ..modality import Modality
from ..store.store import Progress
from .anatomy import load_atlas
from .contrast import contrast_of
from .subjects import MODELS, PHANTOM_VERSION, PhantomSet, PhantomSize, phantom_splits, simulate, subjects

_COMPRESSION = 3
_HEADER = ("", "img_name", "age", "site", "label", "img_path", "mask_path", "seg_path", "Agegroup")


def export_nifti(
    size: PhantomSize,
    directory: Path,
    seed: int,
    jobs: int,
    progress: Progress | None = None,
    *,
    modality: Modality = Modality.T2,
) -> None:
    """Write the phantom as NIfTI files with split files. Every file is written whole; what is there already is kept.

    A directory may hold several modalities of one phantom, each in its folder beside the masks of all.

    Args:
        size: DEMO or PAPER, or another.
        directory: where `Train/ixi`, `Test/Brats21`, `Test/MSLUB` and `splits` go.
        seed: the seed of the cohort.
        jobs: worker processes; each needs about 0.8 GB.
        progress: called with (subjects done, subjects in all).
        modality: T1, T2 or FLAIR.

    Raises:
        DataError: there is no such phantom, the directory holds other scans or another phantom, or cannot be written.
    """
    contrast_of(modality)
    try:
        for role, info in MODELS.items():
            _claim(directory / info.folder, {"phantom": size.name, "role": role.value, "seed": seed})
        _write_splits(size, directory / SPLITS_FOLDER, modality)
        _write_scans(_Export(directory, seed, modality), size, jobs, progress)
    except OSError as error:
        raise DataError(
            f"{directory} cannot be written: {error.strerror or error}; make room or choose another directory, "
            "then start again: what is done is kept"
        ) from error


def _claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Mark a set's folder as this phantom's; never mix with what is not."""
    content = {**identity, "version": PHANTOM_VERSION, "note": "Synthetic brains made by uadbench; not patients."}
    marker = folder / PHANTOM_MARK
    found = read_json(marker)
    if found == content:
        return
    if found is not None or (folder.exists() and any(folder.iterdir())):
        raise DataError(f"{folder} already holds other scans; choose an empty directory for the phantom")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(marker, content)


@dataclass(frozen=True)
class _Export:
    """What is written where; an object and no closure, because worker processes need to unpickle it."""

    directory: Path
    seed: int
    modality: Modality

    def paths(self, subject: Subject, role: PhantomSet) -> dict[str, Path]:
        """The files of a subject by kind."""
        info = MODELS[role]
        return {kind: scan_path(self.directory, info, kind, subject.id) for kind in info.kinds(self.modality)}

    def __call__(self, task: tuple[Subject, PhantomSet]) -> None:
        """Write the scan of a subject of a set."""
        scan = simulate(*task, self.seed, self.modality)
        arrays: dict[str, NDArray[Any]] = {
            self.modality: scan.image.astype(np.int16),
            MASK: scan.brain_mask.astype(np.uint8),
        }
        if scan.lesion_mask is not None:
            arrays[SEGMENTATION] = scan.lesion_mask.astype(np.uint8)
        for kind, path in self.paths(*task).items():
            _write_nifti(path, arrays[kind])


def _write_scans(export: _Export, size: PhantomSize, jobs: int, progress: Progress | None) -> None:
    tasks = [(subject, role) for role in PhantomSet for subject in subjects(size, role)]
    report = progress or (lambda _done, _total: None)
    missing = [task for task in tasks if not all(path.exists() for path in export.paths(*task).values())]
    done = len(tasks) - len(missing)
    report(done, len(tasks))
    if jobs <= 1 or len(missing) <= 1:
        for task in missing:
            export(task)
            done += 1
            report(done, len(tasks))
        return
    try:
        for _ in in_workers(export, missing, min(jobs, len(missing)), be_a_good_child):
            done += 1
            report(done, len(tasks))
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process died, probably for lack of memory; start again where more is free: what is done is kept"
        ) from error


def _write_nifti(path: Path, array: NDArray[Any]) -> None:
    """Write a (z, y, x) volume in RAS order and MNI millimetres; the same volume always gives the same bytes."""
    import nibabel as nib

    affine = np.eye(4)
    affine[:3, 3] = load_atlas().origin
    image: Any = nib.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    _write_whole(path, gzip.compress(image.to_bytes(), _COMPRESSION, mtime=0))


def _write_whole(path: Path, content: bytes) -> None:
    with replacing(path) as partial_path:
        partial_path.write_bytes(content)


def _write_splits(size: PhantomSize, folder: Path, modality: Modality) -> None:
    """Write the split files in the published columns; what they name is read without its modality."""
    splits = phantom_splits(size)
    healthy = MODELS[PhantomSet.HEALTHY]
    lists: list[tuple[str, PhantomSet, tuple[str, ...]]] = [(healthy.test_csv, PhantomSet.HEALTHY, splits.healthy_test)]
    for number, fold in enumerate(splits.folds):
        lists.append((healthy.fold_csv("train", number), PhantomSet.HEALTHY, fold.train))
        lists.append((healthy.fold_csv("val", number), PhantomSet.HEALTHY, fold.val))
    for key, part in splits.lesion.items():
        role = PhantomSet(key)
        lists.append((MODELS[role].val_csv, role, part.val))
        lists.append((MODELS[role].test_csv, role, part.test))
    for name, role, ids in lists:
        people = {subject.id: subject for subject in subjects(size, role)}
        rows = (_row(number, people[scan], role, modality) for number, scan in enumerate(ids))
        _write_csv(folder / name, rows)


def _write_csv(path: Path, rows: Iterable[tuple[object, ...]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    writer.writerows(rows)
    _write_whole(path, text.getvalue().encode())


def _row(number: int, subject: Subject, role: PhantomSet, modality: Modality) -> tuple[object, ...]:
    info = MODELS[role]
    image, mask = (scan_path(Path("/"), info, kind, subject.id) for kind in (modality, MASK))
    diseased = role is not PhantomSet.HEALTHY
    segmentation = scan_path(Path("/"), info, SEGMENTATION, subject.id) if diseased else ""
    # The published classes: up to 40 years, to 60, to 80, older.
    group = float(max(1, math.ceil((subject.age or 0) / 20) - 1))
    name = subject.id if diseased else image.name
    return number, name, subject.age, subject.site, int(diseased), image, mask, segmentation, group
