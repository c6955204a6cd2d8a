"""What a reader takes along: the tables as CSV and LaTeX, the literature as BibTeX; files inside the page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .....methods import MethodInfo
from .....metrics.scores import ScoreInfo, score_named
from ...renderers import csv, latex
from ..html import Section, data_uri
from ..study import Study

_AUTHOR = r"(?:[A-Z]\. )+(?:[A-Z]')?[^\s.,]+"
_CITATION = re.compile(rf"(?P<authors>{_AUTHOR}(?:, {_AUTHOR})*)\. (?P<title>[^.]+)\. (?P<venue>.+?)(?:, \d{{4}})?\.")


@dataclass(frozen=True)
class Download:
    """A file inside the page."""

    name: str
    what: str
    address: str


def downloads_section(study: Study) -> Section:
    """The files."""
    files = (
        ("tables.csv", "every number of the tables, unrounded, one per line", "text/csv", csv.render(study.tables)),
        ("tables.tex", "the tables for LaTeX (booktabs)", "application/x-tex", latex.render(study.tables)),
        ("methods.bib", "every method shown, for BibTeX", "application/x-bibtex", bibtex_of(study)),
    )
    downloads = tuple(Download(name, what, data_uri(text.encode(), kind)) for name, what, kind, text in files)
    return Section("downloads", "To take along", "downloads.html.j2", content={"downloads": downloads})


def bibtex_of(study: Study) -> str:
    """An entry for the publication of each method and score that is shown, each once."""
    shown: list[MethodInfo | ScoreInfo] = [row.entry.card.info for row in study.rows]
    shown += [score_named(row.entry.score).info for row in study.rows if row.entry.score]
    once = {info.citation: info for info in reversed(shown)}
    return "\n".join(_entry(info) for info in reversed(once.values()) if info.year is not None)


def _entry(info: MethodInfo | ScoreInfo) -> str:
    """One entry; a citation that does not read "authors. title. venue." is kept as a note."""
    found = _CITATION.fullmatch(info.citation)
    fields = {"note": info.citation} if found is None else _fields(found)
    lines = [f"  {name} = {{{_tex(value)}}}," for name, value in {**fields, "year": str(info.year)}.items()]
    return "\n".join([f"@misc{{{info.name},", *lines, "}", ""])


def _fields(found: re.Match[str]) -> dict[str, str]:
    return {
        "author": " and ".join(found["authors"].split(", ")),
        "title": f"{{{found['title']}}}",
        "howpublished": found["venue"],
    }


def _tex(text: str) -> str:
    return re.sub(r"([&%#_$])", r"\\\1", text)
