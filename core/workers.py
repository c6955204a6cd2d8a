"""Worker processes: good children, which leave Ctrl-C to their parent and do not outlive it, and a bounded pool.

And one thread where the work is done here, so that its results are those of a worker.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import BaseContext
from types import FrameType
from typing import Any, TypeVar

from .allocator import keep_freed_memory
from .stopping import WARNING
from .unread import go_on_unread

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")
#: How many threads the libraries that a worker of images may import take.
_THREADS = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: A scheduler ends all processes of a run at once: where one ended a worker, the parent's signal is on its way.
SECONDS_TO_BE_STOPPED = 0.5


class WorkerWarning(UserWarning):
    """A worker process died, and the work goes on without it."""


def worker_context() -> BaseContext:
    """How worker processes start: from a clean server process where the system has one, else from nothing."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return multiprocessing.get_context(method)


def in_workers(
    function: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT], workers: int, start: Callable[[], None]
) -> Iterator[_ResultT]:
    """Apply a function to items in worker processes and yield each result as it comes, in no order.

    At most two items a worker are under way: memory does not grow with their number, and an error stops the run soon.
    Where a worker dies, what it had not finished is done once more, by half as many. Ctrl-C, or a consumer that wants
    no more, ends the workers at once, in the middle of what they do.

    Args:
        function: picklable; called again with an item whose result was lost.
        items: picklable each.
        workers: processes.
        start: called first in each worker.

    Raises:
        BrokenProcessPool: a worker died, and one of the fewer died again.
    """
    left, fewer = iter(items), max(1, workers // 2)
    lost = yield from _in_pool(function, left, workers, start)
    if lost:
        text = f"a worker process died, probably for lack of memory; it goes on with {fewer} instead of {workers}"
        warnings.warn(text, WorkerWarning, stacklevel=2)
        lost = yield from _in_pool(function, itertools.chain(lost, left), fewer, start)
    if lost:
        raise BrokenProcessPool("a worker process died again")


def _in_pool(
    function: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT], workers: int, start: Callable[[], None]
) -> Generator[_ResultT, None, list[_ItemT]]:
    """Yield the results of one pool of workers; return the items whose results were lost where a worker died."""
    # Plain fork would copy locks held by threads of torch or MLflow; the fork server has none.
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, mp_context=worker_context(), initializer=start)
    unfinished: dict[int, _ItemT] = {}
    under_way: dict[Future[_ResultT], int] = {}
    try:
        for number, item in enumerate(items):
            unfinished[number] = item
            with signals_held():
                under_way[pool.submit(function, item)] = number
            if len(under_way) >= 2 * workers:
                yield from _next_results(under_way, unfinished)
        while under_way:
            yield from _next_results(under_way, unfinished)
    except BrokenProcessPool:
        time.sleep(SECONDS_TO_BE_STOPPED)
    except (KeyboardInterrupt, GeneratorExit):
        for worker in multiprocessing.active_children():
            if worker not in others:
                worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return list(unfinished.values())


def _next_results(under_way: dict[Future[_ResultT], int], unfinished: dict[int, _ItemT]) -> Iterator[_ResultT]:
    """Wait for at least one result, and yield what is there; whole ones before one that a dead worker owes."""
    finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in sorted(finished, key=lambda one: isinstance(one.exception(), BrokenProcessPool)):
        number = under_way.pop(future)
        result = future.result()
        del unfinished[number]
        yield result


@contextmanager
def signals_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the end of the block, so that a process is started whole or not at all.

    A process started meanwhile is born deaf to Ctrl-C, which a terminal sends to it as well, and prints no traceback
    while it imports; `leave_ctrl_c_to_parent` ends that.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # else it starts with the first process, and unblocks Ctrl-C
    seen: list[int] = []
    known = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in known.items() if handler is not None}
    for number in before:
        signal.signal(number, lambda number, _frame: seen.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)
        if seen:
            signal.raise_signal(seen[0])


def leave_ctrl_c_to_parent() -> None:
    """Called first in a worker that was started while signals were held; a queue's warning is the parent's, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(WARNING, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def end_at_once_on_sigterm() -> None:
    """Let SIGTERM end this process as if nobody had a handler for it: Lightning has one that waits for a step's end."""
    signal.signal(signal.SIGTERM, _end_at_once)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def be_a_good_child() -> None:
    """Called first in a worker of images: one thread, memory kept, Ctrl-C for the parent, no life without it.

    Whoever stops reading what it says does not end it.
    """
    for name in _THREADS:
        os.environ[name] = "1"  # read by a library that is imported from now on
    _limit_blas()
    keep_freed_memory()
    leave_ctrl_c_to_parent()
    go_on_unread()
    end_with_parent()


def _limit_blas() -> Any:
    """Let the libraries of matrix products that are imported already use one thread; a context that takes it back."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


def end_with_parent() -> None:
    """End this process as soon as its parent has ended, however that came about."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def one_itk_thread() -> Iterator[None]:
    """One ITK thread for a while: sums over threads depend on their number, and results must not."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread per matrix product for a while: of products this small several threads only wait for each other.

    Measured on the phantom's brains, two threads took three to four times the CPU time of one, for the same digits.
    """
    with _limit_blas():
        yield
