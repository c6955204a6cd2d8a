"""The preparation of real heads: seconds, memory, whether registration agrees with itself, and pictures to look at.

    python tests/trials/real_heads_trial.py HEAD.nii.gz ... --skull-strip deepbet --affines 3 --figures DIR

Nobody knows the true affine of a real head, but what a further affine must do to it is known: each head is registered,
then moved by random affines (those of `registration_trial`) and registered again. The matrix found for a moved head
must be the first one followed by the known affine; the error is the distance between the two over the atlas brain. The
brain mask of the moved head is moved along, so that only the registration is judged. A wrong registration could agree
with itself, so the figures show the atlas outline on every prepared head.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from registration_trial import BOUND, distances, peak_megabytes, random_affine  # of the same folder

from uadbench.datasets.scans.atlases import MNI152, load_atlas
from uadbench.datasets.scans.nifti import read_volume
from uadbench.datasets.scans.registration import Atlas, Registration, RegistrationSettings, register_affine
from uadbench.datasets.scans.scan_preparation import PreparedScan, RawVolumes, ScanSettings, prepare_scan
from uadbench.datasets.scans.skull_strip import SKULL_STRIPPERS, SkullStripper, make_stripper
from uadbench.datasets.scans.space import Grid, isotropic_grid, resample


def main() -> None:
    """Prepare every head in a process of its own, then move it about."""
    options = _options()
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        for head in options.heads:
            print("\n".join(pool.submit(_try, head, options).result()), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Prepare and register real heads.")
    parser.add_argument("heads", type=Path, nargs="+")
    parser.add_argument("--skull-strip", choices=SKULL_STRIPPERS, default="deepbet")
    parser.add_argument("--atlas", default=MNI152)
    parser.add_argument("--affines", type=int, default=3, help="random affines a head")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, help="a folder for a PNG a head")
    return parser.parse_args()


class _Remembered:
    """A skull stripper that keeps what it saw and what it found."""

    def __init__(self, stripper: SkullStripper) -> None:
        self.native, self.name, self._stripper = stripper.native, stripper.name, stripper
        self.seen: list[tuple[NDArray[np.float32], NDArray[np.bool_], Grid]] = []

    def brain_mask(self, image: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
        self.seen.append((image, self._stripper.brain_mask(image, grid), grid))
        return self.seen[-1][1]


def _try(head: Path, options: argparse.Namespace) -> list[str]:
    """Prepare one head, then move it about; a line each."""
    atlas, stripper = load_atlas(options.atlas), _Remembered(make_stripper(options.skull_strip))
    began, used = time.perf_counter(), time.process_time()
    image, grid = read_volume(head)
    prepared = prepare_scan(RawVolumes(image, grid, None, None), atlas, stripper, ScanSettings())
    took, used, memory = time.perf_counter() - began, time.process_time() - used, peak_megabytes()
    stem = f"{head.name.split('.')[0]}-{Path(atlas.name).name.split('.')[0]}-{options.skull_strip}"
    if options.figures:
        _draw(prepared, atlas, options.figures / f"{stem}.png")
    size = "x".join(f"{voxel:.2f}" for voxel in grid.spacing)
    steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in prepared.seconds.items())
    found = prepared.registration
    lines = [
        f"{head.name} ({size} mm, {atlas.name}, {stripper.name}): {took:.1f} s ({steps}), {used:.1f} core seconds, "
        f"peak memory {memory:.0f} MB, brain {prepared.brain.sum() / 1000:.0f} ml in the atlas, "
        f"nmi {found.mutual_information:.3f}, dice {found.mask_dice:.3f}"
    ]
    image, brain, seen = stripper.seen[0]
    fine = isotropic_grid(seen)
    at_fine, brain = resample(image, seen, fine), resample(brain, seen, fine)
    for number in range(options.affines):
        rng = np.random.default_rng([options.seed, number])
        lines.append(f"    affine {number}: {_agreement(at_fine, brain, fine, atlas, found, rng)}")
    return lines


def _agreement(
    image: NDArray[np.float32],
    brain: NDArray[np.bool_],
    fine: Grid,
    atlas: Atlas,
    first: Registration,
    rng: np.random.Generator,
) -> str:
    """Register a moved copy of a head; tell how far the answer is from the first one followed by the move."""
    points = atlas.grid.world(np.argwhere(atlas.mask)[::997].astype(np.float64))
    middle = fine.world(np.argwhere(brain)[::997].astype(np.float64)).mean(axis=0)
    known = random_affine(rng, middle)
    target = _grid_round(known[:3, :3] @ middle + known[:3, 3], fine)
    moved, moved_brain = (
        resample(image, fine, target, np.linalg.inv(known)),
        resample(brain, fine, target, np.linalg.inv(known)),
    )
    again = register_affine(moved, moved_brain, target, atlas, RegistrationSettings())
    apart = distances(again.to_scan, known @ first.to_scan, points)
    verdict = "agrees" if apart.mean() < BOUND else "DISAGREES"
    return (
        f"moved by {distances(known, np.eye(4), points).mean():.1f} mm, {verdict}: mean {apart.mean():.2f}, largest "
        f"{apart.max():.2f} mm; nmi {again.mutual_information:.3f}, dice {again.mask_dice:.3f}"
    )


def _grid_round(middle: NDArray[np.float64], fine: Grid) -> Grid:
    """A grid of 1 mm that holds a head however it is turned."""
    half = 140
    affine = fine.affine.copy()
    affine[:3, 3] = middle - half
    return Grid((2 * half,) * 3, affine)


def _draw(prepared: PreparedScan, atlas: Atlas, path: Path) -> None:
    """Three axial, coronal and sagittal slices of the prepared head with the atlas outline, and the atlas below."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    target = isotropic_grid(atlas.grid)
    head = resample(prepared.image, prepared.grid, target)
    template, mask = resample(atlas.image, atlas.grid, target), resample(atlas.mask, atlas.grid, target)
    low, high = (np.argwhere(mask).min(axis=0), np.argwhere(mask).max(axis=0))
    figure, panels = plt.subplots(2, 9, figsize=(27, 7), facecolor="black")
    places = [(axis, int(low[axis] + part * (high[axis] - low[axis]))) for axis in range(3) for part in (0.3, 0.5, 0.7)]
    for column, (axis, index) in enumerate(places):
        for row, volume in enumerate((head, template)):
            panel: Any = panels[row, column]
            brightest = np.percentile(volume[volume > 0], 99)
            panel.imshow(volume.take(index, axis), cmap="gray", origin="lower", vmin=0, vmax=brightest)
            panel.contour(mask.take(index, axis), levels=[0.5], colors="red", linewidths=0.8)
            inner = template.take(index, axis)
            panel.contour(inner, levels=[0.55 * np.percentile(template[mask], 95)], colors="cyan", linewidths=0.4)
            panel.axis("off")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=55)
    plt.close(figure)


if __name__ == "__main__":
    main()
