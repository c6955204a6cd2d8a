"""What only shows when scans are compared: the same scan twice, a brain elsewhere or upside down, another contrast.

After the preparation all scans of all sets lie in one space, so place and extent are compared over all of them; grey
values are compared within a set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..outliers import FEWEST_TO_COMPARE, OUTLIER, modified_z
from ..scans.pose import pose_of
from .facts import BrainFacts, ScanFacts
from .rules import Defect, Kind, Limits, Severity, median
from .same_person import alike_pairs

_ALIKE = 0.03  # what the scaled medians of alike scans differ by

DUPLICATE_KINDS = (Kind.DUPLICATE, Kind.TURNED_DUPLICATE, Kind.SAME_SOURCE)

#: Whether a run reads a scan, so that what is wrong with it stands against the run.
IsUsed = Callable[[str, str], bool]


def duplicates(facts: Sequence[ScanFacts], is_used: IsUsed) -> Iterator[Defect]:
    """Scans whose images hold the same voxels, whatever their names, sets, files and axes."""
    groups: dict[str, list[ScanFacts]] = defaultdict(list)
    for one in facts:
        if one.voxels is not None:
            groups[one.voxels.loose_digest].append(one)
    for same in groups.values():
        exact = len({one.voxels.digest for one in same if one.voxels is not None}) == 1
        kind = Kind.DUPLICATE if exact else Kind.TURNED_DUPLICATE
        yield from twins(kind, [(one.key, one.scan) for one in same], is_used)


def twins(kind: Kind, same: Sequence[tuple[str, str]], is_used: IsUsed) -> Iterator[Defect]:
    """A defect for each of several scans that are one; an error if a run reads two of them."""
    if len(same) < 2:
        return
    severity = Severity.ERROR if sum(is_used(*one) for one in same) > 1 else Severity.REMARK
    keys = tuple(dict.fromkeys(key for key, _ in same))
    for key, scan in same:
        other = next(one for one in same if one != (key, scan))
        yield Defect(kind, severity, keys, scan, f"= {other[1]}", key)


def same_people(
    facts: Sequence[ScanFacts], person_of: Mapping[str, Callable[[str], str]], known: Iterable[Defect]
) -> Iterator[Defect]:
    """Pairs of scans that may show one person, unless their set says so itself or they are known to be one scan.

    Args:
        facts: the scans of all sets.
        person_of: by key of a set, the person that a scan shows.
        known: the scans that stand there twice.
    """
    twice = {(defect.key, defect.scan) for defect in known}
    prints = {(one.key, one.scan): one.structure for one in facts if one.structure is not None}
    for pair in alike_pairs(prints):
        (key, scan), (other_key, other) = pair.scans
        told = key == other_key and person_of[key](scan) == person_of[key](other)
        if not told and not {(key, scan), (other_key, other)} <= twice:
            keys = tuple(dict.fromkeys((key, other_key)))
            yield Defect(Kind.SAME_PERSON, Severity.REMARK, keys, scan, f"and {other}, {pair.correlation:.2f}", key)


def misplaced(facts: Sequence[ScanFacts], limits: Limits) -> Iterator[Defect]:
    """Brains that lie elsewhere in the world than the others, or are larger or smaller along an axis."""
    brains: list[tuple[ScanFacts, BrainFacts]] = [(one, one.brain) for one in facts if one.brain is not None]
    if len(brains) < FEWEST_TO_COMPARE:
        return
    centre = np.median([brain.centre for _, brain in brains], axis=0)
    extent = np.median([brain.extent for _, brain in brains], axis=0)
    for one, brain in brains:
        off = brain.centre - centre
        if np.abs(off).max() > limits.centre_mm:
            yield _remark(Kind.PLACE, one, f"{_millimetres(off)} off")
        larger = brain.extent - extent
        if np.abs(larger).max() > limits.extent_mm:
            yield _remark(Kind.EXTENT, one, _millimetres(larger))


def turned(facts: Sequence[ScanFacts], limits: Limits) -> Iterator[Defect]:
    """Brains whose mask looks more like a brain the other way up."""
    for one in facts:
        if one.brain is None or not limits.brain_ml[0] <= one.brain.ml <= limits.brain_ml[1]:
            continue
        pose = pose_of(one.brain.shape)
        if pose.best - pose.likeness > limits.pose_margin:
            yield _remark(Kind.POSE, one, pose.way)


def unlike(facts: Sequence[ScanFacts], site_of: Callable[[str], str | None], limits: Limits) -> Iterator[Defect]:
    """Grey values that stand out from the other scans' of one set, and sites that differ.

    Args:
        facts: the scans of one set.
        site_of: the site of a scan, read from its name.
        limits: the bounds.
    """
    known = {one.scan: one.intensities.scaled_middle for one in facts if one.intensities is not None}
    middles = {scan: middle for scan, middle in known.items() if middle is not None}
    by_name = {one.scan: one for one in facts}
    for scan, score in modified_z(middles, _ALIKE).items():
        if abs(score) > OUTLIER:
            usual = median(middles.values())
            yield _remark(Kind.UNLIKE, by_name[scan], f"{middles[scan]:.2f}, the set's median {usual:.2f}")
    sites: dict[str, list[float]] = defaultdict(list)
    for scan, middle in middles.items():
        site = site_of(scan)
        if site is not None:
            sites[site].append(middle)
    usual_of = {site: median(values) for site, values in sites.items() if len(values) >= FEWEST_TO_COMPARE}
    if usual_of and max(usual_of.values()) - min(usual_of.values()) > limits.site_gap:
        low, high = min(usual_of, key=usual_of.__getitem__), max(usual_of, key=usual_of.__getitem__)
        medians = f"{usual_of[low]:.2f} in {low}, {usual_of[high]:.2f} in {high}"
        sentence = f"the sites differ in grey values, scaled median {medians}"
        yield Defect(Kind.SITES, Severity.REMARK, (facts[0].key,), "", sentence)


def _remark(kind: Kind, one: ScanFacts, value: str) -> Defect:
    return Defect(kind, Severity.REMARK, (one.key,), one.scan, value)


def _millimetres(difference: NDArray[np.float64]) -> str:
    """The largest of three differences with its axis."""
    axis = int(np.argmax(np.abs(difference)))
    return f"{difference[axis]:+.0f} mm along {'xyz'[axis]}"
