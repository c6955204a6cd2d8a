"""Numbers and names as the tables of speed and methods show them."""

from __future__ import annotations

from collections.abc import Iterable


def code(names: Iterable[str]) -> str:
    """Names as Markdown code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def significant(value: float, digits: int = 4) -> str:
    """A positive number to so many significant digits, never in exponential form; 0 is "0"."""
    if not value:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - int(f"{rounded:e}".partition("e")[2]))
    return f"{rounded:.{decimals}f}"
