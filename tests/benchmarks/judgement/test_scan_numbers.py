"""The numbers of a scan that two rows can be compared by, against formulas written down scan by scan."""

from __future__ import annotations

import math
from dataclasses import asdict, fields

import numpy as np
import pandas as pd
import pytest

from uadbench.benchmarks.judgement.comparison import compare, judged_rows
from uadbench.benchmarks.judgement.ranking import ranks_of
from uadbench.benchmarks.judgement.scan_numbers import (
    COMPARABLE,
    SCAN_NUMBERS,
    known_metrics,
    measured,
    needs_detection,
    with_scan_numbers,
)
from uadbench.benchmarks.records.detections import VolumeDetection
from uadbench.errors import UserError
from uadbench.metrics.inference import paired

DIAGONAL = 300.0
#: Columns that say what a scan is, or are no number.
_OF_THE_SCAN = {"cohort", "role", "subject", "at", "brain_ml", "lesions"}


def line(subject: str, role: str = "tumours", at: str = "tumours", **numbers: float | None) -> VolumeDetection:
    plain: dict[str, float | None] = {one.name: 0.25 for one in fields(VolumeDetection) if one.name not in _OF_THE_SCAN}
    counts = dict.fromkeys(("components", "hits", "hits_iou", "merged", "split"), 1)
    false = {"false_below_01": 4, "false_01_1": 3, "false_1_10": 2, "false_above_10": 1}
    whole = {**plain, **counts, **false, "brain_ml": 1000.0, "lesions": 2, **numbers}
    return VolumeDetection(cohort="c", role=role, subject=subject, at=at, **whole)  # type: ignore[arg-type]


def frame_of(lines: dict[str, list[list[VolumeDetection]]]) -> pd.DataFrame:
    """The frame of scored volumes with scan numbers, from lines by row and fold."""
    rows = [
        {"id": f"{title}-{fold}", "title": title, "fold": fold, "seed": 0, **asdict(one), "set": one.role}
        for title, folds in lines.items()
        for fold, found in enumerate(folds)
        for one in found
    ]
    detections = pd.DataFrame(rows).drop(columns="role")
    numbers = [name for name in detections if name not in ("id", "title", "cohort", "subject", "at", "set")]
    detections = detections.astype(dict.fromkeys(numbers, float)).astype({"fold": int, "seed": int})
    volumes = detections[["id", "title", "fold", "seed", "cohort", "subject", "set"]].drop_duplicates()
    return with_scan_numbers(volumes, detections, dict.fromkeys(detections["id"], DIAGONAL))


def test_every_number_is_what_it_is_called() -> None:
    ill = line("a", components=5, lesions=4, hits=3, hits_iou=2, found_ml=7.0, hit_ml=2.0, l1_outside=0.5)
    well = line("h", role="healthy", lesions=None, hits=None, hit_ml=None, components=3, found_ml=8.0)
    frame = frame_of({"A": [[ill, well]]}).set_index(["set", "subject"])
    found = frame.loc[("tumours", "a")]
    wanted = {
        "lesion_recall": 3 / 4,
        "lesion_precision": 3 / 5,
        "lesion_f1": 6 / 9,
        "lesion_recall_iou": 2 / 4,
        "false_per_scan": 10.0,
        "false_01_1": 3.0,
        "nothing_found": 0.0,
        "false_ml": 5.0,
        "hd95": 0.25,
        "l1_ratio": 0.5,
        "components": 5.0,
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)
    healthy = frame.loc[("healthy@tumours", "h")]
    marked = {"healthy_false_ml": 8.0, "healthy_false_rate": 0.008, "healthy_false_per_scan": 3.0}
    assert {name: healthy[name] for name in marked} == pytest.approx(marked)
    assert healthy["healthy_false_1_10"] == 2.0
    assert math.isnan(healthy["false_ml"]) and math.isnan(found["healthy_false_ml"])


def test_every_column_of_a_line_can_be_compared() -> None:
    """All but those that say what the scan is, whatever the method."""
    own = {one.name for one in fields(VolumeDetection)} - _OF_THE_SCAN
    assert own <= {*COMPARABLE}
    for name, number in SCAN_NUMBERS.items():
        assert number.metric.name == name
        assert number.metric.label and number.metric.scale in (1, 100, 1000)


def test_a_method_that_finds_nothing_gets_the_worst_and_not_a_smaller_sample() -> None:
    """B finds what is easy and nothing else: by the scans that both have it would be the better one."""
    rng = np.random.default_rng(0)
    hard = rng.uniform(size=40) > 0.5
    near = rng.uniform(5, 10, 40)
    a = [line(str(n), hd95=40.0 if hard[n] else near[n]) for n in range(40)]
    b = [
        line(str(n), components=0, hits=0, hd95=None) if hard[n] else line(str(n), hd95=near[n] - 1) for n in range(40)
    ]
    frame = frame_of({"A": [a], "B": [b]})
    (row,) = compare(frame, "A", "B", [("tumours", "hd95")]).itertuples()
    one = np.where(hard, 40.0, near)
    other = np.where(hard, DIAGONAL, near - 1)
    wanted = paired(one, other, higher=False)
    assert (row.n, row.scans, row.worst_first, row.worst_second) == (40, 40, 0, int(hard.sum()))
    assert (row.difference, row.p, row.wins) == pytest.approx((wanted.difference, wanted.p, int(hard.sum())))
    assert row.difference < 0
    assert (row.n_both, row.difference_both) == (int((~hard).sum()), pytest.approx(1.0))
    (found,) = compare(frame, "A", "B", [("tumours", "lesion_precision")]).itertuples()
    assert found.second == pytest.approx((~hard).mean())


def test_where_one_fold_finds_nothing_that_fold_gets_the_worst() -> None:
    frame = frame_of(
        {
            "A": [[line("a", hd95=10.0), line("b", hd95=20.0)], [line("a", hd95=12.0), line("b", hd95=22.0)]],
            "B": [
                [line("a", components=0, hd95=None), line("b", hd95=21.0)],
                [line("a", hd95=14.0), line("b", hd95=23.0)],
            ],
        }
    )
    (row,) = compare(frame, "A", "B", [("tumours", "hd95")]).itertuples()
    assert row.second == pytest.approx((DIAGONAL + 14 + 21 + 23) / 4)
    assert (row.worst_first, row.worst_second, row.n, row.n_both) == (0, 1, 2, 2)
    assert row.difference_both == pytest.approx(((12 - 14) + (20 - 21) + (22 - 23)) / 3)


def test_a_number_that_one_lacks_is_left_out_and_counted() -> None:
    """Of two scans without a lesion in view neither has the number; of one B alone lacks the ratio."""
    blank = {"lesions": None, "l1_inside": None, "l1_outside": 0.5}
    a = [line("a", l1_inside=0.4), line("b", **blank), line("c", **blank), line("d", l1_inside=0.5)]
    b = [line("a", l1_inside=0.3), line("b", **blank), line("c", **blank), line("d", l1_outside=0.0)]
    (row,) = compare(frame_of({"A": [a], "B": [b]}), "A", "B", [("tumours", "l1_ratio")]).itertuples()
    assert (row.n, row.scans, row.lacks_first, row.lacks_second) == (1, 4, 0, 1)
    assert (row.worst_first, row.worst_second) == (0, 0)


def test_of_what_is_neither_better_nor_worse_one_has_more() -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(0.2, 0.3, 60)
    frame = frame_of(
        {
            "A": [[line(str(n), ssim_inside=value + 0.2) for n, value in enumerate(values)]],
            "B": [[line(str(n), ssim_inside=value) for n, value in enumerate(values)]],
        }
    )
    number = [("tumours", "ssim_inside")]
    assert [verdict for _, verdict in judged_rows(compare(frame, "A", "B", number))] == ["more"]
    assert [verdict for _, verdict in judged_rows(compare(frame, "B", "A", number))] == ["less"]
    with pytest.raises(ValueError, match="ranks nobody"):
        ranks_of(frame, number)


def test_numbers_are_judged_where_they_are_measured() -> None:
    keys = ["tumours", "healthy", "healthy@tumours"]
    assert measured(keys, ("dice", "l1", "healthy_false_ml", "hd95")) == [
        ("tumours", "dice"),
        ("tumours", "hd95"),
        ("healthy", "l1"),
        ("healthy@tumours", "healthy_false_ml"),
    ]
    assert needs_detection(["dice", "hd95"]) and not needs_detection(["dice", "l1"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hd59", "did you mean hd95?"),
        ("HD-95", "did you mean"),
        ("f1", "did you mean lesion_f1?"),
        ("scan_auroc", "is one number per cell, not per scan"),
        ("nonsense", "choose dice, dice_exact, auprc, l1, l1_brain or another"),
    ],
)
def test_a_word_that_is_none_says_which_are(name: str, words: str) -> None:
    with pytest.raises(UserError, match=f"--metric {name}: ") as raised:
        known_metrics(["dice", name])
    assert words in str(raised.value)
    assert known_metrics([]) == ("dice", "auprc", "l1")
    assert known_metrics(["hd95", "hd95"]) == ("hd95",)
