"""The command line: quick help, one sentence and exit code 2 for user errors."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app

BENCH = Path(sys.executable).with_name("bench")


def bench(*words: str, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "160", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [str(BENCH), *words]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def test_help_answers_at_once(tmp_path: Path) -> None:
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        answer = bench("--help", cwd=tmp_path)
        seconds.append(time.perf_counter() - started)
    assert answer.returncode == 0
    for command in (
        "run",
        "table",
        "list",
        "speed",
        "figure",
        "sync",
        "ui",
        "prepare",
        "check",
        "predict",
        "export",
        "import",
    ):
        assert command in answer.stdout
    assert min(seconds) < 0.5


def test_help_imports_no_heavy_library() -> None:
    heavy = ("torch", "pandas", "mlflow", "numpy", "pydantic", "uadbench.datasets.registry")
    probe = f"import sys, uadbench.benchmarks.commands.app; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_every_command_knows_the_short_form_of_help_and_the_program_its_version(tmp_path: Path) -> None:
    runner = CliRunner()
    for words in (
        ["-h"],
        ["run", "-h"],
        ["score", "-h"],
        ["figure", "-h"],
        ["figure", "cohort", "-h"],
        ["splits", "-h"],
    ):
        short, long = runner.invoke(app, words), runner.invoke(app, [*words[:-1], "--help"])
        assert short.exit_code == long.exit_code == 0 and short.stdout == long.stdout and "--help" in short.stdout
    assert runner.invoke(app, ["--version"]).stdout == f"uadbench {metadata.version('uadbench')}\n"


def test_a_backend_of_the_users_that_is_not_installed_here_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    answer = bench("list", "presets", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    CliRunner().invoke(app, ["list", "presets"])
    assert os.environ["MPLBACKEND"].startswith("module://"), "as a library, nothing of the user's is changed"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "--method", "maedif"), "there is no method 'maedif'"),
        (("run", "--method", "thresh", "--data", "nowhere"), "there is no such directory"),
        (("run", "--method", "thresh", "--preset", "nothing"), "there is no preset 'nothing'"),
        (("run", "--method", "thresh", "--set", "train.epoch=1"), "no number train.epoch"),
        (("run", "--method", "thresh", "--device", "tpu"), "choose auto, cpu or cuda"),
        (("list", "everything"), "choose one of"),
        (("list", "presets", "--markdown"), "only methods"),
        (("list", "methods", "--markdown", "--preset", "nothing"), "there is no preset 'nothing'"),
        (("speed", "--method", "maedif"), "there is no method 'maedif'"),
        (("speed", "--method", "ae", "--preset", "nothing"), "there is no preset 'nothing'"),
        (("speed", "--method", "ae", "--device", "tpu"), "choose auto, cpu or cuda"),
        (("score", "--method", "thresh", "--score", "sim"), "no score 'sim'; choose one of l1, l2, mahalanobis, ssim"),
        (("predict", "scan.nii.gz", "--run", "nothing", "--out", "maps"), "no cell or parent of that name"),
        (("predict", "a.nii", "--run", "x", "--mask", "m.nii", "--mask", "n.nii", "--out", "m"), "1 scans and 2 masks"),
        (("check", "nowhere"), "nowhere is no directory"),
        (("run", "--method", "thresh", "--folds", "٣"), "write all, or indices such as 0,2"),
        (("run", "--method", "thresh", "--folds", "-1"), "write all, or indices such as 0,2"),
        (("run", "--method", "thresh", "--folds", "0,0"), "fold 0 stands there 2 times; write it once"),
        (("run", "--method", "ae", "--set", "score.median=2"), "score.median must be odd"),
        (("run", "--method", "pddpm-s48", "--set", "patch.stride=16"), "the row pddpm-s48 fixes patch.stride at 48"),
        (("run", "--method", "thresh", "--set", "preparation.side=abc"), "preparation.side must be a whole number"),
        (("run", "--method", "thresh", "--set", "unet.channels=16"), "nothing that thresh does depends on it"),
        (("table", "2", "--set", "patch.stride=48"), "every row of this table fixes that"),
        (("table", "1", "--method", "maediff", "--set", "patch.stride=8"), "the row maediff fixes patch.stride at 16"),
        (("speed", "--method", "maediff", "--set", "patch.stride=8"), "the row maediff fixes patch.stride at 16"),
        (("table", "7"), "choose"),
        (("table", "1", "--format", "docx"), "choose"),
    ],
)
def test_a_user_error_is_one_sentence_and_exit_code_2(
    words: tuple[str, ...], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 2, answer.stderr
    assert sentence in answer.stderr
    assert "Traceback" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--seed", "-1"),
        ("--seed", "5000000000"),
        ("--seed", "x"),
        ("--jobs", "-1"),
        ("--jobs", "100000"),
        ("--results", "file"),
    ],
)
def test_a_number_out_of_range_and_a_file_for_a_folder_are_refused(
    words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    answer = CliRunner().invoke(app, ["run", "--method", "thresh", *words])
    assert answer.exit_code == 2
    assert f"Invalid value for '{words[0]}'" in answer.stderr.replace("\n", " ")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    if words[0] == "--results":
        monkeypatch.setenv("UADBENCH_RESULTS", "file")
        assert CliRunner().invoke(app, ["list", "runs"]).exit_code == 2


def test_a_process_of_its_own_ends_with_that_sentence_and_code(tmp_path: Path) -> None:
    answer = bench("run", "--method", "maedif", cwd=tmp_path)
    assert answer.returncode == 2
    assert "there is no method 'maedif'" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr


def test_a_library_that_a_bare_node_lacks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    (tmp_path / "Train/ixi/t2").mkdir(parents=True)
    (tmp_path / "Train/ixi/t2/a_t2.nii.gz").write_bytes(b"")
    answer = CliRunner().invoke(app, ["check", str(tmp_path), "--jobs", "1"])
    assert answer.exit_code == 2
    assert "nibabel is not installed here, and this command needs it; pip install nibabel" in answer.output


def test_no_gpu_is_one_sentence(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    answer = bench("run", "--method", "thresh", "--device", "cuda", cwd=tmp_path)
    assert answer.returncode == 2
    assert "sees no GPU" in answer.stderr


def test_list_methods_names_every_row_with_its_source(tmp_path: Path) -> None:
    answer = bench("list", "methods", cwd=tmp_path)
    for word in ("thresh", "ae", "anoddpm", "pddpm-s48", "pddpm-s16", "maediff", "Behrendt", "Baur"):
        assert word in answer.stdout
