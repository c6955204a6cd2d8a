"""The process that tells MLflow: of running cells as they go, of finished ones from their records.

It is started by `teller.py`, reads orders on stdin and answers on stdout. A store that is down is tried again after a
while, and once more at the end. Whoever started it can end it at any moment, and so does the end of its stdin: a sync
that was killed is simply repeated.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..records.record import RunRecord
from ..tracking.database import TrackingError
from ..tracking.live import LiveCells
from ..tracking.sync import sync_record
from .messages import ORDERS, Begin, Done, End, Failed, Sign
from .parent_files import parent_files

_LOOK = 3.0  # s between two looks at running cells
_REST = 60.0  # s after which a store that could not be used is tried again
_STDIN, _STDOUT, _STDERR = 0, 1, 2


class Helper:
    """Tells MLflow what it is ordered to, and what is new.

    Args:
        begin: what it is about.
        say: takes what is to be said to the run.
        clock: seconds from anywhere.
    """

    def __init__(self, begin: Begin, say: Callable[[Sign], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._begin = begin
        self._say = say
        self._clock = clock
        self._live = LiveCells(map(Path, begin.folders), begin.uri)
        self._left: list[Path] = []
        self._rest_until = -1.0
        self._has_warned = False

    def order(self, order: Begin | Done | Failed | End) -> None:
        """Take in an order; what is to be told is told by `work`."""
        if isinstance(order, Done):
            self._live.finish(Path(order.folder))
            self._left.append(Path(order.folder))
        elif isinstance(order, Failed):
            self._try(lambda: self._live.fail(Path(order.folder), order.problem))
        elif isinstance(order, End) and order.stopped:
            self._try(self._live.stop)

    def work(self) -> None:
        """Tell what there is to tell, as far as the store can be used."""
        if self._clock() < self._rest_until:
            return
        while self._left:
            folder = self._left[0]
            if not self._try(lambda folder=folder: self._sync(folder)):  # type: ignore[misc]
                return
            self._left.pop(0)
            self._say(Sign(left=len(self._left)))
        self._try(self._live.look)

    def finish(self) -> None:
        """Tell what is left, now or never."""
        self._rest_until = -1.0
        self.work()
        self._say(Sign(left=len(self._left)))

    def _sync(self, folder: Path) -> None:
        sync_record(
            RunRecord(folder),
            self._begin.uri,
            with_checkpoint=self._begin.checkpoint,
            with_model=self._begin.model,
            parent_files=parent_files,
        )

    def _try(self, tell: Callable[[], object]) -> bool:
        """Do something with the store; False where it is to be tried again. Each trouble is said once."""
        try:
            tell()
        except TrackingError as error:
            self._rest_until = self._clock() + _REST
            self._warn(str(error))
            return False
        except Exception as error:  # noqa: BLE001  (a cell that cannot be told must not keep the others from it)
            words = " ".join(str(error).split())[:200] or type(error).__name__
            self._warn(f"MLflow was not told of everything ({words}); the run records keep it, run `bench sync`")
            return True
        self._has_warned = False
        return True

    def _warn(self, text: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._say(Sign(left=len(self._left), warning=text))


def main() -> None:
    """The process's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's affair
    answers = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)  # what libraries print is no answer
    orders: queue.Queue[Begin | Done | Failed | End] = queue.Queue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    begin = orders.get()
    assert isinstance(begin, Begin)
    helper = Helper(begin, lambda sign: _answer(answers, sign))
    while True:
        try:
            order = orders.get(timeout=_LOOK)
        except queue.Empty:
            helper.work()
            continue
        helper.order(order)
        if isinstance(order, End):
            break
        if orders.empty():
            helper.work()
    if not order.stopped:
        helper.finish()
    sys.stderr.flush()
    os._exit(0)  # MLflow's own threads have nothing to say any more


def _listen(orders: queue.Queue[Begin | Done | Failed | End]) -> None:
    """Pass orders on; the end of stdin before the last word is the end of whoever gave them, and of this process."""
    rest = b""
    while data := os.read(_STDIN, 1 << 16):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            order = ORDERS.validate_json(line)
            orders.put(order)
            if isinstance(order, End):
                return
    os._exit(1)


def _answer(descriptor: int, sign: Sign) -> None:
    try:
        os.write(descriptor, sign.line())
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
