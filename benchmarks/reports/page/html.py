"""Sections into one file of HTML: jinja templates, the style sheet and the script inside, nothing outside.

A policy in the page's head forbids the browser to ask anybody for anything, and to run any script but ours (and niivue,
where the user gave it), whose SHA-256 it names: a subject that is called `<script>` is shown as such, and would not run
if it were not.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from .viewer import Viewer

_HERE = "uadbench.benchmarks.reports.page"


@dataclass(frozen=True)
class Figure:
    """A picture and what is said of it.

    Attributes:
        picture: an SVG element, or pictures.
        caption: what it shows, in sentences.
        title: above it; "" for none.
    """

    picture: Markup
    caption: str
    title: str = ""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        name: by which links find it.
        title: its heading.
        template: the file that it is rendered by; "plain.html.j2" shows lead, figures and notes.
        lead: sentences above.
        figures: beside and below each other.
        notes: sentences below.
        content: what its template knows beside.
    """

    name: str
    title: str
    template: str = "plain.html.j2"
    lead: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes:
        title: of the page.
        conditions: data, preset, seed, folds: one sentence.
        banner: what must be known before anything is read; "" where nothing must.
        made: when and by what.
        sections: from top to bottom.
        data: what the script reads.
        viewer: what shows volumes in 3-D; None where nobody gave it, or it does not fit.
        no_viewer: a sentence that says why it is left out though it was given; "" else.
    """

    title: str
    conditions: str
    banner: str
    made: str
    sections: tuple[Section, ...]
    data: Mapping[str, Any]
    viewer: Viewer | None = None
    no_viewer: str = ""


def render(page: Page) -> str:
    """The page as text."""
    names = ("page.js", "gallery.js", "viewer.js") if page.viewer else ("page.js", "gallery.js")
    scripts = [_asset(name) for name in names]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            style=Markup(_asset("page.css")),
            scripts=[Markup(script) for script in scripts],
            policy=_policy([*scripts, *([page.viewer.script] if page.viewer else [])]),
            data=json_of(page.data),
        )
    )


def _policy(scripts: Sequence[str]) -> str:
    """What the browser may do for the page: show pictures that lie in it, and run these scripts."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}"


def data_uri(content: bytes, kind: str) -> str:
    """A file as an address that holds it, e.g. of a picture or a download."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def table_of_words(heads: Sequence[str], lines: Sequence[Sequence[object]]) -> Mapping[str, Any]:
    """What the macro `words` of the templates shows as a table."""
    return {"heads": tuple(heads), "lines": tuple(tuple(line) for line in lines)}


def json_of(data: Mapping[str, Any]) -> Markup:
    """JSON that may stand in a script element whatever its words are."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)


def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(lambda name: _text("templates", name)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return _text("assets", name)


def _text(folder: str, name: str) -> str:
    return (resources.files(_HERE) / folder / name).read_text(encoding="utf-8")
