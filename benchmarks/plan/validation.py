"""From raw numbers to models, and what is wrong with a number in one sentence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

_LONGEST_VALUE = 80

_ModelT = TypeVar("_ModelT", bound=BaseModel)


class RefusedError(Exception):
    """A number that will not do; the message names key, value and range."""


def read_numbers(model: type[_ModelT], section: str, values: Mapping[str, Any]) -> _ModelT:
    """Read raw numbers into a model, taking nothing for what it is not: no true for 1, no "1" for 1, no 1.0 for 1.

    Args:
        model: the model.
        section: name of the section that the model is; "" where it has one field a section.
        values: what the preset says.

    Raises:
        RefusedError: a number is missing, misspelt or out of range.
    """
    try:
        # As JSON, because strict reading takes its lists for tuples; a date of TOML becomes a word.
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise RefusedError(in_words(section, error)) from error


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


def in_words(section: str, error: ValidationError) -> str:
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
    return f"{place} {rule}, got {shown_value(problem.get('input'))}"


def shown_value(value: Any) -> str:
    """A value as TOML writes it, cut to a bounded length."""
    text = "true" if value is True else "false" if value is False else repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
