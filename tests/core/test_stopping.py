"""Ctrl-C and SIGTERM at several moments of real commands: a sentence, the code that shells know, nothing left behind.

`tests/trials/kill_trial.py` tries many more moments, and compares the numbers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cases import TINY

BENCH = Path(sys.executable).with_name("bench")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory `clinic` of ten healthy scans and four with lesions, and a preset for it."""
    root = tmp_path_factory.mktemp("stopping")
    x, y, _ = np.mgrid[:120, :120, :14]
    for number in range(14):
        mask = np.hypot(x - 60, y - 60) < 48 + number / 2
        t2 = np.where(mask, 300 + 60 * np.cos(x / (6 + number / 5)), 0)
        healthy = number < 10
        name = f"IXI{number:03d}-Guys-0{number:03d}" if healthy else f"patient{number:02d}"
        lesion = np.hypot(x - 60 - 2 * number, y - 50) < 9
        parts = {"t2": t2, "mask": mask} if healthy else {"t2": np.where(lesion, 520, t2), "mask": mask, "seg": lesion}
        for part, array in parts.items():
            folder = root / "clinic" / ("Train/ixi" if healthy else "Test/MSLUB") / part
            folder.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), folder / f"{name}.nii.gz")
    preset = TINY.read_text().replace("depth = 100", "depth = 12").replace("epochs = 6", "epochs = 6000")
    (root / "long.toml").write_text(preset)
    return root


def children_of(process: int) -> list[int]:
    """All processes below a process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    found = [child for child, parent in parents.items() if parent == process]
    return found + [below for child in found for below in children_of(child)]


RUN = ("run", "--method", "ae", "--data", "clinic", "--preset", "long.toml", "--splits", "own", "--folds", "0,1")
Moment = Callable[[int, Path], bool]


def seconds(count: float) -> Moment:
    """That long after the start."""
    end: list[float] = []

    def passed(process: int, results: Path) -> bool:
        end[:] = end or [time.monotonic() + count]
        return time.monotonic() > end[0]

    return passed


def starting(word: bytes) -> Moment:
    """A worker process of that kind is there, and imports."""

    def begun(process: int, results: Path) -> bool:
        lines = []
        for child in children_of(process):
            with suppress(OSError):
                lines.append(Path(f"/proc/{child}/cmdline").read_bytes())
        return any(word in line for line in lines)

    return begun


def checkpoint(process: int, results: Path) -> bool:
    """The training is under way."""
    return bool(list(results.glob("runs/*/checkpoints/last.ckpt")))


GOES_ON, ANEW = "Stopped. The same command goes on where it stopped.", "Stopped. The same command begins anew."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "moment", "delay", "number", "group", "said"),
    [
        (RUN, seconds(1.0), 0, signal.SIGTERM, False, GOES_ON),
        ((*RUN, "--jobs", "2"), starting(b"spawn_main"), 0.5, signal.SIGINT, True, GOES_ON),
        ((*RUN, "--jobs", "2"), checkpoint, 0.3, signal.SIGTERM, True, GOES_ON),
        (("check", "clinic", "--jobs", "2"), starting(b"forkserver"), 0.1, signal.SIGINT, True, ANEW),
        (("prepare", "phantom", "--nifti", "{out}"), starting(b"forkserver"), 2.0, signal.SIGTERM, True, GOES_ON),
        (("predict", "scan.nii.gz", "--run", "nothing", "--out", "x"), seconds(1.0), 0, signal.SIGTERM, True, GOES_ON),
    ],
)
def test_a_stop_is_a_sentence_and_leaves_nothing_behind(
    words: tuple[str, ...],
    moment: Moment,
    delay: float,
    number: signal.Signals,
    group: bool,
    said: str,
    place: Path,
    tmp_path: Path,
) -> None:
    results = place / "results"  # one for all, so that the volumes are prepared once
    environment = {**os.environ, "UADBENCH_RESULTS": str(results), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [str(BENCH), *(word.format(out=tmp_path / "out") for word in words)]
    with subprocess.Popen(
        command, cwd=place, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not moment(process.pid, results):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        below = children_of(process.pid)
        (os.killpg if group else os.kill)(process.pid, number)
        _, output = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert output.splitlines()[-1] == said, output
    for word in ("Traceback", "Error", "Aborted", "lack of memory"):
        assert word not in output, output
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}/cmdline").is_file() for child in below):
        assert time.monotonic() < deadline, "a process was left behind"
        time.sleep(0.05)
    for path in results.rglob("*.json"):
        json.loads(path.read_text())
