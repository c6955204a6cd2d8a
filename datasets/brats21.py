"""BraTS21: brains with gliomas.

The training set of the RSNA-ASNR-MICCAI challenge 2021: 1251 patients from many institutions, skull-stripped, at 1 mm
in the space of the SRI24 atlas. The benchmark takes the T2 and counts every labelled voxel (necrosis, oedema, enhancing
core) as lesion; 100 scans choose the threshold, 1151 are scored.

A scan is called `BraTS2021_00538`: one scan a patient. The name says nothing about the site.
"""

from __future__ import annotations

from .cohort import Role
from .layout import DataSetInfo


def person_of(scan: str) -> str:
    """The scan itself: the set holds one scan a patient."""
    return scan


def site_of(scan: str) -> str | None:
    """None: names do not tell."""
    return None


INFO = DataSetInfo(
    name="brats21",
    title="BraTS21",
    citation="Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation and radiogenomic "
    "classification, arXiv:2107.02314, 2021",
    role=Role.TUMOURS,
    folder="Test/Brats21",
    csv_prefix="Brats21",
    held_out=(100, 1251),
    person_of=person_of,
    site_of=site_of,
)
