"""MSSEG 2016: brains with lesions of multiple sclerosis, FLAIR, T1, T2 and PD on four scanners.

53 patients of the MICCAI challenge of 2016, 15 for training and 38 for its test, one of whose scanners is not among
those of the training; lesions were outlined by seven experts and joined to a consensus. A scan is called
`Training-Center_01-Patient_03` or `Testing-Center_03-Patient_01`: as numbers may begin anew in each
part, the part belongs to the name. One scan per patient; the centre is the site.

Where to ask: Shanoir, the server of INRIA in Rennes (shanoir.irisa.fr), after registration and signed terms; the
wording of its licence could not be read here.

Layout; give the folder that holds Training and Testing, since without them patients of the two could not be told apart:

    Training/Center_01/Patient_01/Preprocessed_Data/FLAIR_preprocessed.nii.gz   taken, as T1_, T2_ and DP_ (PD)
    Training/Center_01/Patient_01/Preprocessed_Data/GADO_preprocessed.nii.gz    T1 after gadolinium
    Training/Center_01/Patient_01/Masks/Consensus.nii.gz                        the lesions
    Training/Center_01/Patient_01/Masks/Brain_Mask.nii.gz                       the brain
    Training/Center_01/Patient_01/Masks/ManualSegmentation_1.nii.gz             each expert, to 7; not needed
    Training/Center_01/Patient_01/Raw_Data/FLAIR.nii.gz                         as acquired; not needed

The preprocessed images are denoised, moved rigidly onto the FLAIR, stripped and free of bias.

Read in: Commowick et al. 2021 (patients, scanners, consensus); the description of the challenge's preprocessing in the
documentation of Anima's scripts; paths in public programs that read the set, which agree. The owners' own list of files
could not be read here.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from .base import OTHER, DataSet, Placed
from .cohort import Role
from .layout import MASK, SEGMENTATION, stem_of
from .modality import Modality

_PATIENT = re.compile(
    r"(.*/)?(?P<part>Training|Testing)/(?P<centre>Center_\d+)/(?P<patient>Patient_\d+)/(?P<folder>\w+)/[^/]+",
    re.IGNORECASE,
)
_TAKEN = {
    ("preprocessed_data", "flair_preprocessed"): Modality.FLAIR,
    ("preprocessed_data", "t1_preprocessed"): Modality.T1,
    ("preprocessed_data", "t2_preprocessed"): Modality.T2,
    ("preprocessed_data", "dp_preprocessed"): Modality.PD,
    ("preprocessed_data", "gado_preprocessed"): Modality.T1CE,
    ("masks", "consensus"): SEGMENTATION,
    ("masks", "brain_mask"): MASK,
}


def recognise(path: PurePosixPath) -> Placed | None:
    """A file of a patient by its folders and its name."""
    match = _PATIENT.fullmatch(str(path))
    if match is None:
        return None
    scan = "-".join(match[group].capitalize() for group in ("part", "centre", "patient"))
    return Placed(scan, _TAKEN.get((match["folder"].lower(), stem_of(path.name).lower()), OTHER))


def site_of(scan: str) -> str | None:
    """Center_01 of Training-Center_01-Patient_03."""
    parts = scan.split("-")
    return parts[1] if len(parts) == 3 else None


DATA_SET = DataSet(
    name="msseg2016",
    title="MSSEG 2016",
    citation="Commowick et al., Multiple sclerosis lesions segmentation from multiple experts: the MICCAI 2016 "
    "challenge dataset, NeuroImage 244, 2021",
    source="shanoir.irisa.fr, after registration",
    role=Role.LESIONS,
    modalities={
        Modality.FLAIR: "Training/Center_01/Patient_01/Preprocessed_Data/FLAIR_preprocessed.nii.gz",
        Modality.T1: "Training/Center_01/Patient_01/Preprocessed_Data/T1_preprocessed.nii.gz",
        Modality.T2: "Training/Center_01/Patient_01/Preprocessed_Data/T2_preprocessed.nii.gz",
        Modality.PD: "Training/Center_01/Patient_01/Preprocessed_Data/DP_preprocessed.nii.gz",
        Modality.T1CE: "Training/Center_01/Patient_01/Preprocessed_Data/GADO_preprocessed.nii.gz",
    },
    recognise=recognise,
    held_out=(15, 53),
    site_of=site_of,
    stripper="mask-file",
)
