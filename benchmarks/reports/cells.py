"""The frame of cells: one row per cell, whichever source it was read from.

What tells a cell from another comes first (`IDENTITY`), then per set `<key>/cohort` and `<key>/title`, then the numbers
as `<key>/<metric>`, such as "tumours/dice". The key is what the run knows a set by ("healthy", "tumours", "ms", …); the
cohort is the data set that stood there. A number that was not measured is NaN, and so is one that is none; the set's
`cohort` tells whether the set was there. `origin` is who computed a cell elsewhere, and "" of one from here.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..records.detection_lines import LesionDetection, VolumeDetection, VolumeFroc, VolumeHistogram
from ..records.detections import DETECTION, DETECTIONS, FROC, HISTOGRAMS, LESIONS, DetectionConfig
from ..records.origin import origin_of
from ..records.record import RecordWarning, RunRecord
from ..records.record_files import CellConfig, CohortConfig, RecordError, VolumeScore, file_digest

if TYPE_CHECKING:
    import pandas as pd

    from ..tracking.fold_result import FoldResult

_T = TypeVar("_T")
_MOST_NAMED = 3  # rows in a sentence
_THAT = {"lesion-wise numbers": "them", "FROC": "it"}
_Line = TypeVar("_Line", VolumeDetection, LesionDetection, VolumeFroc)

#: What a table needs to know of a cell, beside its sets and its numbers.
IDENTITY = (
    "id",
    "row",
    "title",
    "method",
    "preset",
    "changes",
    "data",
    "data_title",
    "modality",
    "splits",
    "fold",
    "folds",
    "seed",
    "started",
    "recipe",
    "fingerprint",
    "origin",
    "commit",
)
#: What a run record knows beyond that.
RECORDED = ("score", "protocol", "control", "trainable", "state", "done", "seconds", "device")
#: What tells the volumes of one cell from those of another.
_OF_A_VOLUME = ("id", "row", "title", "preset", "changes", "data", "modality", "fold", "seed", "done")
_SCORES = ("dice", "dice_exact", "auprc", "l1", "l1_brain", "lesion_ml", "seconds")


@dataclass(frozen=True)
class CellHistograms:
    """The score histograms of a cell's test volumes.

    Attributes:
        id: of the cell.
        row: name of its table row.
        title: of the row.
        fold: index of the fold.
        seed: the user's seed.
        config: the edges of the bins, and the thresholds.
        lines: a line per test volume; `records.detections.unpack` opens its arrays.
    """

    id: str
    row: str
    title: str
    fold: int
    seed: int
    config: DetectionConfig
    lines: tuple[VolumeHistogram, ...]


def cells_of_results(results: Iterable[FoldResult]) -> pd.DataFrame:
    """The frame of finished cells that were read from MLflow or for it: what a table needs."""
    import pandas as pd

    lines = []
    for result in results:
        cohorts = {key: CohortConfig(name=name, title=title) for key, (name, title) in result.cohorts.items()}
        identity = {"id": result.cell, **{name: getattr(result, name) for name in IDENTITY if name != "id"}}
        lines.append({**identity, **_sets(cohorts), **_numbers(cohorts, result.metrics)})
    return pd.DataFrame(lines, columns=_columns(IDENTITY, lines))


def cells_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The frame of cells of run records, finished or not; a damaged record is left out and costs a warning."""
    import pandas as pd

    lines = list(_readable(_line, records))
    return pd.DataFrame(lines, columns=_columns((*IDENTITY, *RECORDED), lines))


def volumes_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The frame of scored test volumes: one row per cell and volume, those of unfinished cells too.

    `set` is the key of the set, `cohort` the data set and `subject` the scan; a score that a volume has not is NaN.
    Scores are fractions, lesions millilitres.
    """
    import pandas as pd

    lines = [line for found in _readable(_volume_lines, records) for line in found]
    frame = pd.DataFrame(lines, columns=_columns_of(VolumeScore))
    return frame.astype(dict.fromkeys(_SCORES, float))


def detections_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The frame of what was found: a row per cell, test volume and lesion set whose thresholds were used (`at`).

    The columns are those of `volumes_of_records` that tell cells apart, then `VolumeDetection`'s, `set` for its role.
    A number that a volume has not is NaN. Cells without such lines have no rows; `without_detection` names them.
    """
    return _frame_of(_readable(_detection_frame, records), VolumeDetection)


def lesions_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The frame of lesions: a row per cell, test volume and lesion, columns as above and `LesionDetection`'s."""
    return _frame_of(_readable(_lesion_frame, records), LesionDetection)


def froc_of_records(records: Iterable[RunRecord]) -> pd.DataFrame:
    """The frame of operating points: a row per cell, test volume and step of the ladder, columns as above.

    For the curves of a study, `froc_frames` reads cell by cell: it has hundreds of thousands of lines.
    """
    return _frame_of(froc_frames(records), VolumeFroc)


def froc_frames(records: Iterable[RunRecord]) -> Iterator[pd.DataFrame]:
    """The frames of which `froc_of_records` is made, as they are asked for; cells without such lines have none."""
    return (found for found in _readable(_froc_frame, records) if found is not None)


def histograms_of_records(records: Iterable[RunRecord]) -> Iterator[CellHistograms]:
    """The score histograms, cell by cell as they are asked for; cells without them are passed over."""
    return (found for found in _readable(_histograms, records) if found is not None)


def without_detection(records: Iterable[RunRecord]) -> str:
    """A sentence about finished cells that have no lesion-wise numbers yet; "" where all have them."""
    return sentence_about([record for record in records if record.counts and not _has_lines(record, DETECTION)])


def sentence_about(lacking: Sequence[RunRecord]) -> str:
    """What to do about cells that lack lesion-wise numbers; "" of none."""
    return _lack([record.config.row for record in lacking], "lesion-wise numbers")


def without_froc(records: Iterable[RunRecord]) -> str:
    """A sentence about finished cells that have lesion-wise numbers and no FROC yet; "" where all have it."""
    finished = ((record, record.digests) for record in records if record.counts)
    rows = [record.config.row for record, known in finished if DETECTION in known and FROC not in known]
    return _lack(rows, "FROC")


def _lack(rows: Sequence[str], what: str) -> str:
    """A sentence about cells of rows that lack what a scoring adds."""
    if not rows:
        return ""
    different = tuple(dict.fromkeys(rows))
    words = " ".join(f"--method {row}" for row in different) if len(different) <= _MOST_NAMED else "--method …"
    cells = "1 cell has" if len(rows) == 1 else f"{len(rows)} cells have"
    return f"{cells} no {what} yet: `bench score {words}` with the options of its run adds {_THAT[what]}."


def cells_without(volumes: pd.DataFrame, detections: pd.DataFrame) -> frozenset[str]:
    """Ids of the cells of which a scored volume has no lesion-wise numbers; some may be measured just now.

    Args:
        volumes: see `volumes_of_records`.
        detections: see `detections_of_records`.
    """
    names = ["id", "set", "subject"]
    known = detections[names].drop_duplicates().assign(known=True)
    both = volumes[names].merge(known, on=names, how="left")
    return frozenset(map(str, both.loc[both["known"].isna(), "id"].unique()))


def diagonal_mm(record: RunRecord) -> float:
    """The diagonal of a cell's volumes, which no distance in them exceeds.

    Raises:
        RecordError: its files are damaged or do not say how large volumes are.
    """
    plan, detection = record.config.plan, record.detection.config
    try:
        side, slices = (float(plan[section][name]) for section, name in (("preparation", "side"), ("data", "slices")))
    except (LookupError, TypeError, ValueError) as error:
        raise RecordError(f"{record.folder} does not say how large its volumes are") from error
    if detection is None:
        raise RecordError(f"{record.folder} has no {DETECTION} of today's rules")
    return math.hypot(side, side, slices * detection.voxel_mm)


def _frame_of(frames: Iterable[pd.DataFrame | None], kind: type[_Line]) -> pd.DataFrame:
    """The frames of cells below each other."""
    import pandas as pd

    found = [frame for frame in frames if frame is not None and len(frame)]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=_columns_of(kind))


def _columns_of(kind: type[VolumeScore] | type[_Line]) -> list[str]:
    """The columns of a frame of lines: what tells cells apart, then what a line holds; its role is the set's key."""
    return [*_OF_A_VOLUME, *("set" if field.name == "role" else field.name for field in fields(kind))]


def sets_in(cells: pd.DataFrame) -> list[str]:
    """Keys of the sets that cells of a frame have, by name."""
    keys = sorted(name.removesuffix("/cohort") for name in cells.columns if name.endswith("/cohort"))
    return [key for key in keys if cells[f"{key}/cohort"].notna().any()]


def is_simulated(cells: pd.DataFrame, key: str) -> bool:
    """Whether the brains of a set are simulated in any cell of a frame."""
    names = cells[f"{key}/cohort"].dropna().unique()
    return any(CohortConfig(name=name, title=name).is_phantom for name in names)


def _readable(read: Callable[[RunRecord], _T], records: Iterable[RunRecord]) -> Iterator[_T]:
    """What is read of each record; one that is damaged, or was changed after it was finished, costs a warning."""
    for record in records:
        try:
            if record.was_finished and (problem := record.problem()):
                raise RecordError(f"{record.folder} {problem}")
            yield read(record)
        except RecordError as error:
            warnings.warn(f"a run record is left out: {error}", RecordWarning, stacklevel=4)


def _line(record: RunRecord) -> dict[str, Any]:
    config, state, environment, done = record.config, record.state, record.environment, record.counts
    score, origin = (config.plan.get("score_by") or {}).get("name", ""), origin_of(record)
    status = "scoring" if state.status == "done" and not done else state.status
    return {
        **_identity(config, environment),
        "origin": "" if origin is None else origin.who,
        "score": score,
        "protocol": config.content.get("protocol"),
        "control": config.control,
        "trainable": config.trainable,
        "state": status,
        "done": done,
        "seconds": state.seconds,
        "device": environment.get("device", ""),
        **_sets(config.cohorts),
        **_numbers(config.cohorts, record.metrics if done else {}),
    }


def _identity(config: CellConfig, environment: Mapping[str, str]) -> dict[str, Any]:
    named = {name: getattr(config, name) for name in IDENTITY if name in CellConfig.model_fields}
    return {
        **named,
        "modality": config.modality,
        "id": config.cell,
        "changes": " ".join(config.changed),
        "started": environment.get("started", ""),
        "commit": environment.get("commit", ""),
    }


def _volume_lines(record: RunRecord) -> list[tuple[Any, ...]]:
    head = _head_of(record)
    return [(*head, *astuple(score)) for score in record.scores()]


def _head_of(record: RunRecord) -> tuple[Any, ...]:
    """What tells the volumes of a cell from those of others, see `_OF_A_VOLUME`."""
    identity = {**_identity(record.config, {}), "done": record.counts}
    return tuple(identity[name] for name in _OF_A_VOLUME)


def _has_lines(record: RunRecord, name: str) -> bool:
    """Whether there are lines of a file to read: of a finished cell, that they are those that it was finished with."""
    is_vouched = name in record.digests or not (record.was_finished and not record.is_reopened)
    return is_vouched and record.detection.config is not None


def _detection_frame(record: RunRecord) -> pd.DataFrame | None:
    return _cell_frame(record, DETECTIONS, VolumeDetection, record.detection.volumes)


def _lesion_frame(record: RunRecord) -> pd.DataFrame | None:
    return _cell_frame(record, LESIONS, LesionDetection, record.detection.lesions)


def _froc_frame(record: RunRecord) -> pd.DataFrame | None:
    return _cell_frame(record, FROC, VolumeFroc, record.detection.froc)


def _cell_frame(
    record: RunRecord, name: str, kind: type[_Line], read: Callable[[], Sequence[_Line]]
) -> pd.DataFrame | None:
    """The lines of a cell with the columns that tell it from others; None where it has none."""
    import pandas as pd

    if not _has_lines(record, name):
        return None
    if record.was_finished and not record.is_reopened:
        lines = _read_table(record.folder / name, kind)
    else:  # a line at the end may be cut
        lines = pd.DataFrame([vars(line) for line in read()], columns=[field.name for field in fields(kind)])
    head = pd.DataFrame([_head_of(record)] * len(lines), columns=list(_OF_A_VOLUME))
    return pd.concat([head, lines.astype(_types(kind))], axis=1).set_axis(_columns_of(kind), axis=1)


def _read_table(path: Path, kind: type[_Line]) -> pd.DataFrame:
    """A table that nobody has changed, all at once: a study has hundreds of thousands of lines."""
    import pandas as pd

    types = _types(kind)
    try:
        return pd.read_csv(
            path,
            usecols=list(types),
            dtype=types,
            keep_default_na=False,
            na_values={column: [""] for column, of in types.items() if of is float},
            float_precision="round_trip",
        )[list(types)]
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from error


def _types(kind: type[_Line]) -> dict[str, type]:
    """What the columns of a table hold; what is counted may be missing, hence floats."""
    words = ("cohort", "role", "subject", "at")
    return {one.name: str if one.name in words else int if one.name == "lesion" else float for one in fields(kind)}


def _histograms(record: RunRecord) -> CellHistograms | None:
    if not _has_lines(record, HISTOGRAMS) or (config := record.detection.config) is None:
        return None
    known = record.digests.get(HISTOGRAMS)
    if known is not None and file_digest(record.folder / HISTOGRAMS) != known:
        raise RecordError(
            f"{record.folder / HISTOGRAMS} is not the file that the cell was finished with; `bench score` makes it anew"
        )
    cell = record.config
    return CellHistograms(cell.cell, cell.row, cell.title, cell.fold, cell.seed, config, record.detection.histograms())


def _sets(cohorts: Mapping[str, CohortConfig]) -> dict[str, str]:
    """Name and title of the data set that stood for each key; a title always says where the set is the phantom."""
    words = {}
    for key, cohort in cohorts.items():
        hidden = cohort.is_phantom and "phantom" not in cohort.title.lower()
        words[f"{key}/cohort"] = cohort.name
        words[f"{key}/title"] = f"phantom {cohort.title}" if hidden else cohort.title
    return words


def _numbers(cohorts: Mapping[str, CohortConfig], metrics: Mapping[str, float]) -> dict[str, float]:
    """The numbers by key of the set instead of its name."""
    keys = {cohort.name: key for key, cohort in cohorts.items()}
    numbers = {}
    for name, value in metrics.items():
        cohort, slash, metric = name.partition("/")
        numbers[f"{keys[cohort]}/{metric}" if slash and cohort in keys else name] = value
    return numbers


def _columns(first: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """These columns first, then the sets, then the numbers, each as first met."""
    names = dict.fromkeys(name for line in lines for name in line if name not in first)
    sets = [name for name in names if name.endswith(("/cohort", "/title"))]
    return [*first, *sets, *(name for name in names if name not in sets)]
