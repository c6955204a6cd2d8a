"""What N4 does to lesions: their contrast in prepared volumes of the phantom, before and after the correction.

    python tests/trials/n4_trial.py --scans 8

Contrast is the mean intensity in the lesion less the median in the brain, after the preparation at load ([0, 1]).
N4 models the bias with splines whose finest knots stand a few centimetres apart, and a large bright lesion is as
smooth as that. The phantom's scans have bias fields of their own, which N4 removes as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np

from uadbench.datasets.phantom.anatomy import load_atlas
from uadbench.datasets.phantom.load import phantom_size
from uadbench.datasets.phantom.subjects import PhantomSet, phantom_splits, simulate, subjects
from uadbench.datasets.scans.bias import BiasSettings, correct_bias
from uadbench.datasets.scans.preparation import PreparationSettings, prepare_volume
from uadbench.datasets.scans.space import Grid

SEED = 0


def contrast(image: np.ndarray, brain: np.ndarray, lesions: np.ndarray) -> float:
    """Mean in the lesion less median in the brain of the prepared volume."""
    prepared = prepare_volume(image, brain, lesions, PreparationSettings())
    inside = prepared.volume[prepared.brain_mask & ~prepared.lesion_mask]
    return float(prepared.volume[prepared.lesion_mask].mean() - np.median(inside))


def main() -> None:
    """Print a line per scan and the medians."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--scans", type=int, default=8, help="test scans of each lesion set of the demo phantom")
    count = options.parse_args().scans
    size = phantom_size("demo")
    affine = np.eye(4)
    affine[:3, 3] = load_atlas().origin
    settings = {
        "as simulated": BiasSettings(iterations=()),
        "N4, 4 levels (protocol)": BiasSettings(),
        "N4, 3 levels": BiasSettings(iterations=(50, 50, 50)),
        "N4, 2 levels": BiasSettings(iterations=(50, 50)),
    }
    print("set      scan                   ml    " + "  ".join(f"{name:>24}" for name in settings))
    for role in (PhantomSet.TUMOURS, PhantomSet.MS):
        people = {subject.id: subject for subject in subjects(size, role)}
        rows = []
        for scan_id in phantom_splits(size).lesion[role].test[:count]:
            scan = simulate(people[scan_id], role, SEED)
            grid = Grid(scan.image.shape, affine)
            image = scan.image.astype(np.float32)
            corrected = [correct_bias(image, scan.brain_mask, grid, one) for one in settings.values()]
            rows.append([contrast(one, scan.brain_mask, scan.lesion_mask) for one in corrected])
            print(line(role, scan_id, f"{scan.lesion_mask.sum() / 1000:.1f}", rows[-1]), flush=True)
        print(line(role, "median", "", np.median(rows, axis=0)), flush=True)


def line(role: PhantomSet, name: str, millilitres: str, values: Iterable[float]) -> str:
    """A line of the table."""
    return f"{role:8} {name:20} {millilitres:>6}  " + "  ".join(f"{value:24.3f}" for value in values)


if __name__ == "__main__":
    main()
