"""Where a run happens: machine, device, commit and library versions, as run records and MLflow tell them."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import torch

from ...allocator import keep_freed_memory
from ...cores import CoreFacts, usable_cores
from ...errors import UserError
from ...files import versions_of
from .arithmetic import allow_determinism

_LIBRARIES = ("uadbench", "torch", "lightning", "numpy", "scipy", "scikit-learn", "SimpleITK", "mlflow")


def choose_device(word: str) -> str:
    """Turn the word after `--device` into "cpu" or "cuda".

    Raises:
        UserError: a GPU is asked for and there is none, or the word means nothing.
    """
    if word == "auto":
        word = "cuda" if torch.cuda.is_available() else "cpu"
    if word == "cpu":
        return word
    if word in ("cuda", "gpu"):
        if not torch.cuda.is_available():
            raise UserError("--device cuda: PyTorch sees no GPU on this machine; use --device cpu or --device auto")
        allow_determinism()
        return "cuda"
    raise UserError(f"--device {word}: choose auto, cpu or cuda")


def keep_to_own_cores() -> None:
    """Keep torch, which counts by affinity alone, to the cores that are ours; OMP_NUM_THREADS is the user's word."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))


def settle_process() -> None:
    """Called before PyTorch works in this process: the cores that are ours, and memory that stays where it is used."""
    keep_to_own_cores()
    keep_freed_memory()


def threads_per_worker(workers: int) -> int:
    """Torch's threads in each of some workers, which share the cores."""
    return max(1, min(torch.get_num_threads(), usable_cores() // workers))


def describe_environment(device: str) -> dict[str, str]:
    """Versions, commit, machine and device of this process."""
    return {
        **versions_of(_LIBRARIES),
        "commit": git_commit(),
        "device": torch.cuda.get_device_name(0) if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "machine": f"{_processor()}, {_cores(CoreFacts.here())}, {platform.system()}",
        "threads": str(torch.get_num_threads()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cores(facts: CoreFacts) -> str:
    usable = usable_cores(facts)
    return f"{usable} cores" if usable == facts.machine else f"{usable} of {facts.machine} cores"


def git_commit() -> str:
    """The commit of the checkout this package runs from, with `+changes` where files differ; "" outside a checkout."""
    folder = Path(__file__).resolve().parent
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return ""
    return f"{commit}+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else commit


def _git(folder: Path, *words: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
