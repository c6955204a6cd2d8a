"""Time a training step and a volume with glibc's allocator as it is and as the program sets it, by turns.

    python tests/trials/allocator_trial.py --method maediff --rounds 5

Each measurement is a process of its own with one thread, as a worker has. Prints the ratios (that of CPU time bears a
machine that others use), and whether the reconstructions are bit for bit the same.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time


def measure(method: str, keeps: bool) -> None:
    """In a process of its own: time two steps and a volume, and print them with the digest of the reconstruction."""
    import hashlib

    import torch

    from uadbench.allocator import keep_freed_memory
    from uadbench.benchmarks.plan.preset import load_preset
    from uadbench.benchmarks.plan.suite import select_rows
    from uadbench.benchmarks.speed.timing import time_steps, time_volume
    from uadbench.benchmarks.speed.workload import random_volume, scan_of, workloads

    torch.set_num_threads(1)
    if keeps and not keep_freed_memory():
        sys.exit("this C library's allocator cannot be set, or the environment sets it")
    (work,) = workloads(select_rows([method]), load_preset("demo"))
    torch.manual_seed(0)
    detector, train, slices = work.detector(), work.plan.train, work.plan.data.slices
    volume = random_volume(slices, work.side, 1, torch.device("cpu"))
    start = time.process_time()
    read = time_volume(detector, train.precision, work.plan.score.batch_size, work.side, depth=slices, seed=0)
    used = time.process_time() - start
    with torch.inference_mode():
        found = detector.reconstruct(volume, scan_of(volume, work.plan.score.batch_size))
    step = time_steps(detector, train, train.batch_size, work.side, steps=3, seed=0, advance=lambda: None)
    print(json.dumps([step.seconds, read.seconds, used, hashlib.sha256(found.numpy().tobytes()).hexdigest()]))


def asked(method: str, *, keeps: bool) -> tuple[float, float, float, str]:
    """Measure in a new process, whose environment says nothing of the allocator."""
    environment = {name: text for name, text in os.environ.items() if "MALLOC" not in name}
    words = [sys.executable, __file__, "--method", method, "--child", "keeps" if keeps else "plain"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    step, volume, used, digest = json.loads(done.stdout.splitlines()[-1])
    return step, volume, used, digest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", default="maediff")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("keeps", "plain"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.method, options.child == "keeps")
        return
    rounds = [(asked(options.method, keeps=False), asked(options.method, keeps=True)) for _ in range(options.rounds)]
    for index, name in enumerate(("step", "volume", "volume, CPU time")):
        ratios = [plain[index] / kept[index] for plain, kept in rounds]  # type: ignore[operator]
        print(f"{options.method}, demo, {name}: {statistics.median(ratios):.2f}× ({min(ratios):.2f}–{max(ratios):.2f})")
    print("bitwise the same:", all(plain[3] == kept[3] for plain, kept in rounds))


if __name__ == "__main__":
    main()
