"""T1 and FLAIR of the phantom: T2 stays what it was, the brain stays the same, and grey values are those measured.

Grey values are measured on the phantom and on real scans in one way, after the scaling of the protocol (1st to 99th
percentile in the brain): the medians of three classes found by k-means, darkest first, and the median in the lesions.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.cluster import KMeans

from uadbench.datasets.modality import Modality
from uadbench.datasets.phantom.anatomy import grow
from uadbench.datasets.phantom.contrast import CONTRASTS, contrast_of, lesion_signal
from uadbench.datasets.phantom.load import DEMO, SimulatedScan, simulate
from uadbench.datasets.phantom.scanner import GUYS, SCANNERS, scan
from uadbench.datasets.phantom.subjects import PhantomSet, subjects
from uadbench.errors import DataError

CHOSEN = {PhantomSet.HEALTHY: 3, PhantomSet.TUMOURS: 0, PhantomSet.MS: 0}


class Look(NamedTuple):
    """Medians of a scan: the three classes without the lesions' surroundings, and the lesions."""

    dark: float
    middle: float
    bright: float
    lesions: float | None


def look(image: NDArray[np.float32], brain: NDArray[np.bool_], lesions: NDArray[np.bool_] | None) -> Look:
    low, high = np.percentile(image[brain], (1, 99))
    scaled = (image - low) / (high - low)
    rest = brain if lesions is None else brain & ~ndimage.binary_dilation(lesions, iterations=2)
    values = np.clip(scaled[rest], 0, 1)[::31, None]
    labels = KMeans(3, init=np.array([[0.1], [0.5], [0.9]]), n_init=1).fit_predict(values)
    classes = sorted(float(np.median(values[labels == label])) for label in range(3))
    return Look(*classes, None if lesions is None else float(np.median(scaled[lesions & brain])))


def look_at(scan: SimulatedScan) -> Look:
    return look(scan.image, scan.brain_mask, scan.lesion_mask)


@pytest.fixture(scope="module")
def scans() -> dict[PhantomSet, dict[Modality, SimulatedScan]]:
    people = {role: subjects(DEMO, role)[number] for role, number in CHOSEN.items()}
    return {role: {m: simulate(person, role, 0, m) for m in CONTRASTS} for role, person in people.items()}


# ------------------------------------------------------------------------------------------------- T2 as it ever was


@pytest.mark.parametrize(
    ("role", "line", "total", "lesions"),
    [
        (PhantomSet.HEALTHY, [209, 341, 188, 447, 341, 192, 212, 173, 215, 408, 311, 0], 443664831, {}),
        (
            PhantomSet.TUMOURS,
            [342, 306, 300, 316, 337, 310, 241, 288, 307, 278, 325, 0],
            702614486,
            {(54, 92, 104): 303, (67, 96, 109): 441, (76, 96, 115): 407, (96, 96, 106): 290},
        ),
        (
            PhantomSet.MS,
            [475, 455, 430, 413, 436, 404, 369, 408, 404, 423, 858, 0],
            979431080,
            {(56, 162, 86): 539, (92, 160, 97): 424, (96, 85, 109): 597, (148, 60, 53): 408},
        ),
    ],
)
def test_t2_is_what_it_was_before_there_were_others(scans, role, line, total, lesions) -> None:
    """Read off the scans of commit 990ed44; another processor may round a voxel the other way, and no more."""
    image = scans[role][Modality.T2].image
    found = image[image.shape[0] // 2, 20::16, image.shape[2] // 2 - 20]
    assert np.abs(found - line).max() <= 1
    assert all(abs(image[place] - value) <= 1 for place, value in lesions.items())
    assert abs(image.sum(dtype=np.float64) / total - 1) < 1e-6


def test_t2_is_what_is_scanned_where_nothing_is_said(scans) -> None:
    person = subjects(DEMO, PhantomSet.MS)[CHOSEN[PhantomSet.MS]]
    assert np.array_equal(simulate(person, PhantomSet.MS, 0).image, scans[PhantomSet.MS][Modality.T2].image)


# ------------------------------------------------------------------------------------------- one brain, three pictures


def test_brain_and_lesions_are_the_same_in_every_modality(scans) -> None:
    for role, pictures in scans.items():
        first = pictures[Modality.T2]
        for other in pictures.values():
            assert np.array_equal(other.brain_mask, first.brain_mask)
            assert role is PhantomSet.HEALTHY or np.array_equal(other.lesion_mask, first.lesion_mask)
            assert other.image.max() < np.iinfo(np.int16).max and np.array_equal(other.image, np.rint(other.image))


def test_each_modality_has_noise_of_its_own() -> None:
    """Neighbours in pure white matter differ by noise alone: T1's tells nothing of T2's."""
    brain = grow("somebody", 0, 30.0)
    pure = (brain.white > 0.98) & (brain.depth > 12) & (brain.ventricle_distance > 12) & (brain.iron < 0.01)
    core = ndimage.binary_erosion(pure, iterations=2)[:, :, 1:]
    pictures = [scan(brain, GUYS, "somebody", 0, 30.0, modality=modality) for modality in CONTRASTS]
    rough = [np.diff(picture, axis=2)[core] for picture in pictures]
    assert abs(np.corrcoef(rough)[np.triu_indices(3, 1)]).max() < 0.1


def test_every_scanner_has_grey_values_in_every_modality() -> None:
    assert {frozenset(contrast.sites) for contrast in CONTRASTS.values()} == {frozenset(SCANNERS)}
    for modality, contrast in CONTRASTS.items():
        for greys in contrast.sites.values():
            order = {
                Modality.T1: greys.white > max(greys.grey, greys.lesion or 0) and greys.grey > greys.fluid,
                Modality.T2: greys.fluid > greys.grey > greys.white,
                Modality.FLAIR: (greys.lesion or 0) > greys.grey > greys.white > greys.fluid,
            }
            assert order[modality], (modality, greys)


def test_lesions_turn_at_the_waters_of_their_modality() -> None:
    water = np.array([[[0.0, 0.15, 0.3, 0.65, 1.0]]], np.float32)
    t1 = contrast_of(Modality.T1)
    white, _, fluid, lesion = t1.sites["ms-centre"]
    expected = [white, (white + lesion) / 2, lesion, (lesion + fluid) / 2, fluid]
    np.testing.assert_allclose(lesion_signal(water, t1, "ms-centre")[0, 0], expected, atol=1e-6)
    t2 = contrast_of(Modality.T2)
    white, _, fluid, _ = t2.sites["ms-centre"]
    straight = white + water[0, 0] * (fluid - white)
    np.testing.assert_allclose(lesion_signal(water, t2, "ms-centre")[0, 0], straight, atol=1e-6)


def test_a_modality_that_the_phantom_has_not_is_refused() -> None:
    with pytest.raises(DataError, match="no pd scans; choose one of t1, t2, flair"):
        simulate(subjects(DEMO, PhantomSet.MS)[0], PhantomSet.MS, 0, Modality.PD)


# ---------------------------------------------------------------------------------------------------- as on real scans


def test_t1_looks_like_t1(scans) -> None:
    """White matter brightest, lesions below it; measured on 35 healthy scans: 0.20-0.31, 0.48-0.55, 0.82-0.88."""
    healthy = look_at(scans[PhantomSet.HEALTHY][Modality.T1])
    assert 0.20 < healthy.dark < 0.31 and 0.45 < healthy.middle < 0.60 and 0.82 < healthy.bright < 0.90
    for role in (PhantomSet.TUMOURS, PhantomSet.MS):
        found = look_at(scans[role][Modality.T1])
        assert found.dark + 0.1 < found.lesions < found.bright - 0.1


def test_flair_looks_like_flair(scans) -> None:
    """Fluid darkest, lesions brightest; on four patients: fluid 0.14-0.23, tissue to 0.83, lesions 0.91-0.98."""
    for role in (PhantomSet.TUMOURS, PhantomSet.MS):
        found = look_at(scans[role][Modality.FLAIR])
        assert found.dark < 0.24 and found.bright < 0.88
        assert 0.80 < found.lesions < 1.2 and found.lesions > found.bright + 0.05


def test_necrosis_is_darker_than_oedema_on_t1_and_on_flair() -> None:
    for modality in (Modality.T1, Modality.FLAIR):
        contrast = contrast_of(modality)
        oedema, necrosis = lesion_signal(np.array([[[0.25, 0.8]]], np.float32), contrast, "tumour-centre-1")[0, 0]
        assert necrosis < oedema - 0.1


def load(path: Path) -> NDArray[np.float32]:
    import nibabel as nib

    if not path.exists():
        pytest.skip(f"{path} is absent: nothing real to measure")
    return np.asarray(nib.load(path).dataobj, dtype=np.float32).squeeze()


@pytest.mark.parametrize("modality", [Modality.T1, Modality.FLAIR])
@pytest.mark.parametrize("patient", ["patient07", "patient19"])
def test_ms_patients_look_as_was_measured(shared_data, modality, patient) -> None:
    """What the phantom was calibrated to (T1: lesions 0.56 and 0.71; FLAIR: 0.92 and 0.98)."""
    folder = shared_data / "real_t1" / "mslub"
    image, lesions = load(folder / f"{patient}_{modality}.nii.gz"), load(folder / f"{patient}_seg.nii.gz") > 0
    found = look(image, image > 0, lesions)
    assert found.dark < 0.22
    if modality is Modality.T1:
        assert 0.54 < found.middle < 0.64 and 0.80 < found.bright < 0.88 and 0.55 < found.lesions < 0.72
    else:
        assert 0.58 < found.middle < 0.69 and 0.73 < found.bright < 0.84 and 0.90 < found.lesions < 0.99


@pytest.mark.parametrize("patient", ["TCGA-DU-7294", "TCGA-FG-6692"])
def test_gliomas_look_as_was_measured(shared_data, patient) -> None:
    """T1: 0.40 and 0.52 in the tumour, below white matter; FLAIR: 0.94 and 0.97, above all tissue."""
    folder = shared_data / "real_t1" / "glioma"
    tumour = load(folder / f"{patient}_seg.nii.gz") > 0
    found = {
        m: look(image, image > 0, tumour) for m in ("t1", "flair") for image in [load(folder / f"{patient}_{m}.nii.gz")]
    }
    assert 0.38 < found["t1"].lesions < 0.54 and found["t1"].bright > 0.75
    assert 0.92 < found["flair"].lesions < 0.99 and found["flair"].bright < 0.75


@pytest.mark.parametrize("number", [1000, 1019, 1107])
def test_healthy_t1_looks_as_was_measured(shared_data, number) -> None:
    folder = shared_data / "real_t1" / "healthy"
    found = look(load(folder / f"{number}_SS.nii.gz"), load(folder / f"{number}_mask.nii.gz") > 0, None)
    assert 0.19 < found.dark < 0.32 and 0.47 < found.middle < 0.56 and 0.81 < found.bright < 0.89
