"""The embedded cohort: who is in it, that it is deterministic, and that its lesions are what they are said to be."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from scipy import ndimage, stats

from uadbench.datasets.cohort import Subject
from uadbench.datasets.phantom.lesions import MS_COMPONENTS, MS_LOAD_ML, plan_ms, tumour_volume
from uadbench.datasets.phantom.load import DEMO, PAPER, SimulatedScan, phantom_size, phantom_splits, simulate
from uadbench.datasets.phantom.scanner import HEALTHY_SCANNERS, MS_SCANNERS, TUMOUR_SCANNERS
from uadbench.datasets.phantom.subjects import PhantomSet, subjects
from uadbench.datasets.scans.preparation import PreparationSettings, prepare_volume
from uadbench.errors import DataError

EVERYWHERE = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def scans() -> dict[PhantomSet, SimulatedScan]:
    """One scan of each set; the subjects are chosen to be small and quick: a small tumour, few MS lesions."""
    chosen = {PhantomSet.HEALTHY: 3, PhantomSet.TUMOURS: 0, PhantomSet.MS: 0}
    return {role: simulate(subjects(DEMO, role)[number], role, 0) for role, number in chosen.items()}


def test_sizes_are_the_promised_ones() -> None:
    counts = {size.name: [len(subjects(size, role)) for role in PhantomSet] for size in (DEMO, PAPER)}
    assert counts == {"demo": [58, 16, 12], "paper": [560, 1251, 30]}
    assert phantom_size("paper") is PAPER
    with pytest.raises(DataError, match="'huge'.*demo, paper"):
        phantom_size("huge")


def test_a_larger_cohort_begins_with_the_same_subjects() -> None:
    for role in PhantomSet:
        few = subjects(DEMO, role)
        assert subjects(PAPER, role)[: len(few)] == few
        assert len({subject.id for subject in subjects(PAPER, role)}) == PAPER.count(role)


def test_ages_span_the_range_and_sites_are_those_of_the_set() -> None:
    ages = [subject.age for subject in subjects(DEMO, PhantomSet.HEALTHY)]
    assert min(ages) < 24 and max(ages) > 80 and all(20 <= age <= 86 for age in ages)
    scanners = {PhantomSet.HEALTHY: HEALTHY_SCANNERS, PhantomSet.TUMOURS: TUMOUR_SCANNERS, PhantomSet.MS: MS_SCANNERS}
    seen = {role: {subject.site for subject in subjects(DEMO, role)} for role in PhantomSet}
    assert seen == {role: {scanner.name for scanner in group} for role, group in scanners.items()}
    assert not any(seen[one] & seen[other] for one, other in combinations(PhantomSet, 2)), "no shift between sets"


@pytest.mark.parametrize("size", [DEMO, PAPER], ids=lambda size: size.name)
def test_folds_partition_the_healthy_subjects_by_age(size) -> None:
    splits = phantom_splits(size)
    age = {subject.id: subject.age for subject in subjects(size, PhantomSet.HEALTHY)}
    validation = [scan for fold in splits.folds for scan in fold.val]
    assert len(splits.folds) == 5 and len(validation) == len(set(validation)) == size.healthy_folds
    assert len(splits.healthy_test) == size.healthy_test
    assert set(validation) | set(splits.healthy_test) == set(age)
    for fold in splits.folds:
        assert set(fold.train) == set(validation) - set(fold.val)
        assert abs(np.mean([age[scan] for scan in fold.val]) - np.mean([age[scan] for scan in validation])) < 4
    for role in (PhantomSet.TUMOURS, PhantomSet.MS):
        part = splits.lesion[role]
        assert {*part.val, *part.test} == {subject.id for subject in subjects(size, role)}
        assert not set(part.val) & set(part.test)


def test_demo_folds_hold_forty_and_ten() -> None:
    assert {(len(fold.train), len(fold.val)) for fold in phantom_splits(DEMO).folds} == {(40, 10)}


def test_a_scan_depends_on_seed_and_subject_only(scans) -> None:
    """Another process has another hash seed and another history."""
    code = (
        "import hashlib; from uadbench.datasets.phantom.load import *;"
        "s = simulate(subjects(PAPER, PhantomSet.TUMOURS)[0], PhantomSet.TUMOURS, 0);"
        "print(hashlib.sha256(s.image.tobytes() + s.lesion_mask.tobytes()).hexdigest())"
    )
    import hashlib

    here = scans[PhantomSet.TUMOURS]
    expected = hashlib.sha256(here.image.tobytes() + here.lesion_mask.tobytes()).hexdigest()
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == expected


def test_another_seed_or_subject_is_another_brain(scans) -> None:
    subject = subjects(DEMO, PhantomSet.HEALTHY)[3]
    twin = dataclasses.replace(subject, id="phantom-healthy-0004")
    for other in (simulate(subject, PhantomSet.HEALTHY, 1), simulate(twin, PhantomSet.HEALTHY, 0)):
        both = scans[PhantomSet.HEALTHY].brain_mask & other.brain_mask
        assert (scans[PhantomSet.HEALTHY].brain_mask != other.brain_mask).mean() > 0.005
        assert np.corrcoef(scans[PhantomSet.HEALTHY].image[both], other.image[both])[0, 1] < 0.9


def test_a_scan_is_a_stripped_brain_of_whole_numbers(scans) -> None:
    for scan in scans.values():
        assert scan.image.dtype == np.float32 and scan.brain_mask.dtype == np.bool_
        assert 1100 < scan.brain_mask.sum() / 1000 < 2100, "a brain's volume in ml"
        assert not scan.image[~scan.brain_mask].any()
        assert np.array_equal(scan.image, np.rint(scan.image)) and scan.image.max() < np.iinfo(np.int16).max
        edges = [scan.brain_mask.take(place, axis) for axis in range(3) for place in (0, -1)]
        assert not any(edge.any() for edge in edges), "the brain is cut off"
    assert scans[PhantomSet.HEALTHY].lesion_mask is None


@pytest.mark.parametrize("role", [PhantomSet.TUMOURS, PhantomSet.MS])
def test_lesions_lie_in_the_brain_and_in_the_central_slab(scans, role) -> None:
    scan = scans[role]
    assert not (scan.lesion_mask & ~scan.brain_mask).any()
    prepared = prepare_volume(scan.image, scan.brain_mask, scan.lesion_mask, PreparationSettings())
    assert prepared.lesion_mask[19:31].sum() >= 7


def test_volumes_of_forty_tumours() -> None:
    """Against the log-normal law itself, clipped."""
    quantiles = (np.arange(40) + 0.5) / 40
    volumes = np.array([tumour_volume(quantile) for quantile in quantiles])
    law = np.clip(stats.lognorm(s=0.75, scale=90).ppf(quantiles), 5, 250)
    np.testing.assert_allclose(volumes, law, rtol=1e-6)
    assert 5 <= volumes.min() < 25 and volumes.max() == 250 and abs(np.median(volumes) - 90) < 5


def test_a_tumour_has_the_volume_drawn_for_it(scans) -> None:
    drawn = [tumour_volume(quantile) for quantile in np.linspace(0, 1, 10_001)]
    volume = scans[PhantomSet.TUMOURS].lesion_mask.sum() / 1000
    assert np.min(np.abs(np.array(drawn) - volume)) < 0.15
    pieces, _ = ndimage.label(scans[PhantomSet.TUMOURS].lesion_mask, EVERYWHERE)
    assert np.bincount(pieces.ravel())[1:].max() > 0.9 * scans[PhantomSet.TUMOURS].lesion_mask.sum(), "one tumour"


def test_ms_loads_and_numbers_have_the_measured_quartiles() -> None:
    plans = [plan_ms(f"someone-{number}", 0, (number + 0.5) / 400) for number in range(400)]
    loads, counts = (np.array([getattr(plan, name) for plan in plans]) for name in ("load_ml", "lesions"))
    np.testing.assert_allclose(np.quantile(loads, (0.25, 0.5, 0.75)), MS_LOAD_ML[1:4], rtol=0.02)
    np.testing.assert_allclose(np.quantile(counts, (0.25, 0.5, 0.75)), MS_COMPONENTS[1:4], rtol=0.15)
    assert counts.min() >= 17 and counts.max() <= 392
    assert stats.spearmanr(loads, counts).statistic > 0.6


def test_ms_lesions_are_many_and_between_tissue_and_fluid(scans) -> None:
    """The grey values measured on MSLUB: white matter 0.28 to 0.34, lesions 0.44 to 0.51 on average."""
    scan = scans[PhantomSet.MS]
    low, high = np.percentile(scan.image[scan.brain_mask], (1, 99))
    scaled = np.clip((scan.image - low) / (high - low), 0, 1)
    assert 0.36 < scaled[scan.lesion_mask].mean() < 0.58
    assert 0.05 < scaled[scan.lesion_mask].std() < 0.2
    assert 0.26 < np.median(scaled[scan.brain_mask]) < 0.42
    assert 10 < ndimage.label(scan.lesion_mask, EVERYWHERE)[1] < 400


def test_whoever_is_no_phantom_is_refused() -> None:
    with pytest.raises(DataError, match="IXI002-Guys-0828 is no subject"):
        simulate(Subject("IXI002-Guys-0828", 35.0, "Guys"), PhantomSet.HEALTHY, 0)
    with pytest.raises(DataError, match="phantom tumours"):
        simulate(subjects(DEMO, PhantomSet.HEALTHY)[0], PhantomSet.TUMOURS, 0)
