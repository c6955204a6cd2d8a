"""What can be compared scan by scan: the numbers of `scores.csv`, and all that follows from a line of `detections.csv`.

A method that marks nothing in a scan with a lesion has no HD95 there and no precision. To leave the scan out would pay
it for finding nothing where that is hard, and would compare the methods on scans that one of them chose. Finding
nothing is an outcome, so the scan gets the worst value that there is, as trials do with patients who drop out because
they fare badly (worst-rank scores: Lachin 1999, Controlled Clinical Trials 20:408): a precision of 0, and an HD95 of
the diagonal of the volume, as BraTS does. What the scans say in which both mark something stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ...datasets.cohort import HEALTHY
from ...errors import UserError
from .found import FOUND_METRICS
from .measures import METRICS, USUAL, Metric, Scans, healthy_at, scans_of

if TYPE_CHECKING:
    import pandas as pd

_Lines = Any  # a frame of lines of `detections.csv`
_SIZES = {"below_01": "below 0.1 ml", "01_1": "0.1 to 1 ml", "1_10": "1 to 10 ml", "above_10": "10 ml and above"}


@dataclass(frozen=True)
class ScanNumber:
    """A number of a scan that follows from its line in `detections.csv`.

    Attributes:
        metric: what it is called.
        of: lines to numbers, as floats; NaN where there is none.
        worst: what a scan with a lesion gets in which nothing is marked, in words; "" where it has a number as any.
    """

    metric: Metric
    of: Callable[[_Lines], Any]
    worst: str = ""


def _own(name: str) -> Callable[[_Lines], Any]:
    """The column of that name."""
    return lambda lines: lines[name]


def _false(lines: _Lines) -> Any:
    return lines[[f"false_{size}" for size in _SIZES]].sum(axis=1)


def _share(part: str, whole: str) -> Callable[[_Lines], Any]:
    """One column over another; NaN where the other is 0."""
    return lambda lines: lines[part] / lines[whole].where(lines[whole] > 0)


def _precision(lines: _Lines) -> Any:
    return _share("hits", "components")(lines).mask(_nothing(lines) > 0, 0.0)


def _hd95(lines: _Lines) -> Any:
    return lines["hd95"].mask(_nothing(lines) > 0, lines["diagonal_mm"])


def _nothing(lines: _Lines) -> Any:
    """1 where nothing is marked in a scan with a lesion, else 0; NaN where there is no lesion."""
    return (lines["components"] == 0).astype(float).where(lines["lesions"] > 0)


def _numbers() -> Iterable[ScanNumber]:
    """All of them: name, label, unit, scale, which way is better; unscaled as the record has them."""

    def number(
        name: str, label: str, unit: str, higher: bool | None, of: Callable[[_Lines], Any], scans: Scans = "lesion"
    ) -> ScanNumber:
        scale = {"%": 100.0, "1e-3": 1000.0}.get(unit, 1.0)
        worst = {"hd95": "the diagonal of the volume", "lesion_precision": "0"}.get(name, "")
        return ScanNumber(Metric(name, label, unit, scale, higher, scans=scans), of, worst)

    yield number("lesion_recall", "lesion recall", "%", True, _share("hits", "lesions"))
    yield number("lesion_precision", "lesion precision", "%", True, _precision)
    yield number(
        "lesion_f1", "lesion F1", "%", True, lambda lines: 2 * lines["hits"] / (lines["lesions"] + lines["components"])
    )
    yield number("lesion_recall_iou", "lesion recall at IoU 0.5", "%", True, _share("hits_iou", "lesions"))
    yield number("hits", "lesions found", "n", True, _own("hits"))
    yield number("hits_iou", "lesions found at IoU 0.5", "n", True, _own("hits_iou"))
    yield number("nothing_found", "nothing found", "%", False, _nothing)
    yield number("false_per_scan", "false components", "n", False, _false)
    for size, words in _SIZES.items():
        yield number(f"false_{size}", f"false {words}", "n", False, _own(f"false_{size}"))
    yield number("merged", "merged lesions", "n", None, _own("merged"))
    yield number("split", "split components", "n", None, _own("split"))
    yield number("components", "components", "n", None, _own("components"))
    yield number("found_ml", "marked", "ml", None, _own("found_ml"))
    yield number("hit_ml", "marked in lesions", "ml", None, _own("hit_ml"))
    yield number("false_ml", "marked elsewhere", "ml", False, lambda lines: lines["found_ml"] - lines["hit_ml"])
    yield number("hd95", "HD95", "mm", False, _hd95)
    yield number("surface_dice", "surface DICE", "%", True, _own("surface_dice"))
    yield number("ceiling_dice", "ceiling DICE", "%", None, _own("ceiling_dice"))
    for share in (1, 5, 10):
        yield number(f"dice_at_{share}", f"DICE at {share} %", "%", True, _own(f"dice_at_{share}"))
    for share in (1, 5, 10):
        yield number(f"recall_at_{share}", f"voxel recall at {share} %", "%", True, _own(f"recall_at_{share}"))
    for name, unit in (("l1", "1e-3"), ("ssim", "%")):
        label = name.replace("ssim", "SSIM")
        yield number(f"{name}_inside", f"{label} in lesions", unit, None, _own(f"{name}_inside"))
        yield number(f"{name}_outside", f"{label} elsewhere", unit, None, _own(f"{name}_outside"))
        ratio = f"{label} in lesions over elsewhere"
        yield number(f"{name}_ratio", ratio, "", None, _share(f"{name}_inside", f"{name}_outside"))
    yield number("score_mean", "mean score", "1e-3", None, _own("score_mean"))
    yield number("score_top", "score of the highest hundredth", "1e-3", None, _own("score_top"))
    yield number("healthy_false_ml", "marked", "ml", False, _own("found_ml"), "healthy at")
    yield number(
        "healthy_false_rate", "marked share of the brain", "%", False, _share("found_ml", "brain_ml"), "healthy at"
    )
    yield number("healthy_false_per_scan", "components", "n", False, _own("components"), "healthy at")
    for size, words in _SIZES.items():
        yield number(f"healthy_false_{size}", f"components {words}", "n", False, _own(f"false_{size}"), "healthy at")


SCAN_NUMBERS = {one.metric.name: one for one in _numbers()}
#: Every number that two rows can be compared by.
COMPARABLE = {**METRICS, **{name: one.metric for name, one in SCAN_NUMBERS.items()}}


def needs_detection(names: Iterable[str]) -> bool:
    """Whether any of these numbers follows from `detections.csv`."""
    return any(name in SCAN_NUMBERS for name in names)


def known_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """The numbers that words name, each once; the usual ones of none.

    Raises:
        UserError: there is no such number, or it is one per cell and not per scan.
    """
    for name in names:
        if name not in COMPARABLE:
            raise UserError(f"--metric {name}: {_why_not(name)}")
    return tuple(dict.fromkeys(names)) or USUAL


def _why_not(name: str) -> str:
    if name in FOUND_METRICS:
        return "is one number per cell, not per scan, so that nothing can be paired; `bench table --detection` has it"
    word = name.lower().replace("-", "_")
    near = [known for known in COMPARABLE if word in known] or get_close_matches(word, COMPARABLE, n=3)
    if near:
        return f"there is no such number; did you mean {' or '.join(near[:3])}? `bench list metrics` shows all"
    return f"there is no such number; choose {', '.join(METRICS)} or another that `bench list metrics` shows"


def measured(keys: Iterable[str], names: Sequence[str] = USUAL) -> list[tuple[str, str]]:
    """Which number is judged on which set.

    Args:
        keys: of the sets, healthy scans at the thresholds of lesion sets among them.
        names: of `COMPARABLE`.

    Returns:
        (set, metric), set by set.
    """
    return [(key, name) for key in keys for name in names if COMPARABLE[name].scans == scans_of(key)]


def with_scan_numbers(volumes: pd.DataFrame, detections: pd.DataFrame, diagonals: Mapping[str, float]) -> pd.DataFrame:
    """The frame of scored volumes with every number of `SCAN_NUMBERS`.

    Args:
        volumes: see `Results.volumes`.
        detections: of the same cells, see `Results.detections`.
        diagonals: of the volumes of each cell, mm, by its id: no distance in them is larger.

    Returns:
        The rows of `volumes`, then one per healthy scan and lesion set, whose `set` is `healthy_at(key)`; NaN where a
        number is not measured.
    """
    import pandas as pd

    lines = detections.assign(diagonal_mm=detections["id"].map(diagonals))
    is_healthy = lines["set"] == HEALTHY
    ill, well = lines[~is_healthy], lines[is_healthy]
    own = _with_numbers(ill[["id", "set", "subject"]], ill, "lesion")
    shared = [name for name in volumes.columns if name in well.columns]
    marked = _with_numbers(well[shared].assign(set=[healthy_at(at) for at in well["at"]]), well, "healthy at")
    both = volumes.merge(own, on=["id", "set", "subject"], how="left", validate="one_to_one")
    return pd.concat([both, marked], ignore_index=True)


def _with_numbers(heads: pd.DataFrame, lines: pd.DataFrame, scans: Scans) -> pd.DataFrame:
    found = {name: one.of(lines) for name, one in SCAN_NUMBERS.items() if one.metric.scans == scans}
    return heads.assign(**found)
