"""The console: everything that is printed goes through one of these, as plain words in whatever the terminal can show.

Words of the user's (paths, names, titles) are never read as markup, so that `[/red]` in a path is shown as it is. A
terminal that does not know a sign of ours gets an ASCII one in its place, and any other letter as an escape.
"""

from __future__ import annotations

import codecs
import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: The signs that we print, in ASCII.
_SIGNS = {
    "±": "+-", "–": "-", "—": "-", "−": "-", "×": "x", "·": ".", "…": "...", "↑": "^", "↓": "v", "‡": "#", "³": "^3",
    "²": "^2", "≤": "<=", "≥": ">=", "→": "->", "≈": "~", "†": "*", "’": "'", "‘": "'", "“": '"', "”": '"',
}  # fmt: skip
_TABLE = str.maketrans(_SIGNS)
_HANDLER = "uadbench_signs"


def make_console(stream: IO[str] | None = None, width: int | None = None) -> Console:
    """A console that prints words as they are; on stderr, where progress and remarks go, unless another is given."""
    from rich.console import Console

    file = sys.stderr if stream is None else stream
    return Console(file=file, width=width, soft_wrap=width is None, markup=False, highlight=False, emoji=False)


def in_ascii(text: str) -> str:
    """A text with ASCII signs for ours; letters stay."""
    return text.translate(_TABLE)


def counted(number: int, noun: str) -> str:
    """A number and its noun, e.g. "1 fold" and "2 folds"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_what_can_be_shown() -> None:
    """Let standard output and error replace what they cannot show, instead of ending in an error."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # absent where a program has put its own stream there
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


def _replacement(error: UnicodeError) -> tuple[str | bytes, int]:
    """The ASCII sign for each of ours, and an escape for every other letter."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    shown = (_SIGNS.get(letter) or letter.encode("ascii", "backslashreplace").decode() for letter in letters)
    return "".join(shown), error.end


codecs.register_error(_HANDLER, _replacement)
