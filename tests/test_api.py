"""`import uadbench`: quick, the same as the commands, and safe in a notebook, a thread and a script."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import uadbench
from uadbench.benchmarks.api import _change_words, _folds_word, _method_words
from uadbench.datasets.cohort import Data
from uadbench.methods.ae import AE

from cases import TINY, untold

PYTHON = [sys.executable, "-c"]


def python(code: str) -> str:
    answer = subprocess.run([*PYTHON, code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_import_is_quick_and_imports_nothing_heavy() -> None:
    probe = (
        "import sys, time; started = time.perf_counter(); import uadbench; seconds = time.perf_counter() - started;"
        "dir(uadbench); heavy = ('torch', 'lightning', 'pandas', 'numpy', 'mlflow', 'pydantic', 'rich', 'typer');"
        "print(seconds, [name for name in heavy if name in sys.modules])"
    )
    answers = [python(probe).split(" ", 1) for _ in range(3)]
    assert {heavy for _, heavy in answers} == {"[]"}
    assert min(float(seconds) for seconds, _ in answers) < 0.15


def test_reading_results_imports_no_torch() -> None:
    probe = (
        "import sys, uadbench; uadbench.load_results, uadbench.read_cell, uadbench.predict, uadbench.run;"
        "print([name for name in ('torch', 'lightning', 'mlflow') if name in sys.modules])"
    )
    assert python(probe) == "[]"


def test_every_public_name_is_there() -> None:
    assert dir(uadbench) == sorted(uadbench.__all__)
    assert all(getattr(uadbench, name) is not None for name in uadbench.__all__)
    assert uadbench.run.__module__ == "uadbench.benchmarks.api"
    assert issubclass(uadbench.DataError, uadbench.UserError)
    with pytest.raises(AttributeError, match="no attribute 'runs'"):
        uadbench.runs  # noqa: B018


def test_the_module_is_the_command() -> None:
    answer = subprocess.run([sys.executable, "-m", "uadbench", "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout == f"uadbench {uadbench.__version__}\n"


# ----------------------------------------------------------------------------------------------------------------- run


@pytest.fixture
def tiny_run(tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setattr("uadbench.benchmarks.opening.open_data", lambda *words, **more: tiny_data)
    monkeypatch.setattr("uadbench.benchmarks.experiment.telling", untold)
    common = {"preset": TINY, "results": tmp_path / "results", "device": "cpu"}
    return lambda *words, **more: uadbench.run(*words, **common, **more)


def test_a_run_gives_a_row_per_cell(tiny_run: Callable[..., Any], tmp_path: Path) -> None:
    cells = tiny_run(["ae", "thresh"], folds=[0, 1], changes={"train.epochs": 2}, jobs=2, quiet=True)
    assert list(zip(cells["row"], cells["fold"], strict=True)) == [("ae", 0), ("ae", 1), ("thresh", 0), ("thresh", 1)]
    assert cells["done"].all() and cells["tumours/dice"].between(0, 1).all()
    everything = uadbench.load_results(tmp_path / "results").to_dataframe().set_index("id")
    assert everything.loc[cells["id"], "tumours/dice"].tolist() == cells["tumours/dice"].tolist()
    assert uadbench.read_cell(cells["id"][0], tmp_path / "results").metrics["tiny-tumours/dice"] == pytest.approx(
        cells["tumours/dice"][0]
    )


def test_quiet_is_quiet_and_else_progress_goes_to_stderr(
    tiny_run: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    tiny_run("thresh", folds=0, on="here", quiet=True)
    assert capfd.readouterr() == ("", "")
    tiny_run("thresh", folds="1", on="here")
    told = capfd.readouterr()
    assert told.out == "" and "Cells: 1, of which 0 are done." in told.err and "tiny ms Dice" in told.err


def test_scoring_again_is_a_function_too(tiny_run: Callable[..., Any], tmp_path: Path) -> None:
    options = {"preset": TINY, "results": tmp_path / "results", "device": "cpu", "on": "here", "quiet": True}
    with pytest.raises(uadbench.UserError, match="no trained weights to score"):
        uadbench.score("ae", by="ssim", folds=0, **options)
    changes = {"train.epochs": 2}
    (plain,) = tiny_run("ae", folds=0, on="here", changes=changes, quiet=True)["id"]
    other = uadbench.score("ae", by="ssim", folds=0, changes=changes, **options)
    assert other["row"].tolist() == ["ae+ssim"] and other["id"].tolist() != [plain]


@pytest.mark.slow
@pytest.mark.parametrize("on", ["here", "processes"])
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_notebook_has_a_running_loop_threads_and_handlers_of_its_own(
    on: str, in_thread: bool, tiny_run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel runs a cell inside its event loop; a widget calls from a thread."""
    monkeypatch.setenv("MPLBACKEND", "svg")
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]

    def call() -> Any:
        jobs = 2 if on == "processes" else 0
        return tiny_run(["ae", "thresh"], folds=0, on=on, jobs=jobs, changes={"train.epochs": 2}, quiet=True)

    async def cell() -> Any:
        return await asyncio.to_thread(call) if in_thread else call()

    assert asyncio.run(cell())["done"].tolist() == [True, True]
    assert [signal.getsignal(number) for number in numbers] == before
    assert os.environ["MPLBACKEND"] == "svg"


# -------------------------------------------------------------------------------------------------------- scripts


SCRIPT = """
import uadbench
print("begun", flush=True)
{}
"""
CALL = 'uadbench.run("thresh", folds=0, quiet=True)'


def run_script(path: Path, text: str) -> subprocess.CompletedProcess[str]:
    path.write_text(text)
    return subprocess.run([sys.executable, path.name], cwd=path.parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (SCRIPT.format(CALL), 4),
        (SCRIPT.format(f"def main():\n    {CALL}\nmain()"), 6),
        (SCRIPT.format("import helper"), 4),
    ],
)
def test_a_script_that_its_workers_would_run_again_is_one_sentence(text: str, line: int, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text(f"import uadbench\n{CALL}\n")
    answer = run_script(tmp_path / "mine.py", text)
    assert answer.returncode == 1
    assert answer.stdout == "begun\n", "nobody ran the script again"
    last = answer.stderr.strip().splitlines()[-1]
    assert f"mine.py, line {line}: each worker process imports this script and would run it again" in last
    assert 'put the call below `if __name__ == "__main__":`, or do everything in one process with on="here"' in last
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "text",
    [
        SCRIPT.format(f'if __name__ == "__main__":\n    {CALL}'),
        SCRIPT.format(f'def main():\n    {CALL}\n\nif __name__ == "__main__":\n    main()'),
        SCRIPT.format(CALL.replace("quiet", 'on="here", quiet')),
    ],
)
def test_a_guarded_script_is_run(text: str, tmp_path: Path) -> None:
    """As far as the data, which are not there."""
    answer = run_script(tmp_path / "mine.py", text.replace('"thresh"', '"thresh", data="nowhere"'))
    assert answer.stderr.strip().splitlines()[-1].endswith("there is no such directory; give one, or `phantom`")


def test_a_method_of_the_script_itself_is_refused(tmp_path: Path) -> None:
    """Nobody could say later which code made its numbers."""
    text = """
        import uadbench
        from uadbench.methods import MethodInfo, Row
        from uadbench.methods.thresh import Thresh
        class Mine(Thresh):
            info = MethodInfo("mine", "mine", "nobody", None, (Row("mine", "mine"),))
        if __name__ == "__main__":
            uadbench.register(Mine)
            for method in (Mine, "mine"):
                try:
                    uadbench.run(method, folds=0, quiet=True)
                except uadbench.UserError as error:
                    print(error)
    """
    answer = run_script(tmp_path / "script.py", "\n".join(line[8:] for line in text.splitlines()))
    lines = answer.stdout.splitlines()
    assert len(lines) == 2, answer.stderr
    assert all(
        line.startswith("Mine is defined in the notebook or script that runs; put it into a file") for line in lines
    )


# ----------------------------------------------------------------------------------------------------------- its words


def test_arguments_become_the_words_of_the_command_line() -> None:
    changes = {"train.epochs": 20, "optimizer.decay": "none", "train.tf32": False, "score.windows": [0.5, 1.5]}
    words = ("train.epochs=20", 'optimizer.decay="none"', "train.tf32=false", "score.windows=[0.5, 1.5]")
    assert _change_words(changes) == words
    assert _change_words("train.epochs=2") == ("train.epochs=2",)
    assert [_folds_word(folds) for folds in ("all", 1, [0, 2], range(2))] == ["all", "1", "0,2", "0,1"]
    assert _method_words(["table1", AE]) == ["table1", *(row.name for row in AE.info.rows)]
    with pytest.raises(uadbench.UserError, match="give numbers, texts, truth values or lists"):
        _change_words({"train.epochs": {1, 2}})
    with pytest.raises(uadbench.UserError, match="no modality 't3': choose one of t1, t1ce, t2, flair, pd"):
        uadbench.run("thresh", modality="t3")
    with pytest.raises(uadbench.UserError, match="--on cluster: choose here, processes, ray, slurm"):
        uadbench.run("thresh", on="cluster")


def test_a_class_in_a_file_is_named_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_file.py").write_text(
        "from uadbench.methods import MethodInfo, Row\nfrom uadbench.methods.thresh import Thresh\n"
        'class Mine(Thresh):\n    info = MethodInfo("mine", "mine", "nobody", None, (Row("mine", "mine"),))\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from my_file import Mine  # type: ignore[import-not-found]

    assert _method_words(Mine) == [f"{tmp_path / 'my_file.py'}:Mine"]


# ------------------------------------------------------------------------------------------------------------ new scans


@pytest.mark.slow
def test_an_array_and_its_file_are_predicted_alike(small_phantom: Path, phantom_scan: Path) -> None:
    import nibabel as nib

    uadbench.run("thresh", folds=0, on="here", quiet=True)
    image = nib.load(phantom_scan)
    array = np.asarray(image.dataobj)
    options = {"run": "thresh", "skull_strip": "none", "atlas": "mni152", "quiet": True}
    by_file = uadbench.predict(phantom_scan, out=small_phantom / "maps", **options)
    by_array = uadbench.predict(array, affine=image.affine, **options)
    assert by_file.score.shape == by_file.scan.shape == by_file.lesions.shape == array.shape
    np.testing.assert_array_equal(by_array.score, by_file.score)
    np.testing.assert_array_equal(by_file.affine, image.affine)
    assert by_file.lesions.dtype == bool and by_file.spread is None
    threshold = by_file.account["threshold"]["value"]  # at the border of a voxel of the prepared scan both are blurred
    assert np.median(by_file.score[by_file.lesions]) > threshold > np.quantile(by_file.score[~by_file.lesions], 0.99)
    voxel_ml = abs(np.linalg.det(image.affine[:3, :3])) / 1000
    assert by_file.components["volume_ml"].sum() == pytest.approx(by_file.lesions.sum() * voxel_ml, rel=0.2)
    assert by_file.files["score"] == small_phantom / "maps" / "scan_score.nii.gz"
    assert all(path.is_file() for path in by_file.files.values())
    assert by_array.files == {} and {path.name for path in small_phantom.iterdir()} == {"results", "maps"}
    with pytest.raises(uadbench.UserError, match="an array needs affine="):
        uadbench.predict(array, **options)
    with pytest.raises(uadbench.UserError, match=r"three dimensions \[X, Y, Z\]"):
        uadbench.predict(array[0], affine=image.affine, **options)
    with pytest.raises(uadbench.DataError, match="nowhere"):
        uadbench.predict("nowhere.nii.gz", **options)
