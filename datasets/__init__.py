"""The data sets, one file each; splits and their audit, preparation at load, the volume store.

What the file of a data set needs is here by name: `from uadbench.datasets import DataSet, Modality, NamePattern, Role`.
"""

from .base import OTHER, DataSet, Labels, NamePattern, Participant, ParticipantSheet, Placed, kind_of
from .cohort import HEALTHY, Role
from .layout import MASK, SEGMENTATION
from .modality import Modality
from .participants import read_participants
from .registry import data_set_named, data_sets, register, register_file

__all__ = [
    "HEALTHY",
    "MASK",
    "OTHER",
    "SEGMENTATION",
    "DataSet",
    "Labels",
    "Modality",
    "NamePattern",
    "Participant",
    "ParticipantSheet",
    "Placed",
    "Role",
    "data_set_named",
    "data_sets",
    "kind_of",
    "read_participants",
    "register",
    "register_file",
]
