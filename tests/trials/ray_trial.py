"""Cells on real Ray clusters, and what befalls them: nodes, workers and drivers that die, freeze or are stopped.

    python tests/trials/ray_trial.py                  # everything, about ten minutes on two cores
    python tests/trials/ray_trial.py --only frozen    # the incidents whose name holds that word

Twelve small cells are run one after the other in one process; these are the numbers that everybody else must have, bit
for bit. Then a head without cores and three nodes of one core each are started on this machine, each with a raylet of
its own, and the same cells are run over the head's client server while something happens. Last, `--on ray` starts
clusters of its own. After each incident the records and what MLflow holds are compared, and a line says what came of
it: cells that began more than once, MLflow runs that tell of the same cell, processes that outlived the run. Exit code
1 where anything differs, is told twice or is left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_trial import BENCH, below, differing, make_place, records, size_of, tracked

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

METHODS = ("thresh", "ae", "vae", "dae")
RUN = ("run", "--data", "clinic", "--preset", "small.toml", "--splits", "own", "--folds", "0,1,2")
STORE = 80 * 2**20
#: Nodes that do not answer are given up after seconds, and not after a minute as Ray does by itself.
HEALTH = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
PATIENCE = 240.0


def start(place: Path, results: str, *on: str) -> subprocess.Popen[str]:
    """Start the command in a session of its own; one thread everywhere, so that numbers are the same."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS"):
        environment.pop(name, None)
    chosen = [word for method in METHODS for word in ("--method", method)]
    return subprocess.Popen(
        [str(BENCH), *RUN, *chosen, "--results", results, *on],
        cwd=place,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for a command that must end well; what it said."""
    _, output = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, f"exit code {process.returncode}\n{output}"
    return output


def until(found: Callable[[], Any], what: str, process: subprocess.Popen[str] | None = None) -> Any:
    """What a function returns as soon as that is something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        thing = found()
        if thing:
            return thing
        if process is not None and process.poll() is not None:
            raise AssertionError(f"the command ended before there was {what}:\n{process.communicate()[1]}")
        time.sleep(0.02)
    raise AssertionError(f"there was no {what} within {PATIENCE:.0f} s")


# ------------------------------------------------------------------------------------------------- what records say


def attempts(folder: Path) -> list[dict[str, Any]]:
    """The attempts at a cell, from its folder; a file that is being written is left out."""
    found = []
    for path in sorted((folder / "attempts").glob("[0-9]*.json")):
        try:
            found.append(json.loads(path.read_text()))
        except (OSError, ValueError):
            continue
    return found


def cells(results: Path) -> list[Path]:
    """The folders of all cells."""
    return sorted(path for path in (results / "runs").glob("*") if path.is_dir())


def state(folder: Path) -> dict[str, Any]:
    """A cell's state; empty where there is none yet."""
    try:
        return dict(json.loads((folder / "state.json").read_text()))
    except (OSError, ValueError):
        return {}


def working(results: Path, status: str) -> tuple[Path, int] | None:
    """A cell that is being trained, or scored, and the process that does it; has it trained, a checkpoint is there."""
    for folder in cells(results):
        tries = attempts(folder)
        if not tries or state(folder).get("status") != status or not alive(tries[-1]["process"]["pid"]):
            continue
        begun = folder / ("checkpoints/last.ckpt" if status == "training" else "scores.csv")
        if begun.is_file() and "ended" not in tries[-1]:
            return folder, int(tries[-1]["process"]["pid"])
    return None


def alive(process: int) -> bool:
    """Whether a process runs, or is frozen."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def parent(process: int) -> int:
    """The parent of a process; 0 where it is gone."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def left_behind(results: Path, others: list[int] = [], seconds: float = 60) -> list[int]:  # noqa: B006
    """Processes that ran cells, or others, and are still there some time after the run."""
    deadline = time.monotonic() + seconds
    known = {int(one["process"]["pid"]) for folder in cells(results) for one in attempts(folder)} | set(others)
    while (left := [one for one in known if alive(one)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def whole(results: Path) -> dict[str, Any]:
    """All that a run leaves behind, seconds aside: records, and what MLflow holds.

    The mean over a row's folds is told anew with each fold, so its history follows the order in which they end; what it
    ends with does not.
    """
    told = tracked(results)
    for name, runs in told.items():
        for run in runs if " · " in name else ():
            run["metrics"] = {key: points[-1] for key, points in run["metrics"].items()}
    return {**records(results), **told}


def compare(wanted: dict[str, Any], results: Path) -> tuple[int, int]:
    """Numbers and words compared with the serial run, and those that differ; says which."""
    found = whole(results)
    for key in sorted(wanted.keys() | found.keys()):
        count = differing(wanted.get(key), found.get(key))
        if count:
            print(f"  DIFFERS: {results.name}: {key}: {count} of {size_of(wanted.get(key))}", flush=True)
    return size_of(wanted), differing(wanted, found)


# ------------------------------------------------------------------------------------------------------- the cluster


@dataclass
class Nodes:
    """A head that hands out nothing, and nodes of one core, all on this machine.

    Attributes:
        port: of the head's client server.
        seconds: that its start took.
    """

    port: int = 0
    seconds: float = 0.0
    cluster: Any = None
    _workers: list[Any] = field(default_factory=list)

    @classmethod
    def start(cls, count: int) -> Nodes:
        """Start a head and so many nodes."""
        from ray.cluster_utils import Cluster

        began = time.monotonic()
        nodes = cls(port=free_port())
        head = {
            "num_cpus": 0,
            "ray_client_server_port": nodes.port,
            "include_dashboard": False,
            "object_store_memory": STORE,
            "_system_config": HEALTH,
        }
        nodes.cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(count):
            nodes.add()
        nodes.seconds = time.monotonic() - began
        return nodes

    @property
    def address(self) -> str:
        """What `--on` takes."""
        return f"ray://127.0.0.1:{self.port}"

    def add(self) -> None:
        """Start one node more."""
        self._workers.append(self.cluster.add_node(num_cpus=1, object_store_memory=STORE))

    def raylets(self) -> list[int]:
        """The processes that are the nodes."""
        return [node.all_processes["raylet"][0].process.pid for node in self._workers]

    def node_of(self, process: int) -> int:
        """The raylet that has started a process."""
        return next(raylet for raylet in self.raylets() if raylet == parent(process))

    def has_ended(self, raylet: int) -> bool:
        """Whether a raylet has ended; it is our child, and its workers take it to be alive until we have asked."""
        return self._node(raylet).all_processes["raylet"][0].process.poll() is not None

    def _node(self, raylet: int) -> Any:
        return next(node for node in self._workers if node.all_processes["raylet"][0].process.pid == raylet)

    def replace(self, raylet: int) -> None:
        """Clear away what is left of a node, and start another in its place."""
        node = self._node(raylet)
        self._workers.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)
        self.add()

    def megabytes(self) -> float:
        """Memory of every process of the cluster, each page counted once (PSS)."""
        return sum(map(pss, [child for child in below(os.getpid()) if alive(child)]))

    def stop(self) -> list[int]:
        """End it; the processes that are left after ten seconds."""
        known = below(os.getpid())
        self.cluster.shutdown()
        deadline = time.monotonic() + 10
        while (left := [one for one in known if alive(one)]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def pss(process: int) -> float:
    """Proportional share of memory in MB."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


# ---------------------------------------------------------------------------------------------------- the incidents


@dataclass
class Ground:
    """Where incidents take place.

    Attributes:
        place: the working directory.
        nodes: the cluster.
        results: of this incident, a name in `place`.
        started: the commands so far.
    """

    place: Path
    nodes: Nodes
    results: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.place / self.results

    def start(self) -> subprocess.Popen[str]:
        self.started.append(start(self.place, self.results, "--on", self.nodes.address))
        return self.started[-1]

    def start_own(self) -> subprocess.Popen[str]:
        self.started.append(start(self.place, self.results, "--on", "ray", "--cpus-per-cell", "1"))
        return self.started[-1]

    def at_work(self, status: str, process: subprocess.Popen[str]) -> tuple[Path, int]:
        found: tuple[Path, int] = until(lambda: working(self.folder, status), f"a cell in {status}", process)
        return found


def nothing(ground: Ground) -> str:
    finish(ground.start())
    return ""


def node_killed(status: str) -> Callable[[Ground], str]:
    def incident(ground: Ground) -> str:
        process = ground.start()
        folder, worker = ground.at_work(status, process)
        raylet = ground.nodes.node_of(worker)
        for one in (raylet, *below(raylet)):
            os.kill(one, signal.SIGKILL)
        began = time.monotonic()
        until(lambda: len(attempts(folder)) > 1, "second attempt", process)
        took = time.monotonic() - began
        ground.nodes.replace(raylet)
        finish(process)
        return f"its cell went on after {took:.1f} s"

    return incident


def worker_killed(ground: Ground) -> str:
    process = ground.start()
    folder, worker = ground.at_work("training", process)
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    until(lambda: len(attempts(folder)) > 1, "second attempt", process)
    took = time.monotonic() - began
    finish(process)
    return f"its cell went on after {took:.1f} s"


def driver_killed(ground: Ground) -> str:
    process = ground.start()
    ground.at_work("training", process)
    process.kill()
    process.communicate()
    began = time.monotonic()
    finish(ground.start())
    return f"the second command took {time.monotonic() - began:.0f} s"


def node_frozen(ground: Ground) -> str:
    process = ground.start()
    folder, worker = ground.at_work("training", process)
    raylet = ground.nodes.node_of(worker)
    frozen = (raylet, *below(raylet))
    for one in frozen:
        os.kill(one, signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: len(attempts(folder)) > 1, "second attempt", process)
    took = time.monotonic() - began
    for one in frozen:
        os.kill(one, signal.SIGCONT)
    began = time.monotonic()
    until(lambda: ground.nodes.has_ended(raylet), "end of the node that woke up")
    until(lambda: not alive(worker), "end of the process that woke up")
    gone = time.monotonic() - began
    finish(process)
    ground.nodes.replace(raylet)
    return f"its cell was taken over after {took:.0f} s, what woke up ended after {gone:.1f} s"


def driver_stopped(ground: Ground) -> str:
    process = ground.start()
    _, worker = ground.at_work("training", process)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, output = process.communicate(timeout=60)
    took = time.monotonic() - began
    assert process.returncode == 130 and "Traceback" not in output, f"exit code {process.returncode}\n{output}"
    until(lambda: not alive(worker), "end of the worker")
    gone = time.monotonic() - began
    finish(ground.start())
    return f"the command ended after {took:.1f} s, its worker after {gone:.1f} s"


def own_cluster(ground: Ground) -> str:
    process = ground.start_own()
    ground.at_work("training", process)
    memory = sum(pss(one) for one in below(process.pid) if is_of_ray(one))
    finish(process)
    return f"Ray's own processes held {memory:.0f} MB"


def own_driver_killed(ground: Ground) -> str:
    process = ground.start_own()
    ground.at_work("training", process)
    children = below(process.pid)
    process.kill()
    process.communicate()
    began = time.monotonic()
    workers = left_behind(ground.folder)
    took = time.monotonic() - began
    left = left_behind(ground.folder, children, 120)  # two of Ray's own wait for a minute for their head
    all_took = time.monotonic() - began
    finish(ground.start_own())
    assert not workers + left, f"left behind: {workers + left}"
    return f"its workers were gone after {took:.1f} s, the last of its {len(children)} processes after {all_took:.0f} s"


def own_stopped(ground: Ground) -> str:
    process = ground.start_own()
    ground.at_work("training", process)
    children = below(process.pid)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, output = process.communicate(timeout=60)
    took = time.monotonic() - began
    left = left_behind(ground.folder, children, 10)
    assert process.returncode == 130 and "Traceback" not in output, f"exit code {process.returncode}\n{output}"
    assert not left, f"left behind: {left}"
    finish(ground.start_own())
    return f"the command ended after {took:.1f} s, and its {len(children)} processes with it"


def is_of_ray(process: int) -> bool:
    """Whether a process is Ray's own, and neither the driver's child of another kind nor a worker."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return b"ray" in words and not words.startswith(b"ray::")


INCIDENTS: dict[str, Callable[[Ground], str]] = {
    "nothing happens": nothing,
    "a node is killed in training": node_killed("training"),
    "a node is killed in scoring": node_killed("scoring"),
    "a worker is killed -9": worker_killed,
    "the driver is killed -9 and started again": driver_killed,
    "a node is frozen past its lease and wakes": node_frozen,
    "Ctrl-C, and started again": driver_stopped,
    "own cluster": own_cluster,
    "own cluster, the driver is killed -9 and started again": own_driver_killed,
    "own cluster, Ctrl-C and started again": own_stopped,
}


def judged(name: str, ground: Ground, wanted: dict[str, Any], said: str) -> bool:
    """Compare with the serial run and print a line; whether all is well."""
    compared, differ = compare(wanted, ground.folder)
    tried = [len(attempts(folder)) for folder in cells(ground.folder)]
    told = [len(runs) for key, runs in tracked(ground.folder).items() if key.startswith("mlflow ")]
    left = left_behind(ground.folder)
    print(
        f"{name}: {compared} numbers and words compared, {differ} differ; {len(tried)} cells, "
        f"{sum(count > 1 for count in tried)} begun more than once; {sum(count > 1 for count in told)} of {len(told)} "
        f"MLflow runs doubled; {len(left)} processes left{f'; {said}' if said else ''}",
        flush=True,
    )
    return not differ and not left and all(count == 1 for count in told)


def all_incidents(place: Path, nodes: Nodes, wanted: dict[str, Any], only: list[str]) -> Iterator[bool]:
    """Let everything happen, one after the other; whether each went well."""
    for number, (name, incident) in enumerate(INCIDENTS.items()):
        if not any(word in name for word in only):
            continue
        ground = Ground(place, nodes, f"incident-{number}")
        began = time.monotonic()
        try:
            said = incident(ground)
        except AssertionError as error:
            print(f"{name}: FAILED: {error}", flush=True)
            for process in ground.started:
                process.kill()
            yield False
            continue
        took = f"{time.monotonic() - began:.0f} s in all"
        yield judged(name, ground, wanted, f"{said}; {took}" if said else took)


def main() -> int:
    """Run, disturb, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="words of the incidents' names")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and so would `bench`
    place = Path(tempfile.mkdtemp(prefix="ray_trial_"))
    make_place(place)
    began = time.monotonic()
    finish(start(place, "serial", "--on", "here"))
    wanted = whole(place / "serial")
    print(f"one after the other in one process: {len(cells(place / 'serial'))} cells, {time.monotonic() - began:.0f} s")
    nodes = Nodes.start(3)
    print(f"a head and three nodes: started in {nodes.seconds:.1f} s, {nodes.megabytes():.0f} MB", flush=True)
    try:
        went_well = list(all_incidents(place, nodes, wanted, options.only))
    finally:
        left = nodes.stop()
    print(f"the cluster has ended: {len(left)} processes left")
    if all(went_well) and not left:
        shutil.rmtree(place)
        return 0
    print(f"kept: {place}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
