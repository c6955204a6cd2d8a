"""A cell: one (method, fold, data, preset, seed) in one modality, the unit that runs, resumes and fails.

Its id is the hash of everything that determines its numbers, and of nothing else: the name of the preset, the batch
size of the reconstruction, what is computed twice to save memory, how often a checkpoint is written, what is kept and
the title of the row are not part of it. So the U-Net of Table 2 and pDDPM (s16) of Table 1 are one cell, and a changed
number is another cell, never a silent mix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...datasets.modality import Modality
from ...methods import MethodCard, card_of
from .cell_id import cell_id, digest
from .own import source_of
from .plan import Plan

if TYPE_CHECKING:
    from ...methods import Detector

#: Raise this number whenever a change of the code changes the numbers of a cell: old records then no longer count.
#: 2 (2026-11-26): diffusion in [-1, 1], f-AnoGAN's encoder ends in tanh, Baur's decoder has its first norm, whole
#: batches alone, other validation slices.
#: 3 (2026-11-26): no number changed; recipe and data name their modality, and the data their sets by key.
#: 4 (2026-11-26): the last digits: Adam in one pass, group norm in channels-last on a CPU, plain layout on a GPU.
PROTOCOL_VERSION = 4

_FREE_SCORE_KEYS = frozenset({"batch_size", "keep"})
_FREE_TRAIN_KEYS = frozenset({"checkpoint_activations", "checkpoint_minutes"})
#: Training numbers that came after the first records, at the value of all cells before; then they are in no id.
_AS_EVER = {"compile": False}
_SCORING_KEYS = frozenset({"score", "score_by"})
_FREE_KEYS = frozenset({*(f"score.{key}" for key in _FREE_SCORE_KEYS), *(f"train.{key}" for key in _FREE_TRAIN_KEYS)})


def changes_of_numbers(changed: Iterable[str]) -> tuple[str, ...]:
    """Those `section.key=value` words that can change a cell's numbers; the others stand in no id."""
    return tuple(word for word in changed if word.partition("=")[0].strip() not in _FREE_KEYS)


@dataclass(frozen=True)
class Recipe:
    """What is done, whatever the data and the fold: method, all its numbers, seed.

    Attributes:
        method: registry name of the class.
        plan: the resolved preset.
        seed: seed of initialisation, slice choice and noise.
        trainable: False leaves the training numbers out of the id.
        source: what a method from outside this package is made of: the hash of its file, or its package's version.
        modality: the contrast of the scans; a method may be told, and runs of two modalities never mix.
    """

    method: str
    plan: Plan
    seed: int
    trainable: bool
    source: str = ""
    modality: Modality = Modality.T2

    @classmethod
    def of(cls, method: type[Detector] | MethodCard, plan: Plan, seed: int, modality: Modality = Modality.T2) -> Recipe:
        """The recipe of a method, or of its card, under a plan."""
        card = card_of(method)
        return cls(card.info.name, plan, seed, card.trainable, source_of(method), modality)

    def content(self) -> dict[str, Any]:
        """All that determines the numbers, ready to be hashed and written."""
        plan = self.plan.model_dump(mode="json")
        score = {key: value for key, value in plan["score"].items() if key not in _FREE_SCORE_KEYS}
        content = {
            "protocol": PROTOCOL_VERSION,
            "method": self.method,
            "modality": self.modality.value,
            "settings": plan["method"],
            "slices": plan["data"]["slices"],
            "preparation": plan["preparation"],
            "score": score,
            "seed": self.seed,
        }
        if self.trainable:
            content["train"] = _told(plan["train"])
        if self.source:
            content["source"] = self.source
        if plan["score_by"] is not None:
            content["score_by"] = plan["score_by"]
        return content

    @property
    def id(self) -> str:
        """Hash of the recipe, 12 hexadecimal digits."""
        return digest(self.content())


def _told(train: Mapping[str, Any]) -> dict[str, Any]:
    """The training numbers that an id is made of."""
    return {
        key: value
        for key, value in train.items()
        if key not in _FREE_TRAIN_KEYS and not (key in _AS_EVER and value == _AS_EVER[key])
    }


@dataclass(frozen=True)
class Cell:
    """One run of a recipe on one fold of one data source.

    Attributes:
        recipe: what is done.
        fold: index of the fold, from 0.
        data: name of the data source.
        fingerprint: hash of the prepared volumes and the splits.
    """

    recipe: Recipe
    fold: int
    data: str
    fingerprint: str

    @property
    def id(self) -> str:
        """Hash of all that determines this cell's numbers, 12 hexadecimal digits."""
        return cell_id(self.recipe.content(), self.fold, self.fingerprint)

    @property
    def label(self) -> str:
        """Name of the cell's folder: readable, and unique by the id."""
        return f"{self.recipe.method}-fold{self.fold}-{self.id}"


def training_content(content: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recipe's content that its weights depend on: everything but score and post-processing."""
    return {key: value for key, value in content.items() if key not in _SCORING_KEYS}
