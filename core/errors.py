"""Errors that are the user's to mend: one sentence that says what, where and what to do; exit code 2, no traceback."""

from __future__ import annotations

_SHOWN_NAMES = 5


class UserError(Exception):
    """Something the user can put right; the message says what is wrong, where, and what to do."""


class DataError(UserError, ValueError):
    """Data that cannot be used as they are."""


class WriteError(UserError, OSError):
    """A file could not be written.

    It is an OSError, too, so that `errno`, `strerror` and `filename` tell a caller who knows more about the place.
    """

    def __str__(self) -> str:
        """The sentence."""
        return (
            f"cannot write {self.filename}: {self.strerror}; make room or choose another folder, then run the same "
            "command again (what was finished is kept)"
        )


def shorten(names: tuple[str, ...], shown: int = _SHOWN_NAMES) -> str:
    """The first few names and how many there are in all, for a message of bounded length."""
    listed = ", ".join(names[:shown])
    return listed if len(names) <= shown else f"{listed}, … ({len(names)} in all)"
