"""Every renderer shows every number of a table, and nothing that breaks its format."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from uadbench.benchmarks.plan.suite import Suite, SuiteRow
from uadbench.benchmarks.reports.renderers.terminal import renderable
from uadbench.benchmarks.reports.tables import render

if TYPE_CHECKING:
    from .conftest import Bench

Make = Callable[..., Any]
DOWN = "http://127.0.0.1:9"


def test_best_is_bold_and_second_underlined_by_unrounded_means(bench: Bench) -> None:
    bench.run(0, 0, bench.words(0.030001, 0.30001, auprc=0.5, ms_dice=0.1, ms_auprc=0.2))
    bench.run(1, 0, bench.words(0.030000, 0.30002, auprc=0.5, ms_dice=0.2, ms_auprc=0.2), folds=1)
    bench.run(2, 0, bench.words(0.030002, 0.30000, auprc=0.4, ms_dice=0.3, ms_auprc=0.2), folds=1)
    table = bench.table(controls=(), paper=True)
    ranks = [line.ranks for line in bench.lines(table) if line.kind == "method"]
    assert ranks == [[2, 1, 0, 1, 2], [1, 1, 2, 1, 1], [0, 2, 1, 1, 0]]
    rows = render([table], "markdown").splitlines()
    (ae,) = [row for row in rows if row.startswith("| AE")]
    assert ae == "| AE | **30.00** | **50.00** | <u>20.00</u> | **20.00** | **30.00** |"
    (ae,) = [row for row in render([table], "latex").splitlines() if row.startswith("AE")]
    assert ae == (r"AE & \textbf{30.00} & \textbf{50.00} & \underline{20.00} & \textbf{20.00} & \textbf{30.00} \\")


def test_a_complete_table_with_published_rows_has_no_dash_in_any_format(frontier: Bench) -> None:
    table = frontier.table(paper=True)
    markdown, latex = render([table], "markdown"), render([table], "latex")
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert sum(row.count("n/r") for row in rows) == 5  # l1 of three rows, cDDPM on MS lesions
    assert not any("–" in row for row in rows)
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert (body.count("n/r"), body.count("--")) == (5, 0)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable(table))
    text = console.export_text(styles=False)
    assert ("–" in text, "…" in text, text.count(" n/r")) == (False, False, 5)
    cells = list(csv.DictReader(io.StringIO(render([table], "csv"))))
    assert [(x["row"], x["metric"]) for x in cells if x["printed"] == "n/r"] == [
        *(("mddpm", "l1"), ("cddpm", "dice"), ("cddpm", "auprc"), ("cddpm", "l1"), ("pddpm-iqa", "l1")),
    ]
    assert all(x["mean"] or x["printed"] for x in cells)


def test_csv_holds_unrounded_numbers_one_a_line(bench: Bench) -> None:
    dices = [0.3123456789, 0.3333]
    for fold, value in enumerate(dices):
        bench.run(1, fold, bench.words(0.03, value))
    lines = list(csv.DictReader(io.StringIO(render([bench.table(paper=True)], "csv"))))
    (ours,) = [x for x in lines if (x["row"], x["kind"], x["role"], x["metric"]) == ("ae", "method", "tumours", "dice")]
    assert float(ours["mean"]) == pytest.approx(100 * fmean(dices), rel=1e-12)
    assert float(ours["std"]) == pytest.approx(100 * stdev(dices), rel=1e-9)
    assert (ours["folds"], ours["unit"], ours["set"], ours["modality"]) == ("2", "%", "phantom tumours", "t2")
    (theirs,) = [x for x in lines if (x["row"], x["kind"], x["role"], x["metric"]) == ("ae", "paper", "healthy", "l1")]
    assert (theirs["mean"], theirs["std"], theirs["printed"]) == ("30.55", "0.27", "30.55 ± 0.27")


def test_latex_is_balanced_and_escaped(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), data_title="50% of a_b & c")
    text = render([bench.table(paper=True)], "latex")
    assert r"50\% of a\_b \& c" in text
    assert text.count("{") == text.count("}")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert {line.count("&") for line in body} == {5}
    assert r"\multicolumn{2}{c}{phantom tumours}" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5} \cmidrule(lr){6-6}" in text
    assert all(ord(sign) < 128 for sign in text)


def test_markdown_has_one_cell_a_column(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    lines = [line for line in render([bench.table(paper=True)], "markdown").splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {7}


def test_the_terminal_table_fits_80_characters(bench: Bench) -> None:
    for fold in range(5):
        bench.run(1, fold, bench.words(0.03 + 0.001 * fold, 0.3 + 0.01 * fold))
        bench.run(2, fold, bench.words(0.02 + 0.001 * fold, 0.4 + 0.01 * fold))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable(bench.table(paper=True)))
    text = console.export_text(styles=False)
    assert "32.00±1.58" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_methods_note_stands_below_the_table_once(bench: Bench) -> None:
    entry = bench.suite.rows[1]

    def noted(note: str) -> None:
        card = replace(entry.card, info=replace(entry.card.info, note=note))
        other = SuiteRow(replace(entry.row, name="ae-wide", title="AE (wide)"), card)
        bench.suite = Suite("table1", "Table 1: a title", (replace(entry, card=card), other))

    noted("The paper is silent about its width")
    assert [note for note in bench.table().notes if "silent" in note] == ["AE: The paper is silent about its width."]
    for form in ("markdown", "latex"):
        assert render([bench.table()], form).count("AE: The paper is silent about its width.") == 1
    noted("AE is not what it was.")
    assert "AE is not what it was." in bench.table().notes  # its name is there already


def test_latex_has_its_notes_below_the_table(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    text = render([bench.table(all_rows=False)], "latex")
    (caption,) = [line for line in text.splitlines() if line.startswith(r"\caption")]
    assert caption.startswith(r"\caption{A title. Data: phantom (demo)") and caption.endswith("5 folds.}")
    assert text.index(r"\end{tabular}") < text.index("not run yet: Thresh, MAEDiff") < text.index(r"\end{table}")
    assert text.index(r"\end{tabular}") < text.index("Preset demo departs from the paper")


def test_html_says_what_the_table_says(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), folds=1, data_title="a < b & c")
    bench.run(2, 0, bench.words(0.04, 0.2), folds=1, data_title="a < b & c")
    table = bench.table(all_rows=False, paper=True)
    page = render([table], "html")
    assert rows_of(page) == [
        ["", "phantom tumours", "phantom MS", "phantom healthy"],
        ["Method", "DICE (%) ↑", "AUPRC (%) ↑", "DICE (%) ↑", "AUPRC (%) ↑", "l1 (1e-3) ↓"],
        ["AE", "30.00", "40.00", "5.00", "6.00", "30.00"],
        ["paper", "32.87 ± 1.25", "31.07 ± 1.75", "7.10 ± 0.68", "5.58 ± 0.26", "30.55 ± 0.27"],
        ["MAEDiff", "20.00", "40.00", "5.00", "6.00", "40.00"],
        ["paper", "42.07 ± 1.12", "45.48 ± 1.47", "9.61 ± 0.83", "9.04 ± 0.58", "11.48 ± 0.56"],
    ]
    assert "Data: a &lt; b &amp; c, T2; preset: demo" in page


def test_html_reads_no_title_as_markup(bench: Bench) -> None:
    """Titles of sets and rows come from files of the user's own."""
    entry = bench.suite.rows[1]
    wide = SuiteRow(replace(entry.row, title="AE <i>wide</i>"), entry.card)
    bench.suite = replace(bench.suite, title="<b>mine</b>", rows=(wide,))
    cohorts = {
        "healthy": {"name": "mine", "title": "Mine"},
        "a": {"name": "a", "title": "<script>alert()</script>"},
    }
    metrics = {"mine/l1": 0.1, "a/dice": 0.2, "a/auprc": 0.1}
    bench.run(0, 0, metrics, cohorts=cohorts, data="own", title=wide.row.title)
    page = render([bench.table(data="own")], "html")
    for markup in ("<script>", "<i>", "<b>"):
        assert markup not in page
        assert escape(markup) in page


class Cells(HTMLParser):
    """The texts of a page's table cells, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def rows_of(page: str) -> list[list[str]]:
    parser = Cells()
    parser.feed(page)
    return parser.rows


def styles_of(page: str) -> dict[str, str]:
    """Style by the cell's place, such as "row0_col1", of a page that pandas wrote."""
    found: dict[str, str] = {}
    for places, style in re.findall(r"((?:#T_\w+, )*#T_\w+) \{\n([^}]*)\}", page):
        for place in re.findall(r"#T_table1_(\w+)", places):
            found[place] = found.get(place, "") + style
    return found


def test_html_marks_the_best_the_second_and_what_does_not_compete(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), folds=1)
    bench.run(2, 0, bench.words(0.04, 0.2), folds=1)
    styles = styles_of(render([bench.table(all_rows=False, paper=True)], "html"))
    assert "bold" in styles["row0_col1"] and "underline" in styles["row2_col1"]
    assert "bold" in styles["row0_col5"] and "underline" in styles["row2_col5"]
    assert all("italic" in styles[f"row1_col{place}"] for place in range(6))
    assert not any("italic" in styles.get(f"row{row}_col{place}", "") for row in (0, 2) for place in range(6))


def test_an_empty_table_has_no_grid_in_any_format(bench: Bench) -> None:
    table = bench.table(all_rows=False, data="nothing")
    for form, grid in (("markdown", "| Method"), ("latex", "tabular"), ("html", "<table")):
        text = render([table], form)
        assert grid not in text and "not run yet: Thresh, AE, MAEDiff" in text
    assert len(render([table], "csv").splitlines()) == 1


def test_a_bar_in_a_title_does_not_end_the_markdown_cell(bench: Bench) -> None:
    entry = bench.suite.rows[1]
    bench.suite = replace(bench.suite, rows=(SuiteRow(replace(entry.row, title="a|b"), entry.card),))
    bench.run(0, 0, bench.words(0.03, 0.3), data_title="x|y")
    (row,) = [line for line in render([bench.table()], "markdown").splitlines() if line.startswith("| a")]
    assert row.startswith("| a&#124;b (1/5 folds) | 30.00 |") and row.count("|") == 7
