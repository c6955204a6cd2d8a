"""Labels stay hidden while a method runs.

A method is handed no lesion mask; this watches that it takes none either. Python tells an audit hook of every file it
opens (PEP 578), and a volume store tells it whenever it gives out a lesion mask. The hook is installed once a process
and does nothing outside `labels_hidden`. It is a guard against mistakes and shortcuts, no sandbox: code that means harm
can read a disk in ways that Python does not see.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import PurePath
from typing import Any

from ...datasets.layout import SEGMENTATION, suffix_of
from ...datasets.store.arrays import LESION_FILE
from ...datasets.store.store import LESION_READ
from ...errors import UserError
from ...stopping import raise_stop


class LabelError(UserError):
    """A method looked at a lesion mask."""


#: What was read by the method that runs in this context; None where no method runs.
_SEEN: ContextVar[list[str] | None] = ContextVar("uadbench_labels_seen", default=None)


@contextmanager
def labels_hidden(who: str) -> Iterator[None]:
    """Let nobody read a lesion mask until the end of the block.

    Args:
        who: whose code runs in the block, for the message.

    Raises:
        LabelError: a lesion mask was read, also where the code caught the error it got.
        KeyboardInterrupt: the run was stopped, also where the code caught that.
    """
    _install()
    seen: list[str] = []
    token = _SEEN.set(seen)
    try:
        yield
    except BaseException as error:
        raise_stop(error)
        if seen:
            raise _refusal(who, seen[0]) from error
        raise
    finally:
        _SEEN.reset(token)
    raise_stop()
    if seen:
        raise _refusal(who, seen[0])


def _refusal(who: str, what: str) -> LabelError:
    return LabelError(f"{who} read a lesion mask ({what}); a method sees scans and brain masks, never a label")


@cache
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event not in ("open", LESION_READ):
        return
    seen = _SEEN.get()
    if seen is None or (event == "open" and not _is_label(args[0])):
        return
    seen.append(str(args[0]))
    raise PermissionError(f"a method may not read a lesion mask ({args[0]})")


def _is_label(opened: object) -> bool:
    """Whether this is a store's file of lesion masks, or a segmentation in a data directory."""
    if not isinstance(opened, str | bytes | os.PathLike):
        return False
    path = PurePath(os.fsdecode(opened))
    return path.name == LESION_FILE or (path.parent.name == SEGMENTATION and suffix_of(path.name) is not None)
