"""Tables say what the runs say: means, spreads, ranks, gaps and where the numbers come from."""

from __future__ import annotations

import csv
import io
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from pandas.testing import assert_frame_equal
from rich.console import Console

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import Suite, SuiteRow
from uadbench.benchmarks.records.record import all_records
from uadbench.benchmarks.reports.cells import cells_of_results
from uadbench.benchmarks.reports.notes import cell_notes
from uadbench.benchmarks.reports.renderers.terminal import renderable
from uadbench.benchmarks.reports.table import Table, TableOptions, make_table
from uadbench.benchmarks.reports.tables import gather, print_tables, render
from uadbench.benchmarks.tracking.fold_result import FoldResult
from uadbench.benchmarks.tracking.sync import sync_all
from uadbench.errors import UserError
from uadbench.methods import methods

Make = Callable[..., Any]
DOWN = "http://127.0.0.1:9"


def words(
    l1: float, dice: float, auprc: float = 0.4, ms_dice: float = 0.05, ms_auprc: float = 0.06
) -> dict[str, float]:
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


class Bench:
    """A folder of run records and the table of it."""

    def __init__(self, runs: Path, preset: Preset, suite: Suite, record: Make) -> None:
        self.runs, self.preset, self.suite, self._record = runs, preset, suite, record

    def run(self, row: int, fold: int = 0, metrics: dict[str, float] | None = None, **kwargs: Any) -> None:
        self._record(self.runs, self.suite.rows[row], fold, metrics=metrics, **kwargs)

    def table(
        self, uri: str = DOWN, data: str = "phantom", seed: int = 0, controls: Sequence[SuiteRow] = (), **options: bool
    ) -> Table:
        """The table of it, with the rows that were not run unless all_rows says otherwise."""
        shown = TableOptions(**{"all_rows": True, **options})
        cells, notes = gather(self.runs, uri, data)
        return make_table(self.suite, cells, self.preset, data, seed, controls=controls, options=shown, notes=notes)


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


@dataclass(frozen=True)
class Line:
    """What a reader sees of a line."""

    row: str
    title: str
    kind: str
    mark: str
    texts: list[str]
    ranks: list[int]


def lines_of(table: Table) -> list[Line]:
    words = zip(table.text().to_numpy().tolist(), table.ranks().to_numpy().tolist(), strict=True)
    heads = table.lines[["row", "title", "kind", "mark"]].to_numpy().tolist()
    return [Line(*head, *pair) for head, pair in zip(heads, words, strict=True)]


def line_of(table: Table, row: str, kind: str = "method") -> Line:
    (line,) = [line for line in lines_of(table) if line.row == row and line.kind == kind]
    return line


def texts(line: Line) -> list[str]:
    return line.texts


def test_mean_and_spread_over_folds_in_the_papers_units(bench: Bench) -> None:
    dices, errors = [0.31, 0.33, 0.32, 0.36, 0.30], [0.0301, 0.0322, 0.0333, 0.0305, 0.0299]
    for fold in range(5):
        bench.run(1, fold, words(errors[fold], dices[fold]))
    line = line_of(bench.table(), "ae")
    expected = f"{100 * fmean(dices):.2f} ± {100 * stdev(dices):.2f}"
    assert texts(line)[0] == expected == "32.40 ± 2.30"
    assert texts(line)[4] == f"{1000 * fmean(errors):.2f} ± {1000 * stdev(errors):.2f}"
    assert texts(line)[3] == "6.00 ± 0.00"
    assert line.mark == ""


def test_a_method_that_learns_nothing_has_no_spread_and_needs_one_fold(bench: Bench) -> None:
    bench.run(0, 0, words(0.1, 0.2))
    line = line_of(bench.table(), "thresh")
    assert (texts(line)[0], line.mark) == ("20.00", "")
    bench.run(0, 1, words(0.1, 0.2))
    assert texts(line_of(bench.table(), "thresh"))[0] == "20.00"


def test_a_control_that_absorbs_the_training_set_has_a_spread(bench: Bench, entry_of: Make, fake_record: Make) -> None:
    absorbing = entry_of("mean", "Mean", trainable=False, control=True)
    absorbing.method.absorb = lambda self, volumes: None
    for fold, error in enumerate((0.04, 0.05)):
        fake_record(bench.runs, absorbing, fold, metrics=words(error, 0.1))
    line = line_of(bench.table(controls=(absorbing,)), "mean", "control")
    assert texts(line)[4] == "45.00 ± 7.07"
    assert line.mark == "2/5 folds"


def test_incomplete_folds_are_marked_and_one_fold_has_no_spread(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3))
    assert (line_of(bench.table(), "ae").mark, texts(line_of(bench.table(), "ae"))[0]) == ("1/5 folds", "30.00")
    bench.run(1, 3, words(0.03, 0.4))
    bench.run(1, 4, words(0.03, 0.5))
    table = bench.table()
    assert line_of(table, "ae").mark == "3/5 folds"
    for form in ("markdown", "latex", "html"):
        assert "AE (3/5 folds)" in render([table], form)
    assert "(n/m folds): only so many folds are done; such a row is not ranked." in table.notes


def test_what_was_not_run_is_a_dash(bench: Bench) -> None:
    bench.run(0, 0, words(0.1, 0.2))
    table = bench.table()
    assert texts(line_of(table, "maediff")) == ["–"] * 5
    assert any(note.startswith("–") for note in table.notes)


def test_a_data_set_that_is_missing_has_no_column_but_beside_published_figures(bench: Bench) -> None:
    cohorts = {"healthy": {"name": "ixi", "title": "IXI"}, "ms": {"name": "mslub", "title": "MSLUB"}}
    bench.run(1, 0, {"ixi/l1": 0.03, "mslub/dice": 0.1, "mslub/auprc": 0.2}, cohorts=cohorts, data="mine")
    table = bench.table(data="mine")
    assert texts(line_of(table, "ae")) == ["10.00", "20.00", "30.00"]
    assert [column.title for column in table.columns] == ["MSLUB", "MSLUB", "IXI"]
    assert not any("phantom:" in note for note in table.notes)
    table = bench.table(data="mine", paper=True)
    assert texts(line_of(table, "ae")) == ["–", "–", "10.00", "20.00", "30.00"]
    assert [column.title for column in table.columns] == ["tumours", "tumours", "MSLUB", "MSLUB", "IXI"]


def test_best_is_bold_and_second_underlined_by_unrounded_means(bench: Bench) -> None:
    bench.run(0, 0, words(0.030001, 0.30001, auprc=0.5, ms_dice=0.1, ms_auprc=0.2))
    bench.run(1, 0, words(0.030000, 0.30002, auprc=0.5, ms_dice=0.2, ms_auprc=0.2), folds=1)
    bench.run(2, 0, words(0.030002, 0.30000, auprc=0.4, ms_dice=0.3, ms_auprc=0.2), folds=1)
    table = bench.table(controls=(), paper=True)
    ranks = [line.ranks for line in lines_of(table) if line.kind == "method"]
    assert ranks == [[2, 1, 0, 1, 2], [1, 1, 2, 1, 1], [0, 2, 1, 1, 0]]
    rows = render([table], "markdown").splitlines()
    (ae,) = [row for row in rows if row.startswith("| AE")]
    assert ae == "| AE | **30.00** | **50.00** | <u>20.00</u> | **20.00** | **30.00** |"
    (ae,) = [row for row in render([table], "latex").splitlines() if row.startswith("AE")]
    assert ae == (r"AE & \textbf{30.00} & \textbf{50.00} & \underline{20.00} & \textbf{20.00} & \textbf{30.00} \\")


def test_a_row_that_lacks_folds_is_never_the_best_nor_counted_as_such(bench: Bench) -> None:
    for fold in range(5):
        bench.run(1, fold, words(0.03, 0.3))
        bench.run(2, fold, words(0.04, 0.4))
    assert [line_of(bench.table(), row).ranks[0] for row in ("ae", "maediff")] == [2, 1]
    bench.run(0, 0, words(0.05, 0.1))  # learns nothing, so one fold is all of it
    shorter = bench.runs / next(path.name for path in bench.runs.iterdir() if path.name.startswith("maediff-fold4"))
    shutil.rmtree(shorter)
    table = bench.table()
    assert line_of(table, "maediff").mark == "4/5 folds"
    assert [line_of(table, row).ranks[0] for row in ("thresh", "ae", "maediff")] == [2, 1, 0]


def test_a_number_that_lacks_folds_is_not_ranked(bench: Bench) -> None:
    """A whole row whose tumour set was there in one of its two folds only."""
    healthy = {"healthy": {"name": "phantom-healthy", "title": "phantom healthy"}}
    for fold in range(2):
        bench.run(1, fold, words(0.03, 0.3), folds=2)
    bench.run(2, 0, words(0.02, 0.9), folds=2)
    bench.run(2, 1, words(0.02, 0.9), folds=2, cohorts=healthy)
    table = bench.table()
    assert [line_of(table, row).ranks for row in ("ae", "maediff")] == [[0, 0, 0, 0, 2], [0, 0, 0, 0, 1]]
    assert texts(line_of(table, "maediff"))[0] == "90.00"


def test_one_method_alone_is_not_the_best(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3), folds=1)
    assert set(line_of(bench.table(), "ae").ranks) == {0}


def test_paper_and_controls_never_compete(bench: Bench, entry_of: Make, fake_record: Make) -> None:
    control = entry_of("mean", "Mean", trainable=False, control=True)
    fake_record(bench.runs, control, 0, metrics=words(0.001, 0.99, 0.99, 0.99, 0.99))
    bench.run(1, 0, words(0.03, 0.02), folds=1)
    bench.run(2, 0, words(0.04, 0.01), folds=1)
    table = bench.table(paper=True, controls=(control,))
    assert line_of(table, "ae").ranks[0] == 1
    assert not any(any(line.ranks) for line in lines_of(table) if line.kind != "method")


def test_the_published_row_stands_under_ours(bench: Bench) -> None:
    table = bench.table(paper=True)
    assert [(line.row, line.kind) for line in lines_of(table)[:4]] == [
        ("thresh", "method"),
        ("thresh", "paper"),
        ("ae", "method"),
        ("ae", "paper"),
    ]
    assert texts(line_of(table, "maediff", "paper")) == [
        "42.07 ± 1.12",
        "45.48 ± 1.47",
        "9.61 ± 0.83",
        "9.04 ± 0.58",
        "11.48 ± 0.56",
    ]
    assert any("no results of this benchmark" in note for note in table.notes)


def test_a_trained_row_stands_beside_its_untrained_copy(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3))
    table = bench.table(controls=(bench.suite.rows[0],))
    assert texts(line_of(table, "ae-untrained", "control")) == ["–", "–", "–", "–", "300.00"]


def test_the_garbled_cell_is_printed_as_it_is_and_marked(bench: Bench, entry_of: Make) -> None:
    bench.suite = Suite("table2", "Table 2", (entry_of("unet-att", "U-Net + Att."),))
    table = bench.table(paper=True)
    assert texts(line_of(table, "unet-att", "paper"))[4] == "205.39 ± 31.89 × 10³ ‡"
    assert any(note.startswith("‡ U-Net + Att.: l1 as printed") for note in table.notes)
    assert r"205.39 $\pm$ 31.89 $\times$ 10$^3$ $\ddagger$" in render([table], "latex")


@pytest.fixture
def frontier(bench: Bench, entry_of: Make) -> Bench:
    """The same bench with stand-ins for the frontier's rows, all of them run."""
    names = {"mddpm": "mDDPM", "cddpm": "cDDPM", "pddpm-iqa": "pDDPM-IQA"}
    bench.suite = Suite("frontier", "Frontier: a title", tuple(entry_of(name, title) for name, title in names.items()))
    for row in range(3):
        for fold in range(5):
            bench.run(row, fold, words(0.03, 0.3 + 0.01 * fold))
    return bench


def test_what_was_never_reported_is_no_dash(frontier: Bench) -> None:
    table = frontier.table(paper=True)
    assert [line.title for line in lines_of(table) if line.kind == "paper"] == [
        "published (arXiv 2408.08228)",
        "published (arXiv 2409.19623)",
        "published (arXiv 2408.08228)",
    ]
    assert ["n/r" in line.texts for line in lines_of(table)] == [False, True] * 3
    assert "n/r: not reported there." in table.notes
    assert not any(note.startswith(("–", "paper:")) for note in table.notes)
    (cddpm,) = [line for line in render([table], "markdown").splitlines() if "2409.19623" in line]
    assert cddpm == "| *published (arXiv 2409.19623)* | *41.46* | *50.39* | n/r | n/r | n/r |"


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


def test_a_methods_note_stands_below_the_table_once(bench: Bench) -> None:
    entry = bench.suite.rows[1]
    info = entry.method.info
    entry.method.info = replace(info, note="The paper is silent about its width")
    other = SuiteRow(replace(entry.row, name="ae-wide", title="AE (wide)"), entry.method)
    bench.suite = Suite("table1", "Table 1: a title", (*bench.suite.rows, other))
    assert [note for note in bench.table().notes if "silent" in note] == ["AE: The paper is silent about its width."]
    for form in ("markdown", "latex"):
        assert render([bench.table()], form).count("AE: The paper is silent about its width.") == 1
    entry.method.info = replace(info, note="AE is not what it was.")
    assert "AE is not what it was." in bench.table().notes  # its name is there already


def test_what_others_reported_comes_last(bench: Bench) -> None:
    table = bench.table(elsewhere=True)
    assert [line.kind for line in lines_of(table)[:3]] == ["method"] * 3
    found = {line.title: texts(line) for line in lines_of(table)[3:]}
    assert found["pDDPM (arXiv 2408.08228)"] == ["49.41", "54.76", "10.65", "10.37", "n/r"]
    assert found["MCDDPM (arXiv 2409.19623)"] == ["50.56", "57.83", "n/r", "n/r", "n/r"]


def test_other_numbers_seeds_and_data_do_not_count(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3), seed=1)
    bench.run(1, 0, words(0.03, 0.3), data="other")
    assert texts(line_of(bench.table(), "ae"))[0] == "–"
    assert texts(line_of(bench.table(seed=1), "ae"))[0] == "30.00"
    changed = {**bench.preset.sections, "score": {**bench.preset.sections["score"], "median": 3}}
    bench.preset = bench.preset.model_copy(update={"sections": changed, "changed": ("score.median=3",)})
    assert texts(line_of(bench.table(seed=1), "ae"))[0] == "–"
    assert "demo score.median=3" in bench.table().caption


def test_of_two_versions_of_the_data_the_newest_fold_counts(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.1), fingerprint="b" * 64, started="2025-03-02T10:00:00+00:00")
    bench.run(1, 0, words(0.03, 0.9), fingerprint="a" * 64, started="2025-03-01T10:00:00+00:00")
    bench.run(1, 1, words(0.03, 0.3), fingerprint="a" * 64, started="2025-03-01T10:00:00+00:00")
    table = bench.table()
    assert texts(line_of(table, "ae"))[0] == "20.00 ± 14.14"
    assert any("Left out: 1 fold of other versions" in note for note in table.notes)
    assert any("2 versions" in note for note in table.notes)


def test_splits_do_not_mix(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.1), splits="published", fingerprint="a" * 64, started="2025-03-01T10:00:00+00:00")
    bench.run(1, 1, words(0.03, 0.3), splits="deleaked", fingerprint="b" * 64, started="2025-03-02T10:00:00+00:00")
    table = bench.table()
    assert texts(line_of(table, "ae"))[0] == "30.00"
    assert any("'deleaked'" in note and "'published'" in note for note in table.notes)


def test_a_number_that_is_none_is_not_the_best(bench: Bench) -> None:
    bench.run(0, 0, words(0.03, 0.1))
    bench.run(1, 0, words(math.nan, 0.3), folds=2)
    bench.run(1, 1, words(0.01, 0.3), folds=2)
    table = bench.table()
    assert texts(line_of(table, "ae"))[4] == "NaN"
    assert [line_of(table, row).ranks[4] for row in ("thresh", "ae")] == [0, 0]


def test_the_phantom_is_always_called_so(bench: Bench) -> None:
    assert all("phantom" in column.title for column in bench.table().columns)
    quiet = {"healthy": {"name": "phantom-healthy", "title": "healthy"}, "ms": {"name": "mslub", "title": "MSLUB"}}
    bench.run(1, 0, {"phantom-healthy/l1": 0.1}, data="mixed", data_title="mixed", cohorts=quiet)
    table = bench.table(data="mixed")
    assert [column.title for column in table.columns] == ["MSLUB", "MSLUB", "phantom healthy"]
    assert any(note.startswith("phantom: simulated brains (healthy)") for note in table.notes)


def test_caption_and_notes_name_the_conditions(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3))
    table = bench.table()
    assert table.caption == (
        "Data: phantom (demo); preset: demo; seed: 0; mean ± standard deviation (n − 1) over 5 folds."
    )
    assert "Preset demo departs from the paper: t_test 250 instead of 500; a slab." in table.notes


def counts(scored: int, whole: int, free: int = 0) -> dict[str, float]:
    words = {"scans_scored": scored, "scans_in_test": whole, "scans_lesion_free": free}
    return {f"phantom-tumours/{word}": float(number) for word, number in words.items()}


@pytest.mark.parametrize(
    ("choice", "effect"),
    [
        ("exclude", "left out of DICE and AUPRC (score.lesion_free=exclude)."),
        ("zero", "DICE 0 where anything is marked and else left out, left out of AUPRC"),
    ],
)
def test_scans_without_a_lesion_are_counted_in_a_note(choice: str, effect: str, bench: Bench) -> None:
    bench.run(1, 0, {**words(0.03, 0.3), **counts(12, 12)})
    assert not any("without a lesion" in note for note in bench.table().notes)
    bench.run(1, 0, {**words(0.03, 0.3), **counts(12, 12, 2)})
    sections = {**bench.preset.sections, "score": {**bench.preset.sections["score"], "lesion_free": choice}}
    table = bench.table()
    assert any(
        note.startswith("phantom tumours: 2 of 12 test scans without a lesion in the scored") for note in table.notes
    )
    bench.preset = bench.preset.model_copy(update={"sections": sections})
    cells = cells_of_results(FoldResult.of_record(record) for record in all_records(bench.runs))
    (note,) = [note for note in cell_notes(cells, bench.preset) if "without a lesion" in note]
    assert effect in note


def test_a_part_of_the_test_sets_is_told_in_caption_and_note(bench: Bench) -> None:
    sections = {**bench.preset.sections, "score": {**bench.preset.sections["score"], "test_volumes": 5}}
    bench.preset = bench.preset.model_copy(update={"sections": sections})
    assert "; of each test set 5 scans at most; " in bench.table().caption
    notes = list(cell_notes(cells_of_results([result_of(counts(5, 12))]), bench.preset))
    assert notes[1:] == [
        "Scored are the first scans by the SHA-256 of their names (score.test_volumes): phantom tumours 5 of 12."
    ]


def result_of(metrics: dict[str, float]) -> FoldResult:
    cohorts = {"tumours": ("phantom-tumours", "tumours")}
    return FoldResult("c", "r", "phantom", "phantom", "own", "f", 0, 5, "2025", cohorts, metrics)


def test_the_protocols_extra_columns_stand_beside(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3))
    table = bench.table(beside=True, paper=True)
    assert [column.metric.name for column in table.columns] == [
        *("dice", "auprc", "dice_exact"),
        *("dice", "auprc", "dice_exact"),
        *("l1", "l1_brain"),
    ]
    assert texts(line_of(table, "ae")) == ["30.00", "40.00", "31.00", "5.00", "6.00", "5.00", "30.00", "60.00"]
    assert texts(line_of(table, "ae", "paper"))[2] == "n/r"


def test_csv_holds_unrounded_numbers_one_a_line(bench: Bench) -> None:
    dices = [0.3123456789, 0.3333]
    for fold, value in enumerate(dices):
        bench.run(1, fold, words(0.03, value))
    lines = list(csv.DictReader(io.StringIO(render([bench.table(paper=True)], "csv"))))
    (ours,) = [x for x in lines if (x["row"], x["kind"], x["role"], x["metric"]) == ("ae", "method", "tumours", "dice")]
    assert float(ours["mean"]) == pytest.approx(100 * fmean(dices), rel=1e-12)
    assert float(ours["std"]) == pytest.approx(100 * stdev(dices), rel=1e-9)
    assert (ours["folds"], ours["unit"], ours["set"]) == ("2", "%", "phantom tumours")
    (theirs,) = [x for x in lines if (x["row"], x["kind"], x["role"], x["metric"]) == ("ae", "paper", "healthy", "l1")]
    assert (theirs["mean"], theirs["std"], theirs["printed"]) == ("30.55", "0.27", "30.55 ± 0.27")


def test_latex_is_balanced_and_escaped(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3), data_title="50% of a_b & c")
    text = render([bench.table(paper=True)], "latex")
    assert r"50\% of a\_b \& c" in text
    assert text.count("{") == text.count("}")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert {line.count("&") for line in body} == {5}
    assert r"\multicolumn{2}{c}{phantom tumours}" in text
    assert r"\cmidrule(lr){2-3} \cmidrule(lr){4-5} \cmidrule(lr){6-6}" in text
    assert all(ord(sign) < 128 for sign in text)


def test_markdown_has_one_cell_a_column(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3))
    lines = [line for line in render([bench.table(paper=True)], "markdown").splitlines() if line.startswith("|")]
    assert {line.count("|") for line in lines} == {7}


def test_the_terminal_table_fits_80_characters(bench: Bench) -> None:
    for fold in range(5):
        bench.run(1, fold, words(0.03 + 0.001 * fold, 0.3 + 0.01 * fold))
        bench.run(2, fold, words(0.02 + 0.001 * fold, 0.4 + 0.01 * fold))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable(bench.table(paper=True)))
    text = console.export_text(styles=False)
    assert "32.00±1.58" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_reads_mlflow_and_says_what_it_does_not_hold(bench: Bench, mlflow_uri: str) -> None:
    bench.run(1, 0, words(0.03, 0.3), data="told")
    assert sync_all(bench.runs, mlflow_uri, SilentReporter()).written == 1
    table = bench.table(mlflow_uri, data="told")
    assert texts(line_of(table, "ae"))[0] == "30.00"
    assert not any("MLflow" in note for note in table.notes)
    bench.run(1, 1, words(0.03, 0.4), data="told")
    table = bench.table(mlflow_uri, data="told")
    assert line_of(table, "ae").mark == "2/5 folds"
    assert any(note.startswith("1 fold not in MLflow yet") for note in table.notes)


def test_mlflow_alone_makes_the_same_table(bench: Bench, mlflow_uri: str, tmp_path: Path) -> None:
    for fold in range(2):
        bench.run(1, fold, words(0.03, 0.3 + 0.1 * fold), data="same", cohorts=_cohorts())
    sync_all(bench.runs, mlflow_uri, SilentReporter())
    from_both = bench.table(mlflow_uri, data="same")
    bench.runs = tmp_path / "elsewhere"
    from_mlflow = bench.table(mlflow_uri, data="same")
    assert_frame_equal(from_mlflow.lines, from_both.lines)
    assert_frame_equal(from_mlflow.numbers, from_both.numbers)
    assert (from_mlflow.columns, from_mlflow.caption) == (from_both.columns, from_both.caption)
    assert from_mlflow.notes == from_both.notes


def test_falls_back_to_the_run_records_and_says_so(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3))
    table = bench.table(DOWN)
    assert texts(line_of(table, "ae"))[0] == "30.00"
    assert any(note.startswith("Read from the run records, not from MLflow") for note in table.notes)


def test_unfinished_cells_do_not_count(bench: Bench) -> None:
    bench.run(1, 0, words(0.03, 0.3), done=False)
    assert texts(line_of(bench.table(), "ae"))[0] == "–"


def test_controls_are_added_by_the_command(bench: Bench) -> None:
    lines = list(csv.DictReader(io.StringIO(printed(bench, "1", "csv", controls=True, all_rows=True))))
    controls = {line["row"] for line in lines if line["kind"] == "control"}
    assert {row.name for cls in methods().values() if cls.info.control for row in cls.info.rows} <= controls
    assert "maediff-untrained" in controls


def printed(bench: Bench, which: str, form: str, data: str = "phantom", **options: bool) -> str:
    console = Console(width=80, file=io.StringIO(), soft_wrap=True)
    preset = load_preset("demo")
    shown = TableOptions(**options)
    print_tables(which, form, preset, data, seed=0, results=bench.runs.parent, console=console, options=shown)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_command_prints_every_table_in_every_format(bench: Bench) -> None:
    assert printed(bench, "all", "markdown", paper=True, all_rows=True).count("| Method |") == 3
    assert printed(bench, "all", "html", paper=True, all_rows=True).count("</table>") == 3
    latex = printed(bench, "all", "latex", paper=True, all_rows=True)
    assert latex.count(r"\end{tabular}") == 3
    assert all(ord(sign) < 128 for sign in latex)  # the notes of every method too
    lines = list(csv.DictReader(io.StringIO(printed(bench, "all", "csv", controls=True, all_rows=True))))
    assert list(dict.fromkeys(line["table"] for line in lines)) == ["table1", "table2", "frontier"]
    assert {len(line) for line in lines} == {15}
    text = printed(bench, "2", "rich", paper=True, all_rows=True)
    assert "U-Net + Att. + MAE" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(("which", "form"), [("7", "rich"), ("controls", "rich"), ("1", "docx")])
def test_a_wrong_word_is_answered_with_the_right_ones(bench: Bench, which: str, form: str) -> None:
    with pytest.raises(UserError, match="choose"):
        printed(bench, which, form)


@pytest.mark.parametrize("name", ["scans", "phantom-scans", "mixed-scans"])
def test_a_directory_finds_its_runs_whatever_they_are_called(
    bench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DOWN)
    bench.run(1, 0, words(0.03, 0.3), data=name, data_title=f"title of {name}")
    lines = printed(bench, "1", "csv", data="/some/where/scans")
    assert "–" not in lines
    assert gather(bench.runs, DOWN, "scans", "phantom-scans", "mixed-scans")[0]["data"].tolist() == [name]


def _cohorts() -> dict[str, dict[str, str]]:
    return {
        "healthy": {"name": "phantom-healthy", "title": "phantom healthy"},
        "tumours": {"name": "phantom-tumours", "title": "phantom tumours"},
    }
