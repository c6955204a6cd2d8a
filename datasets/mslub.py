"""MSLUB: brains with lesions of multiple sclerosis.

Thirty patients of the University Medical Centre Ljubljana, one Siemens 3 T scanner, with lesions outlined by consensus
of three raters: 0.3 to 52 ml a patient, in T2 intensity between tissue and CSF, so that no threshold on intensity finds
them; the hard set of the benchmark. 10 scans choose the threshold, 20 are scored.

A scan is called `patient07`: one scan per patient, one site. The download calls it patient07/patient07_T2W.nii.gz,
…_brainmask.nii.gz and …_consensus_gt.nii.gz; there are copies without the prefix, in lower case, and with the scan as
it was acquired below raw/. The makers' second, longitudinal set shows other patients under the same numbers.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from .base import DataSet, Placed, kind_of
from .cohort import Role
from .layout import stem_of
from .modality import Modality

_SITE = "Ljubljana"
_PATIENT = re.compile(r"patient[ _-]?0*(?P<number>\d+)", re.IGNORECASE)
_OTHER_PATIENTS = ("longitudinal", "center_")  # how folders of sets begin whose patients bear the same numbers


def site_of(scan: str) -> str | None:
    """Ljubljana, the only site, for the set's own names; None for a name of another form."""
    return _SITE if scan.startswith("patient") else None


def recognise(path: PurePosixPath) -> Placed | None:
    """The patient stands in the file's name or else in that of a folder; raw copies rank behind coregistered ones."""
    stem = stem_of(path.name)
    own = _PATIENT.match(stem)
    owners = [own] if own else [match for part in reversed(path.parts[:-1]) if (match := _PATIENT.fullmatch(part))]
    kind = kind_of(stem[own.end() :].lstrip("_- ") if own else stem)
    if not owners or kind is None:
        return None
    folders = [part.lower() for part in path.parts[:-1]]
    if any(folder.startswith(_OTHER_PATIENTS) for folder in folders):
        return None
    return Placed(f"patient{int(owners[0]['number']):02d}", kind, rank=2 if "raw" in folders else int("mni" in folders))


DATA_SET = DataSet(
    name="mslub",
    title="MSLUB",
    citation="Lesjak et al., A novel public MR image dataset of multiple sclerosis patients with lesion segmentations "
    "based on multi-rater consensus, Neuroinformatics 16, 2018, CC BY",
    source="lit.fe.uni-lj.si, Laboratory of Imaging Technologies, University of Ljubljana",
    role=Role.LESIONS,
    modalities={
        Modality.T1: "patient01_T1W.nii.gz",
        Modality.T1CE: "patient01_T1WKS.nii.gz",
        Modality.T2: "patient01_T2W.nii.gz",
        Modality.FLAIR: "patient01_FLAIR.nii.gz",
    },
    recognise=recognise,
    key="ms",
    folder="Test/MSLUB",
    csv_prefix="MSLUB",
    held_out=(10, 30),
    site_of=site_of,
    stripper="mask-file",
)
