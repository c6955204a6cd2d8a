"""A run reads scans of the modality that it has learnt: what the user said of a scan, and what its name says."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...datasets.base import kind_of
from ...datasets.layout import stem_of
from ...datasets.modality import Modality
from ...errors import UserError
from .inputs import NewScan, ScanFile
from .trained import TrainedRun

_BETWEEN_WORDS = re.compile(r"[_.\-]")


def require_modality(declared: Modality | None, run: TrainedRun, scans: Sequence[NewScan]) -> tuple[str, ...]:
    """See that scans are of the modality that a run has learnt.

    Args:
        declared: what the user said they are; None where nothing was said, and their names are looked at.
        run: the run.
        scans: they; a series of DICOM files has no name that speaks.

    Returns:
        Sentences about scans whose names speak of another modality.

    Raises:
        UserError: they are said to be of another modality.
    """
    learnt = run.modality
    if declared is not None and declared is not learnt:
        raise UserError(
            f"the run has learnt {learnt.upper()} scans and cannot read {declared.upper()}: choose a run on "
            f"{declared.upper()} (bench list runs), or give {learnt.upper()} scans"
        )
    if declared is not None:
        return ()
    files = [scan.path for scan in scans if isinstance(scan, ScanFile)]
    named = {path.name: modality_in(path.name) for path in files}
    return tuple(
        f"{name} is {found.upper()} by its name, and the run has learnt {learnt.upper()}; if the name is wrong, "
        f"say so by --modality {learnt}"
        for name, found in named.items()
        if found is not None and found is not learnt
    )


def modality_in(name: str) -> Modality | None:
    """The modality that the last word of a file's name means: T1 of sub-01_T1w.nii.gz; None where it means none."""
    kind = kind_of(_BETWEEN_WORDS.split(stem_of(name))[-1])
    return Modality(kind) if kind in list(Modality) else None
