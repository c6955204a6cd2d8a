"""A real SLURM cluster on this one machine: a controller and some nodes, started by hand and stopped again.

    apt-get install slurm-wlm munge
    python tests/trials/slurm_cluster.py        # prints SLURM_CONF, and stops the cluster at Ctrl-C

Every daemon is a child of this process, and everything they write lies in one folder. Nodes are slurmd processes on
ports of their own, each with a core and some memory that nobody checks. There are no control groups and no accounting:
`sacct` says nothing. Two partitions share the nodes: jobs of `high` put those of `low` back into the queue.
"""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_DAEMONS = ("munged", "slurmctld", "slurmd")
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/bin")
_CONF = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldTimeout=30
SlurmdTimeout=20
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MaxArraySize={array}
JobRequeue=1
KillWait=10
ReturnToService=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
{nodes}
PartitionName=low Nodes={names} Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=10 MaxTime=INFINITE
PartitionName=high Nodes={names} State=UP PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE
"""


class Cluster:
    """A cluster that runs within the block.

    Args:
        folder: where all its files go; must be on a disk that lasts as long as the cluster.
        nodes: their names.
        max_array_size: of its configuration.
    """

    def __init__(self, folder: Path, nodes: Sequence[str] = ("one", "two"), max_array_size: int = 1001) -> None:
        self.folder = folder
        self.nodes = tuple(nodes)
        self._max_array_size = max_array_size
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What the commands of SLURM need to find this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> Self:
        missing = [name for name in _DAEMONS if _program(name) is None]
        if missing:
            raise SystemExit(f"there is no {missing[0]} here; apt-get install slurm-wlm munge")
        self._write()
        try:
            self._start_munge()
            self._start("slurmctld", "-D", "-f", str(self.folder / "slurm.conf"))
            for node in self.nodes:
                self.start_node(node)
            self.wait_for_nodes()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ask(self, *command: str) -> str:
        """The answer of a command of SLURM; what it says of an error goes to the terminal."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False).stdout

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._start(f"slurmd-{node}", "-D", "-N", node, "-f", str(self.folder / "slurm.conf"), program="slurmd")

    def lose_node(self, node: str) -> None:
        """Kill a node: its daemon, and every process of its jobs, at once, as a power cut would."""
        daemon = self._daemons.pop(f"slurmd-{node}")
        daemon.kill()
        daemon.wait()
        for process in self.processes_on(node):
            _kill(process)

    def processes_on(self, node: str) -> tuple[int, ...]:
        """The processes of a node's jobs, those that manage them first."""
        words = (f"SLURMD_NODENAME={node}".encode(), str(self.folder).encode())
        found = [process for process in _processes() if all(word in _read(process, "environ") for word in words)]
        managers = {parent for parent in map(_parent, found) if _read(parent, "cmdline").startswith(b"slurmstepd:")}
        return (*managers, *found)

    def wait_for_nodes(self, seconds: float = 60.0) -> None:
        """Wait until every node may be given work."""
        deadline = time.monotonic() + seconds
        while self.ask("sinfo", "--noheader", "--Node", "--partition=low", "--format=%t").split() != ["idle"] * len(
            self.nodes
        ):
            if time.monotonic() > deadline:
                raise SystemExit(f"the cluster does not come up; see the logs in {self.folder}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Cancel every job and stop every daemon; nothing of them is left."""
        if "slurmctld" in self._daemons:
            self.ask("scancel", f"--user={getpass.getuser()}", "--signal=KILL", "--full")
            self.ask("scancel", f"--user={getpass.getuser()}")
            deadline = time.monotonic() + 20  # else the managers of jobs outlive their nodes
            while self.ask("squeue", "--noheader").strip() and time.monotonic() < deadline:
                time.sleep(0.2)
        daemons = list(self._daemons.values())
        processes = [process for daemon in daemons for process in _below(daemon.pid)]
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in processes:
            _kill(process)
        self._daemons.clear()

    def _write(self) -> None:
        """Write key and configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (self.folder / name).mkdir(exist_ok=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        host, first = socket.gethostname().partition(".")[0], _free_port()
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={_free_port()} CPUs=1 RealMemory=4000"
            for node in self.nodes
        )
        text = _CONF.format(
            host=host,
            port=first,
            user=getpass.getuser(),
            folder=self.folder,
            array=self._max_array_size,
            nodes=nodes,
            names=",".join(self.nodes),
        )
        (self.folder / "slurm.conf").write_text(text)

    def _start_munge(self) -> None:
        names = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
        names |= {"log-file": "munged.log", "seed-file": "munge.seed"}
        self._start("munged", "--foreground", "--force", *(f"--{key}={self.folder / names[key]}" for key in names))
        deadline = time.monotonic() + 10
        while not (self.folder / "munge.socket").exists() and time.monotonic() < deadline:
            time.sleep(0.05)

    def _start(self, name: str, *words: str, program: str = "") -> None:
        path = _program(program or name)
        assert path is not None
        with (self.folder / f"{name}.log").open("ab") as log:
            environment = {**os.environ, **self.environment}
            self._daemons[name] = subprocess.Popen(
                [path, *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *_PLACES)))


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def _processes() -> list[int]:
    """The number of every process."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def _read(process: int, name: str) -> bytes:
    """What the kernel says of a process; nothing of one that has ended."""
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except OSError:
        return b""


def _parent(process: int) -> int:
    words = _read(process, "stat").rpartition(b")")[2].split()
    return int(words[1]) if words else 0


def _below(process: int) -> list[int]:
    """All processes below a process."""
    children = [child for child in _processes() if _parent(child) == process]
    return children + [deeper for child in children for deeper in _below(child)]


def _kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def main() -> int:
    """Keep a cluster until Ctrl-C or SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="slurm_cluster_"))
    with Cluster(folder) as cluster:
        print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
        print(cluster.ask("sinfo"), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
