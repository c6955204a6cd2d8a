"""How many cores are ours: those of a node belong to everybody who computes on it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: What schedulers say they granted this process. OMP_NUM_THREADS is a word on threads, not on cores.
_GRANTS = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "LSB_DJOB_NUMPROC", "NSLOTS", "PBS_NUM_PPN")


@dataclass(frozen=True)
class CoreFacts:
    """What is known about the cores of a machine.

    Attributes:
        machine: all of its cores.
        affinity: those that this process may be put on (taskset, a cpuset).
        quota: cores' worth of time that the control group grants (a container's --cpus); None where it sets no limit.
        environment: environment variables.
    """

    machine: int
    affinity: int
    quota: float | None
    environment: Mapping[str, str]

    @classmethod
    def here(cls) -> CoreFacts:
        """Those of this process."""
        machine = os.cpu_count() or 1
        affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
        return cls(machine, affinity, cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")), os.environ)


def usable_cores(facts: CoreFacts | None = None) -> int:
    """Cores that this process may use: the least that affinity, control group and scheduler allow, and at least one.

    Args:
        facts: what to judge by; None: this process.
    """
    facts = facts or CoreFacts.here()
    limits = [facts.machine, facts.affinity]
    if facts.quota is not None:
        limits.append(math.ceil(facts.quota))
    words = (facts.environment.get(name, "").strip() for name in _GRANTS)
    limits += [int(word) for word in words if word.isascii() and word.isdigit() and int(word) > 0]
    return max(1, min(limits))


def cgroup_quota(membership: Path, mount: Path) -> float | None:
    """Cores' worth of time that the control groups of a process grant, the strictest from its own up to the root.

    Args:
        membership: /proc/self/cgroup.
        mount: /sys/fs/cgroup.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    folders = (folder for line in lines for folder in _folders(line, mount))
    return min((quota for folder in folders if (quota := _quota(folder)) is not None), default=None)


def _folders(line: str, mount: Path) -> Iterator[Path]:
    """The control group of a line of /proc/self/cgroup and all above it, where the CPU is their matter.

    A container sees its own group as the root whatever path the line names, so folders that are not there are no error.
    """
    if line.count(":") < 2:
        return
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return
    inner = Path(path.lstrip("/"))
    for root in (mount / controllers, mount / "cpu") if controllers else (mount, mount / "unified"):
        yield from (root / part for part in (inner, *inner.parents) if ".." not in part.parts)


def _quota(folder: Path) -> float | None:
    """The quota of one control group, of version 2 (`cpu.max`) or 1; None for none."""
    try:
        version_2 = (folder / "cpu.max").is_file()
        names = ("cpu.max",) if version_2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = " ".join((folder / name).read_text() for name in names).split()
        return None if quota in ("max", "-1") else float(quota) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
