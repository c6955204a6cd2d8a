"""A SLURM of files, for tests: sbatch, squeue, scontrol, scancel and srun, by the first word.

Its state lies in a folder: `limits` (MaxArraySize), `most` (jobs of a user), `refuses` (what sbatch says no with, where
it is there), `down` (the controller does not answer, where it is there), `held` (jobs wait, as long as it is there), a
script per job, and per task its name, its process, its exit code once it has ended, and the word that stands for
another end.
"""

from __future__ import annotations

import getpass
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

HOME = Path(os.environ["FAKE_SLURM"])


def read(name: str) -> str:
    path = HOME / name
    return path.read_text().strip() if path.exists() else ""


def sbatch(script: str) -> None:
    if read("refuses"):
        sys.exit(f"sbatch: error: {read('refuses')}\nsbatch: error: Batch job submission failed: {read('refuses')}")
    if read("most") and len(unfinished()) >= int(read("most")):
        sys.exit("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)")
    text = Path(script).read_text()
    number = len(list(HOME.glob("*.script"))) + 1
    (HOME / f"{number}.script").write_text(text)
    (name,) = re.findall(r"--job-name=(\S+)", text)
    array = re.search(r"--array=0-(\d+)%\d+", text)
    for index in range(int(array.group(1)) + 1) if array else [None]:
        task = f"{number}" if index is None else f"{number}_{index}"
        (HOME / f"{task}.name").write_text(name)
        subprocess.Popen(
            [sys.executable, "-SI", __file__, "run", task],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    print(f"Submitted batch job {number}")


def unfinished() -> set[str]:
    """The numbers of the jobs of which a task has not ended."""
    tasks = {path.stem for path in HOME.glob("*.name")} - {path.stem for path in HOME.glob("*.code")}
    return {task.partition("_")[0] for task in tasks}


def run(task: str) -> None:
    while read("held"):
        time.sleep(0.02)
    number, _, index = task.partition("_")
    (HOME / f"{task}.pid").write_text(str(os.getpid()))
    environment = {**os.environ, "SLURM_JOB_ID": number}
    if index:
        environment |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": index}
    code = subprocess.run(["sh", HOME / f"{number}.script"], env=environment, check=False).returncode
    (HOME / f"{task}.code").write_text(str(code))


def srun(*words: str) -> None:
    output = words[words.index("--output") + 1]
    job, index = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID", "")
    output = output.replace("%A", job).replace("%a", index).replace("%j", job).replace("%t", "0")
    command = words[words.index("--output") + 2 :]
    while command[0].startswith("--"):
        command = command[1:]
    with Path(output).open("ab") as log:
        sys.exit(subprocess.run(command, stdout=log, stderr=log, check=False).returncode)


def squeue(*words: str) -> None:
    if read("down"):
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    assert f"--user={getpass.getuser()}" in words and "--format=%j|%K|%i|%T|%N|%r" in words
    for path in sorted(HOME.glob("*.name")):
        task = path.stem
        state = read(f"{task}.state") or state_of(read(f"{task}.pid"), read(f"{task}.code"))
        node, reason = ("", "Priority") if state == "PENDING" else ("n1", "None")
        print(f"{path.read_text()}|{task.partition('_')[2] or 'N/A'}|{task}|{state}|{node}|{reason}")


def state_of(process: str, code: str) -> str:
    if code:
        return "COMPLETED" if code == "0" else "FAILED"
    if not process:
        return "PENDING"
    return "RUNNING" if Path(f"/proc/{process}").exists() else "NODE_FAIL"


def scontrol(*words: str) -> None:
    if words[:2] == ("show", "config"):
        print(f"KillWait                = 30 sec\nMaxArraySize            = {read('limits') or 1001}")
    else:
        (HOME / f"{words[1]}.{words[0]}").write_text("")


def scancel(task: str) -> None:
    (HOME / f"{task}.state").write_text("CANCELLED")
    with suppress(ProcessLookupError, ValueError):
        os.killpg(int(read(f"{task}.pid")), signal.SIGKILL)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
