"""Errors that are the user's to mend: one sentence, exit code 2, no traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right; the message says what is wrong, where, and what to do."""
