"""What the claim on a cell costs: a check, a claim, and a whole cell with and without the checks, by turns.

    python tests/trials/claim_trial.py --rounds 9

The cell is the smallest there is, AE on the tests' tiny data with its reconstructions kept: nowhere else do so many
writes stand beside so little work. Cells with checks and without alternate, so that other load falls on both. About a
minute on a core that nobody else uses.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.attempts import check_free
from uadbench.benchmarks.records.claims import Claim, claimed

from cases import TINY
from conftest import make_tiny_data

CHECK = Claim.check


@dataclass
class Counter:
    """Counts checks and the seconds that they take."""

    checks: int = 0
    seconds: float = 0.0

    def count(self, claim: Claim) -> None:
        """Check, and count."""
        started = time.perf_counter()
        CHECK(claim)
        self.seconds += time.perf_counter() - started
        self.checks += 1


def microseconds(work: Callable[[], object], times: int) -> float:
    """Median of some calls."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(1e6 * (time.perf_counter() - started))
    return statistics.median(found)


def single(cell: Path) -> None:
    """What one claim costs, and one check."""

    def claim() -> None:
        with claimed(cell, {}):
            pass

    attempts = 30
    print(f"a claim, taken and given back: {microseconds(claim, attempts) / 1000:.1f} ms")
    print(f"what a write asks by a process that holds nothing: {microseconds(lambda: check_free(cell), 1000):.0f} µs")
    with claimed(cell, {}) as held:
        print(f"a check, after {attempts} attempts: {microseconds(held.check, 1000):.0f} µs")


def seconds_of(job: Job, runs: Path, check: Callable[[Claim], None]) -> tuple[float, float]:
    """Seconds of a cell whose claim is checked so, by the clock and of the processor."""
    Claim.check = check  # type: ignore[method-assign]
    started, used = time.perf_counter(), time.process_time()
    try:
        run_job(job, runs, "cpu", SilentReporter())
    finally:
        Claim.check = CHECK  # type: ignore[method-assign]
    return time.perf_counter() - started, time.process_time() - used


def whole(folder: Path, rounds: int) -> None:
    """A cell with the checks and one without, by turns."""
    data, preset = make_tiny_data(folder / "data"), load_preset(str(TINY), ["score.keep=reconstructions"])
    job = jobs_for(select_rows(["ae"]), (0,), data, preset, 0)[0]
    counter, ratios = Counter(), []
    seconds_of(job, folder / "rehearsal", CHECK)
    for number in range(rounds):
        counter = Counter()
        without = seconds_of(job, folder / f"without-{number}", lambda claim: None)
        checked = seconds_of(job, folder / f"with-{number}", lambda claim, counter=counter: counter.count(claim))  # type: ignore[misc]
        ratios.append([ours / theirs for ours, theirs in zip(checked, without, strict=True)])
    print(f"a tiny cell of {checked[0]:.2f} s checks {counter.checks} times, {1e3 * counter.seconds:.1f} ms in all")
    clock, processor = map(statistics.median, zip(*ratios, strict=True))
    print(f"with checks to without, {rounds} pairs: {clock:.3f} by the clock, {processor:.3f} of the processor")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        single(Path(name) / "cell")
        whole(Path(name), options.rounds)


if __name__ == "__main__":
    main()
