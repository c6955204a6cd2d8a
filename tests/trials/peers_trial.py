"""Our lesion-wise metrics and surface distances beside panoptica and the BraTS 2023 metrics, on 200 pairs of masks.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install panoptica==2.1.7 nibabel
    git clone https://github.com/rachitsaluja/BraTS-2023-Metrics /tmp/peers/brats
    python tests/trials/peers_trial.py --python /tmp/peers/bin/python --brats /tmp/peers/brats [--pairs 200]

Their pins do not fit ours, so they run in an environment of their own: this script draws the masks, has them judged by
itself under the other Python, and compares. Each line says what is compared, in how many pairs it differs, and by how
much at most. What must agree is marked "="; the exit code is 1 where it does not. What differs by definition is printed
beside the reason.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Pair = tuple[Mask, Mask]
Judged = dict[str, Any]

SHAPE = (32, 44, 40)
#: BraTS' dilation of lesions for metastases, voxels; for gliomas 3.
DILATION = 1
CORNERS = np.ones((3, 3, 3), bool)
TWO_MM = (2.0, 2.0, 2.0)
TOLERANCE_MM = 2.0


def draw(seed: int) -> Pair:
    """What was found, and the lesions: some hit, some merged, some split, some missed; some masks empty."""
    rng = np.random.default_rng(seed)
    lesions = _blobs(rng, int(rng.integers(0, 9)))
    shifted = np.roll(lesions, tuple(rng.integers(-2, 3, 3)), axis=(0, 1, 2))
    holes = ndimage.gaussian_filter(rng.random(SHAPE), 1.5) > 0.5
    found = (shifted & holes) | _blobs(rng, int(rng.integers(0, 7))) | (rng.random(SHAPE) < 2e-4)
    return (found & False if rng.random() < 0.05 else found), lesions


def _blobs(rng: np.random.Generator, number: int) -> Mask:
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"))
    mask = np.zeros(SHAPE, bool)
    for _ in range(number):
        centre, radii = rng.uniform(0, SHAPE), rng.uniform(0.8, 7, 3)
        mask |= (((places - centre[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(axis=0) <= 1
    return mask


def kept_apart(pair: Pair) -> Pair:
    """A pair without what BraTS' dilation changes: lesions that it joins, and finds that only it makes touch."""
    found, lesions = pair
    kept = np.zeros_like(lesions)
    for piece in _pieces(lesions):
        if not _joined(kept, piece):
            kept |= piece
    marked, _ = ndimage.label(found, CORNERS)
    lonely = [np.setdiff1d(marked[_dilated(piece)], marked[piece]) for piece in _pieces(kept)]
    return found & ~np.isin(marked, np.concatenate([[0], *lonely])), kept


def _dilated(mask: Mask) -> Mask:
    grown: Mask = ndimage.binary_dilation(mask, ndimage.generate_binary_structure(3, 2), iterations=DILATION)
    return grown


def _pieces(mask: Mask) -> list[Mask]:
    labels, number = ndimage.label(mask, CORNERS)
    return [labels == piece for piece in range(1, number + 1)]


def _joined(kept: Mask, piece: Mask) -> bool:
    """Whether dilation connects a piece with those kept, by a corner perhaps."""
    return len(_pieces(_dilated(kept | piece))) != len(_pieces(_dilated(kept))) + 1


def judge(place: Path) -> None:
    """Have panoptica and BraTS judge the pairs of a file, and write what they say beside it."""
    pairs = np.load(place)
    judged = [_judged(pairs["found"][i], pairs["lesions"][i], place.parent) for i in range(len(pairs["found"]))]
    apart = [_brats(pairs["apart_found"][i], pairs["apart_lesions"][i], place.parent) for i in range(len(judged))]
    place.with_suffix(".json").write_text(json.dumps({"pairs": judged, "apart": apart}))


def _judged(found: Mask, lesions: Mask, folder: Path) -> Judged:
    return {"panoptica": _panoptica(found, lesions), "brats": _brats(found, lesions, folder)}


def _panoptica(found: Mask, lesions: Mask) -> Judged:
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
    )
    from panoptica.metrics import Metric

    said: Judged = {}
    for name, metric, least in (("dice", Metric.DSC, 0.1), ("iou", Metric.IOU, 0.5)):
        evaluator = Panoptica_Evaluator(
            expected_input=InputType.SEMANTIC,
            instance_approximator=ConnectedComponentsInstanceApproximator(),
            instance_matcher=NaiveThresholdMatching(matching_metric=metric, matching_threshold=least),
            instance_metrics=[Metric.DSC, Metric.IOU],
            global_metrics=[Metric.DSC],
        )
        answer = evaluator.evaluate(found.astype(np.uint8), lesions.astype(np.uint8), verbose=False)["ungrouped"]
        said[name] = {
            "counts": [int(answer.tp), int(answer.fn), int(answer.fp)],
            "dice": float(answer.tp and answer.tp * answer.sq_dsc),
        }
    if found.any() and lesions.any():
        said["hd95"] = float(Metric.HD95(lesions, found, voxelspacing=TWO_MM))
        said["nsd"] = float(Metric.NSD(lesions, found, voxelspacing=TWO_MM, threshold=TOLERANCE_MM))
    return said


def _brats(found: Mask, lesions: Mask, folder: Path) -> Judged:
    import nibabel

    vars(np)["Inf"] = np.inf  # NumPy 2 dropped the name that theirs uses
    metrics = importlib.import_module("metrics")  # theirs: the folder of the checkout is the first to be searched

    paths = []
    for name, mask in (("found", found), ("lesions", lesions)):
        paths.append(str(folder / f"{name}.nii"))
        nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8), np.diag([*TWO_MM, 1.0])), paths[-1])
    _, missed, false, hit, lesion_wise, whole, hd95, *_ = metrics.get_LesionWiseScores(*paths, "WT", DILATION)
    said = {
        "counts": [len(hit), len(missed), len(false)],
        "lesions": sorted([round(float(ml) / 8), float(dice)] for _, _, ml, dice, _ in lesion_wise),
        "dice": float(whole),
    }
    return {**said, "hd95": float(hd95)} if found.any() and lesions.any() else said


def ours(pair: Pair) -> Judged:
    """What our functions say of a pair, in the words of the others."""
    from uadbench.metrics import dice
    from uadbench.metrics.lesions import DICE_RULE, IOU_RULE, match_lesions, overlaps_of, surface_distances

    found, lesions = pair
    said: Judged = {"whole": dice(found, lesions)}
    for name, rule in (("dice", DICE_RULE), ("iou", IOU_RULE)):
        matching = match_lesions(found, lesions, rule)
        hits = matching.hits
        said[name] = {
            "counts": [hits, len(matching.lesions) - hits, len(matching.components) - hits],
            "dice": sum(lesion.dice for lesion in matching.lesions),
        }
    touched = sum(lesion.touched > 0 for lesion in matching.lesions)
    said["touch"] = [
        touched,
        len(matching.lesions) - touched,
        sum(not component.touches for component in matching.components),
    ]
    overlaps = overlaps_of(found, lesions)
    size = overlaps.lesions.size
    shared = np.bincount(overlaps.lesion, overlaps.shared, size)
    marked = np.bincount(overlaps.lesion, overlaps.components[overlaps.component], size)
    said["lesions"] = sorted(
        [int(voxels), float(2 * both / (voxels + all_))]
        for voxels, both, all_ in zip(overlaps.lesions, shared, marked, strict=True)
    )
    if found.any() and lesions.any():
        surfaces = surface_distances(found, lesions, TWO_MM)
        said["hd95"], said["surface_dice"] = surfaces.hd95, surfaces.dice_within(TOLERANCE_MM)
        said["hd90"], said["hd97"] = (
            float(max(np.percentile(surfaces.found, share), np.percentile(surfaces.truth, share))) for share in (90, 97)
        )
        said["hd95_pooled"] = float(np.percentile(np.concatenate([surfaces.found, surfaces.truth]), 95))
        said["nsd"] = float(np.mean([np.mean(one <= TOLERANCE_MM) for one in (surfaces.found, surfaces.truth)]))
    return said


def compare(mine: list[Judged], apart: list[Judged], theirs: Judged) -> bool:
    """Print a line per comparison; whether all agrees that must."""
    pairs = list(zip(mine, theirs["pairs"], strict=True))
    both = [(a, b) for a, b in pairs if "nsd" in a]
    separate = list(zip(apart, theirs["apart"], strict=True))
    must = [
        _line(
            "panoptica, Dice >= 0.1: hits, missed, false", pairs, lambda a: a["dice"]["counts"], _at("dice", "counts")
        ),
        _line("panoptica, IoU >= 0.5: hits, missed, false", pairs, lambda a: a["iou"]["counts"], _at("iou", "counts")),
        _line("panoptica, Dice >= 0.1: sum of matches' Dice", pairs, lambda a: a["dice"]["dice"], _at("dice", "dice")),
        _line("panoptica, IoU >= 0.5: sum of matches' Dice", pairs, lambda a: a["iou"]["dice"], _at("iou", "dice")),
        _line("panoptica, HD95 if we pool both directions", both, lambda a: a["hd95_pooled"], _at("hd95")),
        _line("panoptica, surface Dice if we average both shares", both, lambda a: a["nsd"], _at("nsd")),
        _line("BraTS, Dice of the volume", pairs, lambda a: a["whole"], lambda b: b["brats"]["dice"]),
        _line(
            "BraTS, lesions touched, untouched, false; kept apart",
            separate,
            lambda a: a["touch"],
            lambda b: b["counts"],
        ),
        _line(
            "BraTS, each lesion with all it touches; kept apart",
            separate,
            lambda a: a["lesions"],
            lambda b: b["lesions"],
        ),
        _line(
            "BraTS, HD95 lies between our HD90 and HD97",
            [(b, {"nearest": float(np.clip(b["brats"]["hd95"], a["hd90"], a["hd97"]))}) for a, b in both],
            lambda b: b["brats"]["hd95"],
            lambda nearest: nearest["nearest"],
        ),
    ]
    print("by definition different:")
    _line("panoptica, HD95 (it pools, we take the larger), mm", both, lambda a: a["hd95"], _at("hd95"))
    _line("panoptica, surface Dice (averages shares, we voxels)", both, lambda a: a["surface_dice"], _at("nsd"))
    _line(
        "BraTS, touched, untouched, false (dilates lesions)",
        pairs,
        lambda a: a["touch"],
        lambda b: b["brats"]["counts"],
    )
    _line(
        "BraTS, hits, missed, false (many to one, no bar)",
        pairs,
        lambda a: a["dice"]["counts"],
        lambda b: b["brats"]["counts"],
    )
    _line("BraTS, HD95 (weighs by area of a mesh), mm", both, lambda a: a["hd95"], lambda b: b["brats"]["hd95"])
    return all(must)


def _at(*words: str) -> Callable[[Judged], Any]:
    def found(judged: Judged) -> Any:
        value: Any = judged["panoptica"]
        for word in words:
            value = value[word]
        return value

    return found


def _line(what: str, pairs: list[tuple[Judged, Judged]], mine: Callable[[Judged], Any], theirs: Any) -> bool:
    gaps = [_gap(mine(a), theirs(b)) for a, b in pairs]
    differ = sum(gap > 1e-9 for gap in gaps)
    print(f"  {what:58} {differ:3} of {len(gaps)} differ, at most by {max(gaps):.3g}, {np.mean(gaps):.3g} on average")
    return differ == 0


def _gap(a: Any, b: Any) -> float:
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape:
        return float("inf")
    return float(np.abs(first - second).max(initial=0.0))


def main() -> None:
    """Draw, have judged, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, help="of the environment with panoptica and nibabel")
    parser.add_argument("--brats", type=Path, required=True, help="a checkout of BraTS-2023-Metrics")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--judge", type=Path, help="a file of pairs; used by this script itself")
    options = parser.parse_args()
    if options.judge:
        sys.path.insert(0, str(options.brats))
        return judge(options.judge)
    pairs = [draw(seed) for seed in range(options.pairs)]
    apart = [kept_apart(pair) for pair in pairs]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "pairs.npz"
        masks = {"found": pairs, "lesions": pairs, "apart_found": apart, "apart_lesions": apart}
        np.savez_compressed(
            place, **{name: np.stack([pair[name.endswith("lesions")] for pair in of]) for name, of in masks.items()}
        )
        command = [str(options.python), __file__, "--brats", str(options.brats), "--judge", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"panoptica and BraTS could not judge:\n{done.stderr}")
        theirs = json.loads(place.with_suffix(".json").read_text())
    print("must agree:")
    agree = compare([ours(pair) for pair in pairs], [ours(pair) for pair in apart], theirs)
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
