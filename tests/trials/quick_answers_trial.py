"""Time what only reads, lists or refuses, in this checkout and in another, by turns, and print the ratios.

    python tests/trials/quick_answers_trial.py --before /path/to/an/older/checkout --rounds 5

Each checkout's own `bench` (in `.venv/bin`) runs in an empty folder, with a cache of its own that is warm: the first
call after an installation imports the methods once and is not counted, but said.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

COMMANDS = (
    "list methods",
    "list scores",
    "list presets",
    "list data",
    "list data-sets",
    "list runs",
    "table 1 --controls",
    "run --method maedif",
    "run --method ae --preset demmo",
    "run --method ae --folds 0,0",
    "run --method ae --data nowhere",
)
HERE = Path(__file__).parents[2]


def seconds(checkout: Path, command: str, place: Path) -> float:
    """Run a command of a checkout's `bench` (or `python -c` where it begins so) and time it."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    words = [str(checkout / ".venv" / "bin" / "bench"), *command.split()]
    if command.startswith("import"):
        words = [str(checkout / ".venv" / "bin" / "python"), "-c", command]
    start = time.perf_counter()
    subprocess.run(words, cwd=place, env=environment, capture_output=True, check=False)
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    checkouts = (options.before.resolve(), HERE)
    with tempfile.TemporaryDirectory() as root:
        places = [Path(root) / name for name in ("before", "after")]
        for place in places:
            place.mkdir()
        first = [seconds(*pair) for pair in zip(checkouts, ("table all --controls",) * 2, places, strict=True)]
        print(f"first call after an installation (table): before {first[0]:.2f} s, after {first[1]:.2f} s")
        print("| command | before (s) | after (s) | ratio |\n| :-- | --: | --: | --: |")
        for command in ("import uadbench", *COMMANDS):
            rounds = [
                [seconds(checkout, command, place) for checkout, place in zip(checkouts, places, strict=True)]
                for _ in range(options.rounds)
            ]
            before, after = (statistics.median(times) for times in zip(*rounds, strict=True))
            ratio = statistics.median(old / new for old, new in rounds)
            print(f"| `{command}` | {before:.2f} | {after:.2f} | {ratio:.1f}× |", flush=True)


if __name__ == "__main__":
    main()
