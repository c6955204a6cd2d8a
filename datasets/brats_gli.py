"""BraTS 2023 GLI: brains with gliomas under the names of 2023, with several time points of some people.

The glioma task of the BraTS 2023 cluster of challenges: 1251 scans with labels, skull-stripped, at 1 mm in the space of
the SRI24 atlas. They show the population of BraTS 2021, whose scans come again here under other names: never count a
result on both as two. A scan is called `BraTS-GLI-00000-000`; the first number is the person, the second the time
point, so `-000` and `-001` are one person.

Labels: 1 necrotic core, 2 oedema and infiltration, 3 enhancing tumour; all of them are lesion. (Until 2021 the
enhancing tumour was 4.)

Where to ask: Synapse, the project of the BraTS 2023 challenge, after registration and its terms of use; the wording of
its licence could not be read here.

Layout, a folder per scan:

    BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2w.nii.gz       T2
    BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2f.nii.gz       FLAIR
    BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz       T1
    BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1c.nii.gz       T1 after gadolinium
    BraTS-GLI-00000-000/BraTS-GLI-00000-000-seg.nii.gz       the labels

Read in: the structured description of the challenge (population, number of tasks); data structures in the READMEs of
public programs that read the set, which agree on names. That the first number is the person and the second the time
point is how these programs and the organisers' later releases use it.
"""

from __future__ import annotations

from .base import DataSet, NamePattern
from .cohort import Role
from .modality import Modality


def person_of(scan: str) -> str:
    """BraTS-GLI-00000 of BraTS-GLI-00000-001."""
    person, dash, _ = scan.rpartition("-")
    return person if dash else scan


DATA_SET = DataSet(
    name="brats-gli",
    title="BraTS 2023 GLI",
    citation="Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 benchmark on brain tumor segmentation and radiogenomic "
    "classification, arXiv:2107.02314, 2021; under the names of BraTS 2023",
    source="synapse.org, the BraTS 2023 challenge, after registration",
    role=Role.LESIONS,
    modalities={
        Modality.T1: "BraTS-GLI-00000-000-t1n.nii.gz",
        Modality.T1CE: "BraTS-GLI-00000-000-t1c.nii.gz",
        Modality.T2: "BraTS-GLI-00000-000-t2w.nii.gz",
        Modality.FLAIR: "BraTS-GLI-00000-000-t2f.nii.gz",
    },
    recognise=NamePattern(r"(?P<scan>BraTS-GLI-\d{5}-\d{3})-(?P<kind>[a-z0-9]+)"),
    held_out=(100, 1251),
    person_of=person_of,
    stripper="none",
)
