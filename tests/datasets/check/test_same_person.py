"""Second scans of a person are found by the folds of the brain, and nobody else is taken for one person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from uadbench.datasets import DataSet, Modality, NamePattern, Role
from uadbench.datasets.check.check import check_directory
from uadbench.datasets.check.rules import Kind, Severity
from uadbench.datasets.check.same_person import BrainPrint, alike_pairs, brain_print
from uadbench.datasets.layout import scan_path
from uadbench.datasets.scans.space import Grid, resample

#: Six people, of whom the first two come again on another day.
PEOPLE, TWICE = 6, 2
SHAPE = (76, 96, 86)
AFFINE = np.eye(4)


@dataclass(frozen=True)
class Visit:
    """A stripped scan at 1 mm and its brain mask, [Z, Y, X]."""

    image: NDArray[np.float32]
    brain: NDArray[np.bool_]

    @property
    def print(self) -> BrainPrint:
        found = brain_print(self.image, self.brain, Grid(self.image.shape, AFFINE))
        assert found is not None
        return found


def another_day(visit: Visit, turn: float, shift: float) -> Visit:
    """The same, laid a little otherwise, as two registrations differ, with another gain, offset and curve."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", (turn, -turn, turn), degrees=True).as_matrix()
    centre = np.array(visit.image.shape[::-1]) / 2
    matrix[:3, 3] = centre - matrix[:3, :3] @ centre + shift
    grid = Grid(visit.image.shape, AFFINE)
    image, brain = (resample(part, grid, grid, matrix) for part in (visit.image, visit.brain))
    curved = np.where(brain, 300 + 0.7 * np.maximum(image, 0) ** 0.8, 0)
    return Visit(curved.astype(np.float32), brain)


def field(seed: int, size: float) -> NDArray[np.float32]:
    """Smooth structures of about that size in voxels, of unit spread."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, SHAPE), size)
    return (values / values.std()).astype(np.float32)


def person(number: int, day: int = 0) -> Visit:
    """An ellipsoid of 270 ml with what all brains share, what is the person's own, and the noise of the day."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE), indexing="ij")
    brain = sum((axis / 0.9) ** 2 for axis in axes) < 1
    own = field(100 + number, 3.0)
    noise = np.random.default_rng([number, day]).normal(0, 0.5, SHAPE).astype(np.float32)
    image = 200 + 30 * (2 * field(1, 4.0) + own + noise) + 40 * axes[0]
    return Visit(np.where(brain, image, 0).astype(np.float32), brain)


@pytest.fixture(scope="module")
def visits() -> dict[str, Visit]:
    """Six people, and two of them once more: other noise, another curve of grey values, laid otherwise."""
    first = {f"a{number}": person(number) for number in range(PEOPLE)}
    again = {f"b{number}": another_day(person(number, day=1), turn=0.7, shift=0.6) for number in range(TWICE)}
    return first | again


def test_people_who_come_twice_are_found(visits: dict[str, Visit]) -> None:
    prints = {("set", name): visit.print for name, visit in visits.items()}
    pairs = alike_pairs(prints)
    assert {tuple(sorted(name for _, name in pair.scans)) for pair in pairs} == {("a0", "b0"), ("a1", "b1")}
    assert all(pair.correlation > 0.6 and pair.next_best < 0.3 for pair in pairs)


def test_strangers_are_not_taken_for_one_person(visits: dict[str, Visit]) -> None:
    assert alike_pairs({("set", name): visit.print for name, visit in visits.items() if name[0] == "a"}) == ()


def test_pairs_are_found_across_sets(visits: dict[str, Visit]) -> None:
    prints = {("other" if name[0] == "b" else "set", name): visit.print for name, visit in visits.items()}
    assert {pair.scans for pair in alike_pairs(prints)} == {
        (("set", f"a{number}"), ("other", f"b{number}")) for number in range(TWICE)
    }


def test_too_few_scans_or_points_tell_nothing(visits: dict[str, Visit]) -> None:
    prints = {("set", name): visits[name].print for name in ("a0", "b0", "a1", "a2")}
    assert alike_pairs(prints) == ()
    small = {key: replace(one, shape=(3, 3, 3), content=bytes(27)) for key, one in prints.items()}
    assert alike_pairs({**small, ("set", "x"): small["set", "a0"]}) == ()


def test_a_scan_without_a_print(visits: dict[str, Visit]) -> None:
    """Voxels of another size, axes that are turned, an empty mask, or one grey value: nothing to say."""
    visit = visits["a0"]
    shape = visit.image.shape
    assert brain_print(visit.image, visit.brain, Grid(shape, np.diag([2.0, 2.0, 2.0, 1.0]))) is None
    assert brain_print(visit.image, visit.brain, Grid(shape, np.diag([-1.0, 1.0, 1.0, 1.0]))) is None
    assert brain_print(visit.image, np.zeros(shape, bool), Grid(shape, AFFINE)) is None


def test_where_the_image_was_cropped_does_not_matter(visits: dict[str, Visit]) -> None:
    visit = visits["a0"]
    box = tuple(slice(int(where.min()), int(where.max()) + 1) for where in np.nonzero(visit.brain))
    cropped = Grid(visit.image.shape, AFFINE).cropped(box)
    found = brain_print(visit.image[box], visit.brain[box], cropped)
    assert found is not None
    first, second = (_on_a_lattice(one) for one in (visit.print, found))
    assert first.keys() == second.keys()
    assert max(abs(first[place] - second[place]) for place in first) <= 1  # a fortieth of a standard deviation


def _on_a_lattice(one: BrainPrint) -> dict[tuple[int, ...], int]:
    return {
        tuple(np.add(one.start, place).tolist()): int(one.values[place])
        for place in np.ndindex(*one.shape)
        if one.values[place] != -128
    }


CLINIC = DataSet(
    name="clinic",
    title="Clinic",
    citation="Nobody, 2024",
    source="nowhere",
    role=Role.HEALTHY,
    modalities={Modality.T2: "a0_t2.nii.gz"},
    recognise=NamePattern(r"(?P<scan>\w+)_(?P<kind>\w+)"),
)


def _write(root: Path, visits: dict[str, Visit]) -> Path:
    for name, visit in visits.items():
        for kind, array in (("t2", visit.image), ("mask", visit.brain.astype(np.uint8))):
            path = scan_path(root, CLINIC, kind, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), AFFINE), path)
    return root


def test_the_check_says_it_as_a_remark(visits: dict[str, Visit], tmp_path: Path) -> None:
    root = _write(tmp_path / "data", visits)
    (finding,) = _findings(root, CLINIC)
    assert finding.severity is Severity.REMARK
    assert "may show the same person" in str(finding)
    assert "a0 (and b0, 0." in str(finding) and "a1 (and b1, 0." in str(finding)
    # A set that says itself who comes twice has nothing to hear.
    assert not _findings(root, replace(CLINIC, person_of=lambda scan: scan[1:]))


def _findings(root: Path, data_set: DataSet) -> list:
    report = check_directory(root, "own", known=(data_set,))
    return [finding for finding in report.findings if finding.kind is Kind.SAME_PERSON]
