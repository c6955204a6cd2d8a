"""The user's commands on a directory of scans: run, table, sync, with MLflow up and down."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from uadbench.benchmarks.commands.app import app

from cases import TINY

BENCH = Path(sys.executable).with_name("bench")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, write_scan: Callable[..., None]) -> Path:
    """A directory `clinic` with ten healthy and four MS scans, and no tumour set."""
    root = tmp_path_factory.mktemp("user")
    rng = np.random.default_rng(0)
    x, y, z = np.mgrid[:120, :120, :14]
    for number in range(14):
        mask = np.hypot(x - 60, y - 60) < rng.uniform(48, 56)
        t2 = np.where(mask, 300 + 60 * np.cos(x / rng.uniform(6, 9)) + rng.normal(0, 5, mask.shape), 0)
        if number < 10:
            write_scan(root / "clinic/Train/ixi", f"IXI{number:03d}-Guys-0{number:03d}", {"t2": t2, "mask": mask})
            continue
        lesion = (np.hypot(x - 60 - 2 * number, y - 50) < 9) & (z > 2) & (z < 11)
        parts = {"t2": np.where(lesion, 520, t2), "mask": mask, "seg": lesion}
        write_scan(root / "clinic/Test/MSLUB", f"patient{number:02d}", parts)
    preset = TINY.read_text().replace("depth = 100", "depth = 12")
    (root / "small.toml").write_text(preset)
    return root


def bench_with_mlflow_at(uri: str, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    notebook = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # not installed here: `!bench` in another's
    environment = {**os.environ, "COLUMNS": "200", "MLFLOW_TRACKING_URI": uri, **notebook}
    return subprocess.run(
        [str(BENCH), *words], cwd=place, env=environment, capture_output=True, text=True, timeout=400, check=False
    )


@pytest.fixture
def bench(place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in this process, which saves it the imports, with MLflow's store where nothing says otherwise."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return lambda *words: CliRunner().invoke(app, words)


RUN = ("run", "--method", "thresh", "--method", "ae", "--data", "clinic", "--preset", "small.toml", "--splits", "own")


@pytest.mark.slow
def test_run_then_table_then_again(place: Path, bench: Callable[..., Result]) -> None:
    down = bench_with_mlflow_at("http://127.0.0.1:9", place, *RUN, "--folds", "0,1")
    assert down.returncode == 0, down.stderr
    assert "bench sync" in down.stderr and "Traceback" not in down.stderr
    assert down.stderr.count("warning:") == 1
    assert len(list(place.glob("results/runs/*/figures/*.png"))) == 4
    synced = bench("sync")
    assert "4 cells written" in synced.stderr, synced.stderr
    again = bench("sync")
    assert "0 cells written, 4 were there already" in again.stderr, again.stderr

    table = bench("table", "1", "--data", "clinic", "--preset", "small.toml", "--format", "markdown", "--paper")
    assert table.exit_code == 0, table.stderr
    lines = {line.split("|")[1].strip(): line for line in table.stdout.splitlines() if line.startswith("|")}
    ae = next(line for name, line in lines.items() if name.startswith("AE"))
    assert "–" in ae, "the missing tumour set is a dash"
    assert "±" in ae
    assert "145.12" in table.stdout, "the published row stands beside ours"

    repeated = bench(*RUN, "--folds", "0,1")
    assert repeated.exit_code == 0
    assert "Cells: 4, of which 4 are done" in repeated.stderr


def test_a_directory_without_data_is_one_sentence(place: Path, bench: Callable[..., Result]) -> None:
    (place / "empty").mkdir(exist_ok=True)
    answer = bench("run", "--method", "thresh", "--data", "empty")
    assert answer.exit_code == 2
    assert "Train/ixi" in answer.stderr and "Traceback" not in answer.stderr
