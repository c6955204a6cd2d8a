"""Cores that are ours: affinity, control groups of both versions, the scheduler's grant; each alone and the least."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from uadbench.cores import CoreFacts, cgroup_quota, usable_cores

from cases import ROOT


@pytest.mark.parametrize(
    ("affinity", "quota", "environment", "expected"),
    [
        (64, None, {}, 64),
        (6, None, {}, 6),
        (64, 4.0, {}, 4),
        (64, 2.5, {}, 3),
        (64, 0.2, {}, 1),
        (64, None, {"SLURM_CPUS_PER_TASK": "8"}, 8),
        (64, None, {"SLURM_CPUS_ON_NODE": "16"}, 16),
        (64, None, {"SLURM_CPUS_ON_NODE": "16", "SLURM_CPUS_PER_TASK": "2"}, 2),
        (64, None, {"LSB_DJOB_NUMPROC": "5"}, 5),
        (64, None, {"NSLOTS": "5"}, 5),
        (64, None, {"PBS_NUM_PPN": "5"}, 5),
        (64, None, {"SLURM_CPUS_PER_TASK": ""}, 64),
        (64, None, {"SLURM_CPUS_PER_TASK": "many"}, 64),
        (64, None, {"SLURM_CPUS_ON_NODE": "0"}, 64),
        (64, None, {"SLURM_CPUS_PER_TASK": "128"}, 64),
        (64, None, {"OMP_NUM_THREADS": "1"}, 64),
        (6, 4.0, {"SLURM_CPUS_PER_TASK": "5"}, 4),
    ],
)
def test_the_least_of_what_is_allowed_counts(
    affinity: int, quota: float | None, environment: dict[str, str], expected: int
) -> None:
    assert usable_cores(CoreFacts(64, affinity, quota, environment)) == expected


def groups(folder: Path, lines: str, files: dict[str, str]) -> float | None:
    """The quota for the lines of /proc/self/cgroup and files below /sys/fs/cgroup."""
    (folder / "cgroup").write_text(lines)
    for name, text in files.items():
        (folder / "sys" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "sys" / name).write_text(text)
    return cgroup_quota(folder / "cgroup", folder / "sys")


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a/b\n", {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/a\n", {"other/cpu.max": "100000 100000\n"}, None),
        ("0::/../x\n", {"cpu.max": "300000 100000\n"}, 3.0),
        ("0::/host/path\n", {"cpu.max": "300000 100000\n"}, 3.0),
        (
            "4:memory:/m\n2:cpu,cpuacct:/job\n",
            {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"},
            2.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        (
            "2:cpuacct,cpu:/docker/77\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            0.5,
        ),
        ("1:cpuset:/j\n", {"cpuset/j/cpu.max": "100000 100000\n"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("nonsense\n", {"cpu.max": "100000 100000\n"}, None),
    ],
)
def test_quotas_of_control_groups_of_both_versions(
    lines: str, files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    assert groups(tmp_path, lines, files) == expected


def test_a_machine_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / "nothing", tmp_path) is None


def test_a_process_bound_to_one_core_has_one() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core is all there is")
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from uadbench.cores import usable_cores; print(usable_cores())"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "1"


def test_nobody_counts_the_cores_of_the_machine() -> None:
    folders = ("core", "benchmarks", "datasets", "methods", "metrics")
    files = [path for name in folders for path in (ROOT / name).rglob("*.py")]
    assert files
    found = [path.name for path in files if "cpu_count" in path.read_text()]
    assert found == ["cores.py"]
