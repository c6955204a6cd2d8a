"""Scoring again: another score or other post-processing uses trained weights, trains nothing and resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uadbench import metrics
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.memory import Halving
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import make_reader, reader_of
from uadbench.benchmarks.engine.scoring import binarise, lesion_mask
from uadbench.benchmarks.plan.cell import Recipe
from uadbench.benchmarks.plan.cell_id import cell_id, digest
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import Suite, select_rows, with_score
from uadbench.benchmarks.records import reuse
from uadbench.benchmarks.records.record import RunRecord, all_records, record_of
from uadbench.benchmarks.records.reuse import find_donor, require_weights
from uadbench.benchmarks.reports.table import TableOptions, make_table
from uadbench.benchmarks.reports.tables import gather
from uadbench.benchmarks.speed.estimate import estimate_seconds
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError
from uadbench.metrics.scores.mahalanobis import Mahalanobis

from cases import TINY

#: Recipe ids of tests/tiny.toml, seed 0, of cells with their own score: other scores and their settings leave them.
#: They are those of protocol version 2; later ones changed their number, named the modality, and nothing else.
IDS_BEFORE = {
    "thresh": "51071f2127d8",
    "ae": "3e6d9a4e9e4f",
    "anoddpm": "1f76c1ff8bb2",
    "maediff": "3dfa7b841b9c",
    "mean-brain": "4f0e511c8081",
}


def job_of(row: str, data: Data, preset: Preset, fold: int = 0) -> Job:
    return jobs_for(select_rows([row]), (fold,), data, preset, 0)[0]


def forbid(*words: object, **more: object) -> None:
    raise AssertionError("something was trained")


class Listener(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def numbers(record: RunRecord) -> dict[str, float]:
    return {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}


@pytest.fixture(scope="module")
def trained(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one trained cell each of pDDPM, Thresh and the mean brain."""
    runs = tmp_path_factory.mktemp("runs")
    for row in ("pddpm-s48", "thresh", "mean-brain"):
        run_job(job_of(row, tiny_data, tiny_preset), runs, "cpu", SilentReporter())
    return runs


@pytest.fixture(scope="module")
def learned(trained: Path, tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """pDDPM scored by Mahalanobis without interruption."""
    folder = tmp_path_factory.mktemp("learned") / "runs"
    shutil.copytree(trained, folder)
    return run_job(job_of("pddpm-s48+mahalanobis", tiny_data, tiny_preset), folder, "cpu", SilentReporter())


def test_ids_of_cells_with_their_own_score_are_what_they_were(tiny_data: Data, tiny_preset: Preset) -> None:
    for row, recipe in IDS_BEFORE.items():
        (entry,) = select_rows([row])
        plan = plan_for(tiny_preset, entry.method, entry.row)
        assert digest(as_protocol_2(Recipe.of(entry.method, plan, 0))) == recipe, row
    content = as_protocol_2(job_of("ae", tiny_data, tiny_preset).cell.recipe)
    assert cell_id(content, 0, "f" * 64) == "01345568d943"


def as_protocol_2(recipe: Recipe) -> dict[str, Any]:
    """The content of a recipe on T2 as version 2 had it."""
    content = recipe.content()
    assert (content.pop("protocol"), content.pop("modality")) == (4, "t2")
    return {**content, "protocol": 2}


def test_a_score_is_another_cell_and_its_settings_too(tiny_data: Data, tiny_preset: Preset) -> None:
    ids = {job_of(row, tiny_data, tiny_preset).cell.id for row in ("ae", "ae+l2", "ae+ssim", "ae+mahalanobis")}
    assert len(ids) == 4
    other = load_preset(str(TINY), ["ssim.windows=[1.0]"])
    assert job_of("ae+ssim", tiny_data, other).cell.id != job_of("ae+ssim", tiny_data, tiny_preset).cell.id
    assert job_of("ae", tiny_data, other).cell.id == job_of("ae", tiny_data, tiny_preset).cell.id


def test_l1_is_the_own_score_of_a_method_that_has_no_other(tiny_data: Data, tiny_preset: Preset) -> None:
    ae, thresh = select_rows(["ae", "thresh"])
    assert with_score(ae, "l1") is ae
    assert job_of("ae+l1", tiny_data, tiny_preset).cell.id == job_of("ae", tiny_data, tiny_preset).cell.id
    scored = with_score(thresh, "l1")
    assert (scored.row.name, scored.row.title, scored.score) == ("thresh+l1", "Thresh · l1", "l1")
    with pytest.raises(UserError, match="no score 'sim'; choose one of l1, l2, mahalanobis, ssim"):
        with_score(ae, "sim")


@pytest.mark.parametrize("score", ["l2", "ssim"])
def test_another_score_takes_the_weights_over_and_trains_nothing(
    score: str, runs: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    own = record_of(runs, job_of("pddpm-s48", tiny_data, tiny_preset).cell)
    listener = Listener()
    record = run_job(job_of(f"pddpm-s48+{score}", tiny_data, tiny_preset), runs, "cpu", listener)
    assert record.done and record.folder != own.folder
    assert record.best_checkpoint.read_bytes() == own.best_checkpoint.read_bytes()
    assert record.best_checkpoint.stat().st_ino == own.best_checkpoint.stat().st_ino  # a link costs no space
    assert (record.history(), record.untrained) == (own.history(), own.untrained)
    assert record.state.weights_from == own.folder.name
    assert any("not trained again" in line and own.folder.name in line for line in listener.said)
    # The same reconstructions, hence the same l1; other maps, hence other detections.
    for name in ("tiny-healthy/l1", "tiny-healthy/l1_brain", "tiny-healthy/l1_untrained", "val_loss", "parameters"):
        assert record.metrics[name] == own.metrics[name], name
    assert record.metrics["seconds_train"] == own.metrics["seconds_train"]
    # Squares rank voxels as absolute values do, and the median filter commutes with squaring; SSIM ranks otherwise.
    for name in ("tumours/auprc", "ms/auprc", "tumours/dice_exact", "ms/dice_exact"):
        same = record.metrics[f"tiny-{name}"] == pytest.approx(own.metrics[f"tiny-{name}"], abs=1e-4)
        assert same == (score == "l2"), name


def test_the_l1_plugin_gives_the_numbers_of_the_own_l1(runs: Path, tiny_data: Data, tiny_preset: Preset) -> None:
    """Bypass the rule that l1 is the own score, so that the plug-in's whole way is compared with the method's."""
    (entry,) = select_rows(["pddpm-s48"])
    entry = type(entry)(type(entry.row)("copy", "copy", entry.row.settings), entry.card, "l1")
    record = run_job(jobs_for((entry,), (0,), tiny_data, tiny_preset, 0)[0], runs, "cpu", SilentReporter())
    assert record.folder.name != record_of(runs, job_of("pddpm-s48", tiny_data, tiny_preset).cell).folder.name
    assert numbers(record) == numbers(record_of(runs, job_of("pddpm-s48", tiny_data, tiny_preset).cell))


def test_other_post_processing_is_what_the_metrics_functions_say(
    runs: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    original = job_of("pddpm-s48", tiny_data, tiny_preset)
    changed = load_preset(str(TINY), ["score.median=1", "score.erosion=0", "score.min_voxels=0"])
    job = job_of("pddpm-s48", tiny_data, changed)
    record = run_job(job, runs, "cpu", SilentReporter())
    own = record_of(runs, original.cell)
    assert record.metrics["tiny-tumours/auprc"] != own.metrics["tiny-tumours/auprc"]
    reader = reader_of(original, own, "cpu")
    cohort = tiny_data.lesions["tumours"]
    scores = {score.subject: score for score in record.scores()}
    for subject in tiny_data.splits.lesion["tumours"].test:
        reading = reader.read(cohort, subject)
        residual = np.abs(reading.original - reading.reconstruction) * reading.brain_mask
        truth = lesion_mask(cohort, subject, job.slab)
        assert scores[subject].auprc == metrics.average_precision(residual, truth)
        found = residual > record.thresholds["tumours"].greedy
        assert scores[subject].dice == metrics.dice(found, truth)
        assert np.array_equal(found, binarise(residual, record.thresholds["tumours"].greedy, job.plan.score))


@pytest.mark.parametrize("row", ["thresh", "mean-brain"])
def test_methods_without_gradients_are_scored_again_too(
    row: str, runs: Path, tiny_data: Data, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = record_of(runs, job_of(row, tiny_data, tiny_preset).cell)
    monkeypatch.setattr(job_of(row, tiny_data, tiny_preset).entry.method, "absorb", forbid)
    record = run_job(job_of(f"{row}+ssim", tiny_data, tiny_preset), runs, "cpu", SilentReporter())
    assert record.state.weights_from == own.folder.name
    assert record.metrics["tiny-healthy/l1"] == own.metrics["tiny-healthy/l1"]


def test_only_the_same_training_counts(runs: Path, tiny_data: Data, tiny_preset: Preset) -> None:
    own = record_of(runs, job_of("pddpm-s48", tiny_data, tiny_preset).cell)

    def donor(*changes: str, row: str = "pddpm-s48+ssim", fold: int = 0) -> RunRecord | None:
        return find_donor(runs, job_of(row, tiny_data, load_preset(str(TINY), changes), fold).cell)

    def name(found: RunRecord | None) -> str:
        return "" if found is None else found.folder.name

    assert name(donor()) == name(donor("score.median=1")) == own.folder.name
    for change in ("train.epochs=8", "diffusion.t_test=250", "data.slices=3", "optimizer.learning_rate=1e-3"):
        assert donor(change) is None, change
    assert donor(row="pddpm-s16+ssim") is None and donor(fold=1) is None
    own.set_state("training", trained=False)
    assert donor() is None
    own.set_state("done", trained=True)
    assert name(donor()) == own.folder.name
    config = json.loads((own.folder / "config.json").read_text())
    (own.folder / "config.json").write_text(json.dumps({**config, "fingerprint": "0" * 64}))
    assert donor() is None


def test_a_file_system_without_links_gets_a_copy(
    runs: Path, tiny_data: Data, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(reuse.os, "link", no_link)
    own = record_of(runs, job_of("thresh", tiny_data, tiny_preset).cell)
    record = run_job(job_of("thresh+l2", tiny_data, tiny_preset), runs, "cpu", SilentReporter())
    assert record.best_checkpoint.read_bytes() == own.best_checkpoint.read_bytes()
    assert record.best_checkpoint.stat().st_ino != own.best_checkpoint.stat().st_ino


@pytest.mark.parametrize(("word", "steps"), [("learn", 1), ("threshold", 1), ("score", 3)])
def test_an_interrupted_scoring_goes_on_to_the_same_numbers(
    word: str,
    steps: int,
    learned: RunRecord,
    runs: Path,
    tiny_data: Data,
    tiny_preset: Preset,
    monkeypatch: pytest.MonkeyPatch,
    stop_after,
) -> None:
    learnt: list[int] = []
    true_learn = Mahalanobis.learn
    monkeypatch.setattr(Mahalanobis, "learn", lambda self, scan: (learnt.append(1), true_learn(self, scan))[1])
    job = job_of("pddpm-s48+mahalanobis", tiny_data, tiny_preset)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, runs, "cpu", stop_after(word, steps))
    assert not record_of(runs, job.cell).done
    record = run_job(job, runs, "cpu", SilentReporter())
    assert numbers(record) == numbers(learned)
    assert len(learnt) == len(tiny_data.splits.folds[0].val)  # no scan was learnt from twice
    assert not list(record.folder.rglob("*.partial"))


def test_a_score_learns_from_healthy_validation_scans_alone(
    runs: Path, tiny_data: Data, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch, stop_after
) -> None:
    seen: list[np.ndarray] = []
    monkeypatch.setattr(Mahalanobis, "learn", lambda self, scan: seen.append(scan.volume))
    job = job_of("pddpm-s48+mahalanobis", tiny_data, tiny_preset)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, runs, "cpu", stop_after("learn", len(tiny_data.splits.folds[0].val)))
    expected = [job.slab.of(tiny_data.healthy.store.volume(s)) for s in tiny_data.splits.folds[0].val]
    assert len(seen) == len(expected)
    for found, volume in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(found, volume)
    reader = make_reader(job, job.detector(), "cpu", Halving())
    with pytest.raises(ValueError, match="healthy scans alone"):
        reader.healthy_scan(tiny_data.lesions["ms"], tiny_data.lesions["ms"].store.ids[0])


def test_reconstructions_of_one_volume_differ_in_their_noise_and_the_first_is_the_method_s(
    runs: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    job, own = (job_of(row, tiny_data, tiny_preset) for row in ("pddpm-s48+mahalanobis", "pddpm-s48"))
    record = record_of(runs, own.cell)
    reader, plain = reader_of(job, record, "cpu"), reader_of(own, record, "cpu")
    subject = tiny_data.splits.folds[0].val[0]
    scan = reader.healthy_scan(tiny_data.healthy, subject)
    assert len(scan.reconstructions) == 2
    np.testing.assert_array_equal(scan.reconstructions[0], plain.read(tiny_data.healthy, subject).reconstruction)
    assert not np.array_equal(scan.reconstructions[0], scan.reconstructions[1])


def test_a_finished_cell_gives_its_reader_what_the_score_learnt(
    learned: RunRecord, tiny_data: Data, tiny_preset: Preset
) -> None:
    job, record = job_of("pddpm-s48+mahalanobis", tiny_data, tiny_preset), learned
    cohort = tiny_data.lesions["tumours"]
    subject = tiny_data.splits.lesion["tumours"].test[0]
    reading = reader_of(job, record, "cpu").read(cohort, subject)
    score = next(score for score in record.scores() if score.subject == subject)
    assert metrics.average_precision(reading.score_map, lesion_mask(cohort, subject, job.slab)) == score.auprc


def test_a_cell_that_was_never_trained_is_one_sentence(runs: Path, tiny_data: Data, tiny_preset: Preset) -> None:
    jobs = jobs_for(select_rows(["pddpm-s48+ssim", "ae+ssim", "ae+l2"]), (0, 1), tiny_data, tiny_preset, 0)
    cells = [(job.entry.row.name.partition("+")[0], job.cell) for job in jobs]
    with pytest.raises(UserError) as caught:
        require_weights(cells, runs)
    assert "bench run --method pddpm-s48 --folds 1; bench run --method ae --folds 0,1" in str(caught.value)
    require_weights(cells[:1], runs)


def test_bench_run_trains_where_there_are_no_weights(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    record = run_job(job_of("ae+ssim", tiny_data, tiny_preset), tmp_path, "cpu", SilentReporter())
    assert record.done and record.state.weights_from is None
    own = run_job(job_of("ae", tiny_data, tiny_preset), tmp_path, "cpu", SilentReporter())
    assert own.state.weights_from == record.folder.name  # the other way round it works as well


def test_the_estimate_counts_no_training_where_there_are_weights(
    runs: Path, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uadbench.benchmarks.speed import estimate

    monkeypatch.setattr(estimate, "_step_seconds", lambda *words: 1e6)
    job = job_of("pddpm-s48+ssim", tiny_data, tiny_preset)
    assert estimate_seconds(job, runs, "cpu", 1) < 1e5
    assert estimate_seconds(job, tmp_path / "empty", "cpu", 1) > 1e5


def test_the_table_shows_a_score_below_its_row_and_nothing_where_there_is_none(
    runs: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    def table(*more: str) -> list[tuple[str, str]]:
        suite = Suite("table1", "A table", select_rows(["thresh", "pddpm-s48", *more]))
        cells, _ = gather(all_records(runs), f"sqlite:///{runs / 'none.db'}", "tiny")
        found = make_table(suite, cells, tiny_preset, "tiny", 0, options=TableOptions(all_rows=True))
        notes.extend(found.notes)
        return [(title, kind) for title, kind in found.lines[["title", "kind"]].to_numpy()]

    notes: list[str] = []
    assert table() == [("Thresh", "method"), ("pDDPM (s48)", "method")]
    assert not any("another score" in note for note in notes)
    record = run_job(job_of("pddpm-s48+ssim", tiny_data, tiny_preset), runs, "cpu", SilentReporter())
    assert table() == [("Thresh", "method"), ("pDDPM (s48)", "method"), ("pDDPM (s48) · SSIM", "method")]
    assert table("pddpm-s48+ssim") == table()
    assert any("another score" in note and "SSIM (Behrendt et al. 2024)" in note for note in notes)
    (record.folder / "digests.json").unlink()
    assert table() == [("Thresh", "method"), ("pDDPM (s48)", "method")]
