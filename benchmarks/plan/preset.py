"""Presets: every number of an experiment, as data.

A preset is a TOML file. Its sections `data`, `preparation`, `train` and `score` belong to the engine; every other
section (`optimizer`, `unet`, `noise`, …) feeds the field of that name in a method's `Settings`. A table
`[override.<method>.<section>]` replaces numbers for one method. Nothing has a default in this package's code: what a
preset does not say is an error, and so is a number that nobody reads. A method from outside may bring a section of its
own, as the default of its field in `Settings`; a preset or a change then replaces single numbers of it.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from torch.nn.modules.batchnorm import _BatchNorm

from ...datasets.scans.preparation import PreparationSettings
from ...errors import UserError
from ...methods import Detector, Frozen, Row
from ...methods.parts.recomputed import recompute_activations
from ...methods.registry import NAME_RULE, is_name
from ...metrics.scores import Score, distribution_of, scores

if TYPE_CHECKING:
    from .suite import SuiteRow

_ENGINE_SECTIONS = ("data", "preparation", "train", "score")
_HEADER = ("name", "summary", "departures")
#: Read once for all methods, before any of them: a method or a row cannot have numbers of its own here.
_COMMON = ("preparation", "data.phantom", "score.lesion_free", "score.test_volumes")
_LONGEST_VALUE = 80

_ModelT = TypeVar("_ModelT", bound=BaseModel)


class DataSettings(Frozen):
    """Which part of the prepared volumes takes part.

    Attributes:
        phantom: size of the embedded cohort that `--data phantom` builds.
        slices: number of central axial slices; 50 is the whole prepared volume.
    """

    phantom: Literal["demo", "paper"]
    slices: int = Field(ge=1)


class PreparationNumbers(Frozen):
    """The preparation at load; see `PreparationSettings`, whose defaults no preset falls back on.

    A number is kept as the preset writes it, 1 or 1.0, because the ids of cells are hashes of what it says.
    """

    side: int = Field(ge=1, le=1024)
    depth: int = Field(ge=1, le=1024)
    iterations: int = Field(ge=0, le=1000)
    time_step: int | float = Field(gt=0, le=1)
    lower_percentile: int | float = Field(ge=0, le=100)
    upper_percentile: int | float = Field(ge=0, le=100)
    factor: int = Field(ge=1, le=16)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in ("side", "depth"):
            if getattr(self, name) % self.factor:
                raise ValueError(
                    f"preparation.{name} ({getattr(self, name)}) must be a multiple of factor ({self.factor})"
                )
        if self.lower_percentile >= self.upper_percentile:
            raise ValueError(
                f"preparation.lower_percentile ({self.lower_percentile}) must be below "
                f"preparation.upper_percentile ({self.upper_percentile})"
            )
        return self

    @property
    def settings(self) -> PreparationSettings:
        """The same numbers as the data sets take them."""
        return PreparationSettings(**self.model_dump())


class TrainSettings(Frozen):
    """The training loop.

    Attributes:
        epochs: passes over the training volumes, one random slice a volume.
        batch_size: slices an optimiser step.
        drop_last: leave out the last, incomplete batch of an epoch, another one each time; never the only one.
        accumulate: parts that a batch is cut into, which go through the network one after the other. The gradient is
            the whole batch's, so this takes memory and not its place; with batch norm it would be another one.
        checkpoint_activations: keep what enters the blocks of a large network and compute the rest again for the
            gradient. The numbers stay the same, a step takes about a third longer, see `parts/recomputed.py`.
        validate_every: epochs between two validations, after each of which the best weights are looked for.
        validation_slices: slices of a validation volume that make the validation loss, always the same ones.
        checkpoint_every: epochs between two checkpoints on disk, a multiple of `validate_every`; what a kill costs.
        precision: Lightning's name, e.g. "32-true" or "bf16-mixed".
        tf32: let a GPU round the factors of float32 products to ten bits of mantissa, in training and scoring.
        deterministic: use a GPU's repeatable algorithms alone, so that a training repeats bit by bit there too.
    """

    epochs: int = Field(ge=1, le=10_000_000)
    batch_size: int = Field(ge=1, le=100_000)
    drop_last: bool
    accumulate: int = Field(ge=1, le=100_000)
    checkpoint_activations: bool
    validate_every: int = Field(ge=1, le=10_000_000)
    validation_slices: int = Field(ge=1, le=1024)
    checkpoint_every: int = Field(ge=1, le=10_000_000)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    tf32: bool
    deterministic: bool

    @model_validator(mode="after")
    def _divided(self) -> Self:
        for name in ("epochs", "checkpoint_every"):
            if getattr(self, name) % self.validation_interval:
                raise ValueError(
                    f"train.{name} ({getattr(self, name)}) must be a multiple of train.validate_every "
                    f"({self.validate_every}), so that the last epoch before a checkpoint is validated"
                )
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"train.accumulate ({self.accumulate}) must divide train.batch_size ({self.batch_size}), so that the "
                "parts of a batch weigh the same"
            )
        return self

    @property
    def validation_interval(self) -> int:
        """Epochs between two validations; a training that is shorter than that is validated at its end."""
        return min(self.validate_every, self.epochs)


class ScoreSettings(Frozen):
    """Reconstruction at test time, post-processing and threshold.

    Attributes:
        erosion: cycles of the brain mask's erosion.
        median: edge of the cubic median filter, voxels; odd.
        min_voxels: components of fewer voxels are dropped.
        threshold_steps: halvings of the greedy threshold search.
        batch_size: images a forward pass; does not change the numbers.
        untrained_control: also measure the healthy l1 of the network before training.
        lesion_free: what becomes of an unhealthy scan without a lesion voxel in the slices that take part. "exclude": a
            test scan has neither Dice nor AUPRC and is left out of both means. "zero", as the published code has it
            (see `scoring.score_lesions`). "refuse": nothing is run. Such a validation scan stays in the pool that the
            threshold is chosen on, unless refused: its false alarms count there as those of any other scan do.
        test_volumes: how many scans of each test set are scored, the first by hash of their names (see
            `scoring.scored_scans`); "all" is the whole set.
    """

    erosion: int = Field(ge=0)
    median: int = Field(ge=1)
    min_voxels: int = Field(ge=0)
    threshold_steps: int = Field(ge=1, le=1000)
    batch_size: int = Field(ge=1, le=100_000)
    untrained_control: bool
    lesion_free: Literal["exclude", "zero", "refuse"]
    test_volumes: Literal["all"] | int

    @field_validator("test_volumes", mode="before")
    @classmethod
    def _all_or_some(cls, value: object) -> object:
        if value != "all" and (type(value) is not int or value < 1):
            raise ValueError(f'score.test_volumes must be "all" or a whole number of at least 1, got {_shown(value)}')
        return value

    @model_validator(mode="after")
    def _centred(self) -> Self:
        if self.median % 2 == 0:
            raise ValueError(f"score.median must be odd, so that the cube has a middle voxel, got {self.median}")
        return self


class Preset(Frozen):
    """A named set of numbers.

    Attributes:
        name: what `--preset` takes.
        summary: one sentence.
        departures: where these numbers leave the paper's, each with its reason.
        sections: section name to its key-value pairs, engine's and methods' alike.
        override: method name to sections that replace numbers for that method only.
        changed: the `key=value` words that were applied on top, in order.
    """

    name: str
    summary: str
    departures: tuple[str, ...]
    sections: dict[str, dict[str, Any]]
    override: dict[str, dict[str, dict[str, Any]]]
    changed: tuple[str, ...] = ()

    @property
    def preparation(self) -> PreparationSettings:
        """The preparation at load, the same for all methods.

        Raises:
            UserError: a number is missing, misspelt or out of range.
        """
        return _common(self)[1].settings

    @property
    def phantom(self) -> str:
        """The size of the embedded cohort.

        Raises:
            UserError: a number is missing, misspelt or out of range.
        """
        return _common(self)[0].phantom


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


def preset_names() -> tuple[str, ...]:
    """The presets that travel with the package."""
    folder = resources.files("uadbench.benchmarks.plan.presets")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def load_preset(
    name: str, changes: Sequence[str] = (), brought: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Preset:
    """Read a preset by name, or by path when it ends in `.toml`, and apply `key=value` changes.

    Args:
        name: name or path.
        changes: `section.key=value`.
        brought: sections that methods bring along, which changes may name too (see `brought_sections`).

    Raises:
        UserError: no such preset, a file that is not TOML, or a change that names no number of the preset.
    """
    document = _document(name)
    sections = {key: value for key, value in document.items() if isinstance(value, dict) and key != "override"}
    override = document.get("override", {})
    for change in changes:
        _apply_change(sections, override, change, brought)
    _refuse_twice(changes)
    return Preset(
        name=document["name"],
        summary=document["summary"],
        departures=tuple(document["departures"]),
        sections=sections,
        override=override,
        changed=tuple(changes),
    )


def plan_for(preset: Preset, cls: type[Detector], row: Row, score: str = "") -> Plan:
    """Read a preset for one table row: method overrides first, then what the row itself fixes.

    Args:
        preset: the numbers.
        cls: the method.
        row: its row.
        score: name of a registered score; "" is the method's own.

    Raises:
        UserError: a number is missing, misspelt or out of range.
    """
    try:
        return _plan(preset, cls, row, score)
    except (_RefusedError, ValidationError) as error:
        words = _in_words("", error) if isinstance(error, ValidationError) else str(error)
        raise UserError(f"preset {preset.name}, row {row.name}: {words}") from error


def _plan(preset: Preset, cls: type[Detector], row: Row, score: str) -> Plan:
    """See `plan_for`.

    Raises:
        _RefusedError: a number is missing, misspelt, out of range, or would not be read.
        ValidationError: numbers do not fit each other.
    """
    preparation = _common(preset)[1]
    ignored = fixed_changes(preset, row)
    if ignored:
        raise _RefusedError(f"it fixes {_fixed_words(ignored, row)}; leave out --set {ignored[0]}")
    sections = {name: dict(values) for name, values in preset.sections.items()}
    read = set(_read_sections(cls, score))
    known = read.union(*(model.Settings.model_fields for model in scores().values()))
    for section, values in preset.override.get(cls.info.name, {}).items():
        _refuse_unread(f"override.{cls.info.name}.{section}", section, values, known)
        sections.setdefault(section, {}).update(values)
    for key, value in row.settings.items():
        section, _, leaf = key.partition(".")
        _refuse_unread(f"{key}, which the row fixes,", section, {leaf: value}, read)
        sections.setdefault(section, {})[leaf] = value
    for section, values in brought_sections([cls]).items():
        sections[section] = {**values, **sections.get(section, {})}
    wanted = {name: sections[name] for name in cls.Settings.model_fields if name in sections}
    return Plan(
        data=_read(DataSettings, "data", sections["data"]),
        preparation=preparation,
        train=_read(TrainSettings, "train", sections["train"]),
        score=_read(ScoreSettings, "score", sections["score"]),
        method=_read(cls.Settings, "", wanted).model_dump(mode="json"),
        score_by=_score_choice(sections, score),
    )


def build_detector(cls: type[Detector], plan: Plan) -> Detector:
    """A detector under a plan, its weights drawn from torch's global generator.

    Raises:
        ValueError: numbers that do not fit together, e.g. patches that do not cover the image, or parts of a batch
            for a network with batch norm.
    """
    detector = cls(cls.Settings.model_validate(plan.method))
    if not cls.trainable:
        return detector
    if plan.train.checkpoint_activations:
        recompute_activations(detector)
    if plan.train.accumulate > 1 and has_batch_norm(detector):
        raise ValueError(
            f"train.accumulate={plan.train.accumulate} would change what {cls.__name__} learns: its batch norm looks "
            "at all slices of a batch at once; set it to 1"
        )
    return detector


def has_batch_norm(detector: Detector) -> bool:
    """Whether a slice's numbers depend on the others of its batch, so that a batch cannot go through in parts."""
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
    read = {section for entry in entries for section in _read_sections(entry.method, entry.score)}
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
        if key.strip() in row.settings and _toml_value(value.strip(), change) != row.settings[key.strip()]
    )


def _fixed_words(changes: Iterable[str], row: Row) -> str:
    keys = [change.partition("=")[0].strip() for change in changes]
    return " and ".join(f"{key} at {json.dumps(row.settings[key], default=str)}" for key in keys)


def _read_sections(cls: type[Detector], score: str) -> tuple[str, ...]:
    """The preset's sections that a row's numbers depend on."""
    engine = [section for section in _ENGINE_SECTIONS if section != "train" or cls.trainable]
    chosen = scores()[score].Settings.model_fields if score else ()
    return (*engine, *cls.Settings.model_fields, *chosen)


def _refuse_unread(place: str, section: str, values: Mapping[str, Any], read: Iterable[str]) -> None:
    """Refuse numbers that nobody would read, and those that are the same for all methods.

    Raises:
        _RefusedError: there are such numbers.
    """
    common = [key for key in (section, *(f"{section}.{leaf}" for leaf in values)) if key in _COMMON]
    if common:
        raise _RefusedError(f"{place}: {common[0]} is the same for all methods; say it in the section itself")
    # The training numbers of a method without a training are read by nobody, but do no harm.
    if section not in {*read, "train"}:
        raise _RefusedError(f"{place}: nothing here reads a section {section}; there is {', '.join(sorted(read))}")


def _common(preset: Preset) -> tuple[DataSettings, PreparationNumbers]:
    """What is read before any method.

    Raises:
        UserError: a number is missing, misspelt or out of range.
    """
    try:
        return (
            _read(DataSettings, "data", preset.sections["data"]),
            _read(PreparationNumbers, "preparation", preset.sections["preparation"]),
        )
    except _RefusedError as error:
        raise UserError(f"preset {preset.name}: {error}") from error


def has_sections(preset: Preset, score: type[Score]) -> bool:
    """Whether a preset, perhaps one of the user's own from before this score, holds every section the score reads."""
    return set(score.Settings.model_fields) <= set(preset.sections)


def _score_choice(sections: Mapping[str, dict[str, Any]], name: str) -> ScoreChoice | None:
    if not name:
        return None
    model = scores()[name].Settings
    wanted = {section: sections[section] for section in model.model_fields if section in sections}
    settings = _read(model, "", wanted).model_dump(mode="json")
    return ScoreChoice(name=name, settings=settings, source=distribution_of(name))


def brought_sections(methods: Iterable[type[Detector]]) -> dict[str, dict[str, Any]]:
    """The preset sections that methods bring along: the fields of their `Settings` that have a default."""
    brought: dict[str, dict[str, Any]] = {}
    for cls in methods:
        for section, field in cls.Settings.model_fields.items():
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            if isinstance(default, Frozen):
                brought.setdefault(section, {}).update(default.model_dump(mode="json"))
    return brought


def _document(name: str) -> dict[str, Any]:
    """Read a preset's file, and see that it has the shape of a preset.

    Raises:
        UserError: there is no such file, it cannot be read, it is not TOML, or it has another shape.
    """
    text = _preset_text(name)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"preset {name} is not valid TOML: {error}") from error
    missing = [key for key in (*_HEADER, *_ENGINE_SECTIONS) if key not in document]
    if missing:
        raise UserError(f"preset {name} lacks {', '.join(missing)}; see `bench list presets` for complete ones")
    for key in ("name", "summary"):
        if not isinstance(document[key], str):
            raise UserError(f"preset {name}: {key} must be a text in quotation marks, got {_shown(document[key])}")
    if not is_name(document["name"]):
        raise UserError(f"preset {name}: name is {document['name']!r}, but a preset's name has {NAME_RULE}")
    departures = document["departures"]
    if not isinstance(departures, list) or not all(isinstance(text, str) for text in departures):
        raise UserError(f"preset {name}: departures must be a list of texts, got {_shown(departures)}")
    for key, value in document.items():
        if key in _HEADER:
            continue
        if not isinstance(value, dict):
            raise UserError(f"preset {name}: {key} must stand in a section; write it below a line such as [train]")
    _check_override(name, document.get("override", {}))
    return document


def _check_override(name: str, override: Mapping[str, Any]) -> None:
    for method, sections in override.items():
        if not isinstance(sections, dict) or not all(isinstance(values, dict) for values in sections.values()):
            raise UserError(
                f"preset {name}: override.{method} must hold sections; write [override.{method}.train], for example"
            )


def _preset_text(name: str) -> str:
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise UserError(f"there is no preset file {path}; the built-in presets are {', '.join(preset_names())}")
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UserError(f"preset {name} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
        except OSError as error:
            raise UserError(f"preset {name} cannot be read: {error.strerror or error}") from error
    if name not in preset_names():
        raise UserError(f"there is no preset {name!r}; choose one of {', '.join(preset_names())} or give a .toml file")
    return (resources.files("uadbench.benchmarks.plan.presets") / f"{name}.toml").read_text(encoding="utf-8")


def _refuse_twice(changes: Sequence[str]) -> None:
    """Only the last of two changes of one number would count, and both would be recorded."""
    keys = [change.partition("=")[0].strip() for change in changes]
    twice = [key for key in keys if keys.count(key) > 1]
    if twice:
        raise UserError(f"--set {twice[0]} is given {keys.count(twice[0])} times; give it once")


def _apply_change(
    sections: dict[str, dict[str, Any]],
    override: Mapping[str, dict[str, dict[str, Any]]],
    change: str,
    brought: Mapping[str, Mapping[str, Any]],
) -> None:
    """Set one number, `section.key=value`; a method's override of that number gives way to the user's word."""
    key, equals, word = change.partition("=")
    section, _, leaf = key.strip().partition(".")
    if not equals or not leaf:
        raise UserError(f"--set {change}: write section.key=value, for example --set train.epochs=10")
    known = {*sections.get(section, ()), *brought.get(section, ())}
    for replaced in override.values():
        known |= set(replaced.get(section, ()))
    if leaf not in known:
        offer = ", ".join(f"{section}.{name}" for name in sorted(known)) or ", ".join(sorted({*sections, *brought}))
        raise UserError(f"--set {change}: the preset has no number {section}.{leaf}; there is {offer}")
    sections.setdefault(section, {})[leaf] = _toml_value(word.strip(), change)
    for replaced in override.values():
        replaced.get(section, {}).pop(leaf, None)


def _toml_value(word: str, change: str) -> Any:
    """Read the right-hand side as TOML writes it; a bare word is a string."""
    try:
        document = tomllib.loads(f"value = {word}")
    except (tomllib.TOMLDecodeError, RecursionError):
        document = {}
    if len(document) == 1:
        return document["value"]
    # What holds a line break is no bare word either: it could be read as more numbers than one.
    if not word or any(sign in word for sign in "[]{}\"'\n\r"):
        raise UserError(f"--set {change}: {word!r} is no number, word or list")
    return word


# ---------------------------------------------------------------------------------------------------------------------
# From raw numbers to models


class _RefusedError(Exception):
    """A number that will not do; the message names key, value and range."""


def _read(model: type[_ModelT], section: str, values: Mapping[str, Any]) -> _ModelT:
    """Read raw numbers into a model, taking nothing for what it is not: no true for 1, no "1" for 1, no 1.0 for 1.

    Args:
        model: the model.
        section: name of the section that the model is; "" where it has one field a section.
        values: what the preset says.

    Raises:
        _RefusedError: a number is missing, misspelt or out of range.
    """
    try:
        # As JSON, because strict reading takes its lists for tuples; a date of TOML becomes a word.
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise _RefusedError(_in_words(section, error)) from error


#: pydantic's kinds of errors in our words; what stands in braces comes with the error.
_WORDS = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a word",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "model_type": "must be a section",
    "finite_number": "must be a finite number",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must hold at least {min_length} values",
    "too_long": "must hold at most {max_length} values",
}


def _in_words(section: str, error: ValidationError) -> str:
    """One sentence about the first number that will not do: its key, what it must be, what it is."""
    problem = error.errors()[0]
    if problem["loc"][-1:] == ("int",):  # of a number that may be whole or not; what follows is about any number
        problem = error.errors()[1]
    parts = [part for part in problem["loc"] if part not in ("int", "float")]
    place = ".".join(str(part) for part in ([section, *parts] if section else parts))
    kind, said = problem["type"], str(problem["msg"])
    if kind == "value_error":
        words = said.removeprefix("Value error, ")
        return words if not place or place in words else f"{place}: {words}"
    if kind == "missing":
        return f"{place} is missing"
    if kind == "extra_forbidden":
        return f"{place} is a number that nothing reads; leave it out, or mend its spelling"
    rule = _WORDS[kind].format(**problem.get("ctx", {})) if kind in _WORDS else said.lower()
    return f"{place} {rule}, got {_shown(problem.get('input'))}"


def _shown(value: Any) -> str:
    text = "true" if value is True else "false" if value is False else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
