"""OASIS-1: brains of people aged 18 to 96, T1, one 1.5 T scanner in Saint Louis.

416 right-handed people in 436 sessions: twenty without dementia came a second time within ninety days. A scan is called
`OAS1_0001_MR1`; `OAS1_0001` is the person, so the two sessions `_MR1` and `_MR2` of one person are one person. A
hundred people over sixty were found to have very mild to moderate dementia: by the sheet of the set (Clinical Dementia
Rating above 0) they are left out, for the set is used as a healthy one.

Licence: an open data use agreement; ask at sites.wustl.edu/oasisbrains, where twelve archives
(oasis_cross-sectional_disc1.tar.gz and so on) and the sheet are had. Unpack the archives first: `bench prepare` reads
folders and plain tars. The sheet comes as .xlsx or .csv; it is read as `oasis_cross-sectional.csv` (columns ID, Age,
CDR and others), which must lie with the scans.

Layout, below each disc, Analyze pairs of .hdr and .img, `n4` telling how many repetitions were averaged (n3 to n6):

    OAS1_0001_MR1/PROCESSED/MPRAGE/T88_111/OAS1_0001_MR1_mpr_n4_anon_111_t88_masked_gfc.img   taken: stripped
    OAS1_0001_MR1/PROCESSED/MPRAGE/T88_111/OAS1_0001_MR1_mpr_n4_anon_111_t88_gfc.img          with the skull
    OAS1_0001_MR1/PROCESSED/MPRAGE/SUBJ_111/OAS1_0001_MR1_mpr_n4_anon_sbj_111.img             not in atlas space
    OAS1_0001_MR1/RAW/OAS1_0001_MR1_mpr-1_anon.img                                            each repetition
    OAS1_0001_MR1/FSL_SEG/OAS1_0001_MR1_mpr_n4_anon_111_t88_masked_gfc_fseg.img               tissue classes

The stripped image is taken because its brain mask is the owners' own. An Analyze header does not tell left from right:
the order of the axes is assumed as for every such file, and the check says so.

Read in: Marcus et al. 2007; the description of the files in huggingface.co/DRDMsig/Data_Engineering
(dataclean_OASIS_1_CS_Sectional.py); paths in public programs that read the set, which agree. The owners' fact sheet
itself could not be read here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from .base import OTHER, DataSet, Participant, ParticipantSheet, Placed
from .cohort import Role
from .layout import stem_of
from .modality import Modality
from .participants import number, read_rows, sex_of, years

_SCAN = re.compile(r"(?P<scan>(?P<person>OAS1_\d{4})_MR\d)(?P<rest>.*)", re.IGNORECASE)
_STRIPPED = re.compile(r"_mpr_n\d_anon_111_t88_masked_gfc", re.IGNORECASE)


def recognise(path: PurePosixPath) -> Placed | None:
    """Only the stripped average in atlas space is the scan; the rest of a session is not needed."""
    match = _SCAN.fullmatch(stem_of(path.name))
    if match is None:
        return None
    kind = Modality.T1 if _STRIPPED.fullmatch(match["rest"]) else OTHER
    return Placed(match["scan"].upper(), kind)


def person_of(scan: str) -> str:
    """OAS1_0001 of OAS1_0001_MR2."""
    match = _SCAN.fullmatch(scan)
    return match["person"].upper() if match else scan


def read_people(path: Path) -> Mapping[str, Participant]:
    """Age and sex by person, and who is left out for dementia, from the set's sheet.

    Raises:
        DataError: the file is no such table.
    """
    people: dict[str, Participant] = {}
    for row in read_rows(path, "download the sheet of the set again, with the columns ID, Age and CDR"):
        rating = number(row.get("CDR"))
        unfit = f"dementia (CDR {rating:g})" if rating else ""
        person = Participant(years(row.get("Age")), unfit=unfit, sex=sex_of(row.get("M/F")))
        people.setdefault(person_of(str(row.get("ID")).strip()), person)
    return people


DATA_SET = DataSet(
    name="oasis1",
    title="OASIS-1",
    citation="Marcus et al., Open Access Series of Imaging Studies (OASIS): cross-sectional MRI data in young, middle "
    "aged, nondemented, and demented older adults, Journal of Cognitive Neuroscience 19, 2007",
    source="sites.wustl.edu/oasisbrains, after its data use agreement",
    role=Role.HEALTHY,
    modalities={Modality.T1: "OAS1_0001_MR1_mpr_n4_anon_111_t88_masked_gfc.img"},
    recognise=recognise,
    person_of=person_of,
    participants=ParticipantSheet(
        names=("oasis_cross-sectional.csv",),
        read=read_people,
        without="ages stay unknown and people with dementia stay in",
    ),
    stripper="none",
)
