"""Which lesion was found by which component: one to one, the pairs of greatest overlap first.

The rule: marked voxels and lesion voxels are each connected by 26-neighbourhood. All pairs of a lesion and a component
that share a voxel are gone through by their Dice (IoU gives the same order), the greatest first; a pair is matched if
it reaches the rule's bar and neither of the two is matched yet. Of pairs with the same Dice that with more shared
voxels comes first, then the larger lesion, then the larger component. A lesion that is matched is a hit.

One to one is what makes recall and precision count the same hits; what it leaves out is counted apart: lesions that
one component swallowed together (`merged`), and pieces that one lesion was found in (`split`).

Sources: one-to-one matching at a bar is that of panoptic quality (Kirillov et al. 2019), where an IoU above 0.5 leaves
a lesion one possible match; panoptica brings it to biomedical volumes and takes the pairs of greatest overlap first, as
here (Kofler et al. 2023). The lower bar of Dice >= 0.1 is ours: a plaque of 3 mm has two voxels of 2 mm, and a shift by
one of them is no miss. BraTS 2023 has no bar and is many to one: whatever touches a dilated lesion has found it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..checks import BoolArray
from .overlaps import Overlaps, overlaps_of
from .sizes import SIZE_NAMES, size_class


@dataclass(frozen=True)
class MatchRule:
    """From what overlap on a component counts as having found a lesion.

    Attributes:
        measure: of the overlap of the two, "dice" or "iou".
        least: the bar, in (0, 1].
    """

    measure: Literal["dice", "iou"]
    least: float


#: The benchmark's rule, and the stricter one of panoptic quality.
DICE_RULE = MatchRule("dice", 0.1)
IOU_RULE = MatchRule("iou", 0.5)


@dataclass(frozen=True)
class MatchedLesion:
    """A lesion and what was found of it.

    Attributes:
        number: from 1, the largest first.
        voxels: its size.
        overlap: voxels that it shares with its match; 0 without one.
        dice: with its match; 0 without one.
        iou: likewise.
        component: the number of its match; None without one.
        touched: share of its voxels that are marked, by whatever component.
        merged: it has no match, and a component that is matched to another lesion shares a voxel with it.
    """

    number: int
    voxels: int
    overlap: int
    dice: float
    iou: float
    component: int | None
    touched: float
    merged: bool


@dataclass(frozen=True)
class MatchedComponent:
    """A marked component and what it has found.

    Attributes:
        number: from 1, the largest first.
        voxels: its size.
        lesion: the number of its match; None without one.
        touches: it shares a voxel with a lesion, matched or not.
        split: it has no match, and a lesion that is matched to another component shares a voxel with it.
    """

    number: int
    voxels: int
    lesion: int | None
    touches: bool
    split: bool


@dataclass(frozen=True)
class Matching:
    """Lesions and marked components of a volume, matched one to one."""

    rule: MatchRule
    lesions: tuple[MatchedLesion, ...]
    components: tuple[MatchedComponent, ...]

    @property
    def hits(self) -> int:
        """Lesions that have a match."""
        return sum(lesion.component is not None for lesion in self.lesions)

    @property
    def merged(self) -> int:
        """Unmatched lesions that a component matched to another lesion touches."""
        return sum(lesion.merged for lesion in self.lesions)

    @property
    def split(self) -> int:
        """Unmatched components that touch a lesion matched to another component."""
        return sum(component.split for component in self.components)

    def false_sizes(self, voxel_ml: float) -> tuple[int, int, int, int]:
        """Components that touch no lesion at all, by class of size (see `SIZE_NAMES`).

        Args:
            voxel_ml: volume of a voxel, ml.
        """
        counts = Counter(size_class(one.voxels * voxel_ml) for one in self.components if not one.touches)
        first, second, third, fourth = (counts[number] for number in range(len(SIZE_NAMES)))
        return first, second, third, fourth


def match_lesions(found: BoolArray, lesions: BoolArray, rule: MatchRule = DICE_RULE) -> Matching:
    """Match what was marked in a volume with its lesions, see the rule above.

    For several rules on the same masks, `match_overlaps` spares connecting their voxels again.

    Args:
        found: True on what was marked, bool [D, H, W].
        lesions: True in lesions, bool [D, H, W].
        rule: from what overlap on a lesion counts as found.

    Raises:
        ValueError: a mask is no bool volume, the shapes differ, or the rule's bar is not in (0, 1].
    """
    return match_overlaps(overlaps_of(found, lesions), rule)


def match_overlaps(overlaps: Overlaps, rule: MatchRule = DICE_RULE) -> Matching:
    """Match pieces whose overlaps are known, see `match_lesions`.

    Raises:
        ValueError: the rule's bar is not in (0, 1].
    """
    pairs = matched_pairs(overlaps, rule)
    of_lesion = {int(overlaps.lesion[pair]): pair for pair in pairs}
    of_component = {int(overlaps.component[pair]): pair for pair in pairs}
    return Matching(rule, _lesions(overlaps, of_lesion, of_component), _components(overlaps, of_lesion, of_component))


def matched_pairs(overlaps: Overlaps, rule: MatchRule) -> list[int]:
    """The pairs that are matched, by their place in `overlaps`; all that the number of hits needs.

    Raises:
        ValueError: the rule's bar is not in (0, 1].
    """
    if not 0 < rule.least <= 1:
        raise ValueError(f"least must lie in (0, 1], not {rule.least}: whatever shares no voxel is never matched")
    reached = (overlaps.dice if rule.measure == "dice" else overlaps.iou) >= rule.least
    order = np.lexsort((overlaps.component, overlaps.lesion, -overlaps.shared, -overlaps.dice))
    taken_lesions: set[int] = set()
    taken_components: set[int] = set()
    pairs = []
    for pair in order[reached[order]].tolist():
        lesion, component = int(overlaps.lesion[pair]), int(overlaps.component[pair])
        if lesion in taken_lesions or component in taken_components:
            continue
        taken_lesions.add(lesion)
        taken_components.add(component)
        pairs.append(pair)
    return pairs


def _lesions(overlaps: Overlaps, of_lesion: dict[int, int], of_component: dict[int, int]) -> tuple[MatchedLesion, ...]:
    touched = np.bincount(overlaps.lesion, overlaps.shared, overlaps.lesions.size) / np.maximum(overlaps.lesions, 1)
    busy = np.isin(overlaps.component, list(of_component))
    swallowed = set(overlaps.lesion[busy].tolist()) - set(of_lesion)
    dice, iou = overlaps.dice, overlaps.iou
    lesions = []
    for index, voxels in enumerate(overlaps.lesions.tolist()):
        pair = of_lesion.get(index)
        match = None if pair is None else 1 + int(overlaps.component[pair])
        shared, its_dice, its_iou = (0, 0.0, 0.0) if pair is None else (overlaps.shared[pair], dice[pair], iou[pair])
        lesions.append(
            MatchedLesion(
                number=1 + index,
                voxels=voxels,
                overlap=int(shared),
                dice=float(its_dice),
                iou=float(its_iou),
                component=match,
                touched=float(touched[index]),
                merged=index in swallowed,
            )
        )
    return tuple(lesions)


def _components(
    overlaps: Overlaps, of_lesion: dict[int, int], of_component: dict[int, int]
) -> tuple[MatchedComponent, ...]:
    touching = set(overlaps.component.tolist())
    found_again = set(overlaps.component[np.isin(overlaps.lesion, list(of_lesion))].tolist()) - set(of_component)
    components = []
    for index, voxels in enumerate(overlaps.components.tolist()):
        pair = of_component.get(index)
        match = None if pair is None else 1 + int(overlaps.lesion[pair])
        components.append(MatchedComponent(1 + index, voxels, match, index in touching, index in found_again))
    return tuple(components)
