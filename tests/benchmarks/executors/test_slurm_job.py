"""What a job does on its node: it ends as its cell does, is warned, put in the queue again, and gives up at last.

submitit starts the task as it does in a job; its local environment stands for SLURM's, and ends a process that is to be
put in the queue again with a code of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from submitit.core.utils import DelayedSubmission
from submitit.local.local import LOCAL_REQUEUE_RETURN_CODE

from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors.base import AGAIN, DEFECT, DONE, USER
from uadbench.benchmarks.executors.batch.job import CellTask, end_of, progress_marks
from uadbench.benchmarks.executors.data_file import write_data
from uadbench.benchmarks.executors.spec import CellSpec
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import record_of
from uadbench.datasets.cohort import Data

from cases import run_jobs

#: A cell that waits for its warning, and then does as it is told: writes a checkpoint, does not, ends well, hangs.
CELL = """
import os, signal, sys, time
home, word = sys.argv[1:]
def warned(number, frame):
    open(os.path.join(home, "warned"), "a").write(signal.Signals(number).name + "\\n")
    time.sleep(0.3)  # another signal is heard meanwhile
    if word == "hangs":
        return
    if word == "checkpoint":
        os.makedirs(os.path.join(home, "record", "checkpoints"), exist_ok=True)
        open(os.path.join(home, "record", "checkpoints", "last.ckpt"), "a").write("one more epoch")
    os._exit(0 if word == "done" else 75)
for number in (signal.SIGUSR2, signal.SIGTERM):
    signal.signal(number, warned)
open(os.path.join(home, "ready"), "w").close()
time.sleep(60)
"""


@dataclass(frozen=True)
class Node:
    """A folder in which a job runs."""

    home: Path

    def task(self, word: str, patience: float = 20.0) -> CellTask:
        (self.home / "cell.py").write_text(CELL)
        return CellTask(
            command=(sys.executable, "-SI", str(self.home / "cell.py"), str(self.home), word),
            folder=str(self.home / "record"),
            end=str(self.home / "end.json"),
            log=str(self.home / "cell.log"),
            patience=patience,
        )

    def hand_in(self, task: CellTask) -> None:
        submission = DelayedSubmission(task)
        submission.set_timeout(60, 1000)
        submission.dump(self.home / "1_submitted.pkl")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the job as submitit does, with nothing of a cluster but its words."""
        environment = {**os.environ, "SUBMITIT_EXECUTOR": "local", "SUBMITIT_LOCAL_JOB_ID": "1"}
        for name in ("ready", "warned"):
            (self.home / name).unlink(missing_ok=True)
        with (self.home / "job.log").open("ab") as log:
            command = [sys.executable, "-m", "submitit.core._submit", str(self.home)]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def warn(self, number: int, *, all_of_them: bool) -> int:
        """Start the job, warn it when its cell computes, and wait for its end."""
        job = self.start()
        wait_until((self.home / "ready").exists)
        (os.killpg if all_of_them else os.kill)(job.pid, number)
        return job.wait(30)

    @property
    def fruitless(self) -> int:
        """How often in a row the cell has got no further, as it stands in the queue."""
        return int(DelayedSubmission.load(self.home / "1_submitted.pkl").function.fruitless)

    @property
    def end(self) -> dict[str, object]:
        return dict(json.loads((self.home / "end.json").read_text()))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_warned_job_is_put_in_the_queue_again(node: Node, all_of_them: bool) -> None:
    """SLURM warns every process of a job, submitit's own tests and other queues the first one alone."""
    node.hand_in(node.task("checkpoint"))
    assert node.warn(signal.SIGUSR2, all_of_them=all_of_them) == LOCAL_REQUEUE_RETURN_CODE
    assert set((node.home / "warned").read_text().split()) == {"SIGUSR2"}
    assert node.fruitless == 0
    assert not (node.home / "end.json").exists()


def test_a_job_that_gets_no_further_gives_up_the_fifth_time(node: Node) -> None:
    task = node.task("nothing")
    node.hand_in(task)
    assert node.warn(signal.SIGUSR2, all_of_them=True) == LOCAL_REQUEUE_RETURN_CODE
    assert node.fruitless == 1
    node.hand_in(replace(task, fruitless=4))
    assert node.warn(signal.SIGUSR2, all_of_them=True) == USER
    assert node.end["code"] == USER
    assert "5 times in a row before the cell got any further; give it more time" in str(node.end["problem"])


def test_one_that_ends_while_it_is_warned_is_not_put_in_the_queue_again(node: Node) -> None:
    node.hand_in(node.task("done"))
    assert node.warn(signal.SIGUSR2, all_of_them=True) == DONE
    assert node.end == {"code": DONE, "problem": "", "trace": ""}


def test_a_cell_that_does_not_heed_the_warning_is_killed_in_time_for_the_requeue(node: Node) -> None:
    node.hand_in(node.task("hangs", patience=1.0))
    assert node.warn(signal.SIGUSR2, all_of_them=True) == LOCAL_REQUEUE_RETURN_CODE
    assert node.fruitless == 1


def test_a_job_that_is_ended_warns_its_cell_and_leaves_the_end_to_the_queue(node: Node) -> None:
    """A preempting queue sends SIGTERM to every process, and puts the job in the queue again once it has killed it."""
    node.hand_in(node.task("checkpoint"))
    job = node.start()
    wait_until((node.home / "ready").exists)
    os.killpg(job.pid, signal.SIGTERM)
    wait_until((node.home / "record" / "checkpoints" / "last.ckpt").exists)
    time.sleep(0.3)
    assert job.poll() is None
    assert (node.home / "warned").read_text() == "SIGUSR2\n"
    assert not (node.home / "end.json").exists()
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()


@pytest.mark.slow
def test_a_real_cell_runs_in_a_job(node: Node, tiny_data: Data, tiny_preset: Preset) -> None:
    (job,) = jobs_for(select_rows(["thresh"]), (0,), tiny_data, tiny_preset, 0)
    runs = node.home / "runs"
    path = CellSpec.of(job, write_data(tiny_data, node.home / "specs"), runs, "cpu").write(node.home / "specs")
    command = (sys.executable, "-m", "uadbench", "cell", str(path))
    node.hand_in(replace(node.task(""), command=command, folder=str(runs / job.cell.label)))
    assert node.start().wait(120) == DONE
    assert node.end["code"] == DONE
    record = record_of(runs, job.cell)
    (alone,) = run_jobs([job], node.home / "alone", "cpu", 1, SilentReporter())
    numbers = {name: value for name, value in record.metrics.items() if not name.startswith("seconds")}
    assert record.done and numbers
    assert all(alone.record.metrics[name] == value for name, value in numbers.items())


def test_the_end_of_a_job_is_told_by_what_its_cell_printed() -> None:
    assert end_of(DONE, "anything").problem == ""
    assert end_of(-signal.SIGKILL, "half").model_dump() == {
        "code": AGAIN,
        "problem": "its process was killed (SIGKILL)",
        "trace": "",
    }
    assert end_of(USER, "  note\nerror: lower it\n\n").problem == "lower it"
    defect = end_of(DEFECT, "  note\nTraceback (most recent call last):\n  here\nValueError: no\n")
    assert (defect.problem, defect.trace.splitlines()[0]) == ("ValueError: no", "Traceback (most recent call last):")
    assert end_of(140, "Stopped. The same command goes on where it stopped.\n").code == AGAIN
    assert end_of(1, "").problem == "its process ended with exit code 1"


def test_what_is_written_at_every_start_is_no_progress(tmp_path: Path) -> None:
    assert progress_marks(tmp_path / "nowhere") == {}
    for name in (
        "config.json",
        "state.json",
        "history.csv",
        "attempts/000001.json",
        "checkpoints/.last.ckpt.1.partial",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert progress_marks(tmp_path) == {}
    (tmp_path / "scores.csv").write_text("a line")
    before = progress_marks(tmp_path)
    with (tmp_path / "scores.csv").open("a") as file:
        file.write("another")
    assert progress_marks(tmp_path) != before
