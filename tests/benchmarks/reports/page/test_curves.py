"""Pooled curves from score histograms are those of the voxels themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from uadbench.benchmarks.records.detection_lines import VolumeHistogram, pack
from uadbench.benchmarks.records.detections import DetectionConfig, SetThresholds
from uadbench.benchmarks.reports.cells import CellHistograms
from uadbench.benchmarks.reports.page.sections.curves import curves_section, pooled_curves
from uadbench.benchmarks.reports.page.study import Study
from uadbench.metrics.curves.histogram import histogram

_AT = SetThresholds(greedy=0.31, exact=0.3, at_1=0.5, at_5=0.4, at_10=0.35)


def cell_of(volumes: list[tuple[np.ndarray, np.ndarray]]) -> CellHistograms:
    config = DetectionConfig(version=1, thresholds={"ms": _AT}, top=1.0, bins=4096, voxel_mm=2.0)
    lines = []
    for number, (scores, labels) in enumerate(volumes):
        inside, outside = histogram(scores, labels, config.edges)
        words = (pack(np.zeros(1, np.float32)), pack(np.zeros(1, np.int64)))
        lines.append(VolumeHistogram("phantom-ms", "ms", f"s{number}", pack(inside), pack(outside), *words))
    return CellHistograms("cell", "ae", "AE", 0, 0, config, tuple(lines))


def test_dice_and_precision_at_the_threshold_are_those_of_the_voxels() -> None:
    rng = np.random.default_rng(0)
    volumes = []
    for _ in range(3):
        labels = rng.random(5000) < 0.1
        volumes.append((np.clip(rng.normal(0.2 + 0.2 * labels, 0.1), 0, 1).astype(np.float32), labels))
    pooled = pooled_curves(cell_of(volumes))["ms"]
    scores, labels = (np.concatenate([volume[part] for volume in volumes]) for part in (0, 1))
    at = int(np.abs(pooled.curve.thresholds - 0.31).argmin())
    marked = scores > np.float32(0.31)
    assert pooled.curve.thresholds[at] == pytest.approx(0.31, abs=1e-7)
    assert pooled.curve.dice[at] == pytest.approx(2 * (marked & labels).sum() / (marked.sum() + labels.sum()))
    assert pooled.curve.precision[at] == pytest.approx((marked & labels).sum() / marked.sum())
    assert pooled.average_precision == pytest.approx(average_precision_score(labels, scores), abs=1e-3)  # of 4,096 bins


def test_a_set_without_a_lesion_has_no_curve() -> None:
    assert pooled_curves(cell_of([(np.zeros(10, np.float32), np.zeros(10, bool))])) == {}


def test_no_histograms_no_section(study: Study) -> None:
    assert curves_section(study, iter(())) is None
