"""Kill a real `bench run` at random moments, repeat the command until it is done, and compare every number.

    python tests/trials/kill_trial.py --kills 50 --seed 0

Signals (SIGKILL, SIGINT, SIGTERM) and targets (the whole process group, the main process alone) go by turns, with one
cell and with two cells at a time. Every other kill falls while a thread writes a checkpoint: the network is wide enough
for that to take a while, and the file that is being written gives the moment away. After each finished run its records
and what MLflow holds are compared with those of a run that nobody disturbed, seconds aside, and all begins anew until
the kills are used up. Prints a table; exit code 1 where anything differs. About ten minutes on two cores that nobody
else uses.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

BENCH = Path(sys.executable).with_name("bench")
TINY = Path(__file__).parents[1] / "tiny.toml"
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
RUN = ("run", "--data", "clinic", "--preset", "small.toml", "--splits", "own", "--folds", "0")
_MOST_KILLS_OF_A_ROUND = 8  # then the command may end, so that there is something to compare
STOPPED = "Stopped. The same command goes on where it stopped."


def make_place(root: Path) -> None:
    """Write a directory of ten healthy scans and four with lesions, and a preset for it."""
    x, y, z = np.mgrid[:120, :120, :14]
    rng = np.random.default_rng(0)
    for number in range(14):
        mask = np.hypot(x - 60, y - 60) < rng.uniform(48, 56)
        t2 = np.where(mask, 300 + 60 * np.cos(x / rng.uniform(6, 9)) + rng.normal(0, 5, mask.shape), 0)
        lesion = (np.hypot(x - 60 - 2 * number, y - 50) < 9) & (z > 2) & (z < 11)
        if number < 10:
            folder, name, parts = "Train/ixi", f"IXI{number:03d}-Guys-0{number:03d}", {"t2": t2, "mask": mask}
        else:
            folder, name = "Test/MSLUB", f"patient{number:02d}"
            parts = {"t2": np.where(lesion, 520, t2), "mask": mask, "seg": lesion}
        for part, array in parts.items():
            (root / "clinic" / folder / part).mkdir(parents=True, exist_ok=True)
            image = nib.Nifti1Image(array.astype(np.float32), np.eye(4))
            nib.save(image, root / "clinic" / folder / part / f"{name}.nii.gz")
    text = TINY.read_text()
    for old, new in (
        ("depth = 100", "depth = 12"),
        ("epochs = 6", "epochs = 30"),  # fifteen checkpoints …
        ("filters = [8, 16, 16]", "filters = [8, 16, 64]"),
        ("latent = 16", "latent = 256"),  # … of 60 MB
    ):
        assert old in text
        text = text.replace(old, new, 1)
    (root / "small.toml").write_text(text)


def start(place: Path, results: str, methods: list[str], jobs: int) -> subprocess.Popen[str]:
    """Start the command in a process group of its own; threads are one everywhere, so that numbers are the same."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "COLUMNS": "200"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    chosen = [word for method in methods for word in ("--method", method)]
    command = [str(BENCH), *RUN, *chosen, "--jobs", str(jobs), "--results", results]
    return subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def below(process: int) -> list[int]:
    """All processes below a process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    found = [child for child, parent in parents.items() if parent == process]
    return found + [deeper for child in found for deeper in below(child)]


def outlived(children: list[int]) -> bool:
    """Whether a process is still there ten seconds after its parent has ended."""
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}/cmdline").is_file() for child in children):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.05)
    return False


# ------------------------------------------------------------------------------------------------ what is compared


def rows(path: Path) -> list[dict[str, str]]:
    """A CSV without its columns of seconds."""
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)]


def timeless(numbers: dict[str, Any]) -> dict[str, Any]:
    """Numbers without seconds."""
    return {key: value for key, value in numbers.items() if "seconds" not in key}


def records(results: Path) -> dict[str, Any]:
    """What the records of a results folder hold, by cell and file."""
    found: dict[str, Any] = {}
    for folder in sorted((results / "runs").iterdir()):
        found[f"{folder.name}/metrics.json"] = timeless(json.loads((folder / "metrics.json").read_text()))
        found[f"{folder.name}/thresholds.json"] = json.loads((folder / "thresholds.json").read_text())
        found[f"{folder.name}/scores.csv"] = rows(folder / "scores.csv")
        found[f"{folder.name}/detection.json"] = json.loads((folder / "detection.json").read_text())
        for name in ("detections.csv", "lesions.csv", "histograms.csv"):
            found[f"{folder.name}/{name}"] = rows(folder / name)
        if (folder / "history.csv").is_file():
            found[f"{folder.name}/history.csv"] = rows(folder / "history.csv")
        found[f"{folder.name}/partial files"] = [path.name for path in folder.rglob("*.partial")]
    return found


def tracked(results: Path) -> dict[str, Any]:
    """What MLflow holds, by cell: metrics with their history, parameters, status; how many runs tell of each cell.

    Of a parent's means, which grow in the order in which cells end, the last ones.
    """
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{results / 'mlflow.db'}")
    found: dict[str, Any] = {}
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    for run in sorted(runs, key=lambda run: run.info.run_name):
        first = -1 if run.data.tags.get("uadbench.kind") == "parent" else 0
        history = {
            key: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, key)][first:]
            for key in timeless(run.data.metrics)
        }
        told = {"status": run.info.status, "params": run.data.params, "metrics": history}
        found.setdefault(f"mlflow {run.info.run_name}", []).append(told)
    return found


def differing(one: Any, other: Any) -> int:
    """How many numbers and words differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        return sum(differing(one.get(key), other.get(key)) for key in one.keys() | other.keys())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return sum(differing(first, second) for first, second in zip(one, other, strict=True))
    return int(one != other)


def size_of(thing: Any) -> int:
    """How many numbers and words there are."""
    if isinstance(thing, dict):
        return sum(size_of(value) for value in thing.values())
    return sum(size_of(value) for value in thing) if isinstance(thing, list | tuple) else 1


# ------------------------------------------------------------------------------------------------------- the kills


@dataclass
class Tally:
    """What became of the kills of one kind.

    Attributes:
        kills: how many.
        codes: exit codes of the commands that were hit.
        silent: stops by SIGINT or SIGTERM, once the command had begun, without the sentence.
        tracebacks: outputs with a traceback.
        orphans: processes that outlived the command.
    """

    kills: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    silent: int = 0
    tracebacks: int = 0
    orphans: int = 0


def is_written(runs: Path) -> bool:
    """Whether a checkpoint is being written at this moment."""
    return any(runs.glob("*/checkpoints/.*.partial"))


def await_writing(process: subprocess.Popen[str], runs: Path) -> None:
    """Wait until a checkpoint is being written, or the command has ended."""
    while process.poll() is None and not is_written(runs):
        time.sleep(0.001)


def strike(process: subprocess.Popen[str], number: signal.Signals, group: bool, after: float, tally: Tally) -> bool:
    """Send a signal after some seconds, and note what came of it; whether the command had ended well before."""
    try:
        process.communicate(timeout=after)
        return process.returncode == 0
    except subprocess.TimeoutExpired:
        children = below(process.pid)
    (os.killpg if group else os.kill)(process.pid, number)
    _, output = process.communicate(timeout=120)
    tally.kills += 1
    tally.codes[process.returncode] += 1
    tally.silent += process.returncode == 128 + number and STOPPED not in output
    if "Traceback" in output:
        tally.tracebacks += 1
        print(f"{number.name} after {after:.1f} s, exit code {process.returncode}:\n{output}", flush=True)
    tally.orphans += outlived(children)
    return process.returncode == 0


def kill_until_done(
    place: Path,
    results: str,
    jobs: int,
    kills: int,
    spans: dict[int, float],
    rng: random.Random,
    options: argparse.Namespace,
    tallies: dict[tuple[str, str, int, str], Tally],
) -> int:
    """Kill the command and repeat it until all its cells are done; the number of kills so far.

    Args:
        place: the working directory.
        results: the folder of results in it.
        jobs: cells at a time.
        kills: so far.
        spans: seconds that the command takes undisturbed, by cells at a time; shortened where it was quicker.
        rng: chooses the moments.
        options: as on the command line.
        tallies: what became of the kills, filled here.
    """
    for _ in range(_MOST_KILLS_OF_A_ROUND):
        if kills >= options.kills:
            break
        number, group, writing = SIGNALS[kills % 3], (kills // 3) % 2 == 0, (kills // 6 + kills) % 2 == 1
        moment = "writing" if writing else "any moment"
        key = (signal.Signals(number).name, "group" if group else "main process", jobs, moment)
        tally = tallies.setdefault(key, Tally())
        before = tally.kills
        process = start(place, results, options.methods, jobs)
        began = time.monotonic()
        if writing:  # at one of the writings, somewhere within it
            for _ in range(rng.randrange(1, 4)):
                await_writing(process, place / results / "runs")
                time.sleep(rng.uniform(0, 0.05))
        if strike(process, number, group, 0.001 if writing else rng.uniform(0.3, spans[jobs]), tally):
            spans[jobs] = min(spans[jobs], time.monotonic() - began)  # a machine with less to do kills sooner
            return kills + tally.kills - before
        kills += tally.kills - before
    process = start(place, results, options.methods, jobs)
    _, output = process.communicate()
    assert process.returncode == 0, output
    return kills


def compare(wanted: dict[str, Any], results: Path) -> tuple[int, int]:
    """Numbers compared with an undisturbed run, and those that differ; says which."""
    found = {**records(results), **tracked(results)}
    for key in sorted(wanted.keys() | found.keys()):
        count = differing(wanted.get(key), found.get(key))
        if count:
            print(f"  DIFFERS: {results.name}: {key}: {count} of {size_of(wanted.get(key))}", flush=True)
    return size_of(wanted), differing(wanted, found)


def main() -> int:
    """Kill, repeat, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", default=["thresh", "ae"], help="rows to run; longer ones take longer")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it, and so would `bench`
    rng = random.Random(options.seed)
    place = Path(tempfile.mkdtemp(prefix="kill_trial_"))
    make_place(place)

    spans: dict[int, float] = {}
    for jobs in (1, 2):
        began = time.monotonic()
        undisturbed = start(place, f"undisturbed-{jobs}", options.methods, jobs)
        _, output = undisturbed.communicate()
        assert undisturbed.returncode == 0, output
        spans[jobs] = time.monotonic() - began
        print(f"undisturbed, {jobs} at a time: {spans[jobs]:.1f} s", flush=True)
    wanted = {**records(place / "undisturbed-1"), **tracked(place / "undisturbed-1")}
    compared, differ = compare(wanted, place / "undisturbed-2")

    tallies: dict[tuple[str, str, int, str], Tally] = {}
    kills, rounds = 0, 0
    try:
        while kills < options.kills:
            rounds += 1
            jobs = 1 + rounds % 2
            kills = kill_until_done(place, f"round-{rounds}", jobs, kills, spans, rng, options, tallies)
            counted, wrong = compare(wanted, place / f"round-{rounds}")
            compared, differ = compared + counted, differ + wrong
            print(f"round {rounds}, --jobs {jobs}: {kills} kills so far, {wrong} differ", flush=True)
            shutil.rmtree(place / f"round-{rounds}")
    except KeyboardInterrupt:
        for child in below(os.getpid()):
            os.kill(child, signal.SIGKILL)
        print(f"interrupted in round {rounds}, which is not compared")

    print("\n| signal | to | cells at a time | when | kills | exit codes | no sentence | tracebacks | orphans |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, target, jobs, moment), tally in sorted(tallies.items()):
        codes = ", ".join(f"{code} ({count})" for code, count in sorted(tally.codes.items()))
        numbers = f"{tally.kills} | {codes} | {tally.silent} | {tally.tracebacks} | {tally.orphans}"
        print(f"| {name} | {target} | {jobs} | {moment} | {numbers} |")
    total = sum(tally.kills for tally in tallies.values())
    print(f"\n{total} kills in {rounds} rounds: {compared} numbers and words compared, {differ} differ.")
    shutil.rmtree(place)
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
