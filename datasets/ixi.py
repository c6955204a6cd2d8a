"""IXI: healthy brains, the set that methods learn from.

About 580 healthy people aged 20 to 86, scanned at three London hospitals: Hammersmith (HH, Philips 3 T), Guy's (Guys,
Philips 1.5 T) and the Institute of Psychiatry (IOP, GE 1.5 T); 562 have a T2. The benchmark trains and validates on
five folds of them and measures the healthy reconstruction error on 158 more.

A scan is called `IXI002-Guys-0828`: person, site, session. The person is what must not stand in two parts. The download
calls it IXI002-Guys-0828-T2.nii.gz; ages lie beside the scans in IXI.xls (or the same sheet saved as IXI.csv), where a
person may stand more than once, and some have no age.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from ..errors import DataError
from .base import DataSet, Participant, ParticipantSheet, Placed, kind_of
from .cohort import Role
from .layout import stem_of
from .modality import Modality
from .participants import number, read_rows, years

_NAME = re.compile(r"(?P<person>IXI\d+)-(?P<site>[A-Za-z]+)-\d+")
_FILE = re.compile(
    r"IXI(?P<person>\d+)-(?P<site>[A-Za-z]+)-(?P<number>\d+)[-_](?P<kind>[A-Za-z0-9_]+?)(-\d+)?$", re.IGNORECASE
)
_SITES = {"guys": "Guys", "hh": "HH", "iop": "IOP"}
_PERSON, _AGE, _SEX = "IXI_ID", "AGE", "SEX_ID (1=m, 2=f)"
_SEXES = {1.0: "male", 2.0: "female"}
_REMEDY = f"save the sheet as IXI.csv with the columns {_PERSON} and {_AGE}"


def person_of(scan: str) -> str:
    """IXI002 of IXI002-Guys-0828; a name of another form stands for itself."""
    match = _NAME.match(scan)
    return match["person"] if match else scan


def site_of(scan: str) -> str | None:
    """Guys of IXI002-Guys-0828; None for a name of another form."""
    match = _NAME.match(scan)
    return match["site"] if match else None


def recognise(path: PurePosixPath) -> Placed | None:
    """IXI002-Guys-0828-T2, in any case, with the number that a second scan of a session bears behind it."""
    match = _FILE.match(stem_of(path.name))
    kind = kind_of(match["kind"]) if match else None
    if match is None or kind is None:
        return None
    site = _SITES.get(match["site"].lower(), match["site"])
    return Placed(f"IXI{match['person']}-{site}-{match['number']}", kind)


def read_sheet(path: Path) -> dict[str, Participant]:
    """Age and sex by person ("IXI002"); the first that is known of a person counts.

    Args:
        path: the sheet, .xls or .csv.

    Raises:
        DataError: it is no such table, or xlrd is not installed.
    """
    people: dict[str, Participant] = {}
    for row in read_rows(path, _REMEDY):
        if _PERSON not in row or _AGE not in row:
            raise DataError(f"{path} lacks the columns {_PERSON} and {_AGE}; download it again or {_REMEDY}")
        person = number(row[_PERSON])
        if person is not None:
            name = f"IXI{int(person):03d}"
            before = people.get(name, Participant())
            age, sex = years(row[_AGE]), _SEXES.get(number(row.get(_SEX)) or 0.0)
            people[name] = Participant(before.age or age, sex=before.sex or sex)
    return people


DATA_SET = DataSet(
    name="ixi",
    title="IXI",
    citation="Rowland et al., Information eXtraction from Images (IXI): image processing workflows using a grid "
    "enabled image database, DiDaMIC 2004 (EPSRC GR/S21533/02), brain-development.org/ixi-dataset, CC BY-SA 3.0",
    source="brain-development.org/ixi-dataset, free for all",
    role=Role.HEALTHY,
    modalities={
        Modality.T1: "IXI002-Guys-0828-T1.nii.gz",
        Modality.T2: "IXI002-Guys-0828-T2.nii.gz",
        Modality.PD: "IXI002-Guys-0828-PD.nii.gz",
    },
    recognise=recognise,
    folder="Train/ixi",
    csv_prefix="IXI",
    held_out=(158, 560),
    person_of=person_of,
    site_of=site_of,
    participants=ParticipantSheet(("IXI.csv", "IXI.xls"), read_sheet),  # who saved it as a CSV had a reason
)
