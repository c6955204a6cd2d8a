"""Who runs a cell."""

from __future__ import annotations

from ...errors import UserError


class HeldError(UserError):
    """Somebody else runs the cell."""


class LostClaimError(UserError):
    """Somebody else has taken the cell over, as this process gave no sign of life for too long."""
