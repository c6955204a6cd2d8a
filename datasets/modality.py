"""Modality: with which contrast a scan was made; a run has one."""

from __future__ import annotations

from enum import StrEnum

from ..errors import UserError


class Modality(StrEnum):
    """The contrasts that are told apart, by the names of their folders below a data set's."""

    T1 = "t1"
    T1CE = "t1ce"
    T2 = "t2"
    FLAIR = "flair"
    PD = "pd"


def modality_named(word: str) -> Modality:
    """The modality of this name, in any case.

    Raises:
        UserError: there is none.
    """
    if word.lower() not in list(Modality):
        raise UserError(f"there is no modality {word!r}: choose one of {', '.join(Modality)}")
    return Modality(word.lower())
