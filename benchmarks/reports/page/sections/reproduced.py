"""Ours beside the paper's, figure by figure, and what others got who reran a method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....errors import UserError
from ...judged.reproduction import SUITES, Reproduction, reproduction_of
from ...renderers.reproduction import words_of
from ..html import Section, table_of_words
from ..study import Study


def reproduced_section(study: Study) -> Section | None:
    """The tables of the paper that this study has rows of; None where it has none."""
    found = [
        one
        for name in SUITES
        if name in {table.name for table in study.tables}
        if (one := _found(study, name)) is not None
    ]
    if not found:
        return None
    tables = [_table(one) for one in found if len(one.frame)]
    notes = tuple(dict.fromkeys(sentence for one in found for sentence in one.sentences[1:]))
    return Section(
        "paper",
        "Beside the paper",
        lead=tuple(dict.fromkeys(one.sentences[0] for one in found)),
        notes=notes,
        content={"tables": tables, "folded": True},
    )


def _table(found: Reproduction) -> Mapping[str, Any]:
    words = words_of(found)
    title = found.title.partition(", mean")[0]
    return {"title": title, **table_of_words([str(name) for name in words.columns], words.to_numpy().tolist())}


def _found(study: Study, name: str) -> Reproduction | None:
    question = study.question
    try:
        return reproduction_of(
            name,
            study.cells,
            study.volumes,
            question.preset,
            question.data,
            seed=question.seed,
            modality=question.modality,
        )
    except UserError:  # no row of this table is finished
        return None
