"""The contract of a score: from a volume and its reconstruction to an anomaly map.

A method says what the healthy brain behind a volume looks like; a score says how far the volume is from it. The two
are chosen apart: any score can be put on any trained method, and needs no training of the network. A score never sees
a lesion mask. One that must know how residuals look where nothing is wrong learns it from healthy validation scans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..checks import BoolArray, FloatArray, require_floats, require_mask, require_same_shape, require_volume


class ScoreModel(BaseModel):
    """Base of every score's settings: immutable; a misspelt key is an error, and so is a number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class ScoreInfo:
    """The identity of a score.

    Attributes:
        name: registry key; the name of the file that holds it, and what `bench score --score` takes.
        title: what the table prints behind the method's title.
        citation: authors, title, venue, year.
        year: year of publication.
        paper: the citation in a few words, e.g. "Behrendt et al. 2024".
    """

    name: str
    title: str
    citation: str
    year: int
    paper: str


class HealthyScan(NamedTuple):
    """A healthy validation scan as a score sees it.

    Attributes:
        volume: intensities in [0, 1], float32 [D, H, W].
        reconstructions: S reconstructions with different noise, float32 [S, D, H, W].
        brain_mask: True inside the brain, bool [D, H, W].
    """

    volume: FloatArray
    reconstructions: FloatArray
    brain_mask: BoolArray


class Score:
    """Base class of every score.

    A subclass sets `info` and `Settings` (one field a preset section) and implements `map`. One that learns from
    healthy scans sets `learns = True` and implements `learn`, `state` and `restore`.

    Args:
        settings: an instance of the class's own `Settings`.
    """

    info: ClassVar[ScoreInfo]
    Settings: ClassVar[type[ScoreModel]] = ScoreModel
    learns: ClassVar[bool] = False

    def __init__(self, settings: ScoreModel) -> None:
        self.settings = settings

    @property
    def reconstructions(self) -> int:
        """How many reconstructions of a volume, each with noise of its own, the map is made of."""
        return 1

    def learn(self, scan: HealthyScan) -> None:
        """Learn from one more healthy validation scan; called once per scan, in a fixed order, before any map."""
        raise TypeError(f"{type(self).__name__} does not implement learn, which a score that learns needs")

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learnt so far, as plain arrays that the run record keeps; empty for a score that learns nothing."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what `state` returned."""

    def map(self, volume: FloatArray, reconstructions: FloatArray, brain_mask: BoolArray) -> FloatArray:
        """Return the anomaly map, float32 [D, H, W], never negative; higher is more suspicious.

        Args:
            volume: intensities in [0, 1], float32 [D, H, W].
            reconstructions: as many as the score asked for, float32 [S, D, H, W].
            brain_mask: True inside the brain, bool [D, H, W].
        """
        raise TypeError(f"{type(self).__name__} does not implement map")


def require_scan(score: Score, volume: FloatArray, reconstructions: FloatArray, brain_mask: BoolArray) -> None:
    """Refuse arrays that do not belong together.

    Raises:
        ValueError: a type or a shape is wrong, or the number of reconstructions is not what the score asked for.
    """
    require_floats("volume", volume)
    require_volume("volume", volume)
    require_floats("reconstructions", reconstructions)
    require_mask("brain_mask", brain_mask)
    require_same_shape("volume", volume, "brain_mask", brain_mask)
    wanted = (score.reconstructions, *volume.shape)
    if reconstructions.shape != wanted:
        raise ValueError(
            f"the score {score.info.name} wants reconstructions of shape {wanted}, not {reconstructions.shape}"
        )


def as_map(values: NDArray[Any]) -> FloatArray:
    """Float32, with what rounding left below zero put back to zero."""
    result: FloatArray = np.maximum(values, 0).astype(np.float32)
    return result
