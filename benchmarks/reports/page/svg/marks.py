"""The marks of a figure: points, lines and words, as short as SVG can say them.

A class instead of a colour: the style sheet decides how `c0`, `faint` or `mean` looks, by day, by night and on paper.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

#: Dots are spread over so many paths at most, each of so many at least.
_LAYERS, _LAYER = 12, 25


def number(value: float) -> str:
    """A place with at most one decimal."""
    text = f"{value:.1f}"
    return text.removesuffix(".0")


def points(x: ArrayLike, y: ArrayLike, style: str) -> Markup:
    """Round dots in one path; their size is the path's stroke width. Places that are NaN are left out."""
    pairs = _pairs(x, y)
    content = "".join(f"M{number(a)} {number(b)}h0" for a, b in pairs)
    return _path(content, f"dots {style}")


def cloud(x: ArrayLike, y: ArrayLike, style: str) -> Markup:
    """Many dots in several paths, of which each is see-through, so that crowds are darker than single ones."""
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    layers = max(1, min(_LAYERS, xs.size // _LAYER))
    many = f"{style} many" if layers == _LAYERS else style
    return together(points(xs[layer::layers], ys[layer::layers], many) for layer in range(layers))


def line(x: ArrayLike, y: ArrayLike, style: str) -> Markup:
    """A line through places; it breaks where one is NaN."""
    xs, ys = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    whole = np.isfinite(xs) & np.isfinite(ys)
    parts, pen_down = [], False
    for a, b, there in zip(xs, ys, whole, strict=True):
        if there:
            parts.append(f"{'L' if pen_down else 'M'}{number(a)} {number(b)}")
        pen_down = bool(there)
    return _path("".join(parts), f"line {style}")


def segments(ends: Iterable[tuple[float, float, float, float]], style: str) -> Markup:
    """Straight lines, each from (x, y) to (x, y), in one path."""
    content = "".join(f"M{number(a)} {number(b)}L{number(c)} {number(d)}" for a, b, c, d in ends)
    return _path(content, f"line {style}")


def text(
    x: float, y: float, content: object, style: str = "", *, anchor: str = "start", turned: bool = False
) -> Markup:
    """Words; `turned` reads upwards."""
    turn = Markup(' transform="rotate(-90 {} {})"').format(number(x), number(y)) if turned else Markup()
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}"{}>{}</text>').format(
        style, number(x), number(y), anchor, turn, content
    )


def together(parts: Iterable[Markup]) -> Markup:
    """Marks one after the other; later ones lie above."""
    return Markup().join(parts)


def _path(content: str, style: str) -> Markup:
    return Markup('<path class="{}" d="{}"/>').format(style, content)


def _pairs(x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    pairs = np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])
    kept: NDArray[np.float64] = pairs[np.isfinite(pairs).all(axis=1)]
    return kept
