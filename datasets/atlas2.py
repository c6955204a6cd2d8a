"""ATLAS v2.0: brains after a stroke, T1, from many research cohorts.

655 scans with lesions traced by hand (the training part; of 300 more the labels are withheld, and 316 are not given
out). Some people came more than once: a scan is called `sub-r001s001_ses-1`, the person is `sub-r001s001` whatever the
session, and `r001` is the cohort, taken as the site. Lesions reach from 0.01 to some 500 ml, median 5; the strokes are
subacute or chronic, so that in T1 they are dark.

The scans come in the space of MNI152 (1 mm), their intensities standardised, heads defaced but not stripped.

Where to ask: fcon_1000.projects.nitrc.org/indi/retro/atlas.html; a form and terms of use, then a password for the
archive. The exact wording of its licence could not be read here; the terms are what you agree to in the form.

Layout (BIDS within a folder per cohort):

    ATLAS_2/Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz
    ATLAS_2/Training/R001/sub-r001s001/ses-1/anat/sub-r001s001_ses-1_space-MNI152NLin2009aSym_label-L_desc-T1lesion_mask.nii.gz
    ATLAS_2/Testing/R005/…                                     T1 without labels, not needed

Copies in which the entity `space-…` is left out are read, too.

Read in: Liew et al. 2022 (what it holds); resources/ATLASv2.0.md of github.com/openmedlab/Awesome-Medical-Dataset
(folders, sizes); paths in public programs that read the set, which agree.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from .base import OTHER, DataSet, Placed
from .cohort import Role
from .layout import SEGMENTATION, stem_of
from .modality import Modality

_NAME = re.compile(
    r"(?P<scan>sub-r\d{3}s\d{3}_ses-\d+)(_space-[a-z0-9]+)?_(?P<kind>T1w|label-[a-z]+(_desc-[a-z0-9]+)?_mask)",
    re.IGNORECASE,
)
_SCAN = re.compile(r"(?P<person>sub-(?P<cohort>r\d{3})s\d{3})_ses-\d+")


def recognise(path: PurePosixPath) -> Placed | None:
    """A T1 or a lesion mask by its name; of the part without labels nothing is needed."""
    match = _NAME.fullmatch(stem_of(path.name))
    if match is None:
        return None
    if "Testing" in path.parts:
        return Placed(match["scan"], OTHER)
    return Placed(match["scan"], Modality.T1 if match["kind"].lower() == "t1w" else SEGMENTATION)


def person_of(scan: str) -> str:
    """sub-r001s001 of sub-r001s001_ses-2."""
    match = _SCAN.fullmatch(scan)
    return match["person"] if match else scan


def site_of(scan: str) -> str | None:
    """The cohort: r001 of sub-r001s001_ses-1."""
    match = _SCAN.fullmatch(scan)
    return match["cohort"] if match else None


DATA_SET = DataSet(
    name="atlas2",
    title="ATLAS v2.0",
    citation="Liew et al., A large, curated, open-source stroke neuroimaging dataset to improve lesion segmentation "
    "algorithms, Scientific Data 9, 2022",
    source="fcon_1000.projects.nitrc.org/indi/retro/atlas.html, after its terms of use",
    role=Role.LESIONS,
    modalities={Modality.T1: "sub-r001s001_ses-1_space-MNI152NLin2009aSym_T1w.nii.gz"},
    recognise=recognise,
    held_out=(65, 655),
    person_of=person_of,
    site_of=site_of,
)
