"""A table says what the cells say: means, spreads, ranks, gaps and what a reader must know."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from uadbench.benchmarks.plan.cell import Recipe
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.suite import Suite, SuiteRow
from uadbench.benchmarks.records.record import all_records
from uadbench.benchmarks.reports.cells import cells_of_results
from uadbench.benchmarks.reports.notes import cell_notes
from uadbench.benchmarks.reports.provenance import MixedDataError
from uadbench.benchmarks.reports.table import TableOptions, make_table
from uadbench.benchmarks.reports.tables import gather, render
from uadbench.benchmarks.tracking.fold_result import FoldResult
from uadbench.datasets.modality import Modality
from uadbench.errors import UserError
from uadbench.methods import card_of

if TYPE_CHECKING:
    from .conftest import Bench

Make = Callable[..., Any]
DOWN = "http://127.0.0.1:9"


def test_mean_and_spread_over_folds_in_the_papers_units(bench: Bench) -> None:
    dices, errors = [0.31, 0.33, 0.32, 0.36, 0.30], [0.0301, 0.0322, 0.0333, 0.0305, 0.0299]
    for fold in range(5):
        bench.run(1, fold, bench.words(errors[fold], dices[fold]))
    line = bench.line(bench.table(), "ae")
    expected = f"{100 * fmean(dices):.2f} ± {100 * stdev(dices):.2f}"
    assert line.texts[0] == expected == "32.40 ± 2.30"
    assert line.texts[4] == f"{1000 * fmean(errors):.2f} ± {1000 * stdev(errors):.2f}"
    assert line.texts[3] == "6.00 ± 0.00"
    assert line.mark == ""


def test_a_method_that_learns_nothing_has_no_spread_and_needs_one_fold(bench: Bench) -> None:
    bench.run(0, 0, bench.words(0.1, 0.2))
    line = bench.line(bench.table(), "thresh")
    assert (line.texts[0], line.mark) == ("20.00", "")
    bench.run(0, 1, bench.words(0.1, 0.2))
    assert bench.line(bench.table(), "thresh").texts[0] == "20.00"


def test_a_control_that_absorbs_the_training_set_has_a_spread(bench: Bench, entry_of: Make, fake_record: Make) -> None:
    absorbing = entry_of("mean", "Mean", trainable=False, control=True)
    absorbing.method.absorb = lambda self, volumes: None
    absorbing = replace(absorbing, card=card_of(absorbing.method))
    for fold, error in enumerate((0.04, 0.05)):
        fake_record(bench.runs, absorbing, fold, metrics=bench.words(error, 0.1))
    line = bench.line(bench.table(controls=(absorbing,)), "mean", "control")
    assert line.texts[4] == "45.00 ± 7.07"
    assert line.mark == "2/5 folds"


def test_incomplete_folds_are_marked_and_one_fold_has_no_spread(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    assert (bench.line(bench.table(), "ae").mark, bench.line(bench.table(), "ae").texts[0]) == ("1/5 folds", "30.00")
    bench.run(1, 3, bench.words(0.03, 0.4))
    bench.run(1, 4, bench.words(0.03, 0.5))
    table = bench.table()
    assert bench.line(table, "ae").mark == "3/5 folds"
    for form in ("markdown", "latex", "html"):
        assert "AE (3/5 folds)" in render([table], form)
    assert "(n/m folds): only so many folds are done; such a row is not ranked." in table.notes


def test_what_was_not_run_is_a_dash(bench: Bench) -> None:
    bench.run(0, 0, bench.words(0.1, 0.2))
    table = bench.table()
    assert bench.line(table, "maediff").texts == ["–"] * 5
    assert any(note.startswith("–") for note in table.notes)


def test_a_data_set_that_is_missing_has_no_column_but_beside_published_figures(bench: Bench) -> None:
    cohorts = {"healthy": {"name": "ixi", "title": "IXI"}, "ms": {"name": "mslub", "title": "MSLUB"}}
    bench.run(1, 0, {"ixi/l1": 0.03, "mslub/dice": 0.1, "mslub/auprc": 0.2}, cohorts=cohorts, data="mine")
    table = bench.table(data="mine")
    assert bench.line(table, "ae").texts == ["10.00", "20.00", "30.00"]
    assert [column.title for column in table.columns] == ["MSLUB", "MSLUB", "IXI"]
    assert not any("phantom:" in note for note in table.notes)
    table = bench.table(data="mine", paper=True)
    assert bench.line(table, "ae").texts == ["–", "–", "10.00", "20.00", "30.00"]
    assert [column.title for column in table.columns] == ["tumours", "tumours", "MSLUB", "MSLUB", "IXI"]


def test_a_row_that_lacks_folds_is_never_the_best_nor_counted_as_such(bench: Bench) -> None:
    for fold in range(5):
        bench.run(1, fold, bench.words(0.03, 0.3))
        bench.run(2, fold, bench.words(0.04, 0.4))
    assert [bench.line(bench.table(), row).ranks[0] for row in ("ae", "maediff")] == [2, 1]
    bench.run(0, 0, bench.words(0.05, 0.1))  # learns nothing, so one fold is all of it
    shorter = bench.runs / next(path.name for path in bench.runs.iterdir() if path.name.startswith("maediff-fold4"))
    shutil.rmtree(shorter)
    table = bench.table()
    assert bench.line(table, "maediff").mark == "4/5 folds"
    assert [bench.line(table, row).ranks[0] for row in ("thresh", "ae", "maediff")] == [2, 1, 0]


def test_a_number_that_lacks_folds_is_not_ranked(bench: Bench) -> None:
    """A whole row whose tumour set was there in one of its two folds only."""
    healthy = {"healthy": {"name": "phantom-healthy", "title": "phantom healthy"}}
    for fold in range(2):
        bench.run(1, fold, bench.words(0.03, 0.3), folds=2)
    bench.run(2, 0, bench.words(0.02, 0.9), folds=2)
    bench.run(2, 1, bench.words(0.02, 0.9), folds=2, cohorts=healthy)
    table = bench.table()
    assert [bench.line(table, row).ranks for row in ("ae", "maediff")] == [[0, 0, 0, 0, 2], [0, 0, 0, 0, 1]]
    assert bench.line(table, "maediff").texts[0] == "90.00"


def test_one_method_alone_is_not_the_best(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), folds=1)
    assert set(bench.line(bench.table(), "ae").ranks) == {0}


def test_paper_and_controls_never_compete(bench: Bench, entry_of: Make, fake_record: Make) -> None:
    control = entry_of("mean", "Mean", trainable=False, control=True)
    fake_record(bench.runs, control, 0, metrics=bench.words(0.001, 0.99, 0.99, 0.99, 0.99))
    bench.run(1, 0, bench.words(0.03, 0.02), folds=1)
    bench.run(2, 0, bench.words(0.04, 0.01), folds=1)
    table = bench.table(paper=True, controls=(control,))
    assert bench.line(table, "ae").ranks[0] == 1
    assert not any(any(line.ranks) for line in bench.lines(table) if line.kind != "method")


def test_the_published_row_stands_under_ours(bench: Bench) -> None:
    table = bench.table(paper=True)
    assert [(line.row, line.kind) for line in bench.lines(table)[:4]] == [
        ("thresh", "method"),
        ("thresh", "paper"),
        ("ae", "method"),
        ("ae", "paper"),
    ]
    assert bench.line(table, "maediff", "paper").texts == [
        "42.07 ± 1.12",
        "45.48 ± 1.47",
        "9.61 ± 0.83",
        "9.04 ± 0.58",
        "11.48 ± 0.56",
    ]
    assert any("no results of this benchmark" in note for note in table.notes)


def test_a_trained_row_stands_beside_its_untrained_copy(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    table = bench.table(controls=(bench.suite.rows[0],))
    assert bench.line(table, "ae-untrained", "control").texts == ["–", "–", "–", "–", "300.00"]


def test_the_garbled_cell_is_printed_as_it_is_and_marked(bench: Bench, entry_of: Make) -> None:
    bench.suite = Suite("table2", "Table 2", (entry_of("unet-att", "U-Net + Att."),))
    table = bench.table(paper=True)
    assert bench.line(table, "unet-att", "paper").texts[4] == "205.39 ± 31.89 × 10³ ‡"
    assert any(note.startswith("‡ U-Net + Att.: l1 as printed") for note in table.notes)
    assert r"205.39 $\pm$ 31.89 $\times$ 10$^3$ $\ddagger$" in render([table], "latex")


def test_what_was_never_reported_is_no_dash(frontier: Bench) -> None:
    table = frontier.table(paper=True)
    assert [line.title for line in frontier.lines(table) if line.kind == "paper"] == [
        "published (arXiv 2408.08228)",
        "published (arXiv 2409.19623)",
        "published (arXiv 2408.08228)",
    ]
    assert ["n/r" in line.texts for line in frontier.lines(table)] == [False, True] * 3
    assert "n/r: not reported there." in table.notes
    assert not any(note.startswith(("–", "paper:")) for note in table.notes)
    (cddpm,) = [line for line in render([table], "markdown").splitlines() if "2409.19623" in line]
    assert cddpm == "| *published (arXiv 2409.19623)* | *41.46* | *50.39* | n/r | n/r | n/r |"


def test_what_others_reported_comes_last(bench: Bench) -> None:
    table = bench.table(elsewhere=True)
    assert [line.kind for line in bench.lines(table)[:3]] == ["method"] * 3
    found = {line.title: line.texts for line in bench.lines(table)[3:]}
    assert found["pDDPM (arXiv 2408.08228)"] == ["49.41", "54.76", "10.65", "10.37", "n/r"]
    assert found["MCDDPM (arXiv 2409.19623)"] == ["50.56", "57.83", "n/r", "n/r", "n/r"]


def test_other_numbers_seeds_and_data_do_not_count(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3), seed=1)
    bench.run(1, 0, bench.words(0.03, 0.3), data="other")
    assert bench.line(bench.table(), "ae").texts[0] == "–"
    assert bench.line(bench.table(seed=1), "ae").texts[0] == "30.00"
    changed = {**bench.preset.sections, "score": {**bench.preset.sections["score"], "median": 3}}
    bench.preset = bench.preset.model_copy(update={"sections": changed, "changed": ("score.median=3",)})
    assert bench.line(bench.table(seed=1), "ae").texts[0] == "–"
    assert "demo score.median=3" in bench.table().caption


def test_of_two_versions_of_the_data_the_newest_fold_counts(bench: Bench) -> None:
    for fold in range(2):
        bench.run(1, fold, bench.words(0.03, 0.1), fingerprint="b" * 64, started="2025-03-02T10:00:00+00:00")
    bench.run(1, 0, bench.words(0.03, 0.9), fingerprint="a" * 64, started="2025-03-01T10:00:00+00:00")
    table = bench.table()
    assert bench.line(table, "ae").texts[0] == "10.00 ± 0.00"
    assert any("Left out: 1 fold of other versions" in note for note in table.notes)


def test_two_versions_of_the_data_do_not_mix_in_a_row(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.1), fingerprint="b" * 64, started="2025-03-02T10:00:00+00:00")
    bench.run(1, 0, bench.words(0.03, 0.9), fingerprint="a" * 64, started="2025-03-01T10:00:00+00:00")
    bench.run(1, 1, bench.words(0.03, 0.3), fingerprint="a" * 64, started="2025-03-01T10:00:00+00:00")
    with pytest.raises(MixedDataError, match=r"2 versions .* bbbbbbbbbbbb \(AE fold 0\); aaaaaaaaaaaa \(AE fold 1\)"):
        bench.table()
    assert bench.line(bench.table(fingerprint="a"), "ae").texts[0] == "60.00 ± 42.43"
    assert bench.line(bench.table(fingerprint="bb"), "ae").texts[0] == "10.00"
    with pytest.raises(UserError, match="--fingerprint c: no cell .* there are aaaaaaaaaaaa, bbbbbbbbbbbb"):
        bench.table(fingerprint="c")


def test_two_versions_of_the_data_do_not_mix_in_a_column_but_in_variants(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.1), fingerprint="b" * 64)
    bench.run(1, 0, bench.words(0.03, 0.2), fingerprint="a" * 64, seed=7)
    assert len(bench.table(variants=True, all_rows=False).lines) == 2
    bench.run(2, 0, bench.words(0.03, 0.3), fingerprint="a" * 64)
    with pytest.raises(MixedDataError, match=r"MAEDiff fold 0"):
        bench.table()


def test_splits_do_not_mix(bench: Bench) -> None:
    bench.run(
        1, 0, bench.words(0.03, 0.1), splits="published", fingerprint="a" * 64, started="2025-03-01T10:00:00+00:00"
    )
    bench.run(
        1, 1, bench.words(0.03, 0.3), splits="deleaked", fingerprint="b" * 64, started="2025-03-02T10:00:00+00:00"
    )
    table = bench.table()
    assert bench.line(table, "ae").texts[0] == "30.00"
    assert any("'deleaked'" in note and "'published'" in note for note in table.notes)


def test_a_number_that_is_none_is_not_the_best(bench: Bench) -> None:
    bench.run(0, 0, bench.words(0.03, 0.1))
    bench.run(1, 0, bench.words(math.nan, 0.3), folds=2)
    bench.run(1, 1, bench.words(0.01, 0.3), folds=2)
    table = bench.table()
    assert bench.line(table, "ae").texts[4] == "NaN"
    assert [bench.line(table, row).ranks[4] for row in ("thresh", "ae")] == [0, 0]


def test_the_phantom_is_always_called_so(bench: Bench) -> None:
    assert all("phantom" in column.title for column in bench.table().columns)
    quiet = {"healthy": {"name": "phantom-healthy", "title": "healthy"}, "ms": {"name": "mslub", "title": "MSLUB"}}
    bench.run(1, 0, {"phantom-healthy/l1": 0.1}, data="mixed", data_title="mixed", cohorts=quiet)
    table = bench.table(data="mixed")
    assert [column.title for column in table.columns] == ["MSLUB", "MSLUB", "phantom healthy"]
    assert any(note.startswith("phantom: simulated brains (healthy)") for note in table.notes)


def test_caption_and_notes_name_the_conditions(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    table = bench.table()
    assert table.caption == (
        "Data: phantom (demo), T2; preset: demo; seed: 0; mean ± standard deviation (n − 1) over 5 folds."
    )
    assert "Preset demo departs from the paper: t_test 250 instead of 500; a slab." in table.notes


def test_departures_of_rows_that_are_not_shown_are_not_told(bench: Bench) -> None:
    departures = {"departures": ("net: a small one", "thresh: no filter"), "override": {"thresh": {}}}
    bench.preset = bench.preset.model_copy(update=departures)
    bench.run(1, 0, bench.words(0.03, 0.3))
    (note,) = [note for note in bench.table(all_rows=False).notes if "departs from the paper" in note]
    assert note.endswith(": net: a small one.")


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
    bench.run(1, 0, {**bench.words(0.03, 0.3), **counts(12, 12)})
    assert not any("without a lesion" in note for note in bench.table().notes)
    bench.run(1, 0, {**bench.words(0.03, 0.3), **counts(12, 12, 2)})
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
    bench.run(1, 0, bench.words(0.03, 0.3))
    table = bench.table(beside=True, paper=True)
    assert [column.metric.name for column in table.columns] == [
        *("dice", "auprc", "dice_exact"),
        *("dice", "auprc", "dice_exact"),
        *("l1", "l1_brain"),
    ]
    assert bench.line(table, "ae").texts == ["30.00", "40.00", "31.00", "5.00", "6.00", "5.00", "30.00", "60.00"]
    assert bench.line(table, "ae", "paper").texts[2] == "n/r"


def test_rows_that_were_not_run_are_named_in_one_line(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    table = bench.table(all_rows=False, paper=True)
    assert [(line.row, line.kind) for line in bench.lines(table)] == [("ae", "method"), ("ae", "paper")]
    assert table.remarks[0] == "not run yet: Thresh, MAEDiff"
    assert not any(note.startswith("–") for note in table.notes)
    assert bench.table().not_run == ()


def test_a_table_of_nothing_says_so_and_has_no_notes_of_rows(bench: Bench) -> None:
    table = bench.table(all_rows=False, data="nothing")
    assert bench.lines(table) == []
    assert table.remarks[0] == "not run yet: Thresh, AE, MAEDiff"
    assert not any("departs" in note for note in table.notes)
    assert "no finished run yet" in table.caption


def test_notes_speak_of_shown_rows_only(bench: Bench) -> None:
    noted = [bench.suite.rows[0]]
    for entry in bench.suite.rows[1:]:
        info = replace(entry.card.info, note=f"A note of {entry.row.name}")
        noted.append(replace(entry, card=replace(entry.card, info=info)))
    bench.suite = replace(bench.suite, rows=tuple(noted))
    bench.run(2, 0, bench.words(0.03, 0.3))
    notes = bench.table(all_rows=False).notes
    assert "MAEDiff: A note of maediff." in notes
    assert not any("note of ae" in note for note in notes)
    assert "AE: A note of ae." in bench.table().notes


def test_columns_follow_the_sets_that_are_there(bench: Bench) -> None:
    cohorts = {
        "healthy": {"name": "ixi", "title": "IXI"},
        "wmh": {"name": "wmh2017", "title": "WMH 2017"},
        "ms": {"name": "msseg", "title": "MSSEG"},
        "atlas": {"name": "atlas2", "title": "ATLAS"},
    }
    numbers = {"ixi/l1": 0.03, "wmh2017/dice": 0.2, "wmh2017/auprc": 0.3, "msseg/dice": 0.4, "atlas2/dice": 0.5}
    bench.run(1, 0, {**numbers, "msseg/auprc": 0.1, "atlas2/auprc": 0.6}, cohorts=cohorts, data="mine")
    table = bench.table(data="mine")
    assert [(column.key, column.title) for column in table.columns] == [
        *[("ms", "MSSEG")] * 2,
        *[("atlas", "ATLAS")] * 2,
        *[("wmh", "WMH 2017")] * 2,
        ("healthy", "IXI"),
    ]
    assert bench.line(table, "ae").texts == ["40.00", "10.00", "50.00", "60.00", "20.00", "30.00", "30.00"]


def test_columns_follow_the_suite(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    bench.suite = replace(bench.suite, lesion_metrics=("dice_exact",), healthy_metrics=())
    table = bench.table()
    assert [column.name for column in table.columns] == ["tumours/dice_exact", "ms/dice_exact"]
    assert bench.line(table, "ae").texts == ["31.00", "5.00"]


def test_two_sets_of_one_title_are_told_apart(bench: Bench) -> None:
    cohorts = {
        "healthy": {"name": "ixi", "title": "IXI"},
        "a": {"name": "a", "title": "Stroke"},
        "b": {"name": "b", "title": "Stroke"},
    }
    bench.run(1, 0, {"a/dice": 0.1, "b/dice": 0.2}, cohorts=cohorts, data="mine")
    titles = [column.title for column in bench.table(data="mine").columns]
    assert titles == ["Stroke (a)", "Stroke (a)", "Stroke (b)", "Stroke (b)", "IXI"]


def test_variants_stand_side_by_side_named_by_what_differs(bench: Bench) -> None:
    plain = bench.preset
    for seed, dice in ((0, 0.3), (1, 0.4)):
        bench.run(1, 0, bench.words(0.03, dice), seed=seed)
    assert [line.title for line in bench.lines(bench.table(all_rows=False))] == ["AE"]
    table = bench.table(all_rows=False, variants=True)
    assert [(line.title, line.texts[0]) for line in bench.lines(table)] == [("AE", "30.00"), ("AE (seed 1)", "40.00")]
    assert "seed: 0" not in table.caption
    bench.run(1, 1, bench.words(0.03, 0.6), seed=1)  # another fold is no other variant
    table = bench.table(all_rows=False, variants=True)
    assert [(line.title, line.texts[0][:5]) for line in bench.lines(table)] == [
        ("AE", "30.00"),
        ("AE (seed 1)", "50.00"),
    ]

    sections = {**plain.sections, "score": {**plain.sections["score"], "median": 3}}
    bench.preset = plain.model_copy(update={"sections": sections, "changed": ("score.median=3",)})
    table = bench.table(all_rows=False, variants=True)
    assert [line.title for line in bench.lines(table)] == ["AE (nothing changed)", "AE (nothing changed, seed 1)"]
    assert table.not_run == ("Thresh", "AE", "MAEDiff")


def test_runs_of_another_preset_are_no_variants(bench: Bench) -> None:
    """Neither `changed` nor the seed would tell a reader that a line is another experiment's."""
    bench.run(1, 0, bench.words(0.03, 0.3))
    cells, _ = gather(all_records(bench.runs), DOWN, "phantom")
    others = cells.assign(preset="paper", recipe="of the paper", id="another", seed=1)
    both = pd.concat([cells, others])
    options = TableOptions(variants=True)
    table = make_table(bench.suite, both, bench.preset, "phantom", 0, options=options)
    assert [line.title for line in bench.lines(table)] == ["AE"]
    same = pd.concat([cells, others.assign(preset=bench.preset.name)])
    table = make_table(bench.suite, same, bench.preset, "phantom", 0, options=options)
    assert [line.title for line in bench.lines(table)] == ["AE", "AE (seed 1)"]


def test_variants_of_the_same_words_are_told_apart_by_their_recipes(bench: Bench, entry_of: Make) -> None:
    """The same row, changes and seed, yet other numbers: a preset file that was edited."""
    other = SuiteRow(replace(bench.suite.rows[1].row, settings={"net.width": 9}), bench.suite.rows[1].card)
    bench.suite = replace(bench.suite, rows=(*bench.suite.rows, other))
    bench.run(1, 0, bench.words(0.03, 0.3))
    bench.run(3, 0, bench.words(0.03, 0.4))
    bench.suite = replace(bench.suite, rows=bench.suite.rows[:3])
    first, second = (line.title for line in bench.lines(bench.table(all_rows=False, variants=True)))
    assert first == "AE"
    assert re.fullmatch(r"AE \(other numbers, recipe [0-9a-f]{6}\)", second)


def test_runs_of_two_modalities_never_meet_in_a_table(bench: Bench) -> None:
    bench.run(1, 0, bench.words(0.03, 0.3))
    cells, _ = gather(all_records(bench.runs), DOWN, "phantom")
    options = TableOptions(paper=True)
    table = make_table(bench.suite, cells, bench.preset, "phantom", 0, modality=Modality.T1, options=options)
    assert (bench.lines(table), table.not_run) == ([], ("Thresh", "AE", "MAEDiff"))
    # The same numbers, told as those of T1.
    told = cells.assign(modality="t1", recipe=_recipe(bench, Modality.T1))
    table = make_table(bench.suite, told, bench.preset, "phantom", 0, modality=Modality.T1, options=options)
    assert bench.line(table, "ae").texts[0] == "30.00"
    assert "phantom (demo), T1;" in table.caption
    assert "Published figures are those of T2 scans and do not compare with this table's." in table.notes


def _recipe(bench: Bench, modality: Modality) -> str:
    """The id of the second row's recipe for scans of a modality."""
    entry = bench.suite.rows[1]
    return Recipe.of(entry.method, plan_for(bench.preset, entry.method, entry.row), 0, modality).id
