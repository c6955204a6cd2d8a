"""How well the registration finds affines that are known: synthetic heads, odd grids, clean and flawed brain masks.

    python tests/trials/registration_trial.py --heads 20 --jobs 2 --seed 0 --out registration.csv

Every head is made of the MNI152 tissue maps that nilearn ships: T2-like contrast of its own, bias field, noise, skull
and scalp, moved by an affine (up to 20 degrees and 15 % about and along each axis, 25 mm) and sampled on an odd grid as
int16 with a negative background. It is written to disk, then read, brought to 1 mm and registered in a process of its
own, whose peak memory is noted. Each head comes in three cases:

    atlas    the atlas's own anatomy, true brain mask: the affine is known exactly, but the anatomy flatters
    warped   anatomy bent by a smooth random field of some millimetres, true mask; the true affine is then the
             least-squares affine of the whole map inside the brain, which mutual information need not prefer
    flawed   as warped, but the brain mask is grown by 2 mm and has lost a piece

The error is the distance, over the atlas brain, between where the found and the true affine send a point; beside it
stands what no affine can reach. pytest does not collect this file: it takes minutes.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from uadbench.datasets.scans.atlases import MNI152, load_atlas
from uadbench.datasets.scans.nifti import read_volume
from uadbench.datasets.scans.registration import Atlas, RegistrationSettings, register_affine
from uadbench.datasets.scans.space import Grid, isotropic_grid, resample, to_sitk, to_sitk_transform

CASES = ("atlas", "warped", "flawed")
ANGLE, STRETCH, SHIFT = 20.0, 0.15, 25.0  # degrees, of 1, mm: what the issue asks for
BOUND = 1.5  # mm, mean over the brain
GRIDS = (  # voxel axes, voxel sizes in mm, turn of the grid in degrees
    ("RAS", (1.0, 1.0, 1.0), 0.0),
    ("LAS", (0.51, 0.51, 4.0), 0.0),
    ("PIR", (0.9, 0.9, 5.5), 0.0),
    ("RAS", (0.94, 0.94, 1.25), 12.0),
    ("LPS", (0.51, 0.51, 4.0), 15.0),
)
_MARGIN = 24  # mm round the atlas, for skull and scalp
_FIELD = 4.0  # mm, voxels of the random field
_LPS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Row:
    """What was measured on a head in one case."""

    head: int
    case: str
    axes: str
    voxel: str
    misplaced: float
    mean_error: float
    largest_error: float
    beyond_affine: float
    mutual_information: float
    dice: float
    core_seconds: float
    peak_mb: float


def main() -> None:
    """Make the heads, prepare them, and tell how far off each registration is."""
    options = _options()
    os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")  # read by the children, where ITK is loaded
    rows = []
    print(" ".join(f"{field.name[:8]:>8}" for field in fields(Row)))
    with ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        heads = range(options.first, options.heads)
        for done in as_completed([pool.submit(_try, head, options.cases, options.seed) for head in heads]):
            rows += done.result()
            print("\n".join(map(_line, done.result())), flush=True)
    rows.sort(key=lambda row: (CASES.index(row.case), row.head))
    if options.out:
        _write(options.out, rows)
    for case in options.cases:
        print(_summary(case, [row for row in rows if row.case == case]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Register synthetic heads moved by known affines.")
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first head's number")
    parser.add_argument("--jobs", type=int, default=2, help="processes; each uses one core")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, help="a CSV with a row per head and case")
    return parser.parse_args()


def _line(row: Row) -> str:
    cells = (f"{value:8.2f}" if isinstance(value, float) else f"{value!s:>8}" for value in asdict(row).values())
    return " ".join(cells)


def _summary(case: str, rows: Sequence[Row]) -> str:
    errors = np.array([row.mean_error for row in rows])
    seconds = np.array([row.core_seconds for row in rows])
    return (
        f"{case}: {int((errors < BOUND).sum())} of {len(rows)} below {BOUND} mm; mean error median "
        f"{np.median(errors):.2f}, worst {errors.max():.2f} mm; registration {np.median(seconds):.1f} core seconds "
        f"(longest {seconds.max():.1f}), peak memory {max(row.peak_mb for row in rows):.0f} MB"
    )


def _write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(
            [f"{value:.4f}" if isinstance(value, float) else value for value in asdict(row).values()] for row in rows
        )


# ------------------------------------------------------------------------------------------------ one head, one case


def _try(number: int, cases: Sequence[str], seed: int) -> list[Row]:
    """Make a head in a process of its own, then prepare its cases in this one, so that only that counts as memory."""
    with tempfile.TemporaryDirectory(prefix="uadbench-trial-") as name:
        maker = multiprocessing.get_context("spawn").Process(target=make_head, args=(number, cases, seed, Path(name)))
        maker.start()
        maker.join()
        if maker.exitcode:
            sys.exit(f"head {number} cannot be made")
        atlas = load_atlas(MNI152)
        return [_measure(number, case, atlas, Path(name) / case) for case in cases]


def _measure(number: int, case: str, atlas: Atlas, folder: Path) -> Row:
    axes, voxel, _ = GRIDS[number % len(GRIDS)]
    truth = np.load(folder / "truth.npz")
    image, grid = read_volume(folder / "head.nii")
    mask, _ = read_volume(folder / "mask.nii")
    fine = isotropic_grid(grid)
    image, mask = resample(image, grid, fine), resample(mask > 0, grid, fine)
    began = time.process_time()
    found = register_affine(image, mask, fine, atlas, RegistrationSettings())
    seconds = time.process_time() - began
    brain = atlas.grid.world(np.argwhere(atlas.mask)[::997].astype(np.float64))
    missed = distances(found.to_scan, truth["affine"], brain)
    before = distances(np.eye(4), truth["affine"], brain)
    return Row(
        number,
        case,
        axes,
        "x".join(f"{size:g}" for size in voxel),
        float(before.mean()),
        float(missed.mean()),
        float(missed.max()),
        float(truth["beyond"]),
        found.mutual_information,
        found.mask_dice,
        seconds,
        peak_megabytes(),
    )


def distances(one: NDArray[np.float64], other: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far apart two matrices send each of some points, mm."""
    return np.asarray(np.linalg.norm(_moved(one, points) - _moved(other, points), axis=1))


def _moved(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def peak_megabytes() -> float:
    """The most memory that this process has held; the kernel's own `ru_maxrss` would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return next(float(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


# ------------------------------------------------------------------------------------------------------ making a head


def make_head(number: int, cases: Sequence[str], seed: int, folder: Path) -> None:
    """Write head.nii, mask.nii and the truth of each case of a head, in a folder each."""
    rng = np.random.default_rng([seed, number])
    atlas = load_atlas(MNI152)
    whole = _padded(atlas.grid)
    affine = random_affine(rng, atlas.grid.world(np.argwhere(atlas.mask)[::997].astype(np.float64)).mean(axis=0))
    head, brain = _anatomy(rng, atlas, whole)
    grid = oriented_grid(*GRIDS[number % len(GRIDS)], centre=affine[:3, 3] + affine[:3, :3] @ _centre(whole))
    largest = float(rng.uniform(4, 8))
    for case in cases:
        bend = _random_field(np.random.default_rng([seed, number, 1]), whole, 0.0 if case == "atlas" else largest)
        image = _sampled(head, whole, grid, affine, bend)
        image = np.hypot(image + rng.normal(0, 0.03, image.shape), rng.normal(0, 0.03, image.shape))
        mask = _mask(brain, whole, grid, affine, bend)
        if case == "flawed":
            mask = _flawed(rng, mask, grid)
        (folder / case).mkdir(parents=True)
        _save(folder / case / "head.nii", (900 * image - 60).round().astype(np.int16), grid)
        _save(folder / case / "mask.nii", mask.astype(np.uint8), grid)
        true, beyond = _least_squares(atlas, whole, affine, bend)
        np.savez(folder / case / "truth.npz", affine=true, beyond=beyond)


def _save(path: Path, values: NDArray[Any], grid: Grid) -> None:
    import nibabel as nib

    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), grid.affine), path)


def random_affine(rng: np.random.Generator, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """A matrix from atlas to scan that turns and stretches about a point and shifts it."""
    turn = Rotation.from_euler("xyz", rng.uniform(-ANGLE, ANGLE, 3), degrees=True).as_matrix()
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ np.diag(1 + rng.uniform(-STRETCH, STRETCH, 3))
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + rng.uniform(-SHIFT, SHIFT, 3)
    return matrix


def oriented_grid(axes: str, voxel: Sequence[float], turn: float, centre: NDArray[np.float64]) -> Grid:
    """A grid of 256 mm about a point, its voxel axes such as "PIR", turned about a slant line."""
    codes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    linear = np.zeros((3, 3))
    for column, code in enumerate(axes):
        row, sign = codes[code]
        linear[row, column] = sign
    linear = Rotation.from_rotvec(np.radians(turn) * np.array([0.6, -0.64, 0.48])).as_matrix() @ linear
    counts = np.ceil(256 / np.asarray(voxel)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = linear * np.asarray(voxel)
    affine[:3, 3] = centre - affine[:3, :3] @ ((counts - 1) / 2)
    return Grid(tuple(int(count) for count in counts[::-1]), affine)


def _padded(grid: Grid) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.full(3, float(_MARGIN))
    return Grid(tuple(size + 2 * _MARGIN for size in grid.shape), affine)


def _centre(grid: Grid) -> NDArray[np.float64]:
    return np.asarray(grid.world((np.asarray(grid.shape, dtype=np.float64)[None] - 1) / 2)[0])


def _anatomy(rng: np.random.Generator, atlas: Atlas, whole: Grid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A T2-like head in atlas space, air 0: tissue by the maps, then fluid, skull and scalp by distance."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    def padded(image: Any) -> NDArray[np.float32]:
        return np.pad(np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0), _MARGIN)

    grey, white = padded(load_mni152_gm_template(resolution=1)), padded(load_mni152_wm_template(resolution=1))
    brain = np.pad(atlas.mask, _MARGIN)
    tissue = rng.uniform(0.42, 0.6) * grey + rng.uniform(0.25, 0.38) * white
    tissue += rng.uniform(0.85, 1.1) * np.clip(1 - grey - white, 0, 1)
    away = 2.0 * ndimage.distance_transform_edt(~brain[::2, ::2, ::2])  # every second voxel is enough for a skull
    away = away.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(size) for size in brain.shape)]
    around = np.select([away < 3, away < 9, away < 15], [0.8, 0.08, rng.uniform(0.5, 0.8)], 0.0)
    head = np.where(brain, tissue, around) * _bias(rng, brain.shape)
    return head.astype(np.float32), brain


def _bias(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Smooth gain between about 0.7 and 1.4: a slope, and a wave along every axis."""
    total = np.zeros(shape, dtype=np.float32)
    for axis, size in enumerate(shape):
        along = np.linspace(-1, 1, size, dtype=np.float32)
        wave = rng.uniform(-0.15, 0.15) * along + rng.uniform(-0.1, 0.1) * np.cos(np.pi * along)
        total += wave.astype(np.float32).reshape([-1 if axis == other else 1 for other in range(3)])
    return np.asarray(np.exp(total))


def _random_field(rng: np.random.Generator, whole: Grid, largest: float) -> Any:
    """A smooth displacement of up to so many millimetres, as a SimpleITK transform."""
    import SimpleITK as sitk

    shape = tuple(int(np.ceil(size / _FIELD)) + 1 for size in whole.shape)
    vectors = np.stack([ndimage.gaussian_filter(rng.normal(0, 1, shape), 20 / _FIELD) for _ in range(3)], axis=-1)
    vectors *= largest / np.linalg.norm(vectors, axis=-1).max()
    field = sitk.GetImageFromArray(vectors * _LPS, isVector=True)
    like = to_sitk(np.zeros((1, 1, 1), dtype=np.float32), whole)
    field.SetOrigin(like.GetOrigin())
    field.SetDirection(like.GetDirection())
    field.SetSpacing((_FIELD,) * 3)
    return sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))


def _to_head(affine: NDArray[np.float64], bend: Any) -> Any:
    """From scan world to the atlas's head: back through the affine, then bent; the last one added comes first."""
    import SimpleITK as sitk

    return sitk.CompositeTransform([bend, to_sitk_transform(np.linalg.inv(affine))])


def _sampled(
    head: NDArray[np.float32], whole: Grid, grid: Grid, affine: NDArray[np.float64], bend: Any
) -> NDArray[np.float64]:
    """The head on the scan's grid, averaged over the thickness of its slices."""
    import SimpleITK as sitk

    source, parts = to_sitk(head, whole), max(1, round(float(grid.spacing[2]) / 2))
    total = np.zeros(grid.shape)
    for offset in (np.arange(parts) + 0.5) / parts - 0.5:
        moved = grid.affine.copy()
        moved[:3, 3] += moved[:3, 2] * offset
        like = to_sitk(np.zeros(grid.shape, dtype=np.bool_), Grid(grid.shape, moved))
        total += sitk.GetArrayFromImage(sitk.Resample(source, like, _to_head(affine, bend), sitk.sitkLinear, 0.0))
    return total / parts


def _mask(
    brain: NDArray[np.bool_], whole: Grid, grid: Grid, affine: NDArray[np.float64], bend: Any
) -> NDArray[np.bool_]:
    import SimpleITK as sitk

    like = to_sitk(np.zeros(grid.shape, dtype=np.bool_), grid)
    moved = sitk.Resample(to_sitk(brain, whole), like, _to_head(affine, bend), sitk.sitkNearestNeighbor, 0)
    return np.asarray(sitk.GetArrayFromImage(moved) > 0)


def _flawed(rng: np.random.Generator, mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """Grown by 2 mm, and without a ball of 25 mm about a point of the rim: what a stripper gets wrong."""
    sizes = grid.spacing[::-1]
    grown = ndimage.distance_transform_edt(~mask, sampling=sizes) <= 2
    rim = np.argwhere(mask & ~ndimage.binary_erosion(mask))
    away = np.ones(grid.shape, dtype=bool)
    away[tuple(rim[rng.integers(len(rim))])] = False
    return np.asarray(grown & (ndimage.distance_transform_edt(away, sampling=sizes) > 25))


def _least_squares(
    atlas: Atlas, whole: Grid, affine: NDArray[np.float64], bend: Any
) -> tuple[NDArray[np.float64], float]:
    """The affine nearest to the map from atlas brain to scan, and the mean distance that it leaves, mm."""
    before = _lattice(whole)
    in_head = np.array([bend.TransformPoint(point) for point in (before * _LPS).tolist()]) * _LPS
    inside = _inside(atlas, in_head)
    in_head, in_scan = in_head[inside], _moved(affine, before[inside])
    design = np.c_[in_head, np.ones(len(in_head))]
    solution, *_ = np.linalg.lstsq(design, in_scan, rcond=None)
    matrix = np.eye(4)
    matrix[:3] = solution.T
    return matrix, float(np.linalg.norm(design @ solution - in_scan, axis=1).mean())


def _lattice(grid: Grid, step: int = 6) -> NDArray[np.float64]:
    voxels = np.stack(np.meshgrid(*(np.arange(0, size, step) for size in grid.shape), indexing="ij"), axis=-1)
    return grid.world(voxels.reshape(-1, 3).astype(np.float64))


def _inside(atlas: Atlas, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    back = np.linalg.inv(atlas.grid.affine)
    voxels = np.round(_moved(back, points)).astype(int)[:, ::-1]
    within = np.all((voxels >= 0) & (voxels < np.array(atlas.grid.shape)), axis=1)
    inside = np.zeros(len(points), dtype=bool)
    inside[within] = atlas.mask[tuple(voxels[within].T)]
    return inside


if __name__ == "__main__":
    main()
