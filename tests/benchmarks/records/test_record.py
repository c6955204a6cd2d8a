"""Damaged, changed, copied and hostile records: never a traceback, never a wrong number, never a stranger's code."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uadbench.benchmarks.commands.listing import listing
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import Bar, SilentReporter
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import SuiteRow, select_rows
from uadbench.benchmarks.prediction.trained import find_run
from uadbench.benchmarks.records.attempts import attempts_of
from uadbench.benchmarks.records.checkpoint import load_weights
from uadbench.benchmarks.records.record import RecordWarning, RunRecord, all_records, finished, record_of
from uadbench.benchmarks.records.record_files import RecordError, read_arrays
from uadbench.benchmarks.reports.tables import gather
from uadbench.benchmarks.tracking.sync import fold_results, sync_all
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

#: What may happen to a file, as a function of its bytes; None puts a folder in its place.
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: 2 * len(content) // 3],
    "no UTF-8": lambda content: b"\xff\xfe\x80" + content[3:],
    "of another type": lambda content: b"[1, 2]",
    "random": lambda content: np.random.default_rng(0).bytes(max(64, len(content))),
    "a folder": lambda content: None,
}
TEXTS = ("config.json", "environment.json", "state.json", "metrics.json", "thresholds.json", "scores.csv")
TRAINED = (*TEXTS, "untrained.json", "history.csv", "digests.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt")


def harm(path: Path, kind: str) -> None:
    content = DAMAGES[kind](path.read_bytes())
    path.unlink()
    if content is None:
        path.mkdir()
        (path / "something").write_text("else")
    else:
        path.write_bytes(content)


class Listener(SilentReporter):
    """Keeps what is said, and the titles of bars of work that was there."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.worked: list[str] = []

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Bar]:
        if done < total:
            self.worked.append(title.split(maxsplit=1)[0])
        with super().bar(title, total, done) as bar:
            yield bar

    def say(self, text: str) -> None:
        self.said.append(text)


def numbers(record: RunRecord) -> dict[str, Any]:
    scores = [replace(score, seconds=0.0) for score in record.scores()]
    metrics = {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}
    return {"metrics": metrics, "scores": scores, "thresholds": record.thresholds, "history": record.history()}


def job_of(row: str, data: Data, preset: Preset, fold: int = 0) -> Job:
    return jobs_for(select_rows([row]), (fold,), data, preset, 0)[0]


@pytest.fixture(scope="module")
def cells(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunRecord]:
    """A finished cell of AE and one of Thresh."""
    runs = tmp_path_factory.mktemp("runs")
    return {
        row: run_job(job_of(row, tiny_data, tiny_preset), runs, "cpu", SilentReporter()) for row in ("ae", "thresh")
    }


@pytest.fixture
def copy_of(cells: dict[str, RunRecord], tmp_path: Path) -> Callable[[str], RunRecord]:
    def copy(row: str) -> RunRecord:
        folder = cells[row].folder
        return RunRecord(shutil.copytree(folder, tmp_path / folder.name))

    return copy


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", TEXTS)
def test_a_damaged_file_of_a_finished_cell_is_made_again(
    name: str, kind: str, copy_of, cells, tiny_data: Data, tiny_preset: Preset
) -> None:
    record, heard = copy_of("thresh"), Listener()
    harm(record.folder / name, kind)
    is_told_apart = name != "state.json"  # it holds no number: the cell stays finished
    assert record.done != is_told_apart
    again = run_job(job_of("thresh", tiny_data, tiny_preset), record.folder.parent, "cpu", heard)
    assert again.done
    assert numbers(again) == numbers(cells["thresh"])
    assert any(f"{name}.broken".rpartition("/")[2] in line for line in heard.said) == is_told_apart
    if is_told_apart:
        assert (record.folder / f"{name}.broken").exists()


@pytest.mark.parametrize("kind", ["cut", "random", "a folder"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_damaged_file_of_an_unfinished_cell_is_put_aside(
    name: str, kind: str, copy_of, cells, tiny_data: Data, tiny_preset: Preset
) -> None:
    record, heard = copy_of("ae"), Listener()
    (record.folder / "digests.json").unlink()
    (record.folder / "digests.json").write_text("{}")
    harm(record.folder / name, kind)
    again = run_job(job_of("ae", tiny_data, tiny_preset), record.folder.parent, "cpu", heard)
    assert again.done
    assert numbers(again) == numbers(cells["ae"])


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", ["checkpoints/last.ckpt", "history.csv"])
def test_a_training_goes_on_from_what_is_whole(
    name: str, kind: str, cells, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, stop_after
) -> None:
    job, heard = job_of("ae", tiny_data, tiny_preset), Listener()
    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path, "cpu", stop_after("train", 10))
    record = record_of(tmp_path, job.cell)
    harm(record.folder / name, kind)
    assert numbers(run_job(job, tmp_path, "cpu", heard)) == numbers(cells["ae"])
    assert any(f"{Path(name).name}.broken" in line for line in heard.said)


def test_one_flipped_byte_of_the_weights_is_found(copy_of) -> None:
    record = copy_of("ae")
    (record.folder / "digests.json").unlink()
    with zipfile.ZipFile(record.best_checkpoint) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    content = bytearray(record.best_checkpoint.read_bytes())
    content[largest.header_offset + 300] ^= 0xFF
    record.best_checkpoint.write_bytes(content)
    with pytest.raises(RecordError, match="no whole checkpoint"):
        load_weights(record, None)


def test_weights_that_were_exchanged_are_not_used(copy_of, tiny_data: Data, tiny_preset: Preset) -> None:
    record = copy_of("ae")
    detector = job_of("ae", tiny_data, tiny_preset).detector()
    assert load_weights(record, detector) == record.metrics["val_loss"]
    content = torch.load(record.best_checkpoint, weights_only=True)
    torch.save({**content, "val_loss": 0.0}, record.best_checkpoint)
    with pytest.raises(RecordError, match="not the file that the cell was finished with"):
        load_weights(record, detector)


def test_weights_that_were_removed_to_make_room_leave_a_cell_finished(copy_of) -> None:
    record = copy_of("ae")
    shutil.rmtree(record.folder / "checkpoints")
    assert record.done


def test_a_number_that_was_edited_by_hand_does_not_count(copy_of, cells, tiny_data: Data, tiny_preset: Preset) -> None:
    record = copy_of("thresh")
    metrics = {**record.metrics, "tiny-tumours/dice": 0.99}
    (record.folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.warns(RecordWarning, match="metrics.json was changed after the cell was finished"):
        assert gather(all_records(record.folder.parent), "sqlite:////nowhere/mlflow.db", "tiny")[0].empty
    assert "metrics.json was changed" in _cells(listing("runs", record.folder.parents[0]), record)
    again = run_job(job_of("thresh", tiny_data, tiny_preset), record.folder.parent, "cpu", SilentReporter())
    assert again.metrics["tiny-tumours/dice"] == cells["thresh"].metrics["tiny-tumours/dice"]


def _cells(table: Any, record: RunRecord) -> str:
    """The status column of `bench list runs`, which looks below results/runs."""
    results = record.folder.parents[1] / "results"
    results.mkdir()
    shutil.copytree(record.folder, results / "runs" / record.folder.name)
    return " ".join(str(cell) for cell in listing("runs", results).columns[-1].cells)


def test_a_record_under_another_cells_name_does_not_count(copy_of, tiny_data: Data, tiny_preset: Preset) -> None:
    record = copy_of("thresh")
    job = job_of("thresh", tiny_data, tiny_preset, fold=1)
    shutil.copytree(record.folder, record_of(record.folder.parent, job.cell).folder)
    other, heard = record_of(record.folder.parent, job.cell), Listener()
    assert not other.done
    with pytest.warns(RecordWarning, match="another cell"):
        assert [one.folder for one in finished(all_records(record.folder.parent))] == [record.folder]
    again = run_job(job, record.folder.parent, "cpu", heard)
    assert again.done and again.config.fold == 1
    assert any("files of another cell" in line for line in heard.said)
    assert (record.folder.parent / f"{other.folder.name}.broken" / "metrics.json").exists()
    assert [attempt.how for attempt in attempts_of(other.folder)] == ["done", "done"]  # ours was not moved away
    assert len(all_records(record.folder.parent)) == 2


def test_a_record_of_other_volumes_does_not_count(copy_of) -> None:
    record = copy_of("thresh")
    config = json.loads((record.folder / "config.json").read_text())
    (record.folder / "config.json").write_text(json.dumps({**config, "fingerprint": "0" * 64}))
    record.finish(1.0)  # as if it had been written so
    assert not record.done
    assert "another cell" in record.problem()


# ------------------------------------------------------------------------------------------- one broken, the others not


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("name", ["config.json", "metrics.json", "scores.csv", "environment.json", "digests.json"])
def test_one_broken_record_does_not_keep_the_others_from_tables_lists_and_mlflow(
    name: str, kind: str, tmp_path: Path, entry_of, fake_record, mlflow_uri: str
) -> None:
    data = f"broken {name} {kind}"
    whole = fake_record(tmp_path / "runs", entry_of("alpha", "Alpha"), data=data)
    broken = fake_record(tmp_path / "runs", entry_of("beta", "Beta"), data=data)
    harm(broken.folder / name, kind)
    with pytest.warns(RecordWarning, match="beta-fold0"):
        found, _ = gather(all_records(tmp_path / "runs"), "sqlite:////nowhere/mlflow.db", data)
    assert found["id"].tolist() == [whole.config.cell]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        assert whole.folder.name in list(listing("runs", tmp_path).columns[0].cells)
        assert sync_all(tmp_path / "runs", mlflow_uri, SilentReporter()).written == 1
        assert find_run("alpha", tmp_path / "runs", mlflow_uri).records[0].folder == whole.folder
        with pytest.raises(UserError):
            find_run("beta", tmp_path / "runs", mlflow_uri)


def test_mlflow_is_never_told_less_than_it_knows(tmp_path: Path, entry_of, fake_record, mlflow_uri: str) -> None:
    record = fake_record(tmp_path / "runs", entry_of("alpha", "Alpha"), data="knows more")
    sync_all(tmp_path / "runs", mlflow_uri, SilentReporter())
    (before,) = fold_results(mlflow_uri, "knows more")
    (record.folder / "digests.json").unlink()
    (record.folder / "history.csv").unlink()
    record.save_metrics({key: value for key, value in record.metrics.items() if "auprc" not in key})
    record.finish(1.0)
    assert record.done
    assert sync_all(tmp_path / "runs", mlflow_uri, SilentReporter()).written == 0
    (after,) = fold_results(mlflow_uri, "knows more")
    assert after == before
    assert "phantom-tumours/auprc" in after.metrics


# --------------------------------------------------------------------------------------------------- a stranger's code


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.write_text, (self.trace, "code was run")


def test_hostile_checkpoints_are_refused_and_run_nothing(
    copy_of, cells, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    record, trace, heard = copy_of("ae"), tmp_path / "trace", Listener()
    (record.folder / "digests.json").unlink()
    for path in (record.best_checkpoint, record.last_checkpoint):
        content = torch.load(path, weights_only=True)
        torch.save({**content, "val_loss": Bomb(trace), "hyper_parameters": Bomb(trace)}, path)
    record.set_state("training", trained=False)
    with pytest.raises(RecordError, match="cannot be read as weights"):
        load_weights(record, job_of("ae", tiny_data, tiny_preset).detector())
    again = run_job(job_of("ae", tiny_data, tiny_preset), record.folder.parent, "cpu", heard)
    assert numbers(again) == numbers(cells["ae"])
    assert any("last.ckpt.broken" in line for line in heard.said)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["score.npz", "maps/tiny-tumours-tumours-0.npz"])
def test_hostile_arrays_are_refused_and_run_nothing(
    name: str, copy_of, cells, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    record, trace = copy_of("ae"), tmp_path / "trace"
    for gone in ("digests.json", "thresholds.json"):
        (record.folder / gone).unlink()
    path = record.folder / name
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{"score_map": np.array([Bomb(trace)], dtype=object)})
    again = run_job(job_of("ae", tiny_data, tiny_preset), record.folder.parent, "cpu", SilentReporter())
    assert numbers(again) == numbers(cells["ae"])
    assert not trace.exists()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(RecordError, match="is damaged"):
        read_arrays(path)
    assert not trace.exists()


METHOD = """
from pathlib import Path
from typing import ClassVar
import torch
from uadbench.methods import Detector, Frozen, MethodInfo, Row

Path({trace!r}).write_text("code was run")

class Settings(Frozen):
    pass

class Copy(Detector):
    info = MethodInfo(name="copy-cat", title="Copy", citation="nobody", year=None, rows=(Row("copy-cat", "Copy"),))
    Settings = Settings
    trainable = False
    def reconstruct(self, volume, scan):
        return volume * 0.5
"""


def test_a_method_file_is_run_only_if_the_record_says_so_and_it_is_the_file(
    copy_of, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    own = tmp_path / "copy_cat.py"
    own.write_text(METHOD.format(trace=str(trace)))
    record = run_job(job_of(str(own), tiny_data, tiny_preset), tmp_path / "runs", "cpu", SilentReporter())
    trace.unlink()
    with pytest.warns(UserWarning, match=r"method copy-cat is the code in .*method.py, which is run now"):
        find_run(str(record.folder), tmp_path / "runs", "").readers("cpu")
    assert trace.exists()
    trace.unlink()
    record.method_file.write_text(METHOD.format(trace=str(trace)) + "\n# another")
    with pytest.raises(UserError, match="not the file that the cell was run with"):
        find_run(str(record.folder), tmp_path / "runs", "").readers("cpu")
    built_in = copy_of("thresh")
    built_in.method_file.write_text(METHOD.format(trace=str(trace)).replace("copy-cat", "thresh"))
    find_run(str(built_in.folder), tmp_path / "runs", "").readers("cpu")
    assert not trace.exists()


def test_attempts_that_are_a_link_are_not_followed(copy_of, tmp_path: Path) -> None:
    record = copy_of("thresh")
    shutil.rmtree(record.folder / "attempts")
    (tmp_path / "precious").mkdir()
    (record.folder / "attempts").symlink_to(tmp_path / "precious")
    with pytest.raises(UserError, match="attempts is a link, perhaps to files of somebody else"):
        record.claimed({}).__enter__()
    assert list((tmp_path / "precious").iterdir()) == []


def test_a_record_from_before_there_were_attempts_goes_on(copy_of, tiny_data: Data, tiny_preset: Preset) -> None:
    record, heard = copy_of("ae"), Listener()
    shutil.rmtree(record.folder / "attempts")
    (record.folder / ".lock").write_text("process 1 (bench run)")
    assert record.done
    (record.folder / "digests.json").unlink()
    assert run_job(job_of("ae", tiny_data, tiny_preset), record.folder.parent, "cpu", heard).done
    assert heard.worked == []
    assert len(attempts_of(record.folder)) == 1


def test_attempts_are_no_part_of_the_numbers(copy_of) -> None:
    record = copy_of("thresh")
    (attempt,) = (record.folder / "attempts").iterdir()
    attempt.write_text("{}")
    assert record.done


def test_a_training_that_is_copied_into_another_cell_is_not_gone_on_with(
    copy_of, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    donor, job, heard = copy_of("ae"), job_of("ae", tiny_data, tiny_preset, fold=1), Listener()
    fresh = run_job(job, tmp_path / "fresh", "cpu", SilentReporter())
    other = record_of(tmp_path / "runs", job.cell)
    other.last_checkpoint.parent.mkdir(parents=True)
    shutil.copy(donor.last_checkpoint, other.last_checkpoint)
    assert numbers(run_job(job, tmp_path / "runs", "cpu", heard)) == numbers(fresh)
    assert any("belongs to another cell" in line for line in heard.said)


def test_what_a_killed_process_left_half_written_is_removed(copy_of, tiny_data: Data, tiny_preset: Preset) -> None:
    record = copy_of("thresh")
    left = [record.folder / ".metrics.json.ab12cd34.partial", record.folder / "checkpoints" / ".best.ckpt.x.partial"]
    for path in left:
        path.write_bytes(b"half")
    assert run_job(job_of("thresh", tiny_data, tiny_preset), record.folder.parent, "cpu", SilentReporter()).done
    assert not any(path.exists() for path in left)


def test_a_row_is_named_as_before(entry_of: Callable[..., SuiteRow], fake_record, tmp_path: Path) -> None:
    """The id that a config is the hash of is the id in its folder's name."""
    record = fake_record(tmp_path, entry_of("alpha", "Alpha"))
    assert record.done
    assert record.folder.name.endswith(record.config.cell)
