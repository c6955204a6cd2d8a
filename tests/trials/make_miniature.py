"""Write the downloads of IXI, BraTS21 and MSLUB in miniature, in the layouts in which they come.

    python tests/trials/make_miniature.py raw

    raw/IXI-T2.tar, raw/IXI.xls          six people; stripped, since IXI brings no masks and a test no network
    raw/BraTS2021_Training_Data.tar      two tumours; stripped, as they come, with the other modalities
    raw/MSLUB/patient01/…                two patients with MS lesions; whole heads with brain masks

The brains are the MNI152 tissue maps that nilearn ships, on voxels of 4 mm: everybody turned, shifted and scaled in
another way, with an intensity of their own, in the orientations that the real scanners write. They are made for the
machinery: enough for five folds and both lesion sets, and good for nothing else.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import xlwt
from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

VOXEL = 4.0
IXI = ("IXI002-Guys-0828", "IXI012-HH-1211", "IXI013-HH-1212", "IXI035-IOP-0873", "IXI040-Guys-0724", "IXI052-HH-1343")
BRATS = ("BraTS2021_00000", "BraTS2021_00002")
MSLUB = ("patient01", "patient02")
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Person:
    """A brain of its own: where it lies, how bright it is, and where its lesions are (centre and radius in MNI mm)."""

    to_mni: NDArray[np.float64]
    brightness: tuple[float, float, float]
    lesions: tuple[tuple[float, float, float, float], ...]

    @classmethod
    def draw(cls, seed: int, lesions: int, radius: float) -> Person:
        """A person by number, with so many lesions of about that radius."""
        rng = np.random.default_rng(seed)
        turn = Rotation.from_euler("xyz", rng.uniform(-10, 10, 3), degrees=True).as_matrix()
        matrix = np.eye(4)
        matrix[:3, :3] = turn * rng.uniform(0.94, 1.06, 3)
        matrix[:3, 3] = rng.uniform(-8, 8, 3)
        places = rng.uniform((-38, -55, 5), (38, 35, 40), (lesions, 3))
        sizes = radius * rng.uniform(0.8, 1.2, lesions)
        spots = tuple((float(x), float(y), float(z), float(r)) for (x, y, z), r in zip(places, sizes, strict=True))
        white, grey, fluid = rng.normal((300, 430, 900), 15)
        return cls(matrix, (float(white), float(grey), float(fluid)), spots)


class Anatomy:
    """Tissue of the MNI152 average, to be sampled at any point."""

    def __init__(self) -> None:
        grey, white = load_mni152_gm_template(resolution=2), load_mni152_wm_template(resolution=2)
        self.grey, self.white = grey.get_fdata(), white.get_fdata()
        self.brain = load_mni152_brain_mask(resolution=2).get_fdata()
        self.to_voxel = np.linalg.inv(grey.affine)

    def scan(self, person: Person, points: Points, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
        """Head, stripped head, brain mask and lesion labels at world points [X, Y, Z, 3] of the person."""
        mni = nib.affines.apply_affine(person.to_mni, points)
        where = np.moveaxis(nib.affines.apply_affine(self.to_voxel, mni), -1, 0)
        grey, white, brain = (
            ndimage.map_coordinates(part, where, order=1) for part in (self.grey, self.white, self.brain)
        )
        mask = brain > 0.5
        tissue = (white, grey, np.clip(1 - grey - white, 0, 1))
        image = sum(share * level for share, level in zip(tissue, person.brightness, strict=True))
        lesions = np.zeros(mask.shape, dtype=bool)
        for *centre, radius in person.lesions:
            lesions |= np.linalg.norm(mni - centre, axis=-1) < radius
        lesions &= mask
        image = np.where(lesions, 1.3 * person.brightness[2], image) + rng.normal(0, 12, mask.shape)
        distance = ndimage.distance_transform_edt(~mask, sampling=VOXEL)
        scalp = 350.0 * ((distance > 10) & (distance < 18)) + rng.uniform(0, 15, mask.shape)
        stripped = np.where(mask, np.maximum(image, 1), 0)
        return {"head": np.where(mask, stripped, scalp), "stripped": stripped, "mask": mask, "lesions": lesions}


def grid(axes: str) -> tuple[Points, NDArray[np.float64]]:
    """World points and affine of a grid of 4 mm round the head with those voxel axes, such as "PIR"."""
    shape = (56, 62, 56)
    affine = np.diag([VOXEL, VOXEL, VOXEL, 1.0])
    affine[:3, 3] = np.array([0.0, -18.0, 5.0]) - VOXEL * (np.array(shape) - 1) / 2
    plain = nib.Nifti1Image(np.zeros(shape, dtype=np.uint8), affine)
    target = nib.orientations.axcodes2ornt(tuple(axes))
    turned = plain.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), target))
    voxels = np.moveaxis(np.indices(turned.shape), 0, -1)
    return nib.affines.apply_affine(turned.affine, voxels), turned.affine


def save(path: Path, array: NDArray[np.generic], affine: NDArray[np.float64]) -> None:
    """Write an array [X, Y, Z] as scanners do, in whole numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if array.dtype in (np.bool_, np.uint8) else np.int16
    nib.save(nib.Nifti1Image(np.round(array).astype(kind), affine), path)


def write_ixi(raw: Path, anatomy: Anatomy) -> None:
    """IXI-T2.tar with the scans in it, and IXI.xls, where one person stands twice and one has no age."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Table")
    for column, name in enumerate(("IXI_ID", "SEX_ID (1=m, 2=f)", "HEIGHT", "WEIGHT", "AGE")):
        sheet.write(0, column, name)
    with tempfile.TemporaryDirectory() as folder, tarfile.open(raw / "IXI-T2.tar", "w") as archive:
        for number, scan in enumerate(IXI):
            points, affine = grid("PIR" if "HH" in scan else "LAS")
            images = anatomy.scan(Person.draw(number, 0, 0), points, np.random.default_rng(number))
            path = Path(folder) / f"{scan}-T2.nii.gz"
            save(path, images["stripped"], affine)
            archive.add(path, arcname=path.name)
            sheet.write(number + 1, 0, int(scan[3:6]))
            if scan != IXI[-1]:
                sheet.write(number + 1, 4, 25.5 + 6 * number)
    sheet.write(len(IXI) + 1, 0, 2)
    sheet.write(len(IXI) + 1, 4, 99)
    book.save(str(raw / "IXI.xls"))


def write_brats(raw: Path, anatomy: Anatomy) -> None:
    """BraTS2021_Training_Data.tar: a folder per scan, four modalities and labels 1, 2, 4."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(raw / "BraTS2021_Training_Data.tar", "w") as archive,
    ):
        for number, scan in enumerate(BRATS):
            points, affine = grid("LPS")
            images = anatomy.scan(Person.draw(100 + number, 1, 16), points, np.random.default_rng(100 + number))
            for kind in ("flair", "t1", "t1ce", "t2"):
                save(Path(folder) / scan / f"{scan}_{kind}.nii.gz", images["stripped"], affine)
            core = ndimage.binary_erosion(images["lesions"], iterations=2)
            labels = (2 * images["lesions"] + 2 * core).astype(np.uint8)
            save(Path(folder) / scan / f"{scan}_seg.nii.gz", labels, affine)
            archive.add(Path(folder) / scan, arcname=scan)


def write_mslub(raw: Path, anatomy: Anatomy) -> None:
    """A folder a patient: T2W, FLAIR, brain mask and consensus, and the scan as it was acquired below raw/."""
    for number, scan in enumerate(MSLUB):
        points, affine = grid("RAS")
        images = anatomy.scan(Person.draw(200 + number, 6, 7), points, np.random.default_rng(200 + number))
        folder = raw / "MSLUB" / scan
        for name in (f"{scan}_T2W", f"{scan}_FLAIR", f"raw/{scan}_T2W"):
            save(folder / f"{name}.nii.gz", images["head"], affine)
        save(folder / f"{scan}_brainmask.nii.gz", images["mask"], affine)
        save(folder / f"{scan}_consensus_gt.nii.gz", images["lesions"], affine)


def main() -> None:
    """Write all three below the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write")
    raw = parser.parse_args().out
    raw.mkdir(parents=True, exist_ok=True)
    anatomy = Anatomy()
    for write in (write_ixi, write_brats, write_mslub):
        write(raw, anatomy)
    print(f"Wrote {len(IXI)} + {len(BRATS)} + {len(MSLUB)} scans to {raw}.")


if __name__ == "__main__":
    main()
