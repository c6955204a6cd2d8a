"""The cells that an executor still has to run, in order."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence

from .base import record_of_spec
from .spec import CellSpec

_LATER = 2.0  # s until a cell that somebody else holds is looked at again


class Backlog:
    """Cells that wait: to be run for the first time, once more, or until somebody else is done with them.

    Args:
        specs: the cells.
    """

    def __init__(self, specs: Sequence[CellSpec]) -> None:
        self._waiting = deque(specs)
        self._held: deque[tuple[float, CellSpec]] = deque()
        self._losses: Counter[tuple[str, str]] = Counter()
        self._postponed: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting or self._held)

    def take(self) -> CellSpec | None:
        """The next cell that may be run now; None where all that are left wait for somebody else."""
        if self._waiting:
            return self._waiting.popleft()
        if self._held and self._is_due(*self._held[0]):
            return self._held.popleft()[1]
        return None

    def postpone(self, spec: CellSpec) -> bool:
        """Look at a cell later that somebody else holds; whether that is the first time."""
        is_new = spec.cell not in self._postponed
        self._postponed.add(spec.cell)
        self._held.append((time.monotonic() + _LATER, spec))
        return is_new

    def try_again(self, spec: CellSpec, lost: str = "process", most: int = 1) -> bool:
        """Put a cell first in the line that has lost what ran it, `most` times; False from then on.

        Args:
            spec: the cell.
            lost: what was lost; each kind is counted by itself.
            most: how often.
        """
        self._losses[spec.cell, lost] += 1
        if self._losses[spec.cell, lost] > most:
            return False
        self._waiting.appendleft(spec)
        return True

    def _is_due(self, when: float, spec: CellSpec) -> bool:
        return time.monotonic() >= when or record_of_spec(spec).done
