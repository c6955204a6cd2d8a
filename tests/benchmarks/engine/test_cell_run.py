"""The engine: a cell runs, resumes after any interruption to the same numbers, and is never silently mixed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.engine.scoring import binarise, lesion_mask
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.attempts import HeldError
from uadbench.benchmarks.records.checkpoint import save_weights
from uadbench.benchmarks.records.record import RunRecord, record_of
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

from cases import TESTS


def job_of(row: str, data: Data, preset: Preset, fold: int = 0, seed: int = 0) -> Job:
    return jobs_for(select_rows([row]), (fold,), data, preset, seed)[0]


def numbers(record: RunRecord) -> dict[str, float]:
    return {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}


@pytest.fixture(scope="module")
def finished(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """MAEDiff on the tiny data, uninterrupted."""
    return run_job(job_of("maediff", tiny_data, tiny_preset), tmp_path_factory.mktemp("runs"), "cpu", SilentReporter())


@pytest.mark.parametrize(
    ("word", "steps"), [("untrained", 1), ("train", 1), ("train", 5), ("train", 12), ("threshold", 1), ("score", 3)]
)
def test_an_interrupted_cell_goes_on_to_the_same_numbers(
    word: str, steps: int, finished: RunRecord, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, stop_after
) -> None:
    job = job_of("maediff", tiny_data, tiny_preset)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path, "cpu", stop_after(word, steps))
    assert not record_of(tmp_path, job.cell).done
    record = run_job(job, tmp_path, "cpu", SilentReporter())
    assert numbers(record) == numbers(finished)
    assert [line.val_loss for line in record.history()] == [line.val_loss for line in finished.history()]


def test_ctrl_c_still_works_after_an_interrupted_training(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, stop_after
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_job(job_of("pddpm-s48", tiny_data, tiny_preset), tmp_path, "cpu", stop_after("train", 2))
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["checkpoints/last.ckpt", "scores.csv"])
def test_kill_9_and_the_same_command_give_the_same_numbers(moment: str, finished: RunRecord, tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(TESTS)!r})
        from pathlib import Path
        import torch
        from cases import TINY
        from conftest import make_tiny_data
        from uadbench.benchmarks.engine.cell_run import run_job
        from uadbench.benchmarks.engine.job import jobs_for
        from uadbench.benchmarks.plan.preset import load_preset
        from uadbench.benchmarks.engine.progress import SilentReporter
        from uadbench.benchmarks.plan.suite import select_rows
        torch.set_num_threads({torch.get_num_threads()})
        folder = Path({str(tmp_path)!r})
        data = make_tiny_data(folder / "data")
        job = jobs_for(select_rows(["maediff"]), (0,), data, load_preset(str(TINY)), 0)[0]
        print(run_job(job, folder / "runs", "cpu", SilentReporter()).folder, flush=True)
    """)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "runs").glob(f"*/{moment}")):
        assert time.monotonic() < deadline and process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    record = RunRecord(Path(done.stdout.strip()))
    assert record.done
    assert numbers(record) == numbers(finished)
    assert not list(record.folder.rglob("*.partial"))


def test_a_finished_cell_is_not_run_again(finished: RunRecord, tiny_data: Data, tiny_preset: Preset) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    run_job(job_of("maediff", tiny_data, tiny_preset), finished.folder.parent, "cpu", SilentReporter())
    assert {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")} == before


def test_two_processes_do_not_run_one_cell(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    job = job_of("thresh", tiny_data, tiny_preset)
    with record_of(tmp_path, job.cell).claimed({}) as held:
        with pytest.raises(HeldError, match=f"another process is running the cell .*: process {os.getpid()} on "):
            run_job(job, tmp_path, "cpu", SilentReporter())
        with pytest.raises(HeldError):  # nor can anybody write there who does not hold it
            record_of(tmp_path, job.cell).save_metrics({})
        held.save_metrics({})
    assert run_job(job, tmp_path, "cpu", SilentReporter()).done


def test_scores_are_those_of_the_reference_libraries(finished: RunRecord, tiny_data: Data, tiny_preset: Preset) -> None:
    """Dice and average precision of the record, recomputed by scikit-learn from the maps."""
    job = job_of("maediff", tiny_data, tiny_preset)
    reader = reader_of(job, finished, "cpu")
    threshold = finished.thresholds["tumours"].greedy
    scores = {score.subject: score for score in finished.scores()}
    for subject in tiny_data.splits.lesion["tumours"].test:
        cohort = tiny_data.lesions["tumours"]
        reading = reader.read(cohort, subject)
        truth = lesion_mask(cohort, subject, job.slab)
        binary = binarise(reading.score_map, threshold, job.plan.score)
        assert scores[subject].dice == pytest.approx(f1_score(truth.ravel(), binary.ravel()))
        expected = average_precision_score(truth.ravel(), reading.score_map.ravel())
        assert scores[subject].auprc == pytest.approx(expected)
        assert scores[subject].l1 == pytest.approx(np.abs(reading.original - reading.reconstruction).mean(), rel=1e-5)
    mean = np.mean([scores[s].dice for s in tiny_data.splits.lesion["tumours"].test])
    assert finished.metrics["tiny-tumours/dice"] == pytest.approx(mean)


def test_the_threshold_never_sees_the_test_set(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, stop_after
) -> None:
    """Blank every test volume: the thresholds stay what they were."""
    job = job_of("thresh", tiny_data, tiny_preset)
    original = run_job(job, tmp_path / "a", "cpu", SilentReporter()).thresholds
    asked: list[str] = []
    from uadbench.benchmarks.engine import reading

    true_infer = reading.Reader.infer

    def spy(self: reading.Reader, cohort: object, subject: str) -> object:
        asked.append(subject)
        return true_infer(self, cohort, subject)  # type: ignore[arg-type]

    monkey = pytest.MonkeyPatch()
    monkey.setattr(reading.Reader, "infer", spy)
    try:
        with pytest.raises(KeyboardInterrupt):
            run_job(job, tmp_path / "b", "cpu", stop_after("score", 1))
    finally:
        monkey.undo()
    val = {subject for part in tiny_data.splits.lesion.values() for subject in part.val}
    assert set(asked[: len(val)]) == val and len(asked) > len(val)
    assert record_of(tmp_path / "b", job.cell).thresholds == original


def test_training_lowers_the_loss_and_keeps_the_best_weights(finished: RunRecord) -> None:
    losses = [line.val_loss for line in finished.history()]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert finished.metrics["val_loss"] == min(losses)


def test_another_number_is_another_cell(tiny_data: Data, tiny_preset: Preset) -> None:
    base = job_of("maediff", tiny_data, tiny_preset).cell
    for change in ("train.epochs=8", "diffusion.t_test=250", "score.median=3", "data.slices=3", "mae.encoder_depth=1"):
        changed = load_preset(str(TESTS / "tiny.toml"), [change])
        assert job_of("maediff", tiny_data, changed).cell.id != base.id, change
    assert job_of("maediff", tiny_data, tiny_preset, fold=1).cell.id != base.id
    assert job_of("maediff", tiny_data, tiny_preset, seed=1).cell.id != base.id
    same = load_preset(str(TESTS / "tiny.toml"), ["score.batch_size=7"])
    assert job_of("maediff", tiny_data, same).cell.id == base.id


def test_the_unet_of_table_2_is_the_cell_of_pddpm_s16(tiny_data: Data, tiny_preset: Preset) -> None:
    jobs = jobs_for(select_rows(["table1", "table2"]), (0,), tiny_data, tiny_preset, 0)
    assert len(jobs) == 12  # 10 + 4 rows, of which U-Net and U-Net + Att. + MAE are rows of Table 1 already
    assert job_of("unet", tiny_data, tiny_preset).cell.id == job_of("pddpm-s16", tiny_data, tiny_preset).cell.id
    assert job_of("unet-att-mae", tiny_data, tiny_preset).cell.id == job_of("maediff", tiny_data, tiny_preset).cell.id


def test_an_unknown_fold_is_one_sentence(tiny_data: Data, tiny_preset: Preset) -> None:
    with pytest.raises(UserError, match="folds 0 to 1; there is no fold 7"):
        job_of("ae", tiny_data, tiny_preset, fold=7)


def test_epochs_that_are_never_validated_are_refused(tiny_data: Data, tmp_path: Path) -> None:
    preset = load_preset(str(TESTS / "tiny.toml"), ["train.epochs=5"])
    with pytest.raises(UserError, match=r"must be a multiple of train.validate_every \(2\)"):
        job_of("ae", tiny_data, preset)


def test_a_diverging_training_is_one_sentence(tiny_data: Data, tmp_path: Path) -> None:
    preset = load_preset(str(TESTS / "tiny.toml"), ["optimizer.learning_rate=1e30", "optimizer.gradient_clip=0.0"])
    with pytest.raises(UserError, match="lower optimizer.learning_rate"):
        run_job(job_of("pddpm-s48", tiny_data, preset), tmp_path, "cpu", SilentReporter())


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after
) -> None:
    job = job_of("ae", tiny_data, tiny_preset)
    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path, "cpu", stop_after("train", 5))
    history = record_of(tmp_path, job.cell).history()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="No space left on device; make room"):
        run_job(job, tmp_path, "cpu", SilentReporter())
    monkeypatch.undo()
    assert record_of(tmp_path, job.cell).history() == history
    assert run_job(job, tmp_path, "cpu", SilentReporter()).done


def test_weights_that_do_not_fit_on_the_disk_leave_nothing_there(small_disk: Path) -> None:
    record = RunRecord(small_disk / "cell")
    with pytest.raises(UserError, match=r"cannot write .*best.ckpt: No space left on device; make room"):
        save_weights(record, torch.nn.Linear(300, 300).state_dict(), 0, 1.0)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
