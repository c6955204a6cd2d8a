"""A cell that somebody else takes over: whoever lost it changes nothing any more, whatever it was doing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.samples import Sample
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.attempts import ATTEMPTS, Attempt, attempts_of, last_holder
from uadbench.benchmarks.records.claims import Claim, LostClaimError
from uadbench.benchmarks.records.fence import FencedFolder
from uadbench.benchmarks.records.record import SCORES, RunRecord, record_of
from uadbench.datasets.cohort import Data

from cases import TESTS, TINY

#: A cell that writes all that a cell can write.
ROW, CHANGES = "ae+mahalanobis", ["score.keep=reconstructions"]


def job_of(data: Data) -> Job:
    return jobs_for(select_rows([ROW]), (0,), data, load_preset(str(TINY), CHANGES), 0)[0]


def draw(samples: Sequence[Sample], path: Path, min_voxels: int) -> None:
    path.write_bytes(b"\x89PNG")


def numbers(record: RunRecord) -> dict[str, Any]:
    metrics = {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}
    history = [(line.epoch, line.train_loss, line.val_loss) for line in record.history()]
    return {"metrics": metrics, "history": history, "thresholds": record.thresholds}


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and content, without what is being written."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".partial"
    }


@pytest.fixture(scope="module")
def undisturbed(tiny_data: Data, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return run_job(job_of(tiny_data), tmp_path_factory.mktemp("runs"), "cpu", SilentReporter(), draw)


def take_over(cell: Path) -> Path:
    """What a process on another machine does that takes a cell over."""
    number = last_holder(cell).number  # type: ignore[union-attr]
    attempt = Attempt.here({}, 60.0)
    mark = attempt.process.model_copy(update={"host": "node7"})
    path = cell / ATTEMPTS / f"{number + 1:06d}.json"
    path.write_text(attempt.model_copy(update={"process": mark}).text())
    FencedFolder(cell, lambda: None).shut_out(SCORES)  # another thread of ours may be between its check and its rename
    return path


def test_a_cell_that_is_lost_at_any_moment_stays_as_it_is_and_comes_to_the_same_numbers(
    undisturbed: RunRecord, tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, rng, check = job_of(tiny_data), random.Random(0), Claim.check
    cell = record_of(tmp_path, job.cell).folder
    left, strangers, seen = 0, [], {}

    def lossy(claim: Claim) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            seen.clear()
            strangers.append(take_over(cell))
            seen.update(tree(cell))
        check(claim)

    monkeypatch.setattr(Claim, "check", lossy)
    done = False
    while not done:
        left = rng.randint(1, 50)
        try:
            run_job(job, tmp_path, "cpu", SilentReporter(), draw)
            done = True
        except LostClaimError:
            assert tree(cell) == seen
            assert not list(cell.rglob("*.partial"))
            os.utime(strangers[-1], (0, 0))
    assert len(strangers) > 4
    record = RunRecord(cell)
    assert record.done
    assert numbers(record) == numbers(undisturbed)
    assert {path.name for path in cell.iterdir()} == {path.name for path in undisturbed.folder.iterdir()}


class Robber(SilentReporter):
    """Takes the cell over in the second step of the training, and counts the steps."""

    def __init__(self, cell: Path) -> None:
        self._cell = cell
        self.steps = 0

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[Robber]:  # type: ignore[override]
        self._trains = title.startswith("train")
        yield self

    def advance(self, steps: int = 1) -> None:
        self.steps += self._trains
        if self._trains and self.steps == 2:
            take_over(self._cell)
            time.sleep(1)

    def note(self, text: str) -> None: ...


def test_a_training_ends_soon_though_it_writes_nothing_for_a_while(tiny_data: Data, tmp_path: Path) -> None:
    preset = load_preset(str(TINY), ["train.checkpoint_minutes=1000"])
    job = jobs_for(select_rows(["ae"]), (0,), tiny_data, preset, 0)[0]
    cell = record_of(tmp_path, job.cell).folder
    robber = Robber(cell)
    with pytest.raises(LostClaimError, match="was taken over by process .* on node7"):
        run_job(job, tmp_path, "cpu", robber, lease=0.3)
    assert robber.steps == 2
    assert not (cell / "checkpoints" / "last.ckpt").exists()


SCRIPT = """
    import os, signal, sys, threading
    from contextlib import contextmanager
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import torch
    from cases import TINY
    from conftest import make_tiny_data
    from uadbench.benchmarks.engine.cell_run import run_job
    from uadbench.benchmarks.engine.job import jobs_for
    from uadbench.benchmarks.engine.progress import SilentReporter
    from uadbench.benchmarks.plan.preset import load_preset
    from uadbench.benchmarks.plan.suite import select_rows
    from uadbench.benchmarks.records.fence import FencedFolder

    torch.set_num_threads({threads})
    folder = Path({folder!r})
    data = make_tiny_data(folder / "data")

    def draw(samples, path, min_voxels):
        path.write_bytes(b"PNG")

    def run(row, changes=(), lease=2.0):
        job = jobs_for(select_rows([row]), (0,), data, load_preset(str(TINY), list(changes)), 0)[0]
        return run_job(job, folder / "runs", "cpu", SilentReporter(), draw, lease=lease)
"""
FREEZE = """
    def freeze():
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # stops all threads, and this one at once

    replace, opened, times = Path.replace, FencedFolder.opened, []

    def freezing_replace(self, target):
        if Path(target).name == {moment!r} and not times:
            times.append(1)
            freeze()  # all is checked, and the file is not there yet
        return replace(self, target)

    @contextmanager
    def freezing_opened(self, name):
        with opened(self, name) as file:
            if name == {moment!r} and not times:
                times.append(1)
                freeze()
            yield file

    Path.replace, FencedFolder.opened = freezing_replace, freezing_opened
    try:
        run({row!r}, {changes!r})
    except Exception as error:
        print(type(error).__name__, error)
"""


def script(folder: Path, text: str, **words: object) -> str:
    begin = textwrap.dedent(SCRIPT).format(tests=str(TESTS), folder=str(folder), threads=_threads())
    return begin + textwrap.dedent(text).format(**words)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def stopped(process: subprocess.Popen[str]) -> bool:
    """Wait until a process stands still; False where it has ended."""
    return os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["last.ckpt", "scores.csv"])
def test_a_process_that_wakes_after_its_lease_has_changed_nothing(
    moment: str, undisturbed: RunRecord, tiny_data: Data, tmp_path: Path
) -> None:
    """Frozen between the last check and the rename, or the line: nothing can be asked any more."""
    code = script(tmp_path, FREEZE, moment=moment, row=ROW, changes=CHANGES)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert stopped(process)
        job = job_of(tiny_data)
        cell = record_of(tmp_path / "runs", job.cell).folder
        deadline = time.monotonic() + 60
        while (holder := last_holder(cell)) is not None and holder.is_alive:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        record = run_job(job, tmp_path / "runs", "cpu", SilentReporter(), draw)
        before = tree(cell)
        process.send_signal(signal.SIGCONT)
        said, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert said.startswith(f"LostClaimError the cell {cell} ")
    assert tree(cell) == before
    assert not list(cell.rglob("*.partial"))
    assert record.done
    assert numbers(record) == numbers(undisturbed)
    first, second = attempts_of(cell)
    assert first.how == "lost" and first.problem.startswith("it gave no sign of life for ")
    assert second.how == "done"


AUDIT = """
    runs, doors = str(folder / "runs"), ("fence.py", "claims.py", "attempts.py")
    strays, writes, watched = set(), 0, True

    def is_fenced():
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename.endswith(tuple("/records/" + door for door in doors)):
                return True
            frame = frame.f_back
        return False

    def watch(event, words):
        global writes
        if event == "open":
            writing = bool((words[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        else:
            writing = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink",
                                "os.truncate", "os.utime", "os.chmod", "shutil.rmtree", "shutil.move")
        if watched and writing and any(str(word).startswith(runs + "/") for word in words[:2]):
            writes += 1
            if not is_fenced():
                strays.add((event, str(words[0])[len(runs):]))

    own = folder / "own.py"
    own.write_text(\"\"\"{own}\"\"\")
    sys.addaudithook(watch)
    cell = run("ae+mahalanobis", ["score.keep=reconstructions"]).folder
    run("ae", ["score.keep=reconstructions"])  # takes over what the other has
    try:
        run(str(own))
    except ZeroDivisionError:
        pass
    watched = False
    (cell / "digests.json").write_text("broken")
    (cell / "checkpoints/best.ckpt").write_bytes(b"broken")
    watched = True
    again = run("ae+mahalanobis", ["score.keep=reconstructions"])
    print(again.done, writes, sorted(strays))
"""
OWN = """
from uadbench.methods import Detector, Frozen, MethodInfo, Row

class Settings(Frozen):
    pass

class Failing(Detector):
    info = MethodInfo(name='failing', title='F', citation='nobody', year=None, rows=(Row('failing', 'F'),))
    Settings = Settings
    trainable = False
    def reconstruct(self, volume, scan):
        return 1 / 0
"""


@pytest.mark.slow
def test_no_file_of_a_cell_is_written_past_the_fence(tmp_path: Path) -> None:
    """Python itself tells of every file that is opened for writing, renamed, removed or touched below the runs."""
    done = subprocess.run(
        [sys.executable, "-c", script(tmp_path, AUDIT, own=OWN)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    is_done, writes, strays = done.stdout.strip().split(maxsplit=2)
    assert (is_done, json.loads(strays.replace("'", '"').replace("(", "[").replace(")", "]"))) == ("True", [])
    assert int(writes) > 300
    names = {path.name for path in (tmp_path / "runs").glob("*/*")}
    assert names >= {"error.log", "method.py", "reconstructions", "cost.json", "score.npz", "figures", "attempts"}
