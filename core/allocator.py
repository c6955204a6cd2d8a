"""Keep freed memory in the process instead of handing it back to the system.

A network frees and asks for the same tens of megabytes at every layer. glibc hands blocks of that size back to the
kernel, which must find and zero their pages anew each time: a fifth of a small network's reconstruction on a CPU. Only
where memory lies changes, no number does. A block of a gigabyte or more still goes back at once.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

#: glibc's malloc.h: how much free memory at the heap's end, and how large a block, is handed back at once.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_BYTES = 2**30
#: Before 2.35 glibc refuses a higher threshold of blocks.
_BYTES_ONCE = 2**25


def keep_freed_memory(library: Any = None, environment: Mapping[str, str] = os.environ) -> bool:
    """Have glibc's allocator keep what is freed in this process; where there is another, nothing is done.

    Args:
        library: the C library; None is that of this process.
        environment: environment variables; who has set glibc's allocator there is left to it.

    Returns:
        Whether it was done.
    """
    mallopt = _of_glibc("mallopt", library)
    if mallopt is None or _is_set_by_user(environment):
        return False
    is_high = mallopt(_MMAP_THRESHOLD, _BYTES) == 1 or mallopt(_MMAP_THRESHOLD, _BYTES_ONCE) == 1
    return bool(is_high and mallopt(_TRIM_THRESHOLD, _BYTES) == 1)


def hand_back_memory(library: Any = None) -> None:
    """Hand back to the system what is free in this process, where its allocator knows how."""
    trim = _of_glibc("malloc_trim", library)
    if trim is not None:
        trim(0)


def _of_glibc(name: str, library: Any) -> Any:
    """A function of glibc; None where the C library is another, or lacks it."""
    try:
        is_glibc = bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except ValueError:  # no such word here
        return None
    return getattr(library or ctypes.CDLL(None), name, None) if is_glibc else None


def _is_set_by_user(environment: Mapping[str, str]) -> bool:
    return "glibc.malloc" in environment.get("GLIBC_TUNABLES", "") or any(
        name in environment for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
    )
