"""What becomes of a record that is not whole: whatever cannot be used is put aside, and computed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...files import remove
from ..plan.cell import Cell
from .attempts import ATTEMPTS
from .detections import DETECTION, DETECTIONS, FROC, HISTOGRAMS, LESIONS
from .record import (
    BEST,
    CONFIG,
    COVERED,
    DIGESTS,
    ENVIRONMENT,
    HISTORY,
    LAST,
    METRICS,
    REOPENED,
    SCORE_STATE,
    SCORES,
    STATE,
    THRESHOLDS,
    UNTRAINED,
    RunRecord,
)
from .record_files import CellConfig, Digests, RecordError, archive_problem, file_digest, read_as


def put_aside_broken(record: RunRecord, cell: Cell) -> tuple[str, ...]:
    """Before a cell goes on: rename what cannot be used to NAME.broken, so that it is computed again.

    Args:
        record: held by this process.
        cell: whose record it should be.

    Returns:
        A sentence for each.
    """
    if _belongs_to_another(record, cell):
        _put_aside_all(record)
        name = record.folder.name
        return (f"{name} held the files of another cell; they are put aside in {name}.broken",)
    changed = [put_aside(record, name, why) for name, why in _changed(record).items()]
    return (*changed, *put_aside_unreadable(record), *_without_weights(record))


def put_aside_unreadable(record: RunRecord) -> tuple[str, ...]:
    """Rename the files that cannot be read, weights aside, to NAME.broken; a sentence for each."""
    return tuple(put_aside(record, name, why) for name, why in _unreadable(record).items())


def put_aside(record: RunRecord, name: str, why: str) -> str:
    """Rename a file, or whatever stands in its place, to NAME.broken; returns the sentence that says so."""
    path = record.folder / name
    aside = path.with_name(f"{path.name}.broken")
    record.fenced.rename(name, aside)
    return f"{why}; it is put aside as {aside.name} and made again"


def _unreadable(record: RunRecord) -> Mapping[str, str]:
    """By name, what is wrong with each file that cannot be read."""
    folder = record.folder
    readers: dict[str, Callable[[], object]] = {
        CONFIG: lambda: read_as(folder / CONFIG, CellConfig),
        ENVIRONMENT: lambda: record.environment,
        STATE: lambda: record.state,
        METRICS: lambda: record.metrics,
        THRESHOLDS: lambda: record.thresholds,
        UNTRAINED: lambda: record.untrained,
        SCORES: record.scores,
        HISTORY: record.history,
        SCORE_STATE: lambda: record.score_state,
        DETECTION: lambda: record.detection.config,
        DETECTIONS: record.detection.volumes,
        LESIONS: record.detection.lesions,
        FROC: record.detection.froc,
        HISTOGRAMS: record.detection.histograms,
        DIGESTS: lambda: read_as(folder / DIGESTS, Digests),
        REOPENED: lambda: read_as(folder / REOPENED, Digests),
    }
    broken = {}
    for name, read in readers.items():
        try:
            read()
        except RecordError as error:
            broken[name] = str(error)
    return broken


def _without_weights(record: RunRecord) -> tuple[str, ...]:
    """Let the training begin anew where it is over and its weights are gone or damaged; the last ones do not do."""
    why = archive_problem(record.best_checkpoint)
    said = [put_aside(record, BEST, f"{record.best_checkpoint} {why}")] if why else []
    if record.state.trained and not record.best_checkpoint.exists():
        said.append(f"{record.folder.name} has no weights any more; it is trained again")
        record.fenced.remove(LAST)
        record.set_state("training", trained=False, weights_from=None)
    return tuple(said)


def _changed(record: RunRecord) -> Mapping[str, str]:
    """Of a cell that was finished, the files that are there and are not those that it was finished with."""
    try:
        digests = record.digests
    except RecordError:
        return {}
    changed = {}
    for name, digest in digests.items():
        path = record.folder / name
        if name in COVERED and path.exists() and (not path.is_file() or file_digest(path) != digest):
            changed[name] = f"{path} is not the file that the cell was finished with"
    return changed


def _belongs_to_another(record: RunRecord, cell: Cell) -> bool:
    try:
        found: CellConfig | None = read_as(record.folder / CONFIG, CellConfig)
    except RecordError:
        return False
    return found is not None and (found.cell != cell.id or found.fingerprint != cell.fingerprint)


def _put_aside_all(record: RunRecord) -> None:
    """Move everything but the attempts, of which one is ours, into a folder beside this one."""
    aside = record.folder.with_name(f"{record.folder.name}.broken")
    record.fenced.check()
    remove(aside)
    aside.mkdir()
    for path in record.folder.iterdir():
        if path.name != ATTEMPTS:
            record.fenced.rename(path.name, aside / path.name)
