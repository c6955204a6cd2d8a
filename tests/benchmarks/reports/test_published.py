"""The published figures are the published figures: compared with the paper's own text, parsed here."""

from __future__ import annotations

import csv
import re
from importlib import resources
from pathlib import Path

import pytest

from uadbench.benchmarks.plan.suite import load_suite
from uadbench.benchmarks.reports.published import published, reported_elsewhere

SHARED = Path(__file__).resolve().parents[4] / "shared"
COLUMNS = ["tumours/dice", "tumours/auprc", "ms/dice", "ms/auprc", "healthy/l1"]
NUMBER = r"\d+\.\d+(?:±plus-or-minus\\pm\d+\.\d+(?:×10\d+\w+\\times \d+\^\{\d\})?)?"


def lines_of_the_paper(table: int) -> dict[str, list[str]]:
    """Title to the five cells of a table, from the paper's text."""
    path = SHARED / "maediff-paper.txt"
    if not path.exists():
        pytest.skip("the paper's text lies in ../shared of the workplace only")
    text = path.read_text(encoding="utf-8")
    start = text.index("Model BraTS21 MSLUB IXI") if table == 1 else text.rindex("Model BraTS21 MSLUB IXI")
    found: dict[str, list[str]] = {}
    for line in text[start : text.index(f"Table {table}:", start)].splitlines()[2:]:
        match = re.fullmatch(rf"(.*?)((?: {NUMBER}){{5}})\s*", line)
        assert match, line
        cells = re.findall(NUMBER, match[2])
        found[match[1]] = [re.sub(r"×10.*", " × 10³", cell.replace("±plus-or-minus\\pm", " ± ")) for cell in cells]
    return found


@pytest.mark.parametrize(("table", "count"), [(1, 10), (2, 4)])
def test_every_cell_is_the_papers(table: int, count: int) -> None:
    paper = lines_of_the_paper(table)
    ours = list(published(f"table{table}").values())
    assert len(ours) == len(paper) == count
    for line, (title, cells) in zip(ours, paper.items(), strict=True):
        # The text's "++" is a plus sign that was converted twice.
        assert title.replace("++", "+").startswith(line.title)
        assert line.source in title or line.source == "Ours"
        assert [line.cells[column] for column in COLUMNS] == cells


def test_only_the_garbled_cell_is_marked() -> None:
    noted = [line.row for table in ("table1", "table2") for line in published(table).values() if line.note]
    assert noted == ["unet-att"]
    assert published("table2")["unet-att"].cells["healthy/l1"] == "205.39 ± 31.89 × 10³"


def test_a_few_cells_by_hand() -> None:
    table = published("table1")
    assert table["thresh"].cells["tumours/dice"] == "19.69"
    assert table["dae"].cells["healthy/l1"] == "10.12 ± 0.26"
    assert table["maediff"].cells["ms/dice"] == "9.61 ± 0.83"
    assert published("table2")["unet-mae"].cells["ms/auprc"] == "8.94 ± 0.71"


def test_the_u_net_is_pddpm_s16_and_the_last_row_maediff() -> None:
    one, two = published("table1"), published("table2")
    assert two["unet"].cells == one["pddpm-s16"].cells
    assert two["unet-att-mae"].cells == one["maediff"].cells


@pytest.mark.parametrize("name", ["table1", "table2", "frontier"])
def test_every_row_of_a_suite_has_its_published_line(name: str) -> None:
    lines = published(name)
    for entry in load_suite(name).rows:
        assert lines[entry.row.name].title == entry.row.title


def test_a_table_that_is_not_in_the_paper_has_no_figures() -> None:
    assert published("table3") == {}


def test_the_frontier_names_the_source_of_every_line() -> None:
    table = published("frontier")
    assert [line.label for line in published("table1").values()] == ["paper"] * 10
    assert {line.row: line.label for line in table.values()} == {
        "mddpm": "published (arXiv 2408.08228)",
        "cddpm": "published (arXiv 2409.19623)",
        "pddpm-iqa": "published (arXiv 2408.08228)",
    }
    assert [table["pddpm-iqa"].cells[column] for column in COLUMNS] == ["59.45", "62.99", "12.93", "11.51", ""]
    assert [table["cddpm"].cells[column] for column in COLUMNS] == ["41.46", "50.39", "", "", ""]


def test_what_others_reported_is_as_the_protocol_lists_it() -> None:
    path = SHARED / "PROTOCOL.md"
    if not path.exists():
        pytest.skip("the protocol lies in ../shared of the workplace only")
    text = path.read_text(encoding="utf-8")
    first, second = text[text.index("From arXiv 2408.08228:") :].split("From arXiv 2409.19623:")
    tumours, lesions = first.split("(BraTS21);")
    names = re.findall(r"([\w-]+) (\d+\.\d+)/(\d+\.\d+)", tumours)
    expected = {(n, "arXiv 2408.08228"): [d, a] for n, d, a in names}
    for (name, _, _), pair in zip(names, re.findall(r"(\d+\.\d+)/(\d+\.\d+)", lesions), strict=True):
        expected[(name, "arXiv 2408.08228")] += pair
    for name, dice, auprc in re.findall(r"(\w+) (\d+\.\d+)/(\d+\.\d+)", second.split("(BraTS21)")[0]):
        expected[(name, "arXiv 2409.19623")] = [dice, auprc]
    lines = (*reported_elsewhere(), *published("frontier").values())
    assert len({(x.title, x.source) for x in lines}) == len(lines) == 8  # no figure stands in both files
    assert {(x.title, x.source): [x.cells[c] for c in COLUMNS[:4] if x.cells.get(c)] for x in lines} == expected


def test_they_travel_as_package_data_and_read_without_our_code() -> None:
    folder = resources.files("uadbench.results.paper")
    for name, count in (
        ("table1.csv", 10),
        ("table2.csv", 4),
        ("frontier.csv", 3),
        ("elsewhere.csv", 7),
        ("reruns.csv", 5),
    ):
        lines = list(csv.DictReader((folder / name).read_text(encoding="utf-8").splitlines()))
        assert len(lines) == count
        assert all(None not in line and None not in line.values() for line in lines)
