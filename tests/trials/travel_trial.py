"""Send cells from one results folder to another: what it takes, and what kill -9 in the middle of it leaves.

    python tests/trials/travel_trial.py --cells 80 --kills 20 --seed 0

Makes real cells (Thresh on tiny volumes, a seed each) whose tables are as long as those of a cell on the paper's data,
and times `bench export` and `bench import`, start of the program included. Then kills `bench import` at random moments.
After each kill every record that is there must be whole, and equal to the last byte to the one that was sent; then the
command is repeated, until it ends by itself and nothing is missing. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import RunRecord, all_records
from uadbench.benchmarks.records.record_files import Epoch

from cases import TINY
from conftest import make_tiny_data

BENCH = Path(sys.executable).with_name("bench")
_VOLUMES, _EPOCHS, _FIGURE_BYTES = 1100, 1600, 300_000


def make_cells(results: Path, count: int, data_folder: Path) -> None:
    """Run cells, and make their files as long as those of the paper's data are."""
    data, preset = make_tiny_data(data_folder), load_preset(str(TINY))
    for number in range(count):
        (job,) = jobs_for(select_rows(["thresh"]), (number % 2,), data, preset, number // 2)
        record = run_job(job, results / "runs", "cpu", SilentReporter())
        first = record.scores()[0]
        record.save_scores(tuple(replace(first, subject=f"BraTS2021_{scan:05d}") for scan in range(_VOLUMES)))
        record.save_history(tuple(Epoch(epoch, 11 * epoch, 0.1 / (epoch + 1), 0.1, 1e-3) for epoch in range(_EPOCHS)))
        record.figure.parent.mkdir(exist_ok=True)
        record.figure.write_bytes(random.Random(number).randbytes(_FIGURE_BYTES))
        record.finish(60.0)


def bench(*words: str | Path, kill_after: float | None = None) -> float | None:
    """Run the command, and return its seconds; None where it was killed before its end."""
    started = time.perf_counter()
    process = subprocess.Popen([BENCH, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, said = process.communicate(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return None
    if process.returncode:
        raise SystemExit(f"bench {' '.join(map(str, words))}: {said}")
    return time.perf_counter() - started


def differences(sent: Path, results: Path) -> list[str]:
    """What is wrong with the records that are there."""
    wrong = []
    for record in all_records(results / "runs"):
        if not record.done:
            wrong.append(f"{record.folder.name} {record.problem()}")
        wrong += _other_bytes(RunRecord(sent / "runs" / record.folder.name), record)
    return wrong


def _other_bytes(there: RunRecord, here: RunRecord) -> list[str]:
    files = [path.relative_to(here.folder) for path in here.folder.rglob("*") if path.is_file()]
    return [
        f"{here.folder.name}: {name}"
        for name in files
        if name.name != "origin.json" and (here.folder / name).read_bytes() != (there.folder / name).read_bytes()
    ]


def main() -> None:
    """Make cells, time their way, kill it; print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=80)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="uadbench-travel-"))
    there, archive = place / "there", place / "cells.zip"
    try:
        make_cells(there, asked.cells, place / "data")
        sent = bench("export", "all", "-o", archive, "--results", there)
        came = bench("import", archive, "--results", place / "timed") or 0.0
        again = bench("import", archive, "--results", place / "timed")
        print(f"{asked.cells} cells, {archive.stat().st_size / 2**20:.1f} MiB")
        print(f"export {sent:.1f} s, import {came:.1f} s, import of what is there already {again:.1f} s")
        wrong, kills, ends, clock = differences(there, place / "timed"), 0, 0, random.Random(asked.seed)
        results = place / "killed"
        while kills < asked.kills or not ends:
            wait = clock.uniform(0.2 * came, came) if kills < asked.kills else None
            ended = bench("import", archive, "--results", results, kill_after=wait) is not None
            wrong += differences(there, results)
            kills, ends = kills + (not ended), ends + ended
            if ended:
                missing = asked.cells - len(all_records(results / "runs"))
                wrong += [f"{missing} cells are missing"] if missing else []
                shutil.rmtree(results)
        print(f"{kills} kills, {ends} imports that ended; differences: {len(wrong)}")
        print(*wrong, sep="\n")
        raise SystemExit(1 if wrong else 0)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
