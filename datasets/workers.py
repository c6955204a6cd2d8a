"""Worker processes: good children, which leave Ctrl-C to their parent and do not outlive it, and a bounded pool.

And one ITK thread where the work is done here, so that its results are those of a worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import TypeVar

_ItemT = TypeVar("_ItemT")
_ResultT = TypeVar("_ResultT")


def worker_context() -> BaseContext:
    """How worker processes start: from a clean server process where the system has one, else from nothing."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    return multiprocessing.get_context(method)


def in_workers(
    function: Callable[[_ItemT], _ResultT], items: Iterable[_ItemT], workers: int, start: Callable[[], None]
) -> Iterator[_ResultT]:
    """Apply a function to items in worker processes and yield each result as it comes, in no order.

    At most two items a worker are under way: memory does not grow with their number, and an error stops the run soon.
    Ctrl-C, or a consumer that wants no more, ends the workers at once, in the middle of what they do.

    Args:
        function: picklable.
        items: picklable each.
        workers: processes.
        start: called first in each worker.

    Raises:
        BrokenProcessPool: a worker died.
    """
    # Plain fork would copy locks held by threads of torch or MLflow; the fork server has none.
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, mp_context=worker_context(), initializer=start)
    under_way: set[Future[_ResultT]] = set()
    try:
        for item in items:
            under_way.add(pool.submit(function, item))
            if len(under_way) >= 2 * workers:
                finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while under_way:
            finished, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    except (KeyboardInterrupt, GeneratorExit):
        for worker in multiprocessing.active_children():
            if worker not in others:
                worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def be_a_good_child() -> None:
    """Called first in a worker of images: one ITK thread, no Ctrl-C of its own, no life after the parent's death."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


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
