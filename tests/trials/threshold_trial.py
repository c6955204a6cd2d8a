"""Both thresholds of many pooled volumes: seconds and peak memory, ours and the straightforward way, at 2 mm or 1 mm.

    python tests/trials/threshold_trial.py [--volumes 100] [--factor 2] [--straightforward] [--folder DIR]

Writes score maps of 50 x 96 x 96 voxels times `factor` in each direction to a folder (2: 1 mm, 1.5 GB for 100), then
finds the thresholds in a process of its own, so that the peak is its own. Greedy and exact threshold are compared with
a count over the maps that goes through them one by one. The straightforward way pools and sorts all voxels with
scikit-learn's `precision_recall_curve`, which at 1 mm takes more than 20 GB.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uadbench.metrics import pooled_thresholds

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


def write(folder: Path, volumes: int, factor: int) -> None:
    """Write the maps and what their labels mark."""
    shape = (50 * factor, 96 * factor, 96 * factor)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, side, dtype=np.float32) for side in shape], indexing="ij")
    brain = (z / 1.5) ** 2 + (y / 0.9) ** 2 + (x / 0.75) ** 2 < 1
    for number in range(volumes):
        rng = np.random.default_rng(number)
        centre = rng.uniform(-0.5, 0.5, 3)
        lesions = ((z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < 0.03) & brain
        scores = 0.1 * ndimage.uniform_filter(rng.random(shape, dtype=np.float32), 3) + 0.01 * lesions
        np.save(folder / f"scores-{number}.npy", np.where(brain, scores, 0).astype(np.float32))
        np.save(folder / f"labels-{number}.npy", lesions)


def read(folder: Path) -> Iterator[tuple[Floats, Mask]]:
    """The volumes, one after the other."""
    for path in sorted(folder.glob("scores-*.npy")):
        yield np.load(path), np.load(path.with_name(path.name.replace("scores", "labels")))


def dice_at(folder: Path, value: float) -> float:
    """Pooled Dice of a threshold, counted volume by volume."""
    overlap = found = true = 0
    for scores, labels in read(folder):
        marked = scores > np.float32(value)
        overlap += int((marked & labels).sum())
        found += int(marked.sum())
        true += int(labels.sum())
    return 2 * overlap / (found + true)


def find(folder: Path, way: str) -> None:
    """Find the thresholds and say what that took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if way == "ours":
        greedy, exact = pooled_thresholds(lambda: read(folder))
        words = f"greedy {greedy.value:.6f} (Dice {greedy.dice:.6f}), exact {exact.value:.6f} (Dice {exact.dice:.6f})"
    else:
        words = f"exact Dice {_straightforward(folder):.6f}"
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{way}: {took:.1f} s, peak {peak / 2**20:.2f} GiB ({before / 2**20:.2f} GiB before); {words}", flush=True)
    if way == "ours":
        for name, one in (("greedy", greedy), ("exact", exact)):
            assert dice_at(folder, one.value) == one.dice, name
        print("the Dice of both thresholds, counted volume by volume, is the same")


def _straightforward(folder: Path) -> float:
    from sklearn.metrics import precision_recall_curve

    pooled = list(read(folder))
    scores = np.concatenate([scores.ravel() for scores, _ in pooled])
    labels = np.concatenate([labels.ravel() for _, labels in pooled])
    precision, recall, _ = precision_recall_curve(labels, scores)
    both = precision + recall
    return float(np.max(np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--volumes", type=int, default=100)
    parser.add_argument("--factor", type=int, default=2)
    parser.add_argument("--straightforward", action="store_true")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--find", choices=("ours", "straightforward"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.find:
        find(options.folder, options.find)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        write(Path(name), options.volumes, options.factor)
        for way in ("ours", *(["straightforward"] if options.straightforward else [])):
            subprocess.run([sys.executable, __file__, "--folder", name, "--find", way], check=True)


if __name__ == "__main__":
    main()
