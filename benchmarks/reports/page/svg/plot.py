"""The frame of a figure: its size, its axes, and the element that holds it.

Every figure is drawn 460 units wide and shown 320 to 560 pixels wide, so that its words can be read on a telephone and
are not loud on a desk; figures stand side by side where there is room.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from .axis import Axis
from .marks import number, segments, text, together

WIDTH = 460.0


@dataclass(frozen=True)
class Plot:
    """An area between two axes.

    Attributes:
        x: from left to right.
        y: from bottom to top; None where rows of words take its place.
        height: of the whole figure.
        left: room for the words of the vertical axis.
        top: room above.
        right: room at the right.
        bottom: room for the words of the horizontal axis.
        width: of the whole figure.
    """

    x: Axis
    y: Axis | None
    height: float
    left: float = 54.0
    top: float = 10.0
    right: float = 18.0
    bottom: float = 42.0
    width: float = WIDTH

    @property
    def floor(self) -> float:
        """Where the horizontal axis lies."""
        return self.height - self.bottom

    @property
    def end(self) -> float:
        """Where the horizontal axis ends."""
        return self.width - self.right

    def across(self, values: ArrayLike) -> NDArray[np.float64]:
        """Places of values along the horizontal axis."""
        places: NDArray[np.float64] = self.left + self.x.share(values) * (self.end - self.left)
        return places

    def up(self, values: ArrayLike) -> NDArray[np.float64]:
        """Places of values along the vertical axis.

        Raises:
            ValueError: the figure has none.
        """
        if self.y is None:
            raise ValueError("this figure has no vertical axis")
        places: NDArray[np.float64] = self.floor - self.y.share(values) * (self.floor - self.top)
        return places

    def frame(self) -> Markup:
        """Grid, ticks and labels."""
        return together([self._horizontal(), self._vertical()])

    def svg(self, marks: Iterable[Markup], says: str, *, name: str = "") -> Markup:
        """The figure as an element of a page.

        Args:
            marks: what is drawn, upon the axes.
            says: what the figure shows, for who cannot see it.
            name: by which a script finds it, with its scales; "" where none asks.
        """
        head = Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}"').format(
            number(self.width), number(self.height), says
        )
        known = Markup(' data-plot="{}" data-scale="{}"').format(name, self._scale()) if name else Markup()
        return Markup("{}{}>{}{}</svg>").format(head, known, self.frame(), together(marks))

    def _horizontal(self) -> Markup:
        places = self.across([value for value, _ in self.x.ticks])
        grid = segments(((x, self.top, x, self.floor) for x in places), "grid")
        words = [
            text(x, self.floor + 15, word, "tick", anchor="middle")
            for x, (_, word) in zip(places, self.x.ticks, strict=True)
        ]
        label = text((self.left + self.end) / 2, self.height - 6, self.x.label, "label", anchor="middle")
        return together([grid, *words, label])

    def _vertical(self) -> Markup:
        if self.y is None:
            return Markup()
        places = self.up([value for value, _ in self.y.ticks])
        grid = segments(((self.left, y, self.end, y) for y in places), "grid")
        words = [
            text(self.left - 6, y + 4, word, "tick", anchor="end")
            for y, (_, word) in zip(places, self.y.ticks, strict=True)
        ]
        label = text(13, (self.top + self.floor) / 2, self.y.label, "label", anchor="middle", turned=True)
        return together([grid, *words, label])

    def _scale(self) -> str:
        """What a script needs to place values of its own."""
        axes = {"x": (self.x, self.left, self.end)}
        if self.y is not None:
            axes["y"] = (self.y, self.floor, self.top)
        return json.dumps(
            {name: [axis.low, axis.high, int(axis.log), start, end] for name, (axis, start, end) in axes.items()}
        )
