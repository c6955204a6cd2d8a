"""Does `bench predict` put a tumour where it is? Phantom tumours in an odd orientation, and what a run finds of them.

    python tests/trials/odd_tumour_trial.py --run RUN --scans 6 --out DIR

Each test tumour of the demo phantom is turned, scaled and shifted, then cut into thick oblique slices (PIR, 0.9 x 3 x
0.9 mm, int16). A run that never saw such a scan predicts it; the table says how far the centre of the component that
covers most of the tumour is from the tumour's, in the scan's own world. The distance holds two things: the way there
and back, and how much of the tumour the method finds. For the first alone the scan is predicted in its original pose,
too, and both centres are compared.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from uadbench.datasets.phantom.anatomy import load_atlas
from uadbench.datasets.phantom.load import phantom_size
from uadbench.datasets.phantom.subjects import PhantomSet, SimulatedScan, phantom_splits, simulate, subjects
from uadbench.datasets.scans.scan_preparation import sampled_inside
from uadbench.datasets.scans.space import Grid, resample

SEED = 0
VOXEL, SHAPE = (0.9, 3.0, 0.9), (240, 64, 230)


def moved() -> np.ndarray:
    """From the phantom's world to the scan's."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (10, -14, 12), degrees=True).as_matrix() @ np.diag((1.05, 0.95, 1.0))
    matrix[:3, 3] = (12, -9, 15)
    return matrix


def odd_grid(centre: np.ndarray) -> Grid:
    """Oblique slices stored as PIR, about a point."""
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], dtype=float)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (4, 5, -3), degrees=True).as_matrix() @ axes @ np.diag(VOXEL)
    affine[:3, 3] = centre - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return Grid(SHAPE[::-1], affine)


def save(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write a (z, y, x) array of whole numbers."""
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), grid.affine), path)


def write_pair(scan: SimulatedScan, name: str, out: Path) -> None:
    """Write a tumour in its original pose and in the odd one, each with its truth."""
    affine = np.eye(4)
    affine[:3, 3] = load_atlas().origin
    grid = Grid(scan.image.shape, affine)
    to_phantom = np.linalg.inv(moved())
    centre = nib.affines.apply_affine(moved(), grid.world(np.argwhere(scan.brain_mask).astype(float)).mean(axis=0))
    odd = odd_grid(centre)
    brain, lesions = (resample(mask, grid, odd, to_phantom) for mask in (scan.brain_mask, scan.lesion_mask))
    image = sampled_inside(scan.image.astype(np.float32), scan.brain_mask, grid, odd, to_phantom) * brain
    save(out / f"{name}-odd.nii.gz", image.round().astype(np.int16), odd)
    save(out / f"{name}-odd-truth.nii.gz", lesions.astype(np.uint8), odd)
    save(out / f"{name}.nii.gz", scan.image.astype(np.int16), grid)
    save(out / f"{name}-truth.nii.gz", scan.lesion_mask.astype(np.uint8), grid)


def found_and_true(name: str, out: Path) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Centre of the component that covers most of the tumour, the tumour's centre, Dice, the tumour's volume in ml."""
    truth = nib.load(out / f"{name}-truth.nii.gz")
    lesions = np.asarray(truth.dataobj) > 0
    found = np.asarray(nib.load(out / "maps" / f"{name}_lesions.nii.gz").dataobj) > 0
    pieces, count = ndimage.label(found, np.ones((3, 3, 3)))
    covered = np.bincount(pieces[lesions], minlength=count + 1)
    covered[0] = 0
    best = int(covered.argmax())
    piece = centre_of(pieces == best, truth.affine) if best else np.full(3, np.nan)
    dice = 2 * np.count_nonzero(found & lesions) / (np.count_nonzero(found) + np.count_nonzero(lesions))
    volume = np.count_nonzero(lesions) * abs(np.linalg.det(truth.affine[:3, :3])) / 1000
    return piece, centre_of(lesions, truth.affine), dice, volume


def centre_of(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Mean world position of a mask stored as (x, y, z)."""
    return np.asarray(nib.affines.apply_affine(affine, np.argwhere(mask)).mean(axis=0))


def main() -> None:
    """Write the scans, predict them, print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--run", required=True, help="what bench predict takes")
    options.add_argument("--scans", type=int, default=6)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--results", type=Path, default=Path("results"))
    words = options.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    size = phantom_size("demo")
    people = {subject.id: subject for subject in subjects(size, PhantomSet.TUMOURS)}
    names = list(phantom_splits(size).lesion[PhantomSet.TUMOURS].test[: words.scans])
    for name in names:
        if not (words.out / f"{name}-truth.nii.gz").exists():
            write_pair(simulate(people[name], PhantomSet.TUMOURS, SEED), name, words.out)
    poses = [f"{name}{pose}" for name in names for pose in ("", "-odd")]
    bench = Path(sys.executable).with_name("bench")
    command = [bench, "predict", *(words.out / f"{pose}.nii.gz" for pose in poses)]
    command += ["--run", words.run, "--out", words.out / "maps", "--results", words.results]
    subprocess.run([str(word) for word in command], check=True)
    print(f"{'scan':22} {'ml':>6} {'Dice':>6} {'odd':>6} {'to truth':>9} {'odd':>6} {'odd to original':>16}")
    for name in names:
        found, true, dice, volume = found_and_true(name, words.out)
        odd, odd_true, odd_dice, _ = found_and_true(f"{name}-odd", words.out)
        off, odd_off = np.linalg.norm(found - true), np.linalg.norm(odd - odd_true)
        between = np.linalg.norm(odd - nib.affines.apply_affine(moved(), found))
        print(f"{name:22} {volume:6.1f} {dice:6.2f} {odd_dice:6.2f} {off:6.1f} mm {odd_off:6.1f} {between:13.1f} mm")


if __name__ == "__main__":
    main()
