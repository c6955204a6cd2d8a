"""A folder of run records of three toy rows, and the table of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import Suite, SuiteRow
from uadbench.benchmarks.records.record import all_records
from uadbench.benchmarks.reports.table import Table, TableOptions, make_table
from uadbench.benchmarks.reports.tables import gather
from uadbench.datasets.modality import Modality

Make = Callable[..., Any]
DOWN = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Line:
    """What a reader sees of a line."""

    row: str
    title: str
    kind: str
    mark: str
    texts: list[str]
    ranks: list[int]


class Bench:
    """A folder of run records and the table of it."""

    def __init__(self, runs: Path, preset: Preset, suite: Suite, record: Make) -> None:
        self.runs, self.preset, self.suite, self._record = runs, preset, suite, record

    def run(self, row: int, fold: int = 0, metrics: dict[str, float] | None = None, **kwargs: Any) -> None:
        self._record(self.runs, self.suite.rows[row], fold, metrics=metrics, **kwargs)

    def table(
        self,
        uri: str = DOWN,
        data: str = "phantom",
        seed: int = 0,
        controls: Sequence[SuiteRow] = (),
        modality: Modality = Modality.T2,
        **options: bool | str,
    ) -> Table:
        """The table of it, with the rows that were not run unless all_rows says otherwise."""
        shown = TableOptions(**{"all_rows": True, **options})  # type: ignore[arg-type]
        cells, notes = gather(all_records(self.runs), uri, data)
        words = {"modality": modality, "controls": controls, "options": shown, "notes": notes}
        return make_table(self.suite, cells, self.preset, data, seed, **words)

    @staticmethod
    def words(
        l1: float, dice: float, auprc: float = 0.4, ms_dice: float = 0.05, ms_auprc: float = 0.06
    ) -> dict[str, float]:
        """The numbers of a cell on the phantom."""
        return {
            "phantom-healthy/l1": l1,
            "phantom-healthy/l1_brain": 2 * l1,
            "phantom-healthy/l1_untrained": 10 * l1,
            "phantom-tumours/dice": dice,
            "phantom-tumours/dice_exact": dice + 0.01,
            "phantom-tumours/auprc": auprc,
            "phantom-ms/dice": ms_dice,
            "phantom-ms/dice_exact": ms_dice,
            "phantom-ms/auprc": ms_auprc,
        }

    @staticmethod
    def lines(table: Table) -> list[Line]:
        """What a reader sees."""
        found = zip(table.text().to_numpy().tolist(), table.ranks().to_numpy().tolist(), strict=True)
        heads = table.lines[["row", "title", "kind", "mark"]].to_numpy().tolist()
        return [Line(*head, *pair) for head, pair in zip(heads, found, strict=True)]

    def line(self, table: Table, row: str, kind: str = "method") -> Line:
        """The only line of a row and kind."""
        (found,) = [line for line in self.lines(table) if line.row == row and line.kind == kind]
        return found


@pytest.fixture
def bench(tmp_path: Path, entry_of: Make, fake_record: Make, toy_sections: dict[str, Any]) -> Bench:
    rows = (
        entry_of("thresh", "Thresh", trainable=False),
        entry_of("ae", "AE"),
        entry_of("maediff", "MAEDiff"),
    )
    preset = Preset(
        name="demo",
        summary="Small.",
        departures=("t_test 250 instead of 500.", "a slab"),
        sections=toy_sections,
        override={},
    )
    return Bench(tmp_path / "runs", preset, Suite("table1", "Table 1: a title", rows), fake_record)


@pytest.fixture
def frontier(bench: Bench, entry_of: Make) -> Bench:
    """The same bench with stand-ins for the frontier's rows, all of them run."""
    names = {"mddpm": "mDDPM", "cddpm": "cDDPM", "pddpm-iqa": "pDDPM-IQA"}
    bench.suite = Suite("frontier", "Frontier: a title", tuple(entry_of(name, title) for name, title in names.items()))
    for row in range(3):
        for fold in range(5):
            bench.run(row, fold, bench.words(0.03, 0.3 + 0.01 * fold))
    return bench
