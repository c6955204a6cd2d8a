"""The driver of SLURM jobs, with commands of SLURM that only pretend: arrays, failures, losses, drivers that go away.

`tests/trials/slurm_trial.py` does the same on the real thing. A cell's own command is replaced by one that copies a
record made before, so that a test takes seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors.base import Outcome
from uadbench.benchmarks.executors.batch.arrays import shares
from uadbench.benchmarks.executors.batch.queue import QueueError
from uadbench.benchmarks.executors.batch.watch import Pace
from uadbench.benchmarks.executors.batch.words import read_wish
from uadbench.benchmarks.executors.data_file import write_data
from uadbench.benchmarks.executors.registry import executor_for
from uadbench.benchmarks.executors.slurm import Slurm, _outside_jobs
from uadbench.benchmarks.executors.spec import CellSpec
from uadbench.benchmarks.opening import open_request
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.request import Request, Where
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

from cases import run_jobs

FAKE = Path(__file__).with_name("fake_slurm.py")
#: Takes the place of `bench cell`: does what stands in `behaviour` of the cell's label, once, or copies its record.
CELL = """
import json, os, shutil, signal, sys, time
spec = json.load(open(sys.argv[1]))
home = os.path.dirname(os.path.abspath(__file__))
behaviour = os.path.join(home, spec["label"] + ".behaviour")
words = open(behaviour).read().split() if os.path.exists(behaviour) else []
if words:
    open(behaviour, "w").write(" ".join(words[1:]))
    if words[0] == "user":
        print("Error: lower something", file=sys.stderr)
        sys.exit(2)
    if words[0] == "defect":
        print("Traceback (most recent call last):\\nValueError: ours", file=sys.stderr)
        sys.exit(3)
    if words[0] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if words[0] in ("lost", "further"):
        if words[0] == "further":
            os.makedirs(os.path.join(spec["runs"], spec["label"]), exist_ok=True)
            open(os.path.join(spec["runs"], spec["label"], "scores.csv"), "a").write("a volume")
        os.killpg(0, signal.SIGKILL)
    if words[0] == "long":
        time.sleep(600)
shutil.copytree(os.path.join(home, "golden", spec["label"]), os.path.join(spec["runs"], spec["label"]),
                dirs_exist_ok=True)
"""


class Quick(Slurm):
    """The executor without patience."""

    pace: ClassVar[Pace] = Pace(look=0.05, ask=0.2, say=0.5, settle=0.5)


class Ear(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)

    @property
    def text(self) -> str:
        return "\n".join(self.heard)


class Cluster:
    """The pretended cluster, a results folder and the cells of four records that were made before."""

    def __init__(self, home: Path, specs: tuple[CellSpec, ...]) -> None:
        self.state = home / "state"
        self.home = home
        self.results = home / "results"
        self.specs = specs

    def tell(self, name: str, text: str = "") -> None:
        (self.state / name).write_text(text)

    def behave(self, spec: CellSpec, *words: str) -> None:
        (self.home / f"{spec.label}.behaviour").write_text(" ".join(words))

    def executor(self, words: str = "time=60", parallel: int = 0) -> Quick:
        return Quick(read_wish(words), "cpu", self.results, parallel)

    def run(self, ear: Ear, parallel: int = 0, specs: Sequence[CellSpec] = ()) -> dict[str, Outcome]:
        outcomes = self.executor(parallel=parallel).run(specs or self.specs, ear)
        return {outcome.spec.label: outcome for outcome in outcomes}

    @property
    def scripts(self) -> list[str]:
        paths = sorted(self.state.glob("*.script"), key=lambda path: int(path.stem))
        return [path.read_text() for path in paths]


@pytest.fixture(scope="module")
def golden(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of four cells."""
    folder = tmp_path_factory.mktemp("golden")
    jobs = jobs_for(select_rows(["thresh", "mean-brain"]), (0, 1), tiny_data, tiny_preset, 0)
    assert all(not outcome.problem for outcome in run_jobs(jobs, folder / "golden", "cpu", 1, SilentReporter()))
    return folder


@pytest.fixture
def cluster(
    golden: Path, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster]:
    commands = tmp_path / "bin"
    commands.mkdir()
    (tmp_path / "state").mkdir()
    for name in ("sbatch", "squeue", "scontrol", "scancel", "srun"):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} -SI {FAKE} {name} "$@"\n')
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "state"))
    (tmp_path / "golden").symlink_to(golden / "golden")
    (tmp_path / "cell.py").write_text(CELL)
    monkeypatch.setattr(Quick, "command", (sys.executable, "-SI", str(tmp_path / "cell.py")))
    jobs = jobs_for(select_rows(["thresh", "mean-brain"]), (0, 1), tiny_data, tiny_preset, 0)
    place = write_data(tiny_data, tmp_path / "results" / "specs")
    specs = tuple(CellSpec.of(job, place, tmp_path / "results" / "runs", "cpu") for job in jobs)
    made = Cluster(tmp_path, specs)
    yield made
    for path in made.state.glob("*.name"):
        os.spawnlp(os.P_WAIT, "scancel", "scancel", path.stem)


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ----------------------------------------------------------------------------------------------- arrays and their cells


@pytest.mark.slow
def test_cells_are_dealt_out_to_arrays_and_one_that_fails_fails_alone(cluster: Cluster) -> None:
    cluster.tell("limits", "3")
    bad, defective = cluster.specs[1], cluster.specs[2]
    cluster.behave(bad, "user")
    cluster.behave(defective, "defect")
    ear = Ear()
    outcomes = cluster.run(ear, parallel=2)
    assert outcomes.keys() == {spec.label for spec in cluster.specs}
    assert {label for label, outcome in outcomes.items() if not outcome.problem and outcome.record.done} == {
        cluster.specs[0].label,
        cluster.specs[3].label,
    }
    assert (outcomes[bad.label].end.code, outcomes[bad.label].problem) == (2, "lower something")
    assert (outcomes[defective.label].end.code, outcomes[defective.label].problem) == (3, "ValueError: ours")
    assert outcomes[defective.label].end.trace.startswith("Traceback")
    assert len(cluster.scripts) == 2
    for script in cluster.scripts:
        assert "#SBATCH --array=0-1%1" in script and "#SBATCH --requeue" in script
        assert "#SBATCH --time=60" in script and "#SBATCH --signal=USR2@120" in script
        assert "dependency" not in script and "kill-on-bad-exit" not in script
    assert "SLURM: 4 cells handed in, arrays 1, 2" in ear.text


@pytest.mark.slow
def test_a_lost_job_is_handed_in_once_more_and_a_second_loss_is_the_last(cluster: Cluster) -> None:
    once, twice, killed, further = cluster.specs
    cluster.behave(further, "further", "further")
    cluster.behave(once, "lost")
    cluster.behave(twice, "lost", "lost")
    cluster.behave(killed, "killed")
    ear = Ear()
    outcomes = cluster.run(ear)
    assert not outcomes[once.label].problem and outcomes[once.label].record.done
    assert not outcomes[killed.label].problem and outcomes[killed.label].record.done
    assert (
        "ended as NODE_FAIL" in outcomes[twice.label].problem
        and "results/slurm/uadbench-" in outcomes[twice.label].problem
    )
    assert f"{killed.short}: its process was killed (SIGKILL); it is handed in once more" in ear.text
    assert not outcomes[further.label].problem and outcomes[further.label].record.done
    assert (
        ear.text.count(f"{further.short}: its job") == ear.text.count("it has got further, and is handed in again") == 2
    )


@pytest.mark.slow
def test_a_cancelled_job_is_not_handed_in_again_but_by_the_next_command(cluster: Cluster) -> None:
    spec = cluster.specs[0]
    cluster.behave(spec, "long")
    outcomes = cluster.executor().run([spec], Ear())
    cluster.tell("held")
    started = next_outcome(outcomes, lambda: bool(cluster.scripts))
    os.spawnlp(os.P_WAIT, "scancel", "scancel", "1")
    (cluster.state / "held").unlink()
    outcome = started()
    assert outcome.problem == "its job 1 was cancelled; what was finished is kept: the same command goes on"
    cluster.behave(spec)
    assert not cluster.run(Ear(), specs=[spec])[spec.label].problem


def next_outcome(outcomes: Iterator[Outcome], begun: Callable[[], bool]) -> Callable[[], Outcome]:
    """Start an executor in a thread; returns, once it has begun, what waits for its first outcome."""
    from concurrent.futures import ThreadPoolExecutor

    future = ThreadPoolExecutor(1).submit(next, outcomes)
    wait_until(begun)
    return future.result


# ---------------------------------------------------------------------------------------- drivers that go away and come


@pytest.mark.slow
def test_the_next_driver_takes_up_the_jobs_of_the_one_before(cluster: Cluster) -> None:
    cluster.tell("held")
    ear = Ear()
    first = cluster.executor().run([*cluster.specs], ear)
    started = next_outcome(first, lambda: len(cluster.scripts) == 1 and "handed in" in ear.text)
    second = cluster.executor().run(cluster.specs, other := Ear())
    also = next_outcome(second, lambda: "already in the queue" in other.text)
    (cluster.state / "held").unlink()
    assert not started().problem and not also().problem
    assert {outcome.spec.label for outcome in second} | {also().spec.label} == {spec.label for spec in cluster.specs}
    assert len(cluster.scripts) == 1
    assert "SLURM: 4 cells already in the queue" in other.text
    first.close()
    assert (
        "What waits or runs on SLURM (3 cells) goes on without this terminal" in ear.text and "`scancel 1`" in ear.text
    )
    assert cluster.run(Ear()).keys() == {spec.label for spec in cluster.specs}
    assert len(cluster.scripts) == 1  # all are done: nobody is asked


@pytest.mark.slow
def test_a_controller_that_is_down_for_a_while_costs_a_sentence(cluster: Cluster) -> None:
    spec = cluster.specs[0]
    cluster.tell("held")
    started = next_outcome(cluster.executor().run([spec], ear := Ear()), lambda: "handed in" in ear.text)
    cluster.tell("down", "yes")
    wait_until(lambda: "warning: squeue gives no answer" in ear.text)
    (cluster.state / "held").unlink()
    time.sleep(0.5)
    (cluster.state / "down").unlink()
    assert not started().problem
    assert ear.text.count("gives no answer") == 1


@pytest.mark.slow
def test_where_slurm_takes_no_more_jobs_the_others_are_handed_in_later(cluster: Cluster) -> None:
    cluster.tell("limits", "2")
    cluster.tell("most", "1")
    outcomes = cluster.run(ear := Ear())
    assert all(not outcome.problem for outcome in outcomes.values()) and len(outcomes) == 4
    assert len(cluster.scripts) == 2
    assert "(job submit limit)" in ear.text and "; 2 cells to be handed in later" in ear.text


def test_a_driver_in_a_job_hands_its_own_job_on_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SLURM_JOB_ID", "77"), ("SLURM_MEM_PER_CPU", "1"), ("SLURM_CONF", "/etc/slurm.conf")):
        monkeypatch.setenv(name, value)
    with _outside_jobs():
        assert "SLURM_JOB_ID" not in os.environ and "SLURM_MEM_PER_CPU" not in os.environ
        assert os.environ["SLURM_CONF"] == "/etc/slurm.conf"
    assert os.environ["SLURM_JOB_ID"] == "77"


def test_what_slurm_refuses_is_one_sentence(cluster: Cluster) -> None:
    cluster.tell("refuses", "Invalid partition name specified")
    with pytest.raises(QueueError, match=r"SLURM refuses the jobs \(.*Invalid partition name specified\)"):
        cluster.run(Ear())
    cluster.tell("refuses")
    cluster.tell("down", "yes")
    with pytest.raises(QueueError, match="squeue gives no answer .*Unable to contact slurm controller"):
        cluster.run(Ear())


def test_dry_run_shows_the_script(cluster: Cluster) -> None:
    cluster.tell("limits", "3")
    words = "partition=gpu,time=12:00:00,gpus=1,cpus-per-task=4,exclusive,setup=module load cuda"
    script = cluster.executor(words, parallel=4).submission([spec.label for spec in cluster.specs])
    for line in (
        "--array=0-1%2", "--partition=gpu", "--time=720", "--gpus=1", "--cpus-per-task=4", "--exclusive", "--requeue",
        "--signal=USR2@120", "--open-mode=append",
    ):  # fmt: skip
        assert f"\n#SBATCH {line}\n" in script
    assert "\nmodule load cuda\n" in script
    assert "srun --unbuffered" in script and "--cpus-per-task=4 " in script.partition("srun ")[2]
    assert "1 more arrays like it, as one has at most 3 tasks" in script
    assert not cluster.scripts


def test_a_machine_without_slurm_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="no sbatch on this machine's path; start the run on a login node"):
        executor_for(Where(on="slurm", slurm="time=60"), "cpu", tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"), [("partion=gpu,time=60", "did you mean partition"), ("time=60", "there is no sbatch")]
)
def test_what_cannot_be_is_said_before_the_data_are_prepared(
    words: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    request = Request(methods=("thresh",), results=tmp_path / "results", where=Where(on="slurm", slurm=words))
    with pytest.raises(UserError, match=sentence):
        open_request(request, SilentReporter())
    assert not (tmp_path / "results").exists()


def test_a_job_with_a_gpu_computes_on_it_wherever_the_driver_runs(cluster: Cluster) -> None:
    spec = cluster.specs[0]
    task = cluster.executor("time=60,gpus=1")._task(spec, array_of(spec))
    assert json.loads(Path(task.command[-1]).read_text())["device"] == "cuda"
    task = cluster.executor("time=60")._task(spec, array_of(spec))
    assert json.loads(Path(task.command[-1]).read_text())["device"] == "cpu"


def array_of(spec: CellSpec):
    from uadbench.benchmarks.executors.batch.arrays import Array

    return Array.of([spec.label])


@given(st.integers(1, 60), st.integers(1, 12), st.integers(0, 20))
def test_shares_hold_every_cell_once_and_keep_to_both_limits(count: int, most: int, parallel: int) -> None:
    dealt = shares(range(count), most, parallel)
    assert sorted(cell for share in dealt for cell in share.cells) == list(range(count))
    assert all(1 <= len(share.cells) <= most and 1 <= share.at_a_time <= len(share.cells) for share in dealt)
    assert len(dealt) == -(-count // most)
    together = sum(share.at_a_time for share in dealt if share.after is None)
    assert together <= (parallel or count)
    for number, share in enumerate(dealt):
        if share.after is not None:
            assert share.after < number and share.at_a_time == 1
    if not parallel:
        assert all(share.at_a_time == len(share.cells) for share in dealt)
