"""Presets: every number of an experiment, as data.

A preset is a TOML file. Its sections `data`, `preparation`, `train` and `score` belong to the engine; every other
section (`optimizer`, `unet`, `noise`, …) feeds the field of that name in a method's `Settings`. A table
`[override.<method>.<section>]` replaces numbers for one method. A preset that says `base = "paper"` has that preset's
numbers, overrides and departures, and tells only what differs. Nothing has a default in this package's code: what a
preset does not say is an error, and so is a number that nobody reads. A method from outside may bring a section of its
own, as the default of its field in `Settings`; a preset or a change then replaces single numbers of it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...datasets.scans.preparation import PreparationSettings
from ...errors import UserError
from ...methods import Frozen
from ...registry import NAME_RULE, is_name
from .settings import DataSettings, PreparationNumbers
from .validation import RefusedError, read_numbers, shown_value

ENGINE_SECTIONS = ("data", "preparation", "train", "score")
_HEADER = ("name", "summary", "departures")
_BASE = "base"


class PresetLabel(Frozen):
    """What a run says about its preset.

    Attributes:
        name: what `--preset` takes.
        changed: the `key=value` words that were applied on top, in order.
        departures: where its numbers leave the paper's, each with its reason.
    """

    name: str
    changed: tuple[str, ...]
    departures: tuple[str, ...]


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
    def label(self) -> PresetLabel:
        """What a run says about it."""
        return PresetLabel(name=self.name, changed=self.changed, departures=self.departures)

    @property
    def preparation(self) -> PreparationSettings:
        """The preparation at load, the same for all methods.

        Raises:
            UserError: a number is missing, misspelt or out of range.
        """
        return common_numbers(self)[1].settings

    @property
    def phantom(self) -> str:
        """The size of the embedded cohort.

        Raises:
            UserError: a number is missing, misspelt or out of range.
        """
        return common_numbers(self)[0].phantom


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


def common_numbers(preset: Preset) -> tuple[DataSettings, PreparationNumbers]:
    """What is read before any method.

    Raises:
        UserError: a number is missing, misspelt or out of range.
    """
    try:
        return (
            read_numbers(DataSettings, "data", preset.sections["data"]),
            read_numbers(PreparationNumbers, "preparation", preset.sections["preparation"]),
        )
    except RefusedError as error:
        raise UserError(f"preset {preset.name}: {error}") from error


def _document(name: str) -> dict[str, Any]:
    """Read a preset's file, and see that it has the shape of a preset; one with a base is filled up from it.

    Raises:
        UserError: there is no such file, it cannot be read, it is not TOML, or it has another shape.
    """
    text = _preset_text(name)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"preset {name} is not valid TOML: {error}") from error
    base = document.pop(_BASE, None)
    missing = [key for key in (*_HEADER, *(ENGINE_SECTIONS if base is None else ())) if key not in document]
    if missing:
        raise UserError(f"preset {name} lacks {', '.join(missing)}; see `bench list presets` for complete ones")
    _check_header(name, document)
    for key, value in document.items():
        if key not in _HEADER and not isinstance(value, dict):
            raise UserError(f"preset {name}: {key} must stand in a section; write it below a line such as [train]")
    _check_override(name, document.get("override", {}))
    return document if base is None else _filled_up(name, document, base)


def _check_header(name: str, document: Mapping[str, Any]) -> None:
    for key in ("name", "summary"):
        if not isinstance(document[key], str):
            raise UserError(f"preset {name}: {key} must be a text in quotation marks, got {shown_value(document[key])}")
    if not is_name(document["name"]):
        raise UserError(f"preset {name}: name is {document['name']!r}, but a preset's name has {NAME_RULE}")
    departures = document["departures"]
    if not isinstance(departures, list) or not all(isinstance(text, str) for text in departures):
        raise UserError(f"preset {name}: departures must be a list of texts, got {shown_value(departures)}")


def _filled_up(name: str, document: Mapping[str, Any], base: object) -> dict[str, Any]:
    """A preset with whatever it does not say itself from its base, which is one of ours, so that none is its own."""
    if base not in preset_names():
        known = ", ".join(preset_names())
        raise UserError(f"preset {name}: base must be one of {known}, got {shown_value(base)}")
    below = _document(str(base))
    override = dict(below.get("override", {}))
    for method, replaced in document.get("override", {}).items():
        override[method] = _laid_over(override.get(method, {}), replaced)
    sections = {key: value for key, value in document.items() if key not in (*_HEADER, "override")}
    header = {"name": document["name"], "summary": document["summary"]}
    departures = [*below["departures"], *document["departures"]]
    return {**_laid_over(below, sections), **header, "departures": departures, "override": override}


def _laid_over(below: Mapping[str, Any], above: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Sections with the numbers of others on top."""
    return {**below, **{name: {**below.get(name, {}), **values} for name, values in above.items()}}


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
    sections.setdefault(section, {})[leaf] = toml_value(word.strip(), change)
    for replaced in override.values():
        replaced.get(section, {}).pop(leaf, None)


def toml_value(word: str, change: str) -> Any:
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
