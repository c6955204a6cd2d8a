"""What a method is called, where it comes from and which numbers it reads: what is said of it without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Base of every settings model: immutable; a misspelt key is an error, and so is a number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class OptimizerSettings(Frozen):
    """Adam and its learning-rate schedule (preset section `optimizer`).

    Attributes:
        learning_rate: peak learning rate.
        warmup_steps: optimiser steps of linear warm-up from zero; 0 is none.
        decay: "none" keeps the peak, "cosine" anneals to zero at the last step.
        gradient_clip: largest global gradient norm; 0 is no clipping.
    """

    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(ge=0, le=1_000_000_000)
    decay: Literal["none", "cosine"]
    gradient_clip: float = Field(ge=0)


@dataclass(frozen=True)
class Row:
    """One row of a table: a method with some of its settings fixed.

    Attributes:
        name: what `bench run --method` takes, e.g. "pddpm-s16".
        title: what the table prints, e.g. "pDDPM (s16)".
        settings: dotted preset keys to values, e.g. {"patch.stride": 16}.
    """

    name: str
    title: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodInfo:
    """The identity of a method: its names, its source and the table rows it makes.

    Attributes:
        name: registry key; the name of the file that holds it.
        title: display name.
        citation: authors, title, venue, year.
        year: year of publication; None for a control.
        rows: the table rows this class makes; at least one.
        paper: the citation in a few words, e.g. "Baur et al. 2021".
        note: what a reader of the table must know, e.g. what the publication leaves open; printed below the table.
        control: True for rows that are no published method (shown by `bench table --controls`).
    """

    name: str
    title: str
    citation: str
    year: int | None
    rows: tuple[Row, ...]
    paper: str = ""
    note: str = ""
    control: bool = False
