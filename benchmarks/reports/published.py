"""What others published, as the CSV files under results/paper hold it; never results of this benchmark."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

_FIXED = ("row", "title", "source", "note")


@dataclass(frozen=True)
class Published:
    """A published line.

    Attributes:
        row: name of our row; "" where we have none.
        title: the method's.
        source: where it was published.
        cells: as printed, by the name of the column; "" where nothing was reported.
        note: what must be known of a cell, else "".
        label: what the table calls the line.
    """

    row: str
    title: str
    source: str
    cells: Mapping[str, str]
    note: str
    label: str

    @property
    def sets(self) -> frozenset[str]:
        """Keys of the sets that it has a figure of."""
        return frozenset(name.partition("/")[0] for name, cell in self.cells.items() if cell)


def published(table: str) -> Mapping[str, Published]:
    """Published figures by row name: the paper's for its tables, else each row's own source; empty for other names."""
    paper = table.startswith("table")
    lines = (_published(line, paper) for line in _read_csv(f"{table}.csv"))
    return MappingProxyType({line.row: line for line in lines})


def reported_elsewhere() -> tuple[Published, ...]:
    """What other papers reported on the same real sets, one line per method and source."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for line in _read_csv("elsewhere.csv"):
        cells = lines.setdefault((line["title"], line["source"]), {})
        cells |= {f"{line['role']}/{metric}": line[metric] for metric in ("dice", "auprc")}
    return tuple(
        Published("", title, source, cells, "", f"{title} ({source})") for (title, source), cells in lines.items()
    )


@dataclass(frozen=True)
class Rerun:
    """What somebody got who ran a published method again.

    Attributes:
        row: name of our row.
        title: what they call the method.
        source: who, in a few words: the heading of a column.
        link: where it stands.
        cells: as they print it, by the name of the column; "" where nothing was reported.
        note: what is known of their conditions.
    """

    row: str
    title: str
    source: str
    link: str
    cells: Mapping[str, str]
    note: str


def reruns() -> tuple[Rerun, ...]:
    """What others got who reran the methods of the paper's tables, one line per method and source."""
    return tuple(
        Rerun(
            **{name: line[name] for name in ("row", "title", "source", "link", "note")},
            cells={name: cell for name, cell in line.items() if "/" in name},
        )
        for line in _read_csv("reruns.csv")
    )


def as_numbers(cell: str) -> tuple[float, float]:
    """Mean and standard deviation of a printed cell; NaN for what is not there or cannot be read as a number."""
    numbers = re.fullmatch(r"(\d+\.\d+)(?: ± (\d+\.\d+))?", cell)
    if numbers is None:
        return math.nan, math.nan
    return float(numbers[1]), float(numbers[2] or math.nan)


def _published(line: Mapping[str, str], paper: bool) -> Published:
    cells = {name: value for name, value in line.items() if name not in _FIXED}
    label = "paper" if paper else f"published ({line['source']})"
    return Published(line["row"], line["title"], line["source"], cells, line["note"], label)


def _read_csv(name: str) -> list[dict[str, str]]:
    resource = resources.files("uadbench.results.paper") / name
    if not resource.is_file():
        return []
    return list(csv.DictReader(io.StringIO(resource.read_text(encoding="utf-8"))))
