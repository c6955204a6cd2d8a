"""What a registration's figures are where it succeeds and where it fails, on real stripped heads.

    python tests/trials/registration_limit_trial.py --data ../shared/data --atlas mni152 --out limit.csv

Each head is registered as it is and then spoiled on purpose:

    good        as it is
    flipped     its header upside down
    half        the mask holds one half of the brain
    elsewhere   the mask lies 40 mm off
    grown       the mask is grown by 12 mm, as a mask of the head is
    moved       the registration's answer is turned by 35 degrees and moved by 25 mm: a climb that went astray

The table stands behind `LEAST_DICE` and `USUAL_BRAIN_ML` in `datasets/registration.py`: Dice tells what was turned, the
volume what the climb has squeezed into the atlas's brain. A mask that is merely moved may pass both. pytest does not
collect this file: it takes minutes.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from uadbench.datasets.scans.atlases import MNI152, load_atlas
from uadbench.datasets.scans.intensities import canonical
from uadbench.datasets.scans.nifti import read_volume
from uadbench.datasets.scans.registration import Atlas, RegistrationSettings, quality_at, register_affine
from uadbench.datasets.scans.skull_strip import Stripped
from uadbench.datasets.scans.space import Grid

HEADS = (
    "real/mslub/patient07_t2.nii.gz",
    "real/stroke/M2307_t2.nii.gz",
    "real_t1/glioma/TCGA-FG-6692_t2.nii.gz",
    "real_t1/healthy/1000_SS.nii.gz",
    "real/mslub/patient19_t2.nii.gz",
    "real_t1/glioma/TCGA-DU-7294_t2.nii.gz",
    "real_t1/healthy/1101_SS.nii.gz",
    "real_t1/healthy/1003_SS.nii.gz",
    "real_t1/mslub/patient19_flair.nii.gz",
    "real_t1/healthy/1113_SS.nii.gz",
    "real_t1/healthy/1128_SS.nii.gz",
    "real_t1/healthy/1017_SS.nii.gz",
)
CASES = ("good", "moved", "flipped", "half", "elsewhere", "grown")
COLUMNS = ("head", "atlas", "case", "dice", "mutual_information", "brain_ml", "ml_in_atlas", "scale")


def main() -> None:
    """Register every head in every case; a line each."""
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    options = _options()
    atlas = load_atlas(options.atlas)
    with options.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for case in options.cases:
            for head in HEADS[options.first : options.heads]:
                row = _try(options.data / head, case, atlas)
                writer.writerow(row)
                file.flush()
                print(*row, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Register real heads, well and badly.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--atlas", default=MNI152)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--first", type=int, default=0, help="the first head's number")
    parser.add_argument("--heads", type=int, default=len(HEADS))
    parser.add_argument("--out", type=Path, required=True, help="a CSV with a row per head and case")
    return parser.parse_args()


def _try(head: Path, case: str, atlas: Atlas) -> tuple[object, ...]:
    image, grid = read_volume(head)
    brain = Stripped().brain_mask(image, grid)
    if case == "flipped":
        grid = _upside_down(grid)
    mask = _spoiled(brain, case, grid)
    shown = canonical(image, mask if case != "moved" else brain)
    found = register_affine(shown, mask, grid, atlas, RegistrationSettings())
    to_scan = found.to_scan
    if case == "moved":
        astray = np.eye(4)
        astray[:3, :3] = Rotation.from_euler("xyz", (35, 0, 0), degrees=True).as_matrix()
        astray[:3, 3] = (0, 25, 0)
        to_scan = to_scan @ astray
        found = quality_at(to_scan, shown, mask, grid, atlas)
    scale = abs(np.linalg.det(to_scan[:3, :3]))
    ml = float(mask.sum()) * grid.voxel_ml
    figures = (found.mask_dice, found.mutual_information, ml, ml / scale, scale)
    return head.name, atlas.name, case, *(round(float(value), 3) for value in figures)


def _upside_down(grid: Grid) -> Grid:
    affine = grid.affine.copy()
    affine[2] = -affine[2]
    affine[1] = -affine[1]
    return Grid(grid.shape, affine)


def _spoiled(brain: NDArray[np.bool_], case: str, grid: Grid) -> NDArray[np.bool_]:
    mask = brain.copy()
    if case == "half":
        mask[:, :, int(ndimage.center_of_mass(brain)[2]) :] = False
    if case == "elsewhere":
        mask = np.roll(brain, (round(40 / grid.spacing[2]), round(40 / grid.spacing[1])), (0, 1))
    if case == "grown":
        mask = ndimage.distance_transform_edt(~brain, sampling=grid.spacing[::-1]) <= 12
    return np.asarray(mask, dtype=np.bool_)


if __name__ == "__main__":
    main()
