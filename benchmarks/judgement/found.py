"""The tables of what was found: which numbers of `detection.py` stand beside each other, and what they mean."""

from __future__ import annotations

from dataclasses import dataclass

from .measures import Metric

#: False components per scan at which a table shows the sensitivity. Here, since lists name columns without SciPy.
FROC_AT = (1, 2, 4, 8)


@dataclass(frozen=True)
class FoundTable:
    """A table beside the paper's.

    Attributes:
        title: what it is about.
        metrics: its columns, of every lesion set.
        note: how they are measured.
    """

    title: str
    metrics: tuple[Metric, ...]
    note: str


def _share(name: str, label: str, *, higher: bool | None = True) -> Metric:
    return Metric(name, label, "%", 100, higher, optional=True)


FOUND_TABLES = (
    FoundTable(
        "lesion by lesion",
        (
            _share("lesion_recall", "recall"),
            _share("lesion_precision", "precision"),
            _share("lesion_f1", "F1"),
            Metric("false_per_scan", "false per scan", "n", 1, False, optional=True),
        ),
        "At the run's threshold, lesions pooled over the test scans: found is a lesion that a component matches one to "
        "one at Dice 0.1 or more; false are components that touch no lesion.",
    ),
    FoundTable(
        "lesions found, by false components per scan",
        tuple(_share(f"froc_at_{at}", f"at {at}") for at in FROC_AT),
        "FROC: share of the lesions, as above, that are found with at most so many false components per scan, over a "
        "ladder of thresholds down to where components grow together, with straight lines between them. The ladder "
        "needs no lesion label; which of its steps it is follows from the test scans, as in any FROC.",
    ),
    FoundTable(
        "lesions found, by size",
        (
            _share("recall_below_01", "below 0.1 ml"),
            _share("recall_01_1", "0.1 to 1 ml"),
            _share("recall_1_10", "1 to 10 ml"),
            _share("recall_above_10", "10 ml and above"),
        ),
        "Share of the lesions of a size that are found, as above.",
    ),
    FoundTable(
        "thresholds that need no lesion label",
        (
            _share("dice_at_1", "DICE at 1 %"),
            _share("dice_at_5", "DICE at 5 %"),
            _share("dice_at_10", "DICE at 10 %"),
            Metric("healthy_false_ml", "healthy scan", "ml", 1, False, optional=True),
        ),
        "DICE at the score that 1, 5 and 10 % of the brain voxels of healthy validation scans exceed; healthy scan: "
        "what is marked in a healthy test scan at the run's threshold of the set.",
    ),
    FoundTable(
        "surfaces, scans and ceilings",
        (
            Metric("hd95", "HD95", "mm", 1, False, optional=True),
            _share("surface_dice", "surface DICE"),
            _share("scan_auroc", "scan AUROC"),
            _share("ceiling_dice", "ceiling DICE", higher=None),
        ),
        "HD95: 95th percentile of surface distances, over the scans in which anything is marked; surface DICE at 2 mm; "
        "scan AUROC: lesion scans against healthy ones by their mean score, which tells scanners apart, too; ceiling "
        "DICE: at each volume's own best threshold, which nobody knows: no result.",
    ),
    FoundTable(
        "does it heal",
        (
            Metric("l1_inside", "l1 in lesions", "1e-3", 1000, None, optional=True),
            Metric("l1_outside", "l1 elsewhere", "1e-3", 1000, None, optional=True),
            _share("ssim_inside", "SSIM in lesions", higher=None),
            _share("ssim_outside", "SSIM elsewhere", higher=None),
        ),
        "Scan against reconstruction inside lesions and in the brain elsewhere: what heals differs more inside.",
    ),
)
#: What needs the histograms of a cell, which take a second per cell of 1,439 volumes to read.
POOLED_TABLE = FoundTable(
    "voxels pooled, and slices",
    (
        _share("auprc_pooled", "pooled AUPRC"),
        _share("ceiling_pooled", "pooled ceiling", higher=None),
        _share("slice_auroc", "slice AUROC"),
        _share("slice_auroc_within", "slice AUROC within"),
    ),
    "pooled AUPRC: of all voxels of the test scans together; pooled ceiling: DICE at the one threshold that is best "
    "for them, no result; slice AUROC: slices with a lesion against those of healthy scans, by mean score; within: "
    "against those without a lesion of the same scans, which no scanner tells apart.",
)
FOUND_METRICS = {metric.name: metric for table in (*FOUND_TABLES, POOLED_TABLE) for metric in table.metrics}
