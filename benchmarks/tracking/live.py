"""Cells that are being trained, as MLflow shows them: their curves grow while they run.

Nothing here is needed later: a cell that is finished is told from its record (`sync.py`), which goes on with what was
shown where all of it is true, and replaces it where it is not.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..records.attempts import last_holder
from ..records.record import RunRecord
from ..records.record_files import RecordError
from ..records.running.live import LIVE, read_live
from ..records.running.system import SYSTEM_FILE, read_system
from .connection import open_store
from .names import SYSTEM
from .report import Point, Report, epoch_points, sample_points
from .store import Store
from .tags import CELL, COMPLETE, KIND, PARENT_ID, PROBLEM, TAG_LENGTH, TELLER
from .writing import log, log_data

_VALIDATION = "val_loss"
_RUNNING, _FAILED, _KILLED = "RUNNING", "FAILED", "KILLED"
_Stamp = tuple[tuple[int, int], ...]


@dataclass
class _Shown:
    """A cell that is watched.

    Attributes:
        folder: the cell's.
        stamp: of what was there when it was looked at last.
        run_id: of its run; "" before there is one.
        epochs: those that were told.
        samples: of the machine that were told.
        is_over: whether nothing more is to be told.
    """

    folder: Path
    stamp: _Stamp
    run_id: str = ""
    epochs: set[int] = field(default_factory=set)
    samples: int = 0
    is_over: bool = False


class LiveCells:
    """Tells MLflow of the cells of a run while they are trained; of each one process tells.

    Args:
        folders: of the cells, which need not be there yet; what lies in them now is no news.
        uri: the store.
    """

    def __init__(self, folders: Iterable[Path], uri: str) -> None:
        self._uri = uri
        self._token = secrets.token_hex(8)
        self._cells = {folder: _Shown(folder, _stamp(folder)) for folder in folders}

    def look(self) -> bool:
        """Tell what is new; returns whether anything was.

        Raises:
            TrackingError: MLflow is absent or unreachable; what is new stays so.
        """
        news = [(cell, stamp) for cell in self._open() if (stamp := _stamp(cell.folder)) != cell.stamp]
        if not news:
            return False
        with open_store(self._uri) as store:
            for cell, stamp in news:
                self._tell(store, cell)
                cell.stamp = stamp
        return True

    def finish(self, folder: Path) -> None:
        """A cell is finished: it is told from its record from now on."""
        if folder in self._cells:
            self._cells[folder].is_over = True

    def fail(self, folder: Path, problem: str) -> None:
        """A cell has failed: its run says so and why, where there is one.

        Raises:
            TrackingError: MLflow is absent or unreachable.
        """
        cell = self._cells.get(folder)
        if cell is not None and cell.run_id and not cell.is_over:
            cell.is_over = True
            with open_store(self._uri) as store:
                if self._is_ours(store, cell):
                    store.client.set_tag(cell.run_id, PROBLEM, problem[:TAG_LENGTH] or "unknown")
                    store.client.set_terminated(cell.run_id, _FAILED)

    def stop(self) -> None:
        """The whole run is stopped: what was being trained is shown as such.

        Raises:
            TrackingError: MLflow is absent or unreachable.
        """
        begun = [cell for cell in self._open() if cell.run_id]
        if begun:
            with open_store(self._uri) as store:
                for cell in begun:
                    if self._is_ours(store, cell):
                        store.client.set_terminated(cell.run_id, _KILLED)

    def _open(self) -> Sequence[_Shown]:
        return [cell for cell in self._cells.values() if not cell.is_over]

    def _tell(self, store: Store, cell: _Shown) -> None:
        """Tell the new points of a cell."""
        record = RunRecord(cell.folder)
        try:
            report = Report.begun(record)
        except RecordError:  # it is just being begun
            return
        epochs, samples = read_live(cell.folder), read_system(cell.folder)
        if not epochs:
            return
        if not cell.run_id:
            self._take(store, cell, report)
        elif not self._is_ours(store, cell):
            cell.is_over = True
        if cell.is_over:
            return
        new = [epoch for epoch in epochs if epoch.epoch not in cell.epochs]
        points: list[Point] = []
        for epoch in new:
            points += epoch_points(epoch, report.start if epoch.time is None else int(1000 * epoch.time))
        for number, sample in enumerate(samples[cell.samples :], start=cell.samples):
            points += sample_points(sample, number)
        log(store.client, cell.run_id, points=points)
        cell.epochs |= {epoch.epoch for epoch in new}
        cell.samples = max(cell.samples, len(samples))

    def _take(self, store: Store, cell: _Shown, report: Report) -> None:
        """Make the run of a cell, or go on with the one that is there; one that is whole is left alone."""
        found = store.runs({KIND: "fold", CELL: report.cell})
        if any(COMPLETE in run.data.tags for run in found):
            cell.is_over = True
            return
        parent = store.parent(report)
        if found:
            run = found[0]
            there = store.told_of(run)
            cell.epochs = {step for key, step, _ in there if key == _VALIDATION}
            cell.samples = 1 + max((step for key, step, _ in there if key.startswith(SYSTEM)), default=-1)
            store.client.update_run(run.info.run_id, status=_RUNNING)
            log(store.client, run.info.run_id, tags={**report.tags, PARENT_ID: parent, TELLER: self._token})
        else:
            tags = {**report.tags, KIND: "fold", PARENT_ID: parent, TELLER: self._token}
            run = store.create(report.title, tags, report.start)
            log(store.client, run.info.run_id, params=report.params)
            log_data(store.client, run.info.run_id, report.data)
        cell.run_id = str(run.info.run_id)

    def _is_ours(self, store: Store, cell: _Shown) -> bool:
        """Whether it is still this process that tells of a cell, and nobody has finished or deleted its run."""
        run = store.run(cell.run_id)
        if run is None or run.info.lifecycle_stage == "deleted":
            return False
        return run.data.tags.get(TELLER) == self._token and COMPLETE not in run.data.tags


def close_left(store: Store, runs: Path) -> int:
    """Of runs that show a cell in training, end those whose cell nobody trains any more; returns how many.

    Args:
        store: the store.
        runs: the folder of run records; cells that are not there are others' business.
    """
    ended = 0
    for run in store.runs({KIND: "fold"}, f"attributes.status = '{_RUNNING}'"):
        record = _record_of(run.data.tags.get(CELL, ""), runs)
        if COMPLETE in run.data.tags or record is None or record.done:
            continue
        holder = last_holder(record.folder)
        if holder is None or not holder.is_alive:
            store.client.set_terminated(run.info.run_id, _KILLED)
            ended += 1
    return ended


def _record_of(cell: str, runs: Path) -> RunRecord | None:
    """The record of a cell by its id, which a server says; None where there is none here."""
    if not cell.isalnum() or not runs.is_dir():
        return None
    return next((RunRecord(path) for path in runs.iterdir() if path.name.endswith(f"-{cell}")), None)


def _stamp(folder: Path) -> _Stamp:
    """Changes whenever the files of a running cell do; cheap."""
    found = []
    for name in (LIVE, SYSTEM_FILE):
        try:
            state = (folder / name).stat()
            found.append((state.st_mtime_ns, state.st_size))
        except OSError:
            found.append((0, 0))
    return tuple(found)
