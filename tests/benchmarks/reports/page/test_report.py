"""The report as text: its numbers are the table's, its words are escaped, and it asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.reports.page.html import Figure, Page, Section, render, table_of_words
from uadbench.benchmarks.reports.page.report import banner_of, write_report
from uadbench.benchmarks.reports.page.sections.downloads import Download, bibtex_of
from uadbench.benchmarks.reports.page.sections.gallery import Case, Drawn, Tile
from uadbench.benchmarks.reports.page.study import SetOf, Study, study_of
from uadbench.benchmarks.reports.page.svg.axis import linear
from uadbench.benchmarks.reports.page.svg.marks import text as text_mark
from uadbench.benchmarks.reports.page.svg.plot import Plot
from uadbench.benchmarks.reports.renderers import csv
from uadbench.benchmarks.reports.results import load_results
from uadbench.benchmarks.reports.table import TableOptions
from uadbench.benchmarks.sources import data_of_runs
from uadbench.errors import UserError

from .conftest import EVIL, ask, simulate


class _Tables(HTMLParser):
    """By id of each table, its lines: the words of the first cell, and (value, words) of the others."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[tuple[str, list[tuple[str, str]]]]] = {}
        self._table = ""
        self._cell: list[str] | None = None
        self._in_body = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        words = dict(attrs)
        if tag == "table":
            self._table = words.get("id") or ""
            self.found.setdefault(self._table, [])
        elif tag == "tbody":
            self._in_body = True
        elif tag == "tr" and self._in_body:
            self.found[self._table].append(("", []))
        elif tag in ("td", "th") and self._in_body:
            self._cell, self._value = [], words.get("data-value") or ""

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            name, cells = self.found[self._table][-1]
            words = " ".join("".join(self._cell).split())
            line = (words, cells) if tag == "th" else (name, [*cells, (self._value, words)])
            self.found[self._table][-1] = line
            self._cell = None
        elif tag == "tbody":
            self._in_body = False


def test_the_numbers_are_those_of_the_table(text: str, folder: Path) -> None:
    options = TableOptions(paper=True, controls=True, ci=True)
    numbers = load_results(folder).numbers("1", options=options)
    (page,) = [lines for name, lines in _Tables(text).found.items() if name == "table1"]
    means = numbers.xs("mean", axis=1, level="statistic")
    lows = numbers.xs("low", axis=1, level="statistic")
    ours = [line for line in page if not line[0].startswith(("paper",))]
    kept = [place for place, (_, kind) in enumerate(numbers.index) if kind == "method"]
    assert len(kept) == 3
    for place in kept:
        title = {"maediff": "MAEDiff", "pddpm-s16": "pDDPM (s16)", "ae": "AE"}[numbers.index[place][0]]
        (cells,) = [cells for name, cells in ours if name == title]
        for (value, words), mean, low in zip(cells, means.iloc[place], lows.iloc[place], strict=True):
            assert float(value) == mean
            assert f"{mean:.2f}" in words
            assert math.isnan(low) or f"{low:.2f} to" in words


def test_a_note_stands_once_below_the_tables_of_what_is_found(text: str, study: Study) -> None:
    lesions = re.search(r'<section id="lesions">(.*?)</section>', text, re.S)
    assert lesions is not None
    notes = re.findall(r"<li>(.*?)</li>", lesions[1])
    above = {note for table in study.tables for note in table.remarks}
    assert len(above) > 3
    assert not {html.unescape(note) for note in notes} & above
    new = [note for note in notes if not note.startswith("What is said")]
    assert len(new) == len(set(new)) >= 5  # each table has one of its own


def test_csv_and_latex_inside_the_page_are_the_renderers(text: str, study: Study) -> None:
    files = dict(re.findall(r'download="([^"]+)" href="data:[^;]+;base64,([^"]+)"', text))
    assert base64.b64decode(files["tables.csv"]).decode() == csv.render(study.tables)
    assert base64.b64decode(files["tables.tex"]).decode().count(r"\begin{table}") == len(study.tables)
    assert base64.b64decode(files["methods.bib"]).decode() == bibtex_of(study)


def test_bibtex_knows_every_method_that_was_published(study: Study) -> None:
    text = bibtex_of(study)
    entries = re.findall(r"@misc\{(\w+),", text)
    assert entries == ["ae", "pddpm", "maediff", "pddpm_iqa"]
    assert "author = {R. Xu and Y. Wang and B. Du}" in text
    assert text.count("title = {{") == text.count("year = {") == len(entries)
    assert text.count("{") == text.count("}")


def test_a_wicked_name_is_shown_and_does_not_run(text: str, study: Study) -> None:
    assert EVIL in set(study.volumes["subject"])
    assert EVIL not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data is not None
    assert EVIL in next(one for one in json.loads(data[1])["sets"] if one["key"] == "tumours")["subjects"]


def test_the_page_may_run_its_own_script_and_ask_nobody(text: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    assert policy is not None
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert len(digests) == 2
    assert policy[1].endswith("script-src " + " ".join(f"&#39;sha256-{digest}&#39;" for digest in digests))
    assert policy[1].startswith("default-src &#39;none&#39;")
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', text)


def test_the_verdict_names_the_best_and_its_interval(text: str, study: Study) -> None:
    means = study.by_volume("tumours", "dice").mean() * 100
    best = max((row for row in study.rows if row.competes), key=lambda row: means[row.place])
    assert f"On phantom tumours, {best.title} has the highest mean DICE: {means[best.place]:.1f} %" in text
    assert "95 % interval" in text


def test_the_phantom_is_called_so(study: Study) -> None:
    assert banner_of(study).startswith("The brains of all sets are simulated, no patients.")
    real = SetOf("tumours", "BraTS21", simulated=False)
    assert banner_of(replace(study, sets=(real,))) == ""
    assert "(healthy)" in banner_of(replace(study, sets=(real, SetOf("healthy", "phantom healthy", simulated=True))))


def test_folds_are_averaged_before_volumes_are_drawn(study: Study) -> None:
    row = study.rows[0]
    own = study.volumes[(study.volumes["place"] == 0) & (study.volumes["set"] == "ms")]
    subject = own["subject"].iloc[0]
    wanted = own[own["subject"] == subject]["dice"].mean()
    assert len(row.cells) == 2
    assert study.by_volume("ms", "dice").loc[subject, 0] == pytest.approx(wanted)


def test_records_without_detections_make_a_page_that_says_so(tmp_path: Path) -> None:
    simulate(tmp_path, bins=0)
    write_report(
        load_results(tmp_path),
        ask(),
        tmp_path / "report.html",
        folder=tmp_path,
        open_data=lambda fingerprint: data_of_runs(tmp_path, fingerprint),
    )
    text = (tmp_path / "report.html").read_text()
    assert "have no lesion-wise numbers yet" in text
    assert 'id="curves"' not in text


def test_data_that_are_not_at_hand_are_said(text: str, folder: Path) -> None:
    assert f"no run in {folder} was made on data" in text


def test_nothing_to_report_is_one_sentence(folder: Path) -> None:
    with pytest.raises(UserError, match="there is no finished cell on --data phantom with --preset paper"):
        study_of(load_results(folder), replace(ask(), preset=load_preset("paper")))


def test_no_template_lets_a_word_through_as_html() -> None:
    words = {"tables": [{"title": EVIL, **table_of_words((EVIL,), [(EVIL, EVIL)])}]}
    figure = Figure(Plot(linear(EVIL, (0, 1)), None, height=50).svg([text_mark(0, 0, EVIL)], EVIL), EVIL, EVIL)
    section = Section("verdict", EVIL, lead=(EVIL,), figures=(figure,), notes=(EVIL,), content=words)
    drawn = Section("gallery", EVIL, "gallery.html.j2", content={"cases": (_CASE,), "drawn": (Drawn(EVIL, "data:,"),)})
    files = Section("downloads", EVIL, "downloads.html.j2", content={"downloads": (Download(EVIL, EVIL, "data:,"),)})
    page = Page(EVIL, EVIL, EVIL, EVIL, (section, drawn, files), {"names": [EVIL]})
    assert render(page).count("<script") == 3  # data, and two of ours
    assert "owned&#34;" in render(page)
    assert 'owned"' not in render(page).replace('\\"owned\\"', "")


_CASE = Case(
    EVIL, EVIL, EVIL, EVIL, EVIL, (3, 4), 0, "data:,", "data:,", (Tile(EVIL, EVIL, "data:,", "data:,", "data:,"),)
)
