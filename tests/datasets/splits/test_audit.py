"""The audit finds every leak, and the published split files leak exactly as much as the protocol says."""

from __future__ import annotations

import pickle

import pytest

from uadbench.datasets import brats21, ixi, mslub
from uadbench.datasets.cohort import HEALTHY, Fold, Part, Splits
from uadbench.datasets.findings import LeakError, Problem, SplitFinding
from uadbench.datasets.modality import Modality
from uadbench.datasets.splits.audit import audit, deleak, leaks_among
from uadbench.datasets.splits.own import read_available, read_healthy_splits, read_lesion_part
from uadbench.errors import DataError

PEOPLE = {HEALTHY: ixi.person_of}


def splits(train=("a", "b", "c", "d"), val=("e", "f"), test=("g", "h"), **more):
    folds = more.pop("folds", (Fold(tuple(train), tuple(val)),))
    return Splits("published", folds, tuple(test), more.pop("lesion", {}), **more)


def test_clean_split_has_no_findings():
    part = Part(("a", "b"), ("c",))  # names may repeat between sets: they are other people's
    assert audit(splits(lesion={"ms": part, "tumours": part}), PEOPLE) == ()


@pytest.mark.parametrize(
    ("hurt", "expected"),
    [
        (splits(train="abcg"), SplitFinding(Problem.SCAN_IN_TWO_PARTS, "train", "test", 0, ("g",))),
        (splits(train="abcfe"), SplitFinding(Problem.SCAN_IN_TWO_PARTS, "train", "val", 0, ("e", "f"))),
        (splits(val="eh"), SplitFinding(Problem.SCAN_IN_TWO_PARTS, "val", "test", 0, ("h",))),
        (splits(train="abbca"), SplitFinding(Problem.DUPLICATE_ROWS, "train", None, 0, ("a", "b"))),
        (splits(test="ggh"), SplitFinding(Problem.DUPLICATE_ROWS, "test", None, None, ("g",))),
        (
            splits(lesion={"ms": Part(("p", "q"), ("q", "r"))}),
            SplitFinding(Problem.SCAN_IN_TWO_PARTS, "ms val", "ms test", None, ("q",)),
        ),
        (
            splits(folds=(Fold(("a", "b"), ("c", "d")), Fold(("a", "b"), ("d", "e")))),
            SplitFinding(Problem.VALIDATION_OVERLAP, "val of fold 0", "val of fold 1", None, ("d",)),
        ),
        (
            splits(train=("IXI002-Guys-0828", "b"), test=("IXI002-HH-1000", "g")),
            SplitFinding(Problem.SUBJECT_IN_TWO_PARTS, "train", "test", 0, ("IXI002-Guys-0828", "IXI002-HH-1000")),
        ),
    ],
)
def test_each_kind_is_found_alone_and_exactly(hurt, expected):
    assert audit(hurt, PEOPLE) == (expected,)


def test_training_on_another_folds_validation_is_no_leak():
    folds = (Fold(("a", "b"), ("c", "d")), Fold(("c", "d"), ("a", "b")))
    assert audit(splits(folds=folds), PEOPLE) == ()


def test_missing_files():
    split = splits(lesion={"ms": Part(("p",), ("q", "r"))})
    present = {HEALTHY: frozenset("abcdefg"), "ms": frozenset("pr")}
    assert audit(split, PEOPLE, present=present) == (
        SplitFinding(Problem.MISSING_FILE, "test", None, None, ("h",)),
        SplitFinding(Problem.MISSING_FILE, "ms test", None, None, ("q",)),
    )


def test_deleak_moves_nobody_and_leaves_nothing_to_find():
    leaking = splits(
        train=("a", "b", "b", "e", "g", "IXI002-Guys-0828", "IXI002-Guys-0828"),
        val=("e", "f", "h", "f"),
        test=("g", "h", "g", "IXI002-HH-1000"),
        lesion={"ms": Part(("p", "q"), ("q", "r"))},
    )
    clean = deleak(leaking, PEOPLE)
    assert clean.name == "deleaked"
    assert clean.folds == (Fold(("a", "b"), ("e", "f")),)
    assert clean.healthy_test == ("g", "h", "IXI002-HH-1000")
    assert clean.lesion == {"ms": Part(("p",), ("q", "r"))}
    assert audit(clean, PEOPLE) == ()


@pytest.mark.parametrize(
    "hopeless", [splits(val="gh"), splits(train="egf"), splits(lesion={"ms": Part(("q",), ("q",))})]
)
def test_deleak_refuses_to_leave_a_part_empty(hopeless):
    with pytest.raises(DataError, match="scan left"):
        deleak(hopeless, PEOPLE)


def test_leak_error_stays_short_and_keeps_everything():
    scans = tuple(f"IXI{number:03d}-Guys-0001" for number in range(500))
    findings = tuple(SplitFinding(Problem.SCAN_IN_TWO_PARTS, "train", "test", fold, scans) for fold in range(50))
    error = LeakError("Do something.", findings)
    assert len(str(error)) < 1500
    assert "500 in all" in str(error)
    assert "44 more" in str(error)
    assert pickle.loads(pickle.dumps(error)).findings == error.findings == findings


# What the protocol says of the published files, fold by fold, counted by img_name.
TRAIN_TEST = (9, 9, 9, 7, 8)
TRAIN_VAL = (0, 0, 2, 3, 3)
VAL_TEST = (0, 0, 0, 2, 1)
TRAIN_TWICE = (13, 13, 11, 10, 10)


@pytest.fixture(scope="module")
def published(shared_data):
    folder = shared_data / "behrendt2023-splits"
    folds, test = read_healthy_splits(folder, ixi.DATA_SET)
    lesion = {"tumours": read_lesion_part(folder, brats21.DATA_SET), "ms": read_lesion_part(folder, mslub.DATA_SET)}
    return Splits("published", folds, test, lesion)


def counts(findings, kind, part_a, part_b=None):
    found = {
        one.fold: len(one.scans) for one in findings if (one.kind, one.part_a, one.part_b) == (kind, part_a, part_b)
    }
    return tuple(found.get(fold, 0) for fold in range(5))


def test_published_files_leak_as_the_protocol_says(published):
    findings = audit(published, PEOPLE)
    twice = Problem.SCAN_IN_TWO_PARTS
    assert counts(findings, twice, "train", "test") == TRAIN_TEST
    assert counts(findings, twice, "train", "val") == TRAIN_VAL
    assert counts(findings, twice, "val", "test") == VAL_TEST
    assert counts(findings, Problem.DUPLICATE_ROWS, "train") == TRAIN_TWICE
    (test,) = (one for one in findings if one.kind is Problem.DUPLICATE_ROWS and one.part_a == "test")
    assert len(test.scans) == 3
    assert (len(published.healthy_test), len(set(published.healthy_test))) == (160, 157)
    assert len([one for one in findings if one.kind is Problem.VALIDATION_OVERLAP]) == 10
    assert {one.part_a for one in leaks_among(findings)} == {"train", "val"}  # the lesion sets are disjoint
    sizes = {role: (len(part.val), len(part.test)) for role, part in published.lesion.items()}
    assert sizes == {"tumours": (100, 1151), "ms": (10, 20)}


def test_published_rows_with_a_t2(published, shared_data):
    available = read_available(shared_data / "behrendt2023-splits", Modality.T2)
    rows = [[scan for scan in fold.train if scan in available] for fold in published.folds]
    assert {len(one) for one in rows} == {385, 386}
    assert (min(len(set(one)) for one in rows), max(len(set(one)) for one in rows)) == (372, 376)
    assert sum(scan in available for scan in published.healthy_test) == 158


def test_deleaked_published_files_do_not_leak(published):
    clean = deleak(published, PEOPLE)
    kinds = {finding.kind for finding in audit(clean, PEOPLE)}
    assert kinds == {Problem.VALIDATION_OVERLAP}
    assert len(clean.healthy_test) == 157
    assert [len(fold.val) for fold in clean.folds] == [44, 44, 44, 42, 43]
