"""Whatever scheduler or launcher started the process: a cell is one process, and its numbers are the same."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only

from uadbench.benchmarks.contract import checks as contract
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import RunRecord
from uadbench.datasets.cohort import Data
from uadbench.methods.ae import AE

from cases import TESTS

RANKS = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "3"}
SCHEDULERS = {
    "slurm": {
        "SLURM_JOB_NAME": "bench",
        "SLURM_JOB_ID": "77",
        "SLURM_NTASKS": "2",
        "SLURM_PROCID": "1",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "1",
        "SLURM_NODELIST": "node[1-2]",
        "SLURM_STEP_NODELIST": "node[1-2]",
    },
    "slurm per node": {"SLURM_JOB_NAME": "bench", "SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "2"},
    "slurm without tasks": {"SLURM_JOB_NAME": "bench", "SLURM_JOB_ID": "77", "SLURM_NTASKS": "oops"},
    "lsf": {
        "LSB_JOBID": "77",
        "LSB_DJOB_RANKFILE": "/nowhere",
        "JSM_NAMESPACE_LOCAL_RANK": "1",
        "JSM_NAMESPACE_RANK": "1",
        "JSM_NAMESPACE_SIZE": "2",
    },
    "torchelastic": {**RANKS, "TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "1", "NODE_RANK": "1"},
    "kubeflow": {**RANKS, "KUBERNETES_PORT": "tcp://10.0.0.1:443"},
    "mpi": {**RANKS, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1", "PMI_SIZE": "2"},
    "lightning's own": {**RANKS, "PL_TRAINER_MAX_EPOCHS": "1", "PL_TRAINER_LIMIT_TRAIN_BATCHES": "0"},
}


def run(data: Data, preset: Preset, folder: Path) -> RunRecord:
    return run_job(jobs_for(select_rows(["ae"]), (0,), data, preset, 0)[0], folder, "cpu", SilentReporter())


def numbers(record: RunRecord) -> dict[str, float]:
    return {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}


@pytest.fixture(scope="module")
def plain(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """The cell as it is without any scheduler."""
    return run(tiny_data, tiny_preset, tmp_path_factory.mktemp("plain"))


@pytest.fixture(params=SCHEDULERS.values(), ids=SCHEDULERS)
def scheduled(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of a scheduler, a foreign rank, and a checkpoint of Lightning's requeueing where a job looks."""
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.chdir(tmp_path)
    torch.save({"epoch": 5}, tmp_path / "hpc_ckpt_1.ckpt")
    if request.node.callspec.id == "mpi":  # detected by asking mpi4py, which is not installed here
        from lightning.fabric.plugins.environments import MPIEnvironment

        monkeypatch.setattr(MPIEnvironment, "detect", staticmethod(lambda: True))


@pytest.mark.usefixtures("scheduled")
def test_a_cell_has_the_same_numbers_under_every_scheduler(
    plain: RunRecord, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    before = dict(os.environ)
    record = run(tiny_data, tiny_preset, tmp_path / "runs")
    assert numbers(record) == numbers(plain)
    assert [(line.train_loss, line.val_loss) for line in record.history()] == [
        (line.train_loss, line.val_loss) for line in plain.history()
    ]
    assert {name: os.environ.get(name) for name in before if not name.startswith("PL_")} == {
        name: value for name, value in before.items() if not name.startswith("PL_")
    }


@pytest.mark.usefixtures("scheduled")
def test_the_contract_is_checked_under_every_scheduler() -> None:
    contract.check_detector(AE, str(TESTS / "tiny.toml"))


def test_lightning_imported_inside_srun_installs_no_handlers_of_its_own(tmp_path: Path) -> None:
    """In a process of its own, because Lightning reads the rank when it is imported."""
    script = textwrap.dedent(f"""
        import signal, sys
        sys.path.insert(0, {str(TESTS)!r})
        from pathlib import Path
        from cases import TINY
        from conftest import make_tiny_data
        from uadbench.benchmarks.engine import training
        from uadbench.benchmarks.engine.cell_run import run_job
        from uadbench.benchmarks.engine.job import jobs_for
        from uadbench.benchmarks.plan.preset import load_preset
        from uadbench.benchmarks.engine.progress import SilentReporter
        from uadbench.benchmarks.plan.suite import select_rows
        seen = set()
        advance = training.TrainingCallback.on_train_batch_end
        def watched(self, *words):
            seen.add(signal.getsignal(signal.SIGUSR1))
            advance(self, *words)
        training.TrainingCallback.on_train_batch_end = watched
        folder = Path({str(tmp_path)!r})
        job = jobs_for(select_rows(["ae"]), (0,), make_tiny_data(folder), load_preset(str(TINY)), 0)[0]
        assert run_job(job, folder / "runs", "cpu", SilentReporter()).done
        assert seen == {{signal.SIG_DFL}}, seen
    """)
    environment = {**os.environ, **SCHEDULERS["slurm"]}
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert "SLURM" not in answer.stderr
