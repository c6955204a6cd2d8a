"""Write downloads of data sets in miniature, in the layouts in which their owners ship them.

    python tests/trials/make_miniature.py raw                              # the three sets of the paper
    python tests/trials/make_miniature.py raw --sets wmh2017,bids          # others
    python tests/trials/make_miniature.py raw --sets all

The brains are the MNI152 tissue maps that nilearn ships, on voxels of 4 mm: everybody turned, shifted and scaled in
another way, with intensities of their own, in the orientations that real scanners write. They are stripped, so that
`bench prepare … --skull-strip none` takes them on a machine without a skull stripper; MSLUB alone comes as whole heads
with brain masks. They are made for the machinery and good for nothing else.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from collections.abc import Callable, Sequence
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
class Contrast:
    """Mean grey values of white matter, grey matter, fluid and lesions."""

    tissue: tuple[float, float, float]
    lesion: float


T1 = Contrast((600, 430, 120), 250)
T2 = Contrast((300, 430, 900), 1170)
FLAIR = Contrast((300, 380, 60), 700)
PD = Contrast((500, 620, 700), 800)
T1CE = Contrast((600, 430, 120), 800)


@dataclass(frozen=True)
class Person:
    """A brain of its own: where it lies, how bright it is, and where its lesions are (centre and radius in MNI mm).

    Attributes:
        to_mni: matrix from the person's world to that of MNI152.
        offsets: of the grey values of white matter, grey matter and fluid.
        lesions: centre and radius of each.
        others: how many of the last are another pathology.
    """

    to_mni: NDArray[np.float64]
    offsets: NDArray[np.float64]
    lesions: tuple[tuple[float, float, float, float], ...]
    others: int = 0

    @classmethod
    def draw(cls, seed: int, lesions: int, radius: float, others: int = 0) -> Person:
        """A person by number, with so many lesions of about that radius, the last of which are another pathology."""
        rng = np.random.default_rng(seed)
        turn = Rotation.from_euler("xyz", rng.uniform(-10, 10, 3), degrees=True).as_matrix()
        matrix = np.eye(4)
        matrix[:3, :3] = turn * rng.uniform(0.94, 1.06, 3)
        matrix[:3, 3] = rng.uniform(-8, 8, 3)
        places = rng.uniform((-38, -55, 5), (38, 35, 40), (lesions, 3))
        sizes = radius * rng.uniform(0.8, 1.2, lesions)
        spots = tuple((float(x), float(y), float(z), float(r)) for (x, y, z), r in zip(places, sizes, strict=True))
        return cls(matrix, rng.normal(0, 15, 3), spots, others)


class Anatomy:
    """Tissue of the MNI152 average, to be sampled at any point."""

    def __init__(self) -> None:
        grey, white = load_mni152_gm_template(resolution=2), load_mni152_wm_template(resolution=2)
        self.grey, self.white = grey.get_fdata(), white.get_fdata()
        self.brain = load_mni152_brain_mask(resolution=2).get_fdata()
        self.to_voxel = np.linalg.inv(grey.affine)

    def scan(
        self, person: Person, points: Points, rng: np.random.Generator, contrast: Contrast = T2
    ) -> dict[str, NDArray[np.generic]]:
        """Stripped head, brain mask, lesions and other pathology at world points [X, Y, Z, 3] of the person."""
        mni = nib.affines.apply_affine(person.to_mni, points)
        where = np.moveaxis(nib.affines.apply_affine(self.to_voxel, mni), -1, 0)
        grey, white, brain = (
            ndimage.map_coordinates(part, where, order=1) for part in (self.grey, self.white, self.brain)
        )
        mask = brain > 0.5
        levels = np.array(contrast.tissue) + person.offsets
        image = sum(
            share * level for share, level in zip((white, grey, np.clip(1 - grey - white, 0, 1)), levels, strict=True)
        )
        marks = [mask & (np.linalg.norm(mni - centre, axis=-1) < radius) for *centre, radius in person.lesions]
        first = len(marks) - person.others
        lesions, other = (np.any([np.zeros_like(mask), *part], axis=0) for part in (marks[:first], marks[first:]))
        image = np.where(lesions | other, contrast.lesion, image) + rng.normal(0, 12, mask.shape)
        stripped = np.where(mask, np.maximum(image, 1), 0)
        return {"stripped": stripped, "mask": mask, "lesions": lesions, "other": other & ~lesions}

    @staticmethod
    def head(stripped: NDArray[np.generic], mask: NDArray[np.generic], rng: np.random.Generator) -> Points:
        """A scalp round a brain."""
        distance = ndimage.distance_transform_edt(~mask, sampling=VOXEL)
        scalp = 350.0 * ((distance > 10) & (distance < 18)) + rng.uniform(0, 15, mask.shape)
        return np.where(mask, stripped, scalp)


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
        rng = np.random.default_rng(200 + number)
        images = anatomy.scan(Person.draw(200 + number, 6, 7), points, rng)
        head = anatomy.head(images["stripped"], images["mask"], rng)
        folder = raw / "MSLUB" / scan
        for name in (f"{scan}_T2W", f"{scan}_FLAIR", f"raw/{scan}_T2W"):
            save(folder / f"{name}.nii.gz", head, affine)
        save(folder / f"{scan}_brainmask.nii.gz", images["mask"], affine)
        save(folder / f"{scan}_consensus_gt.nii.gz", images["lesions"], affine)


def _write_images(anatomy: Anatomy, person: Person, axes: str, seed: int, files: dict[Path, Contrast | str]) -> None:
    """Write a person's images and masks: by path a contrast, or "mask", "lesions" or "labels" (1 lesion, 2 other)."""
    points, affine = grid(axes)
    for path, wanted in files.items():
        contrast = wanted if isinstance(wanted, Contrast) else T2
        parts = anatomy.scan(person, points, np.random.default_rng(seed), contrast)
        if isinstance(wanted, Contrast):
            save(path, parts["stripped"], affine)
        elif wanted == "labels":
            save(path, (parts["lesions"] + 2 * parts["other"]).astype(np.uint8), affine)
        else:
            save(path, parts[wanted], affine)


def write_oasis1(raw: Path, anatomy: Anatomy) -> None:
    """Six people, one of them twice and one with dementia, as Analyze pairs, and the sheet."""
    rows = ["ID,M/F,Hand,Age,Educ,SES,MMSE,CDR,eTIV,nWBV,ASF,Delay"]
    for number, scan in enumerate(("0001_MR1", "0002_MR1", "0003_MR1", "0004_MR1", "0005_MR1", "0061_MR1", "0061_MR2")):
        name = f"OAS1_{scan}"
        folder = raw / "oasis1/disc1" / name / "PROCESSED/MPRAGE/T88_111"
        folder.mkdir(parents=True, exist_ok=True)
        points, affine = grid("LAS")
        parts = anatomy.scan(Person.draw(300 + int(scan[:4]), 0, 0), points, np.random.default_rng(number), T1)
        head = anatomy.head(parts["stripped"], parts["mask"], np.random.default_rng(number))
        for end, part in (("t88_masked_gfc", parts["stripped"]), ("t88_gfc", head)):
            image = nib.AnalyzeImage(np.round(part).astype(np.int16), affine)
            nib.save(image, folder / f"{name}_mpr_n4_anon_111_{end}.img")
        rows.append(f"{name},F,R,{20 + 9 * number},2,3,29,{'0.5' if scan == '0003_MR1' else ''},1344,0.743,1.306,N/A")
    (raw / "oasis1/oasis_cross-sectional.csv").write_text("\n".join(rows) + "\n")


def write_camcan(raw: Path, anatomy: Anatomy) -> None:
    """Six people with T1 and T2, and participants.tsv."""
    rows = ["participant_id\tage\thand"]
    for number in range(6):
        name = f"sub-CC{110033 + number}"
        files = {raw / f"camcan/{name}/anat/{name}_{kind}.nii.gz": one for kind, one in (("T1w", T1), ("T2w", T2))}
        _write_images(anatomy, Person.draw(400 + number, 0, 0), "PIR", 400 + number, files)
        rows.append(f"{name}\t{22 + 11 * number}\t100")
    (raw / "camcan/participants.tsv").write_text("\n".join(rows) + "\n")


def write_hcp_ya(raw: Path, anatomy: Anatomy) -> None:
    """Six people with T1 and T2, their brain masks, and the table of ages in bands."""
    rows = ["Subject,Release,Age"]
    for number in range(6):
        folder = raw / f"hcp_ya/{100307 + number}/T1w"
        files = {folder / f"{kind}_acpc_dc_restore_brain.nii.gz": one for kind, one in (("T1w", T1), ("T2w", T2))}
        files[folder / "brainmask_fs.nii.gz"] = "mask"
        _write_images(anatomy, Person.draw(500 + number, 0, 0), "LAS", 500 + number, files)
        rows.append(f"{100307 + number},Q1,{('22-25', '26-30', '31-35')[number % 3]}")
    (raw / "hcp_ya/unrestricted.csv").write_text("\n".join(rows) + "\n")


def write_wmh2017(raw: Path, anatomy: Anatomy) -> None:
    """Three people on three scanners, with lesions (1) and another pathology (2), which shines as they do."""
    places = ("training/Utrecht/0", "training/Amsterdam/GE3T/100", "test/Amsterdam/Philips_VU .PETMR_01./160")
    for number, place in enumerate(places):
        folder = raw / "wmh2017" / place
        files = {folder / "pre/FLAIR.nii.gz": FLAIR, folder / "pre/T1.nii.gz": T1, folder / "wmh.nii.gz": "labels"}
        _write_images(anatomy, Person.draw(600 + number, 6, 8, others=2), "RAS", 600 + number, files)


def write_atlas2(raw: Path, anatomy: Anatomy) -> None:
    """Two people after a stroke, one of them twice."""
    visits = (("R001", "sub-r001s001", 1), ("R009", "sub-r009s113", 1), ("R009", "sub-r009s113", 2))
    for number, (cohort, name, session) in enumerate(visits):
        start = f"{name}_ses-{session}_space-MNI152NLin2009aSym"
        folder = raw / f"atlas2/Training/{cohort}/{name}/ses-{session}/anat"
        files = {folder / f"{start}_T1w.nii.gz": T1, folder / f"{start}_label-L_desc-T1lesion_mask.nii.gz": "lesions"}
        _write_images(anatomy, Person.draw(700 + int(cohort[1:]), 1, 14), "LPS", 700 + number, files)


def write_brats_gli(raw: Path, anatomy: Anatomy) -> None:
    """Two people with gliomas, one of them at two time points."""
    kinds = {"t1n": T1, "t1c": T1CE, "t2w": T2, "t2f": FLAIR, "seg": "labels"}
    for number, scan in enumerate(("BraTS-GLI-00000-000", "BraTS-GLI-00005-000", "BraTS-GLI-00005-001")):
        files = {raw / f"brats-gli/{scan}/{scan}-{kind}.nii.gz": one for kind, one in kinds.items()}
        _write_images(anatomy, Person.draw(800 + int(scan[10:15]), 2, 14, others=1), "LPS", 800 + number, files)


def write_msseg2016(raw: Path, anatomy: Anatomy) -> None:
    """Two patients, of the training and of the test, with the same numbers."""
    kinds = {"FLAIR": FLAIR, "T1": T1, "T2": T2, "DP": PD, "GADO": T1CE}
    for number, part in enumerate(("Training", "Testing")):
        folder = raw / "msseg2016" / part / "Center_01/Patient_01"
        files = {folder / f"Preprocessed_Data/{kind}_preprocessed.nii.gz": one for kind, one in kinds.items()}
        files |= {folder / "Masks/Consensus.nii.gz": "lesions", folder / "Masks/Brain_Mask.nii.gz": "mask"}
        _write_images(anatomy, Person.draw(900 + number, 6, 7), "RAS", 900 + number, files)


def write_bids(raw: Path, anatomy: Anatomy) -> None:
    """Six healthy people in T1, T2 and FLAIR, one of them in two sessions, and participants.tsv."""
    rows = ["participant_id\tage\tsite"]
    visits = [(number, 1) for number in range(1, 7)] + [(1, 2)]
    for number, session in visits:
        start = f"sub-{number:02d}/ses-{session}/anat/sub-{number:02d}_ses-{session}"
        files = {raw / f"bids/{start}_{kind}.nii.gz": one for kind, one in (("T1w", T1), ("T2w", T2), ("FLAIR", FLAIR))}
        _write_images(anatomy, Person.draw(1000 + number, 0, 0), "LAS", 1000 + 10 * number + session, files)
    rows += [f"sub-{number:02d}\t{20 + 9 * number}\t{('north', 'south')[number % 2]}" for number in range(1, 7)]
    (raw / "bids/participants.tsv").write_text("\n".join(rows) + "\n")


def write_bids_lesions(raw: Path, anatomy: Anatomy) -> None:
    """Two people with lesions in T1, T2 and FLAIR, their masks among the derivatives."""
    for number in (1, 2):
        name = f"sub-{number:02d}"
        start = raw / f"bids-lesions/{name}/anat/{name}"
        files = {Path(f"{start}_{kind}.nii.gz"): one for kind, one in (("T1w", T1), ("T2w", T2), ("FLAIR", FLAIR))}
        files[raw / f"bids-lesions/derivatives/masks/{name}/anat/{name}_label-lesion_mask.nii.gz"] = "lesions"
        _write_images(anatomy, Person.draw(1100 + number, 4, 9), "RAS", 1100 + number, files)


WRITERS: dict[str, Callable[[Path, Anatomy], None]] = {
    "ixi": write_ixi,
    "brats21": write_brats,
    "mslub": write_mslub,
    "oasis1": write_oasis1,
    "camcan": write_camcan,
    "hcp_ya": write_hcp_ya,
    "wmh2017": write_wmh2017,
    "atlas2": write_atlas2,
    "brats-gli": write_brats_gli,
    "msseg2016": write_msseg2016,
    "bids": write_bids,
    "bids-lesions": write_bids_lesions,
}
OF_THE_PAPER = ("ixi", "brats21", "mslub")


def main() -> None:
    """Write the sets that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write the downloads to; it is made if it is not there")
    parser.add_argument(
        "--sets",
        default=",".join(OF_THE_PAPER),
        help=f"names of data sets, by commas, or all; known are {', '.join(WRITERS)} (default: %(default)s)",
    )
    options = parser.parse_args()
    names: Sequence[str] = tuple(WRITERS) if options.sets == "all" else tuple(options.sets.split(","))
    unknown = [name for name in names if name not in WRITERS]
    if unknown:
        parser.error(f"no miniature of {', '.join(unknown)}; choose of {', '.join(WRITERS)}")
    options.out.mkdir(parents=True, exist_ok=True)
    anatomy = Anatomy()
    for name in names:
        WRITERS[name](options.out, anatomy)
        print(f"Wrote {name} in miniature below {options.out}.")


if __name__ == "__main__":
    main()
