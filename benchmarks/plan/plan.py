"""A plan: a preset read for one table row, with all that the row and its method fix."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError, model_validator

from ...errors import UserError
from ...methods import Frozen, MethodCard, Row, card_of
from .preset import ENGINE_SECTIONS, Preset, common_numbers, toml_value
from .settings import DataSettings, PreparationNumbers, ScoreSettings, TrainSettings
from .validation import RefusedError, in_words, read_numbers

if TYPE_CHECKING:
    from ...methods import Detector
    from ...metrics.scores import Score
    from .suite import SuiteRow

#: Read once for all methods, before any of them: a method or a row cannot have numbers of its own here.
_COMMON = ("preparation", "data.phantom", "score.lesion_free", "score.test_volumes")


class ScoreChoice(Frozen):
    """A score plug-in with its settings, and the installed package it comes from ("" for this one)."""

    name: str
    settings: dict[str, Any]
    source: str


class Plan(Frozen):
    """A preset read for one table row: the engine's settings and the method's own, all validated.

    `score_by` is the score that takes the place of the method's own; None keeps it.
    """

    data: DataSettings
    preparation: PreparationNumbers
    train: TrainSettings
    score: ScoreSettings
    method: dict[str, Any]
    score_by: ScoreChoice | None = None

    @classmethod
    def of_record(cls, values: Mapping[str, Any]) -> Self:
        """The plan that a run record holds; before 2026-11-27 it counted epochs between checkpoints, and no compiler.

        Raises:
            ValueError: a number is missing, misspelt or out of range.
        """
        train = {"compile": False, "checkpoint_minutes": 0.0, **values.get("train", {})}
        train.pop("checkpoint_every", None)
        return cls.model_validate({**values, "train": train})

    @model_validator(mode="after")
    def _fits_volume(self) -> Self:
        """No part of the volume, no filter and no component is larger than the volume."""
        shape = self.preparation.settings.shape
        limits = {
            "data.slices": (self.data.slices, shape[0]),
            "score.median": (self.score.median, min(shape)),
            "score.erosion": (self.score.erosion, max(shape) // 2),
            "score.min_voxels": (self.score.min_voxels, math.prod(shape)),
        }
        for key, (value, limit) in limits.items():
            if value > limit:
                size = "×".join(map(str, shape))
                raise ValueError(f"{key} must be at most {limit} in a prepared volume of {size} voxels, got {value}")
        image = self.method.get("image")
        if isinstance(image, Mapping) and image.get("side", shape[-1]) != shape[-1]:
            raise ValueError(
                f"image.side must be {shape[-1]}, the side of a prepared slice (preparation.side / "
                f"preparation.factor), got {image['side']}"
            )
        return self


def plan_for(preset: Preset, method: type[Detector] | MethodCard, row: Row, score: str = "") -> Plan:
    """Read a preset for one table row: method overrides first, then what the row itself fixes.

    Args:
        preset: the numbers.
        method: the method, or its card.
        row: its row.
        score: name of a registered score; "" is the method's own.

    Raises:
        UserError: a number is missing, misspelt or out of range.
    """
    try:
        return _plan(preset, card_of(method), row, score)
    except (RefusedError, ValidationError) as error:
        words = in_words("", error) if isinstance(error, ValidationError) else str(error)
        raise UserError(f"preset {preset.name}, row {row.name}: {words}") from error


def _plan(preset: Preset, card: MethodCard, row: Row, score: str) -> Plan:
    """See `plan_for`.

    Raises:
        RefusedError: a number is missing, misspelt, out of range, or would not be read.
        ValidationError: numbers do not fit each other.
    """
    from ...metrics.scores import scores

    preparation = common_numbers(preset)[1]
    ignored = fixed_changes(preset, row)
    if ignored:
        raise RefusedError(f"it fixes {_fixed_words(ignored, row)}; leave out --set {ignored[0]}")
    sections = {name: dict(values) for name, values in preset.sections.items()}
    read = set(read_sections(card, score))
    known = read.union(*(model.Settings.model_fields for model in scores().values()))
    for section, values in preset.override.get(card.info.name, {}).items():
        _refuse_unread(f"override.{card.info.name}.{section}", section, values, known)
        sections.setdefault(section, {}).update(values)
    for key, value in row.settings.items():
        section, _, leaf = key.partition(".")
        _refuse_unread(f"{key}, which the row fixes,", section, {leaf: value}, read)
        sections.setdefault(section, {})[leaf] = value
    for section, values in card.brought.items():
        sections[section] = {**values, **sections.get(section, {})}
    wanted = {name: sections[name] for name in card.sections if name in sections}
    return Plan(
        data=read_numbers(DataSettings, "data", sections["data"]),
        preparation=preparation,
        train=read_numbers(TrainSettings, "train", sections["train"]),
        score=read_numbers(ScoreSettings, "score", sections["score"]),
        method=_method_numbers(card, wanted),
        score_by=_score_choice(sections, score),
    )


def _method_numbers(card: MethodCard, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A method's own numbers as its `Settings` reads them, or once read them; the class is imported where it must be.

    Raises:
        RefusedError: a number is missing, misspelt or out of range.
    """
    kept = card.kept_numbers(wanted)
    if kept is not None:
        return kept
    read = read_numbers(card.load().Settings, "", wanted).model_dump(mode="json")
    card.keep_numbers(wanted, read)
    return read


def build_detector(cls: type[Detector], plan: Plan) -> Detector:
    """A detector under a plan, its weights drawn from torch's global generator.

    Raises:
        ValueError: numbers that do not fit together, e.g. patches that do not cover the image, or parts of a batch
            for a network with batch norm.
    """
    from ...methods.parts.recomputed import recompute_activations

    detector = cls(cls.Settings.model_validate(plan.method))
    if not cls.trainable:
        return detector
    if plan.train.checkpoint_activations:
        recompute_activations(detector)
    if plan.train.compile:
        _compile(detector)
    if plan.train.accumulate > 1 and has_batch_norm(detector):
        raise ValueError(
            f"train.accumulate={plan.train.accumulate} would change what {cls.__name__} learns: its batch norm looks "
            "at all slices of a batch at once; set it to 1"
        )
    return detector


def _compile(detector: Detector) -> None:
    from ...methods.parts.compiled import compile_parts

    if not detector.compilable:
        raise ValueError(f"PyTorch cannot compile {type(detector).__name__}; set train.compile to false")
    compile_parts(detector)


def has_batch_norm(detector: Detector) -> bool:
    """Whether a slice's numbers depend on the others of its batch, so that a batch cannot go through in parts."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return any(isinstance(part, _BatchNorm) for part in detector.modules())


def check_changes(preset: Preset, entries: Sequence[SuiteRow], *, alone: bool = True) -> None:
    """See that no change is recorded and then ignored, before anything is read or run.

    Args:
        preset: the numbers, with their changes.
        entries: the rows that were asked for.
        alone: no other rows will read the preset, so that one of these must read each change.

    Raises:
        UserError: a row fixes a number that is changed, or none of the rows reads it.
    """
    fixing = [(entry.row, ignored) for entry in entries if (ignored := fixed_changes(preset, entry.row))]
    if fixing:
        rows = "; ".join(f"the row {row.name} fixes {_fixed_words(ignored, row)}" for row, ignored in fixing)
        raise UserError(f"--set {fixing[0][1][0]}: {rows}; leave out the change, or these rows")
    read = {section for entry in entries for section in read_sections(entry.card, entry.score)}
    unread = [change for change in preset.changed if change.partition(".")[0].strip() not in read]
    if entries and alone and unread:
        names = ", ".join(entry.row.name for entry in entries)
        raise UserError(f"--set {unread[0]}: nothing that {names} does depends on it; leave the change out")


def fixed_changes(preset: Preset, row: Row) -> tuple[str, ...]:
    """The changes that a row would ignore, because it fixes the number at another value."""
    words = {change: change.partition("=")[::2] for change in preset.changed}
    return tuple(
        change
        for change, (key, value) in words.items()
        if key.strip() in row.settings and toml_value(value.strip(), change) != row.settings[key.strip()]
    )


def _fixed_words(changes: Iterable[str], row: Row) -> str:
    keys = [change.partition("=")[0].strip() for change in changes]
    return " and ".join(f"{key} at {json.dumps(row.settings[key], default=str)}" for key in keys)


def read_sections(method: type[Detector] | MethodCard, score: str) -> tuple[str, ...]:
    """The preset's sections that a row's numbers depend on."""
    card = card_of(method)
    engine = [section for section in ENGINE_SECTIONS if section != "train" or card.trainable]
    chosen: Iterable[str] = ()
    if score:
        from ...metrics.scores import scores

        chosen = scores()[score].Settings.model_fields
    return (*engine, *card.sections, *chosen)


def _refuse_unread(place: str, section: str, values: Mapping[str, Any], read: Iterable[str]) -> None:
    """Refuse numbers that nobody would read, and those that are the same for all methods.

    Raises:
        RefusedError: there are such numbers.
    """
    common = [key for key in (section, *(f"{section}.{leaf}" for leaf in values)) if key in _COMMON]
    if common:
        raise RefusedError(f"{place}: {common[0]} is the same for all methods; say it in the section itself")
    # The training numbers of a method without a training are read by nobody, but do no harm.
    if section not in {*read, "train"}:
        raise RefusedError(f"{place}: nothing here reads a section {section}; there is {', '.join(sorted(read))}")


def has_sections(preset: Preset, score: type[Score]) -> bool:
    """Whether a preset, perhaps one of the user's own from before this score, holds every section the score reads."""
    return set(score.Settings.model_fields) <= set(preset.sections)


def _score_choice(sections: Mapping[str, dict[str, Any]], name: str) -> ScoreChoice | None:
    if not name:
        return None
    from ...metrics.scores import distribution_of, scores

    model = scores()[name].Settings
    wanted = {section: sections[section] for section in model.model_fields if section in sections}
    settings = read_numbers(model, "", wanted).model_dump(mode="json")
    return ScoreChoice(name=name, settings=settings, source=distribution_of(name))


def brought_sections(methods: Iterable[type[Detector] | MethodCard]) -> dict[str, dict[str, Any]]:
    """The preset sections that methods bring along: the fields of their `Settings` that have a default."""
    brought: dict[str, dict[str, Any]] = {}
    for card in map(card_of, methods):
        for section, values in card.brought.items():
            brought.setdefault(section, {}).update(values)
    return brought
