"""WMH 2017: white matter hyperintensities of presumed vascular origin, FLAIR and T1, five scanners in three hospitals.

170 people of the MICCAI challenge of 2017, 60 for training and 110 for its test, all released with labels in 2022. A
scan is called after the scanner's folder and the number of its person, `Utrecht-0`, `Singapore-50`, `GE3T-100`,
`GE1T5-150`, `PETMR-160`; numbers are unique over all of them, and there is one scan per person.

Labels: 1 is white matter hyperintensity, 2 is other pathology (strokes and the like, drawn roughly and grown by a
pixel; in 67 of the 170). The challenge leaves 2 out of its evaluation, and so does this benchmark: neither lesion nor
background, in no number.

Licence: CC BY-NC 4.0 (DataverseNL, doi:10.34894/AECRSD; no registration). The release as a whole can be downloaded in
one archive; unpack it.

Layout: `training/` and `test/` below the release, the scanner's folder within Amsterdam's:

    training/Utrecht/0/pre/FLAIR.nii.gz                    taken: bias divided out, slices of 3 mm, the head defaced
    training/Utrecht/0/pre/T1.nii.gz                       taken: the T1 on the FLAIR's grid, where the labels lie
    training/Utrecht/0/wmh.nii.gz                          the labels, 0, 1 and 2, stored as floats
    training/Utrecht/0/orig/{FLAIR,T1}.nii.gz              as acquired; taken where pre/ is missing
    training/Utrecht/0/{orig,pre}/3DT1.nii.gz              the T1 on its own grid, not needed
    training/Amsterdam/GE3T/100/…, test/Amsterdam/GE1T5/150/…, test/Amsterdam/Philips_VU .PETMR_01./160/…
    additional_annotations/observer_o3/training/…/result.nii.gz    masks of two more observers, not needed

Earlier releases hold the training part alone, with Utrecht/, Singapore/ and GE3T/ at the top.

Read in: wmh.isi.uu.nl/data/manual-reference-standard (labels, how they are evaluated) and the challenge's page of
December 2022; resources/WMH.md of github.com/openmedlab/Awesome-Medical-Dataset (folders); the notes on the release in
github.com/MedARC-AI/brainmarks-smri (files, licence, where label 2 occurs).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from .base import OTHER, DataSet, Labels, Placed
from .cohort import Role
from .layout import SEGMENTATION, stem_of
from .modality import Modality

_PERSON = re.compile(
    r"(.*/)?(?P<scanner>Utrecht|Singapore|GE3T|GE1T5|Philips[^/]*PETMR[^/]*)/(?P<number>\d+)/(?P<rest>.*)"
)
_PETMR = "PETMR"
_RANKS = {"pre": 0, "orig": 1}
_IMAGES = {"FLAIR": Modality.FLAIR, "T1": Modality.T1}


def recognise(path: PurePosixPath) -> Placed | None:
    """A file below a scanner's folder and a person's number; other observers' masks are not needed."""
    match = _PERSON.fullmatch(str(path))
    if match is None:
        return None
    scanner = _PETMR if _PETMR in match["scanner"] else match["scanner"]
    scan, rest, stem = f"{scanner}-{match['number']}", PurePosixPath(match["rest"]), stem_of(path.name)
    if "additional_annotations" in path.parts:
        return Placed(scan, OTHER)
    if str(rest) == path.name and stem == "wmh":
        return Placed(scan, SEGMENTATION)
    if str(rest.parent) in _RANKS and stem in _IMAGES:
        return Placed(scan, _IMAGES[stem], _RANKS[str(rest.parent)])
    return Placed(scan, OTHER)


def site_of(scan: str) -> str | None:
    """The scanner: GE3T of GE3T-100."""
    scanner, dash, _ = scan.rpartition("-")
    return scanner if dash else None


DATA_SET = DataSet(
    name="wmh2017",
    title="WMH 2017",
    citation="Kuijf et al., Standardized assessment of automatic segmentation of white matter hyperintensities and "
    "results of the WMH segmentation challenge, IEEE Transactions on Medical Imaging 38, 2019",
    source="DataverseNL, doi:10.34894/AECRSD, CC BY-NC 4.0",
    role=Role.LESIONS,
    modalities={
        Modality.FLAIR: "training/Utrecht/0/pre/FLAIR.nii.gz",
        Modality.T1: "training/Utrecht/0/pre/T1.nii.gz",
    },
    recognise=recognise,
    held_out=(60, 170),
    site_of=site_of,
    labels=Labels(lesion=(1,), ignored=(2,)),
)
