"""The median of a cube as a network of minimum and maximum that neighbouring cubes share.

Neighbouring windows share most of their voxels, so sorting is done once for what they share: columns, then planes out
of columns, then the four (for a side of 5) planes that stand in the windows of two neighbours; only the last merge
belongs to a single window. There is no branch that depends on the data, so every step works on whole arrays (after
Adams, "Fast Median Filters using Separable Sorting Networks", ACM Transactions on Graphics 2021; here in 3-D, two by
two windows at a time).

Vocabulary: the slice is split into its even and odd rows and columns, four *phases*, each a *lane*: one flat array
with an entry per cell of two by two voxels. A sorted list of lanes holds, at each cell, a sorted list. A *register* is
memory for one lane. A step reads lanes some rows and columns further on, which in a flat array is a plain shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, reduce
from itertools import count, product, zip_longest
from typing import NamedTuple


class Lane(NamedTuple):
    """A register, read some cells further on."""

    register: int
    rows: int = 0
    columns: int = 0

    def moved(self, rows: int, columns: int) -> Lane:
        """The same, so many cells further."""
        return Lane(self.register, self.rows + rows, self.columns + columns)


@dataclass(frozen=True)
class Step:
    """`target` becomes the larger (or the smaller) of two lanes."""

    larger: bool
    target: int
    one: Lane
    other: Lane


@dataclass(frozen=True)
class Network:
    """The steps that lead from the voxels of a cube to its median.

    Attributes:
        size: side of the cube.
        steps: in their order.
        registers: how many they use. The first `size * 4` are the input: register `4 * z + 2 * y + x` is phase (y, x)
            of the slice z of the cube.
        medians: the registers of the four medians, phases (0, 0), (0, 1), (1, 0), (1, 1).
    """

    size: int
    steps: tuple[Step, ...]
    registers: int
    medians: tuple[int, ...]


@cache
def median_network(size: int) -> Network:
    """The network for cubes of an odd side of at least 3; made once per side."""
    made = _Maker(4 * size)
    columns = {
        (y, x): made.sorted([Lane(4 * z + 2 * y + x) for z in range(size)]) for y, x in product(range(2), repeat=2)
    }
    shared = [made.shared(columns[0, x], columns[1, x], size, rows=True) for x in range(2)]
    medians: list[Lane] = []
    for y in range(2):  # one after the other, so that fewer registers are in use
        own = [columns[0, x] if y == 0 else _moved(columns[1, x], size // 2, rows=True) for x in range(2)]
        planes = [made.merge(shared[x], own[x], 0, size * size) for x in range(2)]
        medians += made.medians(planes[0], planes[1], size)
    steps, registers, places = _allocated(made.steps, 4 * size, [lane.register for lane in medians])
    return Network(size, steps, registers, places)


@dataclass
class _Maker:
    """Collects steps, each with a register of its own."""

    inputs: int
    steps: list[Step] = field(default_factory=list)

    def choose(self, larger: bool, one: Lane, other: Lane) -> Lane:
        target = self.inputs + len(self.steps)
        self.steps.append(Step(larger, target, one, other))
        return Lane(target)

    def sorted(self, lanes: list[Lane]) -> list[Lane]:
        if len(lanes) == 1:
            return lanes
        first = len(lanes) // 2 if len(lanes) % 2 == 0 else len(lanes) - 1
        return self.merge(self.sorted(lanes[:first]), self.sorted(lanes[first:]), 0, len(lanes))

    def shared(
        self, even: list[Lane], odd: list[Lane], size: int, *, rows: bool, start: int = 0, stop: int | None = None
    ) -> list[Lane]:
        """Ranks start..stop-1 of what stands in the windows of an even and of the next odd position.

        Both hold the positions 1 to size - 1; the even one 0 besides, the odd one `size`.
        """
        pairs = self.merge(odd, _moved(even, 1, rows=rows), 0, 2 * len(odd))
        return self.neighbours(pairs, size // 2, rows, start, stop)

    def medians(self, even: list[Lane], odd: list[Lane], size: int) -> tuple[Lane, Lane]:
        """Median of the window of an even and of the next odd column, without sorting either whole.

        Of the plane that only one window has (`few`, n lanes) some j are below the median, j = 0..n; then rank - j of
        the shared ones (`many`) are, so the median is the least over j of max(many[rank - j], few[j - 1]), and n + 1
        ranks of `many` are all it takes.
        """
        rank = size * len(even) // 2
        many = self.shared(even, odd, size, rows=False, start=rank - len(even), stop=rank + 1)[::-1]
        return self.least(many, even), self.least(many, _moved(odd, size // 2, rows=False))

    def least(self, many: list[Lane], few: list[Lane]) -> Lane:
        larger = (self.choose(True, one, other) for one, other in zip(many[1:], few, strict=True))
        return reduce(lambda best, lane: self.choose(False, best, lane), larger, many[0])

    def neighbours(
        self, lanes: list[Lane], number: int, rows: bool, start: int = 0, stop: int | None = None
    ) -> list[Lane]:
        """Ranks start..stop-1 of each cell's sorted list and those of the next `number - 1` cells, merged."""
        stop = number * len(lanes) if stop is None else stop
        if number == 1:
            return lanes[start:stop]
        first = number // 2 if number % 2 == 0 else number - 1
        left = self.neighbours(lanes, first, rows)
        right = left if number % 2 == 0 else lanes
        return self.merge(left, _moved(right, first, rows=rows), start, stop)

    def merge(self, a: list[Lane], b: list[Lane], start: int, stop: int) -> list[Lane]:
        """Ranks start..stop-1 of two sorted lists merged, by Batcher's odd-even merge (Knuth, TAOCP vol. 3, 5.3.4).

        Merge the lanes of even index, and those of odd index; then the smallest is even[0], and ranks 2i + 1 and
        2i + 2 are the smaller and the larger of odd[i] and even[i + 1]. Comparisons that only feed ranks outside are
        never made.
        """
        if not a or not b:
            return (a or b)[start:stop]
        if len(a) == len(b) == 1:
            return [self.choose(larger, a[0], b[0]) for larger in (False, True)[start:stop]]
        first_pair, last_pair = max(0, (start - 1) // 2), stop // 2
        even = self.merge(a[0::2], b[0::2], first_pair + 1 if start else 0, last_pair + 1)
        odd = self.merge(a[1::2], b[1::2], first_pair, last_pair)
        merged, partners = ([], even) if start else (even[:1], even[1:])
        for rank, (one, other) in zip(count(2 * first_pair + 1, 2), zip_longest(odd, partners), strict=False):
            if one is None or other is None:
                merged.append(other if one is None else one)
                continue
            if rank >= start:
                merged.append(self.choose(False, one, other))
            if rank + 1 < stop:
                merged.append(self.choose(True, one, other))
        return merged


def _moved(lanes: list[Lane], cells: int, *, rows: bool) -> list[Lane]:
    return [lane.moved(cells if rows else 0, 0 if rows else cells) for lane in lanes]


def _allocated(
    steps: Sequence[Step], inputs: int, wanted: Sequence[int]
) -> tuple[tuple[Step, ...], int, tuple[int, ...]]:
    """The steps with registers used again as soon as nobody reads them any more, so that they stay in the cache.

    Steps whose result nobody reads are left out.

    Returns:
        The steps, the number of registers, and where the wanted results are.
    """
    last_use = dict.fromkeys(wanted, len(steps))
    kept = []
    for number, step in reversed(list(enumerate(steps))):
        if step.target in last_use:
            kept.append((number, step))
            for lane in (step.one, step.other):
                last_use.setdefault(lane.register, number)
    places, free, used = {number: number for number in range(inputs)}, list[int](), inputs
    allocated = []
    for number, step in reversed(kept):
        if not free:
            free, used = [used], used + 1
        places[step.target] = free.pop()
        one, other = (_placed(lane, places) for lane in (step.one, step.other))
        allocated.append(replace(step, target=places[step.target], one=one, other=other))
        free += {places[lane.register] for lane in (step.one, step.other) if last_use[lane.register] == number}
    return tuple(allocated), used, tuple(places[register] for register in wanted)


def _placed(lane: Lane, places: dict[int, int]) -> Lane:
    """The lane in the register that was given to it."""
    return lane._replace(register=places[lane.register])
