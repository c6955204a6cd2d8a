"""Our own split: a true partition, by age, whatever the order of the input; and the reading of split files."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from uadbench.datasets import brats21, ixi, mslub
from uadbench.datasets.cohort import HEALTHY, Part, Subject
from uadbench.datasets.modality import Modality
from uadbench.datasets.splits.audit import audit
from uadbench.datasets.splits.own import (
    own_folds,
    own_part,
    own_splits,
    read_ages,
    read_available,
    read_healthy_splits,
    read_scans,
    scan_of,
)
from uadbench.errors import DataError

AGES = st.one_of(st.none(), st.floats(20, 86))


def people(count, age=lambda number: 20 + 66 * ((number * 0.618) % 1)):
    return [Subject(f"IXI{number:03d}-Guys-{1000 + number}", age(number), "Guys") for number in range(count)]


def ages_of(subjects, scans):
    known = {subject.id: subject.age for subject in subjects}
    return np.array([known[scan] for scan in scans])


@settings(max_examples=80, deadline=None)
@given(st.lists(AGES, min_size=6, max_size=90), st.integers(0, 5), st.randoms(use_true_random=False))
def test_folds_partition_the_scans_whatever_their_order(ages, seed, chance):
    subjects = people(len(ages), lambda number: ages[number])
    folds, test = own_folds(subjects, ixi.DATA_SET, seed=seed)
    validation = [scan for fold in folds for scan in fold.val]
    assert sorted([*validation, *test]) == sorted(subject.id for subject in subjects)
    assert len(folds) == 5
    for fold in folds:
        assert fold.val and fold.train and test
        assert sorted([*fold.train, *fold.val]) == sorted(validation)
    sizes = [len(fold.val) for fold in folds]
    assert max(sizes) - min(sizes) <= 1
    shuffled = list(subjects)
    chance.shuffle(shuffled)
    assert own_folds(shuffled, ixi.DATA_SET, seed=seed) == (folds, test)


@settings(max_examples=60, deadline=None)
@given(st.lists(AGES, min_size=2, max_size=60), st.integers(0, 5))
def test_lesion_parts_partition_the_scans(ages, seed):
    subjects = [Subject(f"patient{number:02d}", age, None) for number, age in enumerate(ages)]
    part = own_part(subjects, mslub.DATA_SET, seed=seed)
    assert part.val and part.test
    assert sorted([*part.val, *part.test]) == sorted(subject.id for subject in subjects)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(20, 86), min_size=60, max_size=200, unique=True), st.integers(0, 20))
def test_every_part_has_the_age_distribution_of_the_whole(ages, seed):
    """In every stretch of ages each part holds its share to within two people: far tighter than chance would."""
    subjects = people(len(ages), lambda number: ages[number])
    folds, test = own_folds(subjects, ixi.DATA_SET, seed=seed)
    rest = np.sort(ages_of(subjects, [scan for fold in folds for scan in fold.val]))
    for border in np.quantile(ages, (0.1, 0.25, 0.5, 0.75, 0.9)):
        share = np.mean(np.array(ages) <= border) * len(test)
        assert abs(np.sum(ages_of(subjects, test) <= border) - share) <= 1.01
        for fold in folds:
            assert abs(np.sum(ages_of(subjects, fold.val) <= border) - np.sum(rest <= border) / 5) <= 1.01


def test_published_sizes_of_the_sets():
    folds, test = own_folds(people(560), ixi.DATA_SET, seed=0)
    assert len(test) == 158
    assert sorted(len(fold.val) for fold in folds) == [80, 80, 80, 81, 81]
    tumours = own_part([Subject(f"BraTS2021_{n:05d}", None, None) for n in range(1251)], brats21.DATA_SET, seed=0)
    assert (len(tumours.val), len(tumours.test)) == (100, 1151)
    ms = own_part([Subject(f"patient{n:02d}", 30.0 + n, None) for n in range(30)], mslub.DATA_SET, seed=0)
    assert (len(ms.val), len(ms.test)) == (10, 20)


def test_another_seed_is_another_split():
    subjects = people(100)
    assert own_folds(subjects, ixi.DATA_SET, seed=0) == own_folds(subjects, ixi.DATA_SET, seed=0)
    (folds, test), (other_folds, other_test) = (own_folds(subjects, ixi.DATA_SET, seed=seed) for seed in (0, 1))
    assert test != other_test
    assert {fold.val for fold in folds}.isdisjoint({fold.val for fold in other_folds})


def test_two_scans_of_a_person_stay_together():
    twice = [
        Subject(f"IXI{number:03d}-{site}", 20.0 + number, None) for number in range(40) for site in ("Guys-1", "HH-2")
    ]
    healthy = {HEALTHY: twice}
    splits = own_splits(healthy, {HEALTHY: ixi.DATA_SET})
    assert audit(splits, {HEALTHY: ixi.person_of}) == ()
    for part in (splits.healthy_test, *(fold.val for fold in splits.folds)):
        assert len(part) == 2 * len({scan[:6] for scan in part})


def test_unknown_ages_are_said():
    sets = {HEALTHY: people(20, lambda _: None), "ms": [Subject(f"patient{n}", 40.0, None) for n in range(4)]}
    infos = {HEALTHY: ixi.DATA_SET, "ms": mslub.DATA_SET}
    (note,) = own_splits(sets, infos).notes
    assert "not stratified" in note
    assert "ages.csv" in note
    sets[HEALTHY] = people(20, lambda number: None if number < 3 else 30.0)
    assert "3 of 20" in own_splits(sets, infos).notes[0]
    sets[HEALTHY] = people(20)
    assert own_splits(sets, infos).notes == ()


def test_too_few_people_are_an_error():
    with pytest.raises(DataError, match="IXI shows 5 people"):
        own_folds(people(5), ixi.DATA_SET, seed=0)
    with pytest.raises(DataError, match="MSLUB shows 1 people"):
        own_part([Subject("patient01", 30.0, None)], mslub.DATA_SET, seed=0)


@pytest.mark.parametrize(
    ("img_name", "scan"),
    [
        ("IXI002-Guys-0828_t1.nii.gz", "IXI002-Guys-0828"),
        ("IXI002-Guys-0828_t2.nii.gz", "IXI002-Guys-0828"),
        ("BraTS2021_00538", "BraTS2021_00538"),
        (" patient07.nii ", "patient07"),
    ],
)
def test_scan_of_a_published_name(img_name, scan):
    assert scan_of(img_name) == scan


def test_person_and_site_of_an_ixi_name():
    assert ixi.person_of("IXI002-Guys-0828") == "IXI002"
    assert ixi.site_of("IXI012-HH-1211") == "HH"
    assert ixi.person_of("phantom-healthy-0001") == "phantom-healthy-0001"
    assert ixi.site_of("phantom-healthy-0001") is None
    assert mslub.site_of("patient07") == "Ljubljana"


def test_reads_split_files_as_they_are(tmp_path, write_csv):
    for fold in range(2):
        write_csv(tmp_path / f"IXI_train_fold{fold}.csv", ["a", "b", "b"], {"a": 33.5})
        write_csv(tmp_path / f"IXI_val_fold{fold}.csv", ["c"])
    write_csv(tmp_path / "IXI_test.csv", ["d", "e"], {"e": float("nan")})
    (tmp_path / "avail_t2.csv").write_text(",0\n0,a_t2.nii.gz\n1,b_t2.nii.gz\n")
    (tmp_path / "ages.csv").write_text("img_name,age\nd,71\n")
    folds, test = read_healthy_splits(tmp_path, ixi.DATA_SET)
    assert [fold.train for fold in folds] == [("a", "b", "b")] * 2
    assert test == ("d", "e")
    assert read_ages(tmp_path) == {"a": 33.5, "d": 71.0}
    assert read_available(tmp_path, Modality.T2) == {"a", "b"}
    assert read_available(tmp_path / "elsewhere", Modality.T2) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "lists no scan"),
        (b"img_name,age\n", "lists no scan"),
        (b"name,age\na,3\n", "without img_name"),
        (b"img_name,age\na,3,4\n", "longer or shorter"),
        (b"img_name,age\n\xff\xfe\x00,3\n", "cannot be read"),
        (b'img_name,age\n"a,3\n', "cannot be read"),
    ],
)
def test_malformed_split_file_is_named(tmp_path, content, words):
    path = tmp_path / "MSLUB_val.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_scans(path)
    assert "MSLUB_val.csv" in str(caught.value)


def test_missing_split_file_is_named(tmp_path, write_csv):
    write_csv(tmp_path / "IXI_train_fold0.csv", ["a"])
    with pytest.raises(DataError, match=r"IXI_val_fold0\.csv is missing"):
        read_healthy_splits(tmp_path, ixi.DATA_SET)


def test_order_of_roles_and_scans_does_not_matter():
    ms = [Subject(f"patient{number:02d}", 30.0 + number, None) for number in range(12)]
    infos = {HEALTHY: ixi.DATA_SET, "ms": mslub.DATA_SET}
    healthy = people(30)
    one = own_splits({HEALTHY: healthy, "ms": ms}, infos)
    random.Random(1).shuffle(healthy)
    two = own_splits({"ms": ms[::-1], HEALTHY: healthy}, infos)
    assert (one.folds, one.healthy_test, one.lesion) == (two.folds, two.healthy_test, two.lesion)
    assert isinstance(one.lesion["ms"], Part)
