"""What was found, cell by cell: the lines of `detections.csv` and the files beside it as numbers of a set.

Lesions are pooled over the test scans of a set, so that a scan of forty plaques weighs forty times one of one; what is
measured per volume (Dice, distances, ceilings, healing) is averaged over volumes, as the paper's columns are. Numbers
are called `<set>/<metric>` as everywhere, so that a table prints them as it prints Dice: mean ± deviation over folds.

False positives on healthy scans stand under the lesion set whose threshold made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...datasets.cohort import HEALTHY
from ...metrics.curves import ap, ap_of, auroc, ceiling_of
from ...metrics.lesions import DICE_RULE, lesion_rates, size_class
from ..records.detection_lines import VolumeHistogram, unpack
from ..records.detections import DetectionConfig
from .froc import froc_numbers

if TYPE_CHECKING:
    import pandas as pd

#: The classes of lesion size, as the columns of `detections.csv` name them.
SIZES = ("below_01", "01_1", "1_10", "above_10")
_FALSE = tuple(f"false_{size}" for size in SIZES)
#: Averaged over the scans of a set; NaN of a scan is left out.
_MEANS = (
    *("hd95", "surface_dice", "ceiling_dice", "dice_at_1", "dice_at_5", "dice_at_10"),
    *("recall_at_1", "recall_at_5", "recall_at_10"),
    *("l1_inside", "l1_outside", "ssim_inside", "ssim_outside"),
)
_COUNTS = ("components", "lesions", "hits", "hits_iou", "merged", "split", *_FALSE)


class CellHistograms(Protocol):
    """The histograms of a cell, see `reports.cells`."""

    @property
    def id(self) -> str:
        """The cell."""
        ...

    @property
    def config(self) -> DetectionConfig:
        """Edges and thresholds."""
        ...

    @property
    def lines(self) -> Sequence[VolumeHistogram]:
        """One per test volume."""
        ...


def detection_numbers(
    detections: pd.DataFrame,
    lesions: pd.DataFrame,
    histograms: Iterable[CellHistograms] = (),
    points: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """The numbers of every cell that has lines.

    Per lesion set, fractions, ml and mm, unscaled:

        lesion_recall, lesion_precision, lesion_f1    of all lesions and components, matched at Dice >= 0.1
        lesion_recall_iou                             the same matched at IoU >= 0.5 (BraTS)
        recall_below_01 … recall_above_10             by size of the lesion
        false_per_scan, false_below_01 …              components that touch no lesion, per scan, all and by size
        froc_at_1, froc_at_2, froc_at_4, froc_at_8    lesions found with at most so many false components per scan
        froc_mean                                     the mean of it at 1/8 to 8
        merged, split                                 lesions that share a component, components that share a lesion,
                                                      per scan
        nothing_found                                 share of scans with a lesion in which nothing is marked
        hd95, surface_dice                            means over scans; hd95 over those in which something is marked
        ceiling_dice, ceiling_pooled                  best threshold per volume, and of all test voxels
        auprc_pooled                                  average precision of all voxels of the test scans
        dice_at_1, recall_at_1 …                      at thresholds that need no lesion label
        l1_inside, l1_outside, ssim_inside …          means over scans; l1_ratio is the one l1 over the other
        healthy_false_ml, healthy_false_rate          marked in healthy test scans at this set's threshold: ml per scan,
                                                      share of the brain
        healthy_false_per_scan                        components there
        scan_auroc, scan_ap                           lesion scans against healthy ones by mean score of the brain
        scan_auroc_top, scan_ap_top                   by its highest hundredth
        slice_auroc, slice_ap                         slices with a lesion against slices of healthy scans
        slice_auroc_within                            against slices without a lesion of the same scans, which no
                                                      difference of scanners helps

    Args:
        detections: see `Results.detections`.
        lesions: see `Results.lesions`.
        histograms: see `Results.histograms`; without them what is pooled over voxels, and slices, are not there.
        points: see `froc.froc_points`; without them what is told of FROC is not there.

    Returns:
        A row per cell, by `id`; NaN where there is nothing to measure.
    """
    import pandas as pd

    found: dict[str, dict[str, float]] = {str(cell): {} for cell in detections["id"].unique()}
    for cell, own in detections.groupby("id", sort=False):
        found[str(cell)] |= dict(_of_scans(own))
    for cell, own in lesions.groupby("id", sort=False):
        found.setdefault(str(cell), {}).update(_of_lesions(own))
    for one in histograms:
        found.setdefault(one.id, {}).update(_of_histograms(one))
    for cell_id, numbers in ({} if points is None else froc_numbers(points)).items():
        found.setdefault(cell_id, {}).update(numbers)
    frame = pd.DataFrame.from_dict(found, orient="index", dtype=float)
    return frame.rename_axis("id").reset_index()


def with_detection(cells: pd.DataFrame, numbers: pd.DataFrame) -> pd.DataFrame:
    """The frame of cells with the numbers of `detection_numbers`; NaN in cells that have none."""
    return cells.merge(numbers, on="id", how="left", validate="one_to_one")


# --------------------------------------------------------------------------------------------------- scan by scan


def _of_scans(lines: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """What follows from the lines of `detections.csv` of a cell."""
    healthy = lines[lines["set"] == HEALTHY]
    for key, scans in lines[lines["set"] != HEALTHY].groupby("set"):
        for name, value in (*_of_set(scans), *_of_healthy(healthy[healthy["at"] == key]), *_of_ranks(scans, healthy)):
            yield f"{key}/{name}", value


def _of_set(scans: pd.DataFrame) -> Iterator[tuple[str, float]]:
    sums = scans[list(_COUNTS)].astype(float).sum()  # a scan without a lesion in view adds components and no lesion
    rates = lesion_rates(sums["hits"], sums["lesions"], sums["components"])
    yield from zip(("lesion_recall", "lesion_precision", "lesion_f1"), rates, strict=True)
    yield "lesion_recall_iou", lesion_rates(sums["hits_iou"], sums["lesions"], sums["components"]).recall
    number = len(scans)
    yield "false_per_scan", float(sums[list(_FALSE)].sum()) / number
    yield from ((name, float(sums[name]) / number) for name in (*_FALSE, "merged", "split"))
    ill = scans[scans["lesions"].astype(float) > 0]
    yield "nothing_found", float((ill["components"] == 0).mean()) if len(ill) else float("nan")
    means = scans[list(_MEANS)].astype(float).mean()
    yield from ((name, float(means[name])) for name in _MEANS)
    yield "l1_ratio", float(means["l1_inside"] / means["l1_outside"]) if means["l1_outside"] else float("nan")


def _of_healthy(scans: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """False positives on healthy scans at the threshold of one lesion set."""
    if len(scans):
        yield "healthy_false_ml", float(scans["found_ml"].mean())
        yield "healthy_false_rate", float(scans["found_ml"].sum() / scans["brain_ml"].sum())
        yield "healthy_false_per_scan", float(scans["components"].mean())


def _of_ranks(scans: pd.DataFrame, healthy: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """How well scans with a lesion are told from healthy ones."""
    ill = scans[scans["lesions"].astype(float) > 0]
    well = healthy.drop_duplicates("subject")  # a healthy scan has a line per lesion set, and the same scores in each
    for column, mark in (("score_mean", ""), ("score_top", "_top")):
        scores = np.concatenate([ill[column].to_numpy(float), well[column].to_numpy(float)])
        yield from _ranked(f"scan{mark}", scores, np.arange(scores.size) < len(ill))


def _ranked(what: str, scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> Iterator[tuple[str, float]]:
    level, _, mark = what.partition("_")
    tail = f"_{mark}" if mark else ""
    yield f"{level}_auroc{tail}", auroc(scores, labels) if scores.size else float("nan")
    yield f"{level}_ap{tail}", ap(scores, labels) if scores.size else float("nan")


def _of_lesions(lines: pd.DataFrame) -> dict[str, float]:
    """Recall by size of the lesion."""
    found = {}
    sizes = lines["ml"].map(lambda ml: SIZES[size_class(ml)])
    for (key, size), hits in (lines["dice"] >= DICE_RULE.least).groupby([lines["set"], sizes]):
        found[f"{key}/recall_{size}"] = float(hits.mean())
    return found


# --------------------------------------------------------------------------------------------------- voxels, slices


@dataclass(frozen=True, eq=False)
class _Slices:
    """Scores of the slices that have any brain, and the lesion voxels of each."""

    scores: NDArray[np.float64]
    lesions: NDArray[np.int64]


def _of_histograms(cell: CellHistograms) -> dict[str, float]:
    """What is pooled over the voxels of a cell's test scans, and its slices."""
    edges = cell.config.edges
    found: dict[str, float] = {}
    by_set: dict[str, list[VolumeHistogram]] = {}
    for line in cell.lines:
        by_set.setdefault(line.role, []).append(line)
    healthy = _slices(by_set.pop(HEALTHY, []))
    for key, lines in by_set.items():
        inside, outside = (_pooled(lines, name, len(edges) + 1) for name in ("inside", "outside"))
        if inside.sum():
            found[f"{key}/auprc_pooled"] = ap_of(inside, outside)
            found[f"{key}/ceiling_pooled"] = ceiling_of(inside, outside, edges).dice
        found |= {f"{key}/{name}": value for name, value in _of_slices(_slices(lines), healthy)}
    return found


def _of_slices(own: _Slices, healthy: _Slices) -> Iterator[tuple[str, float]]:
    ill = own.lesions > 0
    if not ill.any():
        return
    scores = np.concatenate([own.scores[ill], healthy.scores])
    yield from _ranked("slice", scores, np.arange(scores.size) < ill.sum())
    yield "slice_auroc_within", auroc(own.scores, ill)


def _pooled(lines: Iterable[VolumeHistogram], name: str, bins: int) -> NDArray[np.int64]:
    total = np.zeros(bins, dtype=np.int64)
    for line in lines:
        total += unpack(getattr(line, name)).astype(np.int64, copy=False)
    return total


def _slices(lines: Iterable[VolumeHistogram]) -> _Slices:
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [
        (unpack(line.slice_scores), unpack(line.slice_lesions)) for line in lines
    ]
    if not pairs:
        return _Slices(np.zeros(0), np.zeros(0, dtype=np.int64))
    scores = np.concatenate([scores for scores, _ in pairs]).astype(np.float64)
    lesions = np.concatenate([lesions for _, lesions in pairs]).astype(np.int64)
    known = ~np.isnan(scores)
    return _Slices(scores[known], lesions[known])
