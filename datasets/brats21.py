"""BraTS21: brains with gliomas.

The training set of the RSNA-ASNR-MICCAI challenge 2021: 1251 patients from many institutions, skull-stripped, at 1 mm
in the space of the SRI24 atlas. The benchmark takes the T2 and counts every labelled voxel (necrosis, oedema, enhancing
core) as lesion; 100 scans choose the threshold, 1151 are scored.

A scan is called `BraTS2021_00538`: one scan per patient. The name says nothing about the site. The download calls it
BraTS2021_00538/BraTS2021_00538_t2.nii.gz and …_seg.nii.gz; copies write BraTS21, or all in lower case.
"""

from __future__ import annotations

from .base import DataSet, NamePattern
from .cohort import Role
from .modality import Modality

DATA_SET = DataSet(
    name="brats21",
    title="BraTS21",
    citation="Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation and radiogenomic "
    "classification, arXiv:2107.02314, 2021",
    source="synapse.org, the BraTS 2021 challenge (registration)",
    role=Role.LESIONS,
    modalities={
        Modality.T1: "BraTS2021_00000_t1.nii.gz",
        Modality.T1CE: "BraTS2021_00000_t1ce.nii.gz",
        Modality.T2: "BraTS2021_00000_t2.nii.gz",
        Modality.FLAIR: "BraTS2021_00000_flair.nii.gz",
    },
    recognise=NamePattern(
        r"BraTS[-_]?(20)?21[-_](Training[-_])?(?P<number>\d{5})[-_](?P<kind>[A-Za-z0-9_]+)", scan="BraTS2021_{number}"
    ),
    key="tumours",
    folder="Test/Brats21",
    csv_prefix="Brats21",
    held_out=(100, 1251),
    stripper="none",
)
