"""MSLUB: brains with lesions of multiple sclerosis.

Thirty patients of the University Medical Centre Ljubljana, one Siemens 3 T scanner, with lesions outlined by consensus
of three raters: 0.3 to 52 ml a patient, in T2 intensity between tissue and CSF, so that no threshold on intensity finds
them; the hard set of the benchmark. 10 scans choose the threshold, 20 are scored.

A scan is called `patient07`: one scan a patient, one site.
"""

from __future__ import annotations

from .cohort import Role
from .layout import DataSetInfo

_SITE = "Ljubljana"


def person_of(scan: str) -> str:
    """The scan itself: the set holds one scan a patient."""
    return scan


def site_of(scan: str) -> str | None:
    """Ljubljana, the only site, for the set's own names; None for a name of another form."""
    return _SITE if scan.startswith("patient") else None


INFO = DataSetInfo(
    name="mslub",
    title="MSLUB",
    citation="Lesjak et al., A novel public MR image dataset of multiple sclerosis patients with lesion segmentations "
    "based on multi-rater consensus, Neuroinformatics 16, 2018, CC BY",
    role=Role.MS,
    folder="Test/MSLUB",
    csv_prefix="MSLUB",
    held_out=(10, 30),
    person_of=person_of,
    site_of=site_of,
)
