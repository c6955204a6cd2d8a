"""Freeze a real `bench run`, let the same command take its cells over, wake the first one, and compare every number.

    python tests/trials/freeze_trial.py --freezes 12 --seed 0

All processes of the command are stopped (SIGSTOP) at a random moment of a cell, half of the times while a checkpoint is
written; their signs of life are made an hour older, which stands for the wait; the same command is run to its end. Then
the first one is woken (SIGCONT). It must end by itself, without a traceback, and no file of any record may change any
more but the bill of what telling MLflow took. Records and what MLflow holds are compared with those of a run that
nobody disturbed. Prints a line per freeze; exit code 1 where anything differs. About five minutes on two cores that
nobody else uses.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from kill_trial import await_writing, below, compare, make_place, outlived, records, start, tracked


def grow_old(runs: Path) -> int:
    """Make the last sign of life of every attempt that goes on an hour older; how many there are."""
    going_on = [path for path in runs.glob("*/attempts/*.json") if "ended" not in json.loads(path.read_text())]
    for path in going_on:
        os.utime(path, (time.time() - 3600,) * 2)
    return len(going_on)


def files(runs: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of every record, with its time; not what each process says of itself."""
    return {
        str(path.relative_to(runs)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in runs.rglob("*")
        if path.is_file() and path.parent.name != "progress"
    }


def await_cell(process: subprocess.Popen[str], runs: Path) -> None:
    """Wait until a cell is run, or the command has ended."""
    while process.poll() is None and not any(runs.glob("*/attempts/*.json")):
        time.sleep(0.01)


def freeze(process: subprocess.Popen[str], runs: Path, after: float, writing: bool) -> bool:
    """Stop all processes of a command at some moment; whether it was still running."""
    (await_writing if writing else await_cell)(process, runs)
    try:
        process.wait(timeout=after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGSTOP)
        return True


def main() -> int:
    """Freeze, take over, wake, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--freezes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", default=["thresh", "ae"])
    options = parser.parse_args()
    rng = random.Random(options.seed)
    place = Path(tempfile.mkdtemp(prefix="freeze_trial_"))
    make_place(place)
    undisturbed = start(place, "undisturbed", options.methods, 1)
    await_cell(undisturbed, place / "undisturbed" / "runs")
    began = time.monotonic()
    _, output = undisturbed.communicate()
    assert undisturbed.returncode == 0, output
    span = time.monotonic() - began
    wanted = {**records(place / "undisturbed"), **tracked(place / "undisturbed")}

    compared = differ = changed = tracebacks = orphans = frozen = 0
    while frozen < options.freezes:
        jobs, writing = 1 + frozen % 2, frozen % 4 > 1
        results = f"round-{frozen}"
        runs = place / results / "runs"
        first = start(place, results, options.methods, jobs)
        if not freeze(first, runs, rng.uniform(0, 0.02) if writing else rng.uniform(0, 0.9) * span, writing):
            shutil.rmtree(place / results)
            span *= 0.8  # it was quicker than the undisturbed one
            continue
        frozen += 1
        children, held = below(first.pid), grow_old(runs)
        second = start(place, results, options.methods, jobs)
        _, output = second.communicate(timeout=600)
        assert second.returncode == 0, output
        before = files(runs)
        os.killpg(first.pid, signal.SIGCONT)
        _, output = first.communicate(timeout=120)
        after = files(runs)
        wrong = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        wrong = [name for name in wrong if not name.endswith("/cost.json")]  # seconds of a driver that told MLflow
        counted, unequal = compare(wanted, place / results)
        compared, differ, changed = compared + counted, differ + unequal, changed + len(wrong)
        tracebacks += "Traceback" in output
        orphans += outlived(children)
        print(f"{jobs} at a time, {held} held: woken, it ended with {first.returncode}; changed: {wrong}", flush=True)
        if "Traceback" in output:
            print(output)
        shutil.rmtree(place / results)
    print(
        f"{frozen} freezes: {compared} numbers and words compared, {differ} differ; {changed} files changed after the"
    )
    print(f"awakening, {tracebacks} tracebacks, {orphans} orphans")
    shutil.rmtree(place)
    return int(bool(differ or changed or tracebacks or orphans))


if __name__ == "__main__":
    raise SystemExit(main())
