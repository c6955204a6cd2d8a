"""Two rows side by side, each volume joined by a line: who wins where, and by how much."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .axis import Axis, linear
from .marks import line, points, segments, text
from .plot import Plot

#: Where the two rows stand, in the figure's units.
LEFT, RIGHT = 110.0, 350.0
#: Lines at most; more would be a grey area.
MOST = 200


def paired_plot(
    a: NDArray[np.float64], b: NDArray[np.float64], names: tuple[str, str], label: str, says: str, *, name: str = ""
) -> Markup:
    """Lines from a volume's score in one row to that in the other.

    Args:
        a: scores of the left row, one per volume; NaN where there is none.
        b: those of the right row.
        names: of the rows.
        label: of the axis.
        says: what the figure shows, for who cannot see it.
        name: by which a script finds it.
    """
    plot = Plot(Axis("", 0, 1, ()), linear(label, [*a, *b]), height=330, bottom=34, right=48)
    shared = np.isfinite(a) & np.isfinite(b)
    means = plot.up([a[shared].mean(), b[shared].mean()]) if shared.any() else np.full(2, np.nan)
    a, b = (values[shared][_spread_out(a[shared] + b[shared])] for values in (a, b))
    left, right = plot.up(a), plot.up(b)
    marks = [
        *(
            segments(((LEFT, y0, RIGHT, y1) for y0, y1 in zip(left[chosen], right[chosen], strict=True)), style)
            for chosen, style in ((a == b, "pair tie"), (b > a, "pair up"), (b < a, "pair down"))
        ),
        points(np.full(a.size, LEFT), left, "volume end-a"),
        points(np.full(b.size, RIGHT), right, "volume end-b"),
        line([LEFT - 14, LEFT + 14, RIGHT - 14, RIGHT + 14], means.repeat(2), "mean-pair"),
        text(LEFT, plot.floor + 20, names[0], "row name-a", anchor="middle"),
        text(RIGHT, plot.floor + 20, names[1], "row name-b", anchor="middle"),
    ]
    return plot.svg(marks, says, name=name)


def _spread_out(sums: NDArray[np.float64]) -> NDArray[np.intp]:
    """Places of at most `MOST` volumes, evenly spread over their order by sum; a script does the same."""
    order = np.argsort(sums, kind="stable")
    if order.size <= MOST:
        return order
    places = np.floor(np.arange(MOST) * (order.size - 1) / (MOST - 1) + 0.5).astype(int)
    chosen: NDArray[np.intp] = order[places]
    return chosen
