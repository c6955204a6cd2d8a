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
from typing import TypeVar

import torch

from ...errors import UserError
from ...methods import Detector
from ...methods.parts.recomputed import recomputing_networks
from ..plan.preset import Plan, TrainSettings, has_batch_norm

_ResultT = TypeVar("_ResultT")
_LONGEST_MESSAGE = 160
_ALONE = "one cell at a time (--jobs 1)"
_OTHERS = "no other program beside it"
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
    """The first error in the chain of causes that says so; another verdict of ours ends the search."""
    found: BaseException | None = error
    while found is not None and not _says_so(found):
        found = None if isinstance(found, UserError) else _cause_of(found)
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
    if _gpu_in_use():
        torch.cuda.empty_cache()


def _gpu_in_use() -> bool:
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
    def advice(self) -> str:
        """The remedies as a choice."""
        *first, last = self.remedies
        return f"{', '.join(first)} or {last}" if first else last


def preflight_stage(who: str, plan: Plan, slices: int) -> Stage:
    """The check of a method on so few slices that a smaller batch is no help."""
    return Stage(who, "the check of its method", f"{slices} slices", (*_precision(plan.train), _OTHERS))


def training_stage(who: str, what: str, method: type[Detector], plan: Plan) -> Stage:
    """A stage that takes optimiser steps; only what the method allows is advised."""
    train = plan.train
    size, parts = train.batch_size, train.accumulate
    recomputes, cuts = _allowed(method, plan)
    twice = ["--set train.checkpoint_activations=true"] if recomputes and not train.checkpoint_activations else []
    more = next((n for n in range(parts + 1, size + 1) if size % n == 0), None)  # parts of a batch must be equal
    smaller = [] if more is None else [f"--set train.accumulate={more} (micro-batches)"]
    if not cuts:
        smaller = [f"--set train.batch_size={size // 2} (another experiment)"] if size > 1 else []
    cut = f" in parts of {size // parts}" if parts > 1 else ""
    return Stage(who, what, f"train.batch_size={size}{cut}", (*twice, *smaller, *_precision(train), _ALONE))


def scoring_stage(who: str, what: str, plan: Plan, halving: Halving) -> Stage:
    """A stage that reconstructs volumes."""
    wanted = plan.score.batch_size
    size = halving.size(wanted)
    smaller = [f"--set score.batch_size={size // 2}"] if size > 1 else []
    elsewhere = ["--device cpu"] if _gpu_in_use() else []
    return Stage(who, what, halving.words(wanted), (*smaller, *_precision(plan.train), *elsewhere, _ALONE))


def prediction_stage(who: str, what: str, plan: Plan, halving: Halving, folds: int) -> Stage:
    """A stage of a trained run on a new scan; its precision and batch size are those of its record."""
    fewer = [f"--run of one cell instead of all {folds} folds (bench list runs)"] if folds > 1 else []
    elsewhere = ["--device cpu"] if _gpu_in_use() else []
    return Stage(who, what, halving.words(plan.score.batch_size), (*fewer, *elsewhere, _OTHERS))


def scan_stage(what: str, *, with_mask: bool) -> Stage:
    """A stage that works on a scan's own voxels."""
    mask = [] if with_mask else ["a brain mask of its own (--mask) in place of skull stripping"]
    return Stage("", what, "", (*mask, "a scan of fewer voxels, cropped or resampled", _OTHERS))


def _allowed(method: type[Detector], plan: Plan) -> tuple[bool, bool]:
    """Whether a method's networks can compute activations twice, and whether they take a batch in parts."""
    try:
        with torch.device("meta"):  # tensors without values: this takes no memory
            detector = method(method.Settings.model_validate(plan.method))
    except Exception:  # noqa: BLE001  (a foreign constructor that looks at values; then neither is advised)
        return False, False
    return bool(recomputing_networks(detector)), not has_batch_norm(detector)


def _precision(train: TrainSettings) -> tuple[str, ...]:
    """Half the precision, which is another cell."""
    return ("--set train.precision=bf16-mixed (trained anew)",) if train.precision == "32-true" else ()


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


class Halving:
    """Halves the batch of a reconstruction where memory runs out, and goes on with the half from then on.

    Args:
        who: the cell's label, for the remark.
        say: takes the remark, once.
    """

    def __init__(self, who: str = "", say: Callable[[str], None] | None = None) -> None:
        self._who = who
        self._say = say
        self._times = 0

    def size(self, wanted: int) -> int:
        """The batch size in force where the preset wants another."""
        return max(1, wanted >> self._times)

    def words(self, wanted: int) -> str:
        """The batch size in force as a setting, and where it came from."""
        size = self.size(wanted)
        return f"score.batch_size={size}" + (f", halved from {wanted}" if size < wanted else "")

    def run(self, wanted: int, work: Callable[[int], _ResultT]) -> _ResultT:
        """Do the work with as large a batch as the memory holds.

        Args:
            wanted: the preset's batch size.
            work: takes the batch size; gives the same whatever it is.
        """
        while True:
            size = self.size(wanted)
            try:
                result = work(size)
            except Exception as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            else:
                self._tell(wanted, size)
                return result
            self._times += 1
            free_memory()

    def _tell(self, wanted: int, size: int) -> None:
        if self._say is not None and size < wanted:
            self._say(
                f"  {self._who}: ran out of memory with score.batch_size={wanted}; it goes on with {size}, which "
                "changes no number"
            )
            self._say = None


def _message(error: BaseException) -> str:
    """The beginning of what was said; PyTorch adds half a page on fragmentation."""
    found = _shortage_in(error) or error
    words = " ".join(str(found).split())
    if isinstance(found, MemoryShortageError):
        return words
    if len(words) > _LONGEST_MESSAGE:
        words = words[:_LONGEST_MESSAGE].rpartition(". ")[0] or words[:_LONGEST_MESSAGE]
    return f"{type(found).__name__}{f': {words}' if words else ''}"
