"""What a notebook reads: frames of cells and volumes, tables, single records, from the run records alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.cell import Cell, Recipe
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import RecordWarning, RunRecord, all_records, record_of
from uadbench.benchmarks.records.record_files import CellConfig
from uadbench.benchmarks.reports.cells import cells_of_records, cells_of_results
from uadbench.benchmarks.reports.results import load_results, read_cell
from uadbench.benchmarks.reports.table import Table, TableOptions, make_table
from uadbench.benchmarks.tracking.sync import fold_results, sync_all
from uadbench.errors import UserError

if TYPE_CHECKING:
    from .conftest import Bench

Make = Callable[..., Any]


@pytest.fixture
def results(tmp_path: Path, entry_of: Make, fake_record: Make) -> Path:
    """A results folder with three finished cells of two methods and one that is being trained."""
    ae, thresh = entry_of("ae", "AE"), entry_of("thresh", "Thresh", trainable=False)
    for fold in range(2):
        fake_record(tmp_path / "runs", ae, fold)
    fake_record(tmp_path / "runs", thresh, 0, changed=["score.median=3", "data.slices=4"])
    fake_record(tmp_path / "runs", ae, 2, done=False)
    return tmp_path


def test_one_row_per_cell_with_all_that_was_run(results: Path) -> None:
    frame = load_results(results).to_dataframe().set_index(["row", "fold"]).sort_index()
    assert frame.index.tolist() == [("ae", 0), ("ae", 1), ("ae", 2), ("thresh", 0)]
    first = frame.loc[("ae", 1)]
    written = json.loads((results / "runs" / f"ae-fold1-{first['id']}" / "config.json").read_text())
    for name in ("title", "method", "preset", "data", "data_title", "splits", "folds", "seed", "recipe"):
        assert first[name] == written[name]
    assert (first["id"], first["protocol"]) == (written["cell"], written["content"]["protocol"])
    assert (first["device"], first["seconds"], first["parameters"]) == ("CPU, 2 threads", 60.0, 1000.0)
    assert (first["ms/cohort"], first["ms/title"]) == ("phantom-ms", "phantom MS")
    assert frame.loc[("thresh", 0), "changes"] == "score.median=3 data.slices=4"


def test_numbers_are_the_records_own_and_an_unfinished_cell_has_none(results: Path) -> None:
    frame = load_results(results).to_dataframe().set_index(["row", "fold"]).sort_index()
    assert frame["tumours/dice"].tolist()[:2] == [0.30, 0.31]
    assert frame["healthy/l1"].tolist()[:2] == [0.030, 0.031]
    assert frame["done"].tolist() == [True, True, False, True]
    assert frame.loc[("ae", 2), "state"] != "done"
    assert np.isnan(frame.loc[("ae", 2), "tumours/dice"]) and np.isnan(frame.loc[("thresh", 0), "val_loss"])


def test_one_row_per_cell_and_volume(results: Path) -> None:
    volumes = load_results(results).volumes()
    assert len(volumes) == 4 * 2
    tumour = volumes[(volumes["row"] == "ae") & (volumes["fold"] == 1) & (volumes["set"] == "tumours")]
    assert tumour[["subject", "cohort", "dice", "auprc", "l1", "lesion_ml"]].to_numpy().tolist() == [
        ["t1", "phantom-tumours", 0.4, 0.5, 0.04, 12.0]
    ]
    assert volumes.loc[volumes["set"] == "healthy", "dice"].isna().all()
    assert volumes["dice"].dtype == float


def damage(results: Path, row: str, name: str, text: str) -> RunRecord:
    """Change a file of a record of fold 0 after it was finished."""
    (record,) = [record for record in all_records(results / "runs") if record.folder.name.startswith(f"{row}-fold0")]
    (record.folder / name).write_text(text)
    return record


@pytest.mark.parametrize("name", ["metrics.json", "state.json", "scores.csv", "config.json"])
def test_a_broken_record_costs_a_warning_and_no_more(results: Path, name: str) -> None:
    record = damage(results, "thresh", name, "{")
    with pytest.warns(RecordWarning, match=f"left out: .*{record.folder.name}"):
        frame = load_results(results).to_dataframe()
    assert frame["row"].tolist() == ["ae", "ae", "ae"]


def test_volumes_of_a_broken_record_are_left_out(results: Path) -> None:
    damage(results, "thresh", "scores.csv", "{")
    with pytest.warns(RecordWarning, match="left out"):
        assert set(load_results(results).volumes()["row"]) == {"ae"}


def test_numbers_that_were_changed_by_hand_do_not_count(results: Path) -> None:
    damage(results, "thresh", "metrics.json", '{"phantom-tumours/dice": 0.99}')
    with pytest.warns(RecordWarning, match="changed after the cell was finished"):
        assert set(load_results(results).to_dataframe()["row"]) == {"ae"}


def test_nothing_was_run_yet(tmp_path: Path) -> None:
    found = load_results(tmp_path)
    assert found.to_dataframe().empty and found.volumes().empty
    assert "tumours" not in found.to_dataframe() and "id" in found.to_dataframe()
    assert found.table("1").data.empty
    with pytest.raises(UserError, match=r"there is no results folder .*; name the one that `bench run` wrote to"):
        load_results(tmp_path / "nowhere")


def test_a_cell_by_its_id_or_the_first_letters_of_it(results: Path) -> None:
    record = next(record for record in all_records(results / "runs") if record.folder.name.startswith("ae-fold1"))
    cell = record.config.cell
    for word in (cell, cell[:5], record.folder.name):
        found = read_cell(word, results)
        assert (found.id, found.folder, found.done) == (cell, record.folder, True)
    assert (found.config.fold, found.state.seconds, found.metrics["phantom-tumours/dice"]) == (1, 60.0, 0.31)
    assert found.thresholds.loc["tumours"].tolist() == [0.2, 0.3, 0.21, 0.31]
    assert found.history["val_loss"].tolist() == [1.0, 0.5, 2 / 6]
    assert found.volumes["subject"].tolist() == ["h1", "t1"]
    assert found.environment["commit"] == "abc123def456"
    assert found.checkpoint == record.folder / "checkpoints" / "best.ckpt"
    assert found.figure == record.folder / "figures" / "reconstruction.png"


def test_a_cell_without_training_has_no_checkpoint_and_no_history(results: Path) -> None:
    (record,) = [record for record in all_records(results / "runs") if record.folder.name.startswith("thresh")]
    found = read_cell(record.config.cell, results)
    assert found.checkpoint is None
    assert found.history.empty and found.history.columns.tolist()[0] == "epoch"


def test_an_id_that_is_unknown_or_not_clear_is_one_sentence(results: Path) -> None:
    with pytest.raises(UserError, match="there is no cell 'zzz' under .*runs; `bench list runs` shows them"):
        read_cell("zzz", results)
    with pytest.raises(UserError, match="there is no cell ''"):
        read_cell("", results)
    record = all_records(results / "runs")[0]
    twin = record.folder.with_name(f"{record.folder.name}-copy")
    shutil.copytree(record.folder, twin)
    config = json.loads((twin / "config.json").read_text())
    (twin / "config.json").write_text(json.dumps({**config, "cell": config["cell"][:6] + "zzzzzz"}))
    with pytest.raises(UserError, match=f"2 cells begin with '{config['cell'][:6]}': .*-copy; write more of the id"):
        read_cell(config["cell"][:6], results)


def test_reading_imports_no_pytorch(results: Path) -> None:
    script = f"""
import sys
from uadbench.benchmarks.reports.results import load_results, read_cell
found = load_results({str(results)!r})
frame = found.to_dataframe()
assert len(frame) == 4 and len(found.volumes()) == 8
assert len(read_cell(frame["id"].iloc[0], {str(results)!r}).thresholds) == 2
print([name for name in ("torch", "lightning", "mlflow", "scipy", "rich", "matplotlib") if name in sys.modules])
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (answer.stdout.strip(), answer.stderr) == ("[]", "")


def same(first: Table, second: Table) -> None:
    assert_frame_equal(first.lines, second.lines)
    assert_frame_equal(first.numbers, second.numbers)
    assert (first.columns, first.caption, first.not_run) == (second.columns, second.caption, second.not_run)


def test_mlflow_and_the_records_make_the_same_table(bench: Bench, mlflow_uri: str) -> None:
    """Both sources, with variants, an incomplete row, a missing set and a number that is none."""
    for fold in range(5):
        bench.run(1, fold, bench.words(0.03 + fold / 1000, 0.3), data="both")
    bench.run(1, 0, bench.words(0.02, 0.5), data="both", seed=3)
    bench.run(2, 0, bench.words(float("nan"), 0.2), data="both")
    bench.run(0, 0, bench.words(0.04, 0.1), data="both", changed=["score.median=1"])
    sync_all(bench.runs, mlflow_uri, SilentReporter())
    told = cells_of_results(fold_results(mlflow_uri, "both"))
    on_disk = cells_of_records(all_records(bench.runs))
    for options in (TableOptions(), TableOptions(paper=True, beside=True, variants=True, all_rows=True)):
        tables = [make_table(bench.suite, cells, bench.preset, "both", 0, options=options) for cells in (told, on_disk)]
        same(*tables)
        assert tables[0].notes == tables[1].notes
    assert {"AE (seed 3)", "AE"} <= set(tables[0].lines["title"])


def finish(results: Path, row: str, dice: float, config: CellConfig) -> None:
    """Write a finished cell of a row as the demo preset has it; what else there is to say of it is as in `config`."""
    (entry,), preset = select_rows([row]), load_preset("demo")
    recipe = Recipe.of(entry.method, plan_for(preset, entry.method, entry.row), 0)
    cell = Cell(recipe, 0, "phantom", config.fingerprint)
    record = record_of(results / "runs", cell)
    words = {"cell": cell.id, "recipe": recipe.id, "content": recipe.content(), "row": row, "folds": 1, "fold": 0}
    record.begin(config.model_copy(update=words), {"started": "2025-03-01T10:00:00+00:00"})
    record.save_metrics({"phantom-tumours/dice": dice, "phantom-tumours/auprc": 0.4, "phantom-healthy/l1": 0.05})
    record.finish(1.0)


def test_a_table_for_a_notebook(results: Path, tmp_path: Path) -> None:
    config = all_records(results / "runs")[0].config
    for row, dice in (("ae", 0.3), ("thresh", 0.2)):
        finish(tmp_path / "demo", row, dice, config)
    found = load_results(tmp_path / "demo")
    numbers = found.numbers("1")
    assert numbers.loc[("ae", "method"), ("tumours", "dice", "mean")] == pytest.approx(30)
    assert numbers.columns.names == ["set", "metric", "statistic"]
    style = found.table("1")
    assert style.data[("phantom tumours", "DICE (%) ↑")].tolist() == ["20.00", "30.00"]
    page = style.to_html()
    assert "font-weight: bold" in page and "underline" in page and "<caption>Table 1" in page
    with pytest.raises(UserError, match="several tables"):
        found.table("all")
