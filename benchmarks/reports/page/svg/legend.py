"""What the lines of a figure stand for."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup


def legend(names: Sequence[str]) -> Markup:
    """A key per name, in the colours and dashes `c0`, `c1`, … of the style sheet.

    Args:
        names: what the lines stand for.
    """
    keys = Markup().join(
        Markup('<span class="key"><i class="swatch c{}"></i>{}</span> ').format(number, name)
        for number, name in enumerate(names)
    )
    return Markup('<p class="legend">{}</p>').format(keys)
