"""Which of a preset's departures from the paper concern the methods that run.

A departure may begin with the sections or methods that it is about, before a colon ("vae, svae: 800 steps …"). It
concerns a method that has one of these names or reads one of these sections; one that names none concerns all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .plan import read_sections
from .preset import Preset
from .suite import SuiteRow


def departures_of(preset: Preset, rows: Sequence[SuiteRow]) -> tuple[str, ...]:
    """The departures that concern at least one of the rows, in the preset's order."""
    concerned = {word for row in rows for word in (row.card.info.name, *read_sections(row.card, row.score))}
    known = concerned | set(preset.sections) | set(preset.override)
    return tuple(text for text in preset.departures if _concerns(text, concerned, known))


def _concerns(text: str, concerned: Iterable[str], known: Iterable[str]) -> bool:
    names = {name.strip() for name in text.partition(":")[0].split(",")} if ":" in text else set()
    about_some = bool(names) and names <= set(known)
    return not about_some or bool(names & set(concerned))
