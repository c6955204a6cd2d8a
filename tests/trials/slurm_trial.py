"""Cells on a real SLURM, and what happens to jobs there: the numbers must be those of cells run one after the other.

    apt-get install slurm-wlm munge; pip install submitit
    python tests/trials/slurm_trial.py [SCENE ...]

A cluster of two nodes with a core each is started on this machine (`slurm_cluster.py`), whose arrays have four tasks at
most. Scenes:

    array      six cells, so two arrays; equal to cells run here
    failure    a method that fails beside others that do not: it fails alone
    cancelled  scancel of one job: told of, not handed in again; the same command does so
    driver     the driver is killed outright; its jobs go on, and the same command doubles none
    timeout    a cell that needs more time than a job has: warned, written down, put in the queue again
    preempted  a job of a better partition takes the node: put in the queue again by SLURM
    node       a node is lost with all its processes: put in the queue again by SLURM

SLURM keeps a job that was put in the queue again waiting for two minutes; the trial tells it not to. Every record and
all that MLflow holds is compared, seconds aside. Prints a table; exit code 1 where anything differs. About 15 minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kill_trial import BENCH, TINY, differing, make_place, records, size_of, tracked
from slurm_cluster import Cluster

SHORT = ("--method", "thresh", "--method", "ae", "--method", "vae", "--folds", "0,1")
#: What a method of one's own does on a node, and not where the driver tries it.
FAULT = """
        import os
        if "SLURM_JOB_ID" in os.environ:
            raise ValueError("there is a fault in me")
"""


@dataclass
class Scene:
    """One thing that happens to jobs, and what came of it.

    Attributes:
        name: of the scene.
        said: sentences of the driver that tell what happened.
        compared: numbers and words compared with cells run here.
        differ: how many of them differ.
        seconds: that it took.
        notes: what else was seen.
    """

    name: str
    said: list[str] = field(default_factory=list)
    compared: int = 0
    differ: int = 0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


class Stage:
    """The cluster, a working directory, and the numbers of cells that were run here.

    Args:
        place: the working directory.
        cluster: the cluster.
        epochs: of a cell that is disturbed.
    """

    def __init__(self, place: Path, cluster: Cluster, epochs: int) -> None:
        self.place = place
        self.cluster = cluster
        self.long = ("--method", "ae", "--set", f"train.epochs={epochs}", "--folds", "0")
        self._wanted: dict[Sequence[str], Path] = {}

    def start(self, results: str, cells: Sequence[str], *on: str) -> subprocess.Popen[str]:
        """Start `bench run`."""
        environment = {**os.environ, **self.cluster.environment, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        environment["MLFLOW_DISABLE_TELEMETRY"] = "true"
        environment.pop("MLFLOW_TRACKING_URI", None)
        data = ("--data", "clinic", "--preset", "tiny.toml", "--splits", "own", "--results", results)
        return subprocess.Popen(
            [str(BENCH), "run", *data, *cells, *on],
            cwd=self.place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, results: str, cells: Sequence[str], *on: str) -> tuple[int, str]:
        """Run `bench run` to its end; exit code and what it said."""
        process = self.start(results, cells, *on)
        try:
            said, _ = process.communicate()
        finally:
            process.kill()
        return process.returncode, said

    def on_slurm(self, words: str) -> tuple[str, ...]:
        """The options that run cells on the cluster."""
        return "--on", "slurm", "--slurm", words

    def compare(self, scene: Scene, results: str, cells: Sequence[str]) -> None:
        """Compare every number with that of the same cells, run one after the other in one process."""
        if cells not in self._wanted:
            folder = f"here-{len(self._wanted)}"
            code, said = self.run(folder, cells, "--on", "here")
            assert code == 0, said
            self._wanted[cells] = self.place / folder
        alone, there = ({**records(path), **tracked(path)} for path in (self._wanted[cells], self.place / results))
        scene.compared += size_of(alone)
        scene.differ += differing(alone, there)

    def waiting(self) -> list[str]:
        """The jobs that wait."""
        return self.cluster.ask("squeue", "--noheader", "--states=PENDING", "--array", "--format=%i").split()

    def running(self) -> list[tuple[str, str]]:
        """Job and node of those that run."""
        lines = self.cluster.ask("squeue", "--noheader", "--states=RUNNING", "--format=%i %N").splitlines()
        return [(job, node) for job, node in map(str.split, lines)]

    def hurry(self, process: subprocess.Popen[str], scene: Scene) -> str:
        """Wait for the driver, and let jobs that were put in the queue again begin at once; what it said."""
        requeued = 0
        while process.poll() is None:
            for line in self.cluster.ask("squeue", "--noheader", "--format=%i %T %r").splitlines():
                job, state, reason = line.split(maxsplit=2)
                if state == "PENDING" and reason == "BeginTime":
                    requeued += 1
                    self.cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now")
            time.sleep(2)
        scene.notes.append(f"{requeued} times put in the queue again")
        said, _ = process.communicate()
        assert process.returncode == 0, said
        return said

    def until_trained(self, results: str, process: subprocess.Popen[str], checkpoints: int = 1) -> None:
        """Wait until so many cells have a checkpoint and train on."""
        while process.poll() is None:
            if len(list((self.place / results / "runs").glob("*/checkpoints/last.ckpt"))) >= checkpoints:
                time.sleep(3)
                return
            time.sleep(0.2)


def kept(said: str, *words: str) -> list[str]:
    """The lines of an output that hold one of the words."""
    return [line.strip() for line in said.splitlines() if any(word in line for word in words)]


def array(stage: Stage, scene: Scene) -> None:
    """Six cells are two arrays, and equal to cells run here."""
    code, said = stage.run("array", SHORT, *stage.on_slurm("time=10"), "--parallel", "2")
    assert code == 0, said
    scene.said += kept(said, "handed in")
    scripts = sorted((stage.place / "array/slurm").glob("uadbench-*/*_submission.sh"))
    scene.notes += [line for path in scripts for line in kept(path.read_text(), "--array")]
    stage.compare(scene, "array", SHORT)


def failure(stage: Stage, scene: Scene) -> None:
    """A method of one's own fails on the nodes, beside two that do not."""
    subprocess.run([str(BENCH), "new-method", "broken"], cwd=stage.place, check=True, capture_output=True)
    file = stage.place / "broken.py"
    step = '"""Return the training loss'
    assert step in file.read_text()
    before, after = file.read_text().split(step)
    line, rest = after.split("\n", 1)
    file.write_text(f"{before}{step}{line}\n{FAULT}{rest}")
    cells = ("--method", "thresh", "--method", "broken.py", "--method", "ae", "--folds", "0,1")
    code, said = stage.run("failure", cells, *stage.on_slurm("time=10"))
    assert code == 2 and "2 of 6 cells failed, the others are done" in said, said
    scene.said += kept(said, "/6]")
    scene.notes.append(f"exit code {code}")


def cancelled(stage: Stage, scene: Scene) -> None:
    """One of two jobs is cancelled."""
    cells = (*stage.long[:-1], "0,1")
    process = stage.start("cancelled", cells, *stage.on_slurm("time=20"))
    stage.until_trained("cancelled", process, checkpoints=2)
    job, _ = stage.running()[0]
    stage.cluster.ask("scancel", job)
    said, _ = process.communicate()
    assert process.returncode == 2, said
    scene.said += kept(said, "was cancelled", "[")[-3:]
    code, said = stage.run("cancelled", cells, *stage.on_slurm("time=20"))
    assert code == 0, said
    scene.said += kept(said, "handed in")
    stage.compare(scene, "cancelled", cells)


def driver(stage: Stage, scene: Scene) -> None:
    """The driver is killed outright, and started again while its jobs run; then Ctrl-C, and again."""
    process = stage.start("driver", stage.long, *stage.on_slurm("time=20"))
    stage.until_trained("driver", process)
    process.kill()
    process.communicate()
    scene.notes.append(f"running without a driver: {len(stage.running())}")
    process = stage.start("driver", stage.long, *stage.on_slurm("time=20"))
    time.sleep(25)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    scene.said += kept(said, "goes on", "queue")
    code, said = stage.run("driver", stage.long, *stage.on_slurm("time=20"))
    assert code == 0, said
    scene.said += kept(said, "in the queue")
    scene.notes.append(f"arrays handed in: {len(list((stage.place / 'driver/slurm').glob('uadbench-*')))}")
    stage.compare(scene, "driver", stage.long)


def timeout(stage: Stage, scene: Scene) -> None:
    """A cell needs more than the two minutes of its job."""
    process = stage.start("timeout", stage.long, *stage.on_slurm("time=2,signal=30"))
    said = stage.hurry(process, scene)
    scene.said += kept(said, "[1/1]")
    (log,) = (stage.place / "timeout/slurm").glob("uadbench-*/*_log.out")
    scene.notes += [f"submitit: {line.partition(') - ')[2]}" for line in kept(log.read_text(), "Caught", "Requeued")][
        :4
    ]
    stage.compare(scene, "timeout", stage.long)


def preempted(stage: Stage, scene: Scene) -> None:
    """A job of a better partition wants both nodes for some seconds."""
    process = stage.start("preempted", stage.long, *stage.on_slurm("time=20,partition=low"))
    stage.until_trained("preempted", process)
    stage.cluster.ask(
        "sbatch", "--partition=high", "--nodes=2", "--time=2", "--output=/dev/null", "--wrap=srun sleep 5"
    )
    said = stage.hurry(process, scene)
    scene.said += kept(said, "[1/1]")
    stage.compare(scene, "preempted", stage.long)


def node(stage: Stage, scene: Scene) -> None:
    """The node of a job is lost, with every process on it, and comes back later."""
    process = stage.start("node", stage.long, *stage.on_slurm("time=20"))
    stage.until_trained("node", process)
    (_, name), *_ = stage.running()
    stage.cluster.lose_node(name)
    scene.notes.append(f"node {name} was lost")
    said = stage.hurry(process, scene)
    scene.said += kept(said, "[1/1]")
    stage.cluster.start_node(name)
    stage.cluster.wait_for_nodes()
    stage.compare(scene, "node", stage.long)


SCENES: tuple[Callable[[Stage, Scene], None], ...] = (array, failure, cancelled, driver, timeout, preempted, node)


def main() -> int:
    """Play the scenes, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help="default: all")
    parser.add_argument("--epochs", type=int, default=2500, help="of a cell that is disturbed; a minute and a half")
    options = parser.parse_args()
    names = [scene.__name__ for scene in SCENES]
    wanted = options.scenes or names
    if not set(wanted) <= set(names):
        parser.error(f"choose among {', '.join(names)}")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and so would `bench`
    place = Path(tempfile.mkdtemp(prefix="slurm_trial_"))
    make_place(place)
    (place / "tiny.toml").write_text(TINY.read_text().replace("depth = 100", "depth = 12"))
    found = []
    with Cluster(place / "cluster", max_array_size=4) as cluster:
        stage = Stage(place, cluster, options.epochs)
        for play in SCENES:
            if play.__name__ not in wanted:
                continue
            scene = Scene(play.__name__)
            began = time.monotonic()
            play(stage, scene)
            scene.seconds = time.monotonic() - began
            found.append(scene)
            for line in (*scene.said, *scene.notes):
                print(f"  {scene.name}: {line}", flush=True)
            print(f"  {scene.name}: {scene.compared} compared, {scene.differ} differ", flush=True)
        left = [process for name in cluster.nodes for process in cluster.processes_on(name)]
    print("\n| scene | compared | differ | s |\n|---|--:|--:|--:|")
    for scene in found:
        print(f"| {scene.name} | {scene.compared} | {scene.differ} | {scene.seconds:.0f} |")
    print(f"\nprocesses left on the nodes: {len(left)}")
    shutil.rmtree(place)
    return 1 if left or any(scene.differ for scene in found) else 0


if __name__ == "__main__":
    sys.exit(main())
