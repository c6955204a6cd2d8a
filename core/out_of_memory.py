"""Out of memory: recognised, however it is said, and told in one sentence with the settings that need less.

PyTorch, its GPU libraries, NumPy, Python and ITK each say it in their own way. What holds the memory then is mostly the
error itself: its traceback keeps frames, and these keep tensors. So `free_memory` is called when the error is gone.
"""

from __future__ import annotations

import errno
import gc
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .allocator import hand_back_memory
from .errors import DataError, UserError

_LONGEST_MESSAGE = 160
#: What is said where no type tells: PyTorch on GPU and CPU, the GPU's libraries, and ITK.
_WORDS = re.compile(
    r"(CUDA|HIP|XPU|MPS)\b[\w :]*\bout of memory"
    r"|DefaultCPUAllocator: (can't allocate|not enough) memory"
    r"|\b(CU|HIP|ROC)[A-Z]+_\w*ALLOC(ATION)?_FAILED"
    r"|std::bad_alloc|Failed to allocate memory"
)


class MemoryShortageError(UserError):
    """The memory did not suffice; the message says who lacked it, where, and which settings need less."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that memory ran out on the CPU or a GPU."""
    return _shortage_in(error) is not None


def _shortage_in(error: BaseException) -> BaseException | None:
    """The first error in the chain of causes that says so; another verdict of ours ends the search.

    One on data does not: reading a scan says what failed, not why.
    """
    found: BaseException | None = error
    while found is not None and not _says_so(found):
        ends = isinstance(found, UserError) and not isinstance(found, DataError)
        found = None if ends else _cause_of(found)
    return found


def _cause_of(error: BaseException) -> BaseException | None:
    """What an error was raised from; that of `torch.save` at the end of a file hides the one in its middle."""
    return error.__context__ if "inline_container" in str(error) else error.__cause__


def _says_so(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, ImportError):  # a library that finds no memory for its code
        return os.strerror(errno.ENOMEM) in str(error)
    known = isinstance(error, MemoryError | torch.OutOfMemoryError | MemoryShortageError)
    return known or (isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None)


def free_memory() -> None:
    """Give back what nobody holds any more, so that what comes next has the memory."""
    gc.collect()
    hand_back_memory()
    if gpu_in_use():
        torch.cuda.empty_cache()


def gpu_in_use() -> bool:
    """Whether this process has a GPU of its own in use."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Stage:
    """A part of the work that may run out of memory, as it is told.

    Attributes:
        who: the cell's label; "" where the line says whose it is.
        what: the work, e.g. "the training".
        batch: the batch size in force, e.g. "train.batch_size=32"; "" where none plays a part.
        remedies: what needs less memory.
    """

    who: str
    what: str
    batch: str
    remedies: Sequence[str]

    def sentence(self, error: BaseException) -> str:
        """What happened, where, and what to do."""
        who = f"{self.who}: " if self.who else ""
        size = f" with {self.batch}" if self.batch else ""
        return f"{who}{self.what} ran out of memory{size} ({_message(error)}); less is needed with {self.advice}"

    @property
    def doing(self) -> str:
        """The work and its batch, e.g. "the training with train.batch_size=32"."""
        return f"{self.what} with {self.batch}" if self.batch else self.what

    @property
    def advice(self) -> str:
        """The remedies as a choice."""
        *first, last = self.remedies
        return f"{', '.join(first)} or {last}" if first else last


@contextmanager
def memory_watched(stage: Callable[[], Stage]) -> Iterator[None]:
    """Turn a lack of memory within the block into its sentence.

    Args:
        stage: asked when it has happened, as batch sizes change on the way.

    Raises:
        MemoryShortageError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise MemoryShortageError(stage().sentence(error)) from error
        raise


def _message(error: BaseException) -> str:
    """The beginning of what was said; PyTorch adds half a page on fragmentation."""
    found = _shortage_in(error) or error
    words = " ".join(str(found).split())
    if isinstance(found, MemoryShortageError):
        return words
    if len(words) > _LONGEST_MESSAGE:
        words = words[:_LONGEST_MESSAGE].rpartition(". ")[0] or words[:_LONGEST_MESSAGE]
    return f"{type(found).__name__}{f': {words}' if words else ''}"
