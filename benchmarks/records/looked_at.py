"""Records as one command finds them: each is compared with its digests once, whatever the command makes of it.

A report reads the scores, the detections, the lesions and the histograms of a cell, and each of them asks whether the
cell still counts: of a large study hundreds of megabytes, hashed anew each time. The answer lives as long as the object
that is handed on, so that the next command looks again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from .record import RunRecord
from .record_files import CellConfig


@dataclass(frozen=True)
class _Look:
    """What a record said when it was first asked; what was damaged then raises its `RecordError` each time.

    Attributes:
        record: read, never written.
    """

    record: RunRecord

    @cached_property
    def config(self) -> CellConfig:
        """What was run."""
        return self.record.config

    @cached_property
    def problem(self) -> str:
        """Why a finished cell does not count; "" where it counts."""
        return self.record.problem()


class LookedAt(RunRecord):
    """A record whose configuration and digests are read once, when they are first asked for.

    Args:
        record: as it lies on disk.
    """

    def __init__(self, record: RunRecord) -> None:
        super().__init__(record.folder)
        self._look = _Look(record)

    @property
    def config(self) -> CellConfig:
        """What was run; errors are those of `RunRecord.config`."""
        return self._look.config

    def problem(self) -> str:
        """Why a finished cell does not count, in words that follow its name; "" where it counts."""
        return self._look.problem


def looked_at(records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
    """The records for one command: each is read and compared with its digests once, when the command first asks."""
    return tuple(record if isinstance(record, LookedAt) else LookedAt(record) for record in records)
