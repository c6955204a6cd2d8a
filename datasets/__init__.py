"""The data sets, one file each; splits and their audit, preparation at load, the volume store.

What the file of a data set needs is here by name: `from uadbench.datasets import DataSet, Modality, NamePattern, Role`.
A name is imported when it is first used: the command line wants to know the modalities, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_CONTENTS = {
    "base": ("OTHER", "DataSet", "Labels", "NamePattern", "Participant", "ParticipantSheet", "Placed", "kind_of"),
    "cohort": ("HEALTHY", "Role"),
    "layout": ("MASK", "SEGMENTATION"),
    "modality": ("Modality",),
    "participants": ("read_participants",),
    "registry": ("data_set_named", "data_sets", "register", "register_file"),
}
#: The module that each name is imported from.
_HOMES = {name: module for module, names in _CONTENTS.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a name; Python calls this for those that the package does not hold."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
