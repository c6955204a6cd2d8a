"""What was found, cell by cell: counted by hand on a few scans, and against scikit-learn on made scores."""

from __future__ import annotations

import math
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from uadbench.benchmarks.judgement.detection import detection_numbers, with_detection
from uadbench.benchmarks.judgement.found import FOUND_TABLES, POOLED_TABLE
from uadbench.benchmarks.judgement.froc import froc_points
from uadbench.benchmarks.records.detection_lines import VolumeDetection, VolumeHistogram, pack
from uadbench.benchmarks.records.detections import DetectionConfig, SetThresholds
from uadbench.metrics.curves import histogram

NAN = float("nan")
CONFIG = DetectionConfig(
    version=1,
    thresholds={"ms": SetThresholds(greedy=0.31, exact=0.32, at_1=0.6, at_5=0.5, at_10=0.4)},
    top=1.0,
    bins=64,
    voxel_mm=2.0,
)


def line(cell: str, role: str, subject: str, **numbers: Any) -> dict[str, Any]:
    """A line of `detections.csv` with the columns of its cell; what is not said is 0, or missing for a healthy scan."""
    whole = {
        field.name: 0.0 for field in fields(VolumeDetection) if field.name not in ("cohort", "role", "subject", "at")
    }
    if role == "healthy":
        gone = ("hit_ml", "lesions", "hits", "hits_iou", "merged", "split", "hd95", "surface_dice", "ceiling_dice")
        whole |= dict.fromkeys(gone, NAN)
    return {
        "id": cell,
        "set": role,
        "cohort": "c",
        "subject": subject,
        "at": "ms",
        **whole,
        "brain_ml": 1000.0,
        **numbers,
    }


def lesion(cell: str, ml: float, dice: float) -> dict[str, Any]:
    return {"id": cell, "set": "ms", "subject": "m1", "ml": ml, "dice": dice, "iou": 0.0}


@pytest.fixture
def detections() -> pd.DataFrame:
    """Two scans with lesions, one without any in view, two healthy ones; and a cell in which nothing is found."""
    lines = [
        line("a", "ms", "m1", lesions=4, components=5, hits=2, hits_iou=1, merged=1, split=1, false_below_01=2)
        | {"false_1_10": 1, "hd95": 10.0, "surface_dice": 0.5, "score_mean": 0.3, "score_top": 0.5, "dice_at_5": 0.2}
        | {"l1_inside": 0.2, "l1_outside": 0.1},
        line("a", "ms", "m2", lesions=1, components=0, hits=0, hits_iou=0, hd95=NAN, score_mean=0.1, score_top=0.9)
        | {"dice_at_5": 0.4, "l1_inside": 0.4, "l1_outside": 0.1},
        line("a", "ms", "m3", lesions=NAN, components=1, hits=NAN, hits_iou=NAN, merged=NAN, split=NAN, hd95=NAN)
        | {"surface_dice": NAN, "false_below_01": 1, "score_mean": 9.0, "dice_at_5": NAN, "l1_inside": NAN}
        | {"l1_outside": NAN},
        line("a", "healthy", "h1", found_ml=10.0, components=3, score_mean=0.2, score_top=0.1),
        line("a", "healthy", "h2", found_ml=0.0, components=0, score_mean=0.05, score_top=0.2, brain_ml=1500.0),
        line("b", "ms", "m1", lesions=2, components=0, hits=0, hits_iou=0, hd95=NAN),
    ]
    return pd.DataFrame(lines)


def test_lesions_are_pooled_and_scans_averaged(detections: pd.DataFrame) -> None:
    lesions = pd.DataFrame(
        [lesion("a", 0.05, 0.1), lesion("a", 0.05, 0.0), lesion("a", 0.1, 0.7), lesion("a", 20.0, 0.09)]
    )
    frame = detection_numbers(detections, lesions).set_index("id")
    found = {name.removeprefix("ms/"): value for name, value in frame.loc["a"].items()}
    assert {name: found[name] for name in ("lesion_recall", "lesion_precision", "lesion_f1", "lesion_recall_iou")} == {
        "lesion_recall": 2 / 5,
        "lesion_precision": 2 / 6,  # the component in the scan without a lesion is a false one
        "lesion_f1": 4 / 11,
        "lesion_recall_iou": 1 / 5,
    }
    assert found["false_per_scan"] == pytest.approx(4 / 3)
    assert (found["false_below_01"], found["false_1_10"], found["false_01_1"]) == pytest.approx((1, 1 / 3, 0))
    assert (found["merged"], found["split"]) == pytest.approx((1 / 3, 1 / 3))
    assert found["nothing_found"] == 1 / 2
    assert (found["hd95"], found["surface_dice"]) == (10.0, 0.25)
    assert found["dice_at_5"] == pytest.approx(0.3)
    assert (found["l1_inside"], found["l1_outside"], found["l1_ratio"]) == pytest.approx((0.3, 0.1, 3.0))
    assert (found["recall_below_01"], found["recall_01_1"], found["recall_above_10"]) == (0.5, 1.0, 0.0)
    assert "recall_1_10" not in found  # there is no such lesion
    assert (found["healthy_false_ml"], found["healthy_false_per_scan"]) == (5.0, 1.5)
    assert found["healthy_false_rate"] == 10 / 2500


def test_scans_are_ranked_against_healthy_ones_of_which_each_counts_once(detections: pd.DataFrame) -> None:
    twice = pd.concat([detections, detections[detections["set"] == "healthy"].assign(at="tumours")])
    found = detection_numbers(twice, pd.DataFrame(columns=["id", "set", "ml", "dice"])).set_index("id").loc["a"]
    labels = [True, True, False, False]  # m3 shows no lesion
    for column, mark in (("score_mean", ""), ("score_top", "_top")):
        scores = [*detections[column][:2], *detections[column][3:5]]
        assert found[f"ms/scan_auroc{mark}"] == pytest.approx(roc_auc_score(labels, scores))
        assert found[f"ms/scan_ap{mark}"] == pytest.approx(average_precision_score(labels, scores))


def test_a_cell_that_finds_nothing_has_a_recall_and_no_precision(detections: pd.DataFrame) -> None:
    found = detection_numbers(detections, pd.DataFrame(columns=["id", "set", "ml", "dice"])).set_index("id").loc["b"]
    assert (found["ms/lesion_recall"], found["ms/lesion_f1"], found["ms/nothing_found"]) == (0.0, 0.0, 1.0)
    assert math.isnan(found["ms/lesion_precision"])
    assert math.isnan(found["ms/hd95"])
    assert math.isnan(found["ms/scan_auroc"])  # no healthy scan
    assert math.isnan(found["ms/healthy_false_ml"])


def volume(rng: np.random.Generator, role: str, subject: str) -> tuple[VolumeHistogram, np.ndarray, np.ndarray]:
    """The line of a volume of 10 slices on a fine grid of scores, its scores and its lesion."""
    scores = rng.integers(0, 64, size=(10, 8, 8)).astype(np.float32) / 64
    labels = np.zeros(scores.shape, dtype=bool)
    if role != "healthy":
        labels[2:6, 2:5, 2:6] = True
        scores[labels] = np.minimum(1, scores[labels] + 0.25)
    counts = histogram(scores, labels, CONFIG.edges)
    means = scores.mean(axis=(1, 2))
    means[0] = np.nan
    words = (*map(pack, counts), pack(means), pack(labels.sum(axis=(1, 2))))
    return VolumeHistogram("c", role, subject, *words), scores, labels


def test_what_is_pooled_over_voxels_and_slices_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    made = [volume(rng, role, f"{role}{n}") for role in ("ms", "healthy") for n in range(3)]
    cell = SimpleNamespace(id="a", config=CONFIG, lines=[one for one, _, _ in made])
    empty = pd.DataFrame(columns=["id", "set", "at"])
    found = detection_numbers(empty, pd.DataFrame(columns=["id", "set", "ml", "dice"]), [cell]).set_index("id").loc["a"]
    assert {f"ms/{metric.name}" for metric in POOLED_TABLE.metrics} <= set(found.index)
    scores = np.concatenate([one.ravel() for _, one, _ in made[:3]])
    labels = np.concatenate([one.ravel() for _, _, one in made[:3]])
    assert found["ms/auprc_pooled"] == pytest.approx(average_precision_score(labels, scores))
    dice = [2 * (labels & (scores > t)).sum() / (labels.sum() + (scores > t).sum()) for t in CONFIG.edges]
    assert found["ms/ceiling_pooled"] == pytest.approx(max(dice))
    means = np.array([one.mean(axis=(1, 2))[1:] for _, one, _ in made])
    ill = np.array([one.any(axis=(1, 2))[1:] for _, _, one in made])
    own, healthy = means[:3].ravel(), means[3:].ravel()
    chosen = np.concatenate([own[ill[:3].ravel()], healthy])
    marks = np.arange(chosen.size) < ill.sum()
    assert found["ms/slice_auroc"] == pytest.approx(roc_auc_score(marks, chosen))
    assert found["ms/slice_ap"] == pytest.approx(average_precision_score(marks, chosen))
    assert found["ms/slice_auroc_within"] == pytest.approx(roc_auc_score(ill[:3].ravel(), own))


def test_cells_without_lines_stay_in_the_frame(detections: pd.DataFrame) -> None:
    cells = pd.DataFrame({"id": ["a", "c"], "ms/dice": [0.1, 0.2]})
    joined = with_detection(cells, detection_numbers(detections, pd.DataFrame(columns=["id", "set", "ml", "dice"])))
    assert joined["id"].tolist() == ["a", "c"]
    assert math.isnan(joined["ms/lesion_recall"][1])
    assert joined["ms/dice"].tolist() == [0.1, 0.2]


def test_every_column_of_the_tables_is_measured(detections: pd.DataFrame) -> None:
    lesions = pd.DataFrame([lesion("a", ml, 0.5) for ml in (0.05, 0.5, 5.0, 50.0)])
    step = {"id": "a", "set": "ms", "share": 0.1, "lesions": 4.0, "hits": 1.0, "false": 2, "components": 3}
    frame = detection_numbers(detections, lesions, points=froc_points([pd.DataFrame([step])]))
    wanted = {f"ms/{metric.name}" for table in FOUND_TABLES for metric in table.metrics}
    assert wanted <= set(frame.columns)
