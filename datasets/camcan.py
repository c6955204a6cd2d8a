"""Cam-CAN: healthy people aged 18 to 88, T1 and T2, one 3 T scanner in Cambridge.

About 650 people of the Cambridge Centre for Ageing and Neuroscience, drawn from the population and screened; whole
heads of 1 mm, one session per person. A scan is called `sub-CC110033`, which is the person.

Licence: a data use agreement (research and teaching without commercial aim, no passing on); ask at
camcan-archive.mrc-cbu.cam.ac.uk/dataaccess.

Layout: BIDS, the anatomy in a folder of its own (cc700/mri/pipeline/release004/BIDS_20190411/anat):

    sub-CC110033/anat/sub-CC110033_T1w.nii.gz
    sub-CC110033/anat/sub-CC110033_T2w.nii.gz
    participants.tsv                                participant_id, age and others

Read in: Taylor et al. 2017 (what there is); the form of the data use agreement (terms); paths in public programs that
read the set, which agree (for example the readers of release004 with `{0}/anat/{0}_T1w.nii.gz`). The columns of
participants.tsv could not be looked up; `participant_id` and `age` are what BIDS asks for.
"""

from __future__ import annotations

from .base import DataSet, NamePattern, ParticipantSheet
from .cohort import Role
from .modality import Modality
from .participants import read_participants

DATA_SET = DataSet(
    name="camcan",
    title="Cam-CAN",
    citation="Taylor et al., The Cambridge Centre for Ageing and Neuroscience (Cam-CAN) data repository: structural "
    "and functional MRI, MEG, and cognitive data from a cross-sectional adult lifespan sample, NeuroImage 144, 2017",
    source="camcan-archive.mrc-cbu.cam.ac.uk/dataaccess, after its data use agreement",
    role=Role.HEALTHY,
    modalities={Modality.T1: "sub-CC110033_T1w.nii.gz", Modality.T2: "sub-CC110033_T2w.nii.gz"},
    recognise=NamePattern(r"(?P<scan>sub-CC\d{6})_(?P<kind>T1w|T2w)"),
    participants=ParticipantSheet(names=("participants.tsv",), read=read_participants),
)
