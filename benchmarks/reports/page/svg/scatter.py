"""Named points: a dot and a name each, moved apart where names would lie on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from .marks import points, segments, text, together
from .plot import Plot

#: Width of a letter, height of a line and half a dot, in the figure's units.
_LETTER, _LINE, _DOT = 6.2, 12.0, 6.0


@dataclass(frozen=True)
class Named:
    """A point with a name.

    Attributes:
        name: what it stands for.
        x: value along the horizontal axis.
        y: along the vertical one.
        style: of the dot.
        faint: whether its name is.
    """

    name: str
    x: float
    y: float
    style: str
    faint: bool = False


def named_points(plot: Plot, named: Sequence[Named]) -> Markup:
    """The points and their names; a thin line joins them where the name had to move away."""
    places = [(float(plot.across([one.x])[0]), float(plot.up([one.y])[0])) for one in named]
    marks = [points([x], [y], one.style) for one, (x, y) in zip(named, places, strict=True)]
    taken = [_Box(x - _DOT, x + _DOT, y + 4) for x, y in places]
    leaders = []
    for one, (x, y) in sorted(zip(named, places, strict=True), key=lambda pair: (pair[0].faint, pair[1][1])):
        box, anchor = _free(one.name, x, y, taken, plot)
        taken.append(box)
        near = box.left if anchor == "start" else box.right
        if abs(box.base - y - 4) > _LINE:
            leaders.append(segments([(x, y, near, box.base - 4)], "leader"))
        marks.append(text(near, box.base, one.name, "name faint" if one.faint else "name", anchor=anchor))
    return together([*leaders, *marks])


@dataclass(frozen=True)
class _Box:
    """Where a name lies, from left to right upon its base line."""

    left: float
    right: float
    base: float

    def meets(self, other: _Box) -> bool:
        return self.left < other.right and other.left < self.right and abs(self.base - other.base) < _LINE


def _free(name: str, x: float, y: float, taken: Sequence[_Box], plot: Plot) -> tuple[_Box, str]:
    """The place nearest to the point at which its name lies on nothing, to the right or to the left of it."""
    wide = _LETTER * len(name)
    for step in range(60):
        for shift in (step * 4, -step * 4):
            base = y + 4 + shift
            right, left = _Box(x + 9, x + 9 + wide, base), _Box(x - 9 - wide, x - 9, base)
            for box, anchor in ((right, "start"), (left, "end")):
                inside = plot.top + 8 <= base <= plot.floor - 2 and box.left >= plot.left and box.right <= plot.width
                if inside and not any(box.meets(other) for other in taken):
                    return box, anchor
    return _Box(x + 9, x + 9 + wide, y + 4), "start"
