"""HCP Young Adult: healthy people aged 22 to 35 and above, T1 and T2 of 0.7 mm, one 3 T scanner in Saint Louis.

1113 people of the WU-Minn Human Connectome Project (release S1200) have structural scans. A scan is called by the
number of its person, `100307`. Most are twins and their siblings: brothers and sisters are not one person, but their
brains are more alike than strangers', and a split by person does not keep families together. Who belongs to which
family stands only in the restricted tables, which this benchmark does not read; say so where it matters.

Licence: WU-Minn HCP Consortium Open Access Data Use Terms; register at db.humanconnectome.org and accept them, then
take the package "Structural Preprocessed" (100307_3T_Structural_preproc.zip) of each person, and unpack it.

Layout, below the folder of each person; the images are stripped, free of distortion and bias, and aligned to the line
between the commissures:

    100307/T1w/T1w_acpc_dc_restore_brain.nii.gz      taken as T1
    100307/T1w/T2w_acpc_dc_restore_brain.nii.gz      taken as T2
    100307/T1w/brainmask_fs.nii.gz                   their brain mask, for --skull-strip mask-file
    100307/T1w/T1w_acpc_dc_restore.nii.gz            the head with its skull, not needed
    100307/unprocessed/3T/T1w_MPR1/100307_3T_T1w_MPR1.nii.gz   as acquired, not needed

Ages are published in bands (22-25, 26-30, 31-35, 36+) in a table whose name holds the account and the date of its
download; save it as `unrestricted.csv` (columns Subject, Age, Gender) beside the scans and the middle of the band is
taken.

Read in: Glasser et al. 2013; the reference manual of the 500 Subjects release with its appendix III on file names
(paperzz.com/doc/9386901); github.com/datalad-datasets/human-connectome-project-openaccess (terms and structure); the
names of the raw files in the HCP's own pipelines. The columns of the table are known from its common use alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from .base import OTHER, DataSet, Participant, ParticipantSheet, Placed
from .cohort import Role
from .layout import MASK, stem_of
from .modality import Modality
from .participants import read_rows, sex_of

_PERSON = re.compile(r"\d{6}")
_TAKEN = {
    "t1w_acpc_dc_restore_brain": Modality.T1,
    "t2w_acpc_dc_restore_brain": Modality.T2,
    "brainmask_fs": MASK,
}
_BAND = re.compile(r"(\d+)\s*(?:-\s*(\d+)|\+)")


def recognise(path: PurePosixPath) -> Placed | None:
    """A file below the folder of a person, which is called by six digits; only those in T1w/ are needed."""
    person = next((part for part in reversed(path.parts[:-1]) if _PERSON.fullmatch(part)), None)
    if person is None:
        return None
    kind = _TAKEN.get(stem_of(path.name).lower()) if path.parent.name == "T1w" else None
    return Placed(person, kind or OTHER)


def read_people(path: Path) -> Mapping[str, Participant]:
    """Age by person, the middle of the published band, and sex.

    Raises:
        DataError: the file is no such table.
    """
    rows = read_rows(path, "download it again from ConnectomeDB, with the columns Subject and Age")
    return {
        str(row.get("Subject")).strip(): Participant(_middle(str(row.get("Age"))), sex=sex_of(row.get("Gender")))
        for row in rows
    }


def _middle(band: str) -> float | None:
    """28.0 of "26-30"; the lower end of "36+"."""
    match = _BAND.fullmatch(band.strip())
    return None if match is None else (int(match[1]) + int(match[2] or match[1])) / 2


DATA_SET = DataSet(
    name="hcp_ya",
    title="HCP Young Adult",
    citation="Van Essen et al., The WU-Minn Human Connectome Project: an overview, NeuroImage 80, 2013; images "
    "prepared as in Glasser et al., The minimal preprocessing pipelines for the Human Connectome Project, same volume",
    source="db.humanconnectome.org, after the WU-Minn HCP Open Access Data Use Terms",
    role=Role.HEALTHY,
    modalities={
        Modality.T1: "100307/T1w/T1w_acpc_dc_restore_brain.nii.gz",
        Modality.T2: "100307/T1w/T2w_acpc_dc_restore_brain.nii.gz",
    },
    recognise=recognise,
    participants=ParticipantSheet(names=("unrestricted.csv",), read=read_people),
    stripper="none",
)
