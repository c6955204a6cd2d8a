"""A cell as plain data: what is read is what was written; another version, other data, another method are refused."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.executors import spec as spec_module
from uadbench.benchmarks.executors.data_file import DataPlace, write_data
from uadbench.benchmarks.executors.spec import CellSpec
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.handed_out import handed_out
from uadbench.benchmarks.records.record import RunRecord
from uadbench.datasets.cohort import Data
from uadbench.datasets.store.copy import copied_store
from uadbench.datasets.store.store import VolumeStore
from uadbench.errors import DataError, UserError

OWN = """
import torch
from uadbench.methods import Detector, Frozen, MethodInfo, Row, Scan

class Brightest(Detector):
    info = MethodInfo("brightest", "Brightest", "none", 2026, (Row("brightest", "Brightest"),))
    trainable = False

    class Settings(Frozen):
        pass

    def reconstruct(self, volume: torch.Tensor, scan: Scan) -> torch.Tensor:
        return torch.zeros_like(volume)
"""


def specs_of(jobs: list[Job], folder: Path) -> list[CellSpec]:
    place = write_data(jobs[0].data, folder / "specs")
    return [CellSpec.of(job, place, folder / "runs", "cpu") for job in jobs]


def written(spec: CellSpec, folder: Path) -> CellSpec:
    return CellSpec.read(spec.write(folder))


def test_every_row_comes_back_as_the_same_cell(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    jobs = jobs_for(select_rows(["all", "ae+ssim"]), (0, 1), tiny_data, tiny_preset, 3)
    for job, spec in zip(jobs, specs_of(jobs, tmp_path), strict=True):
        found = written(spec, tmp_path / "specs").job()
        assert found.cell.id == spec.cell == job.cell.id
        assert found.config() == job.config()
        assert found.test_scans("tumours") == job.test_scans("tumours")
    assert {(one.label, one.title, one.fold) for one in handed_out(tmp_path)} == {
        (job.cell.label, job.entry.row.title, job.fold) for job in jobs
    }


def test_a_method_of_the_users_own_travels_as_text(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "brightest.py"
    path.write_text(OWN)
    (job,) = jobs_for(select_rows([str(path)]), (0,), tiny_data, tiny_preset, 0)
    (spec,) = specs_of([job], tmp_path)
    assert spec.own is not None
    monkeypatch.delitem(sys.modules, job.entry.method.__module__)
    path.unlink()
    found = written(spec, tmp_path).job()
    assert found.cell.id == job.cell.id and found.entry.method is not job.entry.method
    edited = spec.model_copy(update={"own": spec.own.model_copy(update={"text": OWN + "\nx = 1\n"})})
    with pytest.raises(UserError, match=f"{spec.label} would be the cell"):
        edited.job()


def test_other_code_data_or_methods_are_refused(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job,) = jobs_for(select_rows(["thresh"]), (0,), tiny_data, tiny_preset, 0)
    (spec,) = specs_of([job], tmp_path)
    with pytest.raises(UserError, match="no method 'nonsense' is known here|there is no method 'nonsense'"):
        spec.model_copy(update={"method": "nonsense"}).job()
    with pytest.raises(UserError, match="would be the cell"):
        spec.model_copy(update={"seed": 1}).job()
    fewer = replace(tiny_data, splits=replace(tiny_data.splits, healthy_test=tiny_data.splits.healthy_test[1:]))
    other = spec.model_copy(update={"data": write_data(fewer, tmp_path / "other")})
    with pytest.raises(UserError, match="would be the cell"):
        other.job()
    monkeypatch.setattr(spec_module, "PROTOCOL_VERSION", spec.protocol + 1)
    with pytest.raises(UserError, match=f"under protocol version {spec.protocol}, .* install the same version"):
        spec.job()


def test_a_data_file_that_was_changed_or_is_gone_is_refused(tiny_data: Data, tmp_path: Path) -> None:
    place = write_data(tiny_data, tmp_path)
    assert place.open().fingerprint == tiny_data.fingerprint
    path = Path(place.path)
    path.write_text(path.read_text().replace("tiny", "tony"))
    with pytest.raises(UserError, match="was changed since this cell was handed out"):
        place.open()
    path.unlink()
    with pytest.raises(UserError, match=r"cannot be read here: .* must be seen by every machine"):
        place.open()


def test_a_spec_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "cell.json"
    with pytest.raises(UserError, match="cannot be read: No such file"):
        CellSpec.read(path)
    for text in ("{", "{}", "[]", '{"cell": 1}'):
        path.write_text(text)
        with pytest.raises(UserError, match="is no cell that `bench run` of this version has handed out"):
            CellSpec.read(path)


def test_a_store_is_copied_once_and_checked(tiny_data: Data, tmp_path: Path) -> None:
    store, scratch = tiny_data.healthy.store, tmp_path / "scratch"
    copy = copied_store(store.folder, scratch, store.fingerprint)
    for subject in store.ids:
        assert np.array_equal(VolumeStore.open(copy).volume(subject), store.volume(subject))
    stamp = (copy / "volumes.npy").stat().st_mtime_ns
    assert copied_store(store.folder, scratch, store.fingerprint) == copy
    assert (copy / "volumes.npy").stat().st_mtime_ns == stamp
    place = write_data(tiny_data, tmp_path)
    opened = place.open(scratch)
    assert opened.healthy.store.folder == copy and opened.fingerprint == tiny_data.fingerprint


def test_a_damaged_store_is_not_copied(tiny_data: Data, tmp_path: Path) -> None:
    store = tiny_data.healthy.store
    damaged = tmp_path / "damaged"
    shutil.copytree(store.folder, damaged)
    volumes = np.load(damaged / "volumes.npy", mmap_mode="r+")
    volumes[-1, 0, 0, 0] += 1
    volumes.flush()
    with pytest.raises(DataError, match="was damaged on disk"):
        copied_store(damaged, tmp_path / "scratch", store.fingerprint)
    assert not [path for path in (tmp_path / "scratch").iterdir() if path.suffix == "" and path.is_dir()]
    with pytest.raises(DataError, match="cannot be copied|holds no finished volume store"):
        copied_store(tmp_path / "nowhere", tmp_path / "scratch", store.fingerprint)


def test_bench_cell_ends_with_a_code(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    jobs = jobs_for(select_rows(["thresh", "mean-brain"]), (0,), tiny_data, tiny_preset, 0)
    done, moved = specs_of(jobs, tmp_path)
    run = CliRunner()
    good = run.invoke(app, ["cell", str(done.write(tmp_path / "specs")), "--scratch", str(tmp_path / "scratch")])
    assert good.exit_code == 0, good.output
    assert RunRecord(tmp_path / "runs" / done.label).done
    assert [path for path in (tmp_path / "scratch").iterdir() if path.is_dir()]
    moved = moved.model_copy(update={"data": DataPlace(path=str(tmp_path / "gone.json"), sha256="0" * 64)})
    bad = run.invoke(app, ["cell", str(moved.write(tmp_path / "specs"))])
    assert bad.exit_code == 2 and "gone.json cannot be read here" in bad.output


def test_bench_cell_tells_defects_and_stops_apart(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uadbench.methods.thresh import Thresh

    (job,) = jobs_for(select_rows(["thresh"]), (0,), tiny_data, tiny_preset, 0)
    path = specs_of([job], tmp_path)[0].write(tmp_path / "specs")
    for error, code, words in ((KeyError("ours"), 3, "KeyError: 'ours'"), (KeyboardInterrupt(), 75, "was stopped")):

        def fail(self: Thresh, volume: torch.Tensor, scan: object, error: BaseException = error) -> None:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(Thresh, "reconstruct", fail)
            result = CliRunner().invoke(app, ["cell", str(path)])
        assert result.exit_code == code and words in result.output, result.output
    assert json.loads(path.read_text())["cell"] == job.cell.id
