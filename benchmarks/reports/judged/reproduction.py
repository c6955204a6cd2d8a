"""`bench reproduce`: a table of ours beside the published one, judged figure by figure, and what others got.

A verdict is given on the paper's sets with the published splits, every number of the protocol and T2 alone; on anything
else, the phantom first of all, both stand side by side and nothing is said of whether one reproduces the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from ....datasets import brats21, ixi, mslub
from ....datasets.modality import Modality
from ....errors import UserError
from ...judgement.reproduce import PUBLISHED_FOLDS, Figure, Judgement, judge
from ...plan.departures import departures_of
from ...plan.preset import Preset
from ...plan.suite import Suite, load_suite
from ..cells import sets_in
from ..columns import Column, columns_of, set_titles
from ..console import counted
from ..notes import preset_title
from ..provenance import on_version, require_one_version
from ..published import Published, Rerun, as_numbers, published, reruns
from ..selection import RowCells, select_cells
from ..tables import data_names

if TYPE_CHECKING:
    import pandas as pd

#: The paper's set of each key.
_PAPER = (brats21.DATA_SET, mslub.DATA_SET, ixi.DATA_SET)
_PAPER_SETS = {one.key: one.name for one in _PAPER}
_PAPER_TITLES = {one.key: one.title for one in _PAPER}
_TITLES = "BraTS21, MSLUB and IXI"
_PUBLISHED_SPLITS = "published"
SUITES = ("table1", "table2")
_FAILED = ("higher", "lower")
_GARBLED, _PART = "cannot be read", "folds"


@dataclass(frozen=True, eq=False)
class Reproduction:
    """A table of ours beside the published one.

    Attributes:
        name: of the suite.
        title: of the suite.
        caption: what was run, in one sentence.
        frame: a line per row and column of the paper's table that we have a number of: `row`, `title`, `set`,
            `set_title` and `paper_set`, the titles of ours and of the paper's, `metric`, `label`, `unit`; `ours`,
            `ours_std`, `folds`; `paper` as printed, `paper_mean`, `paper_std`; the fields of `Judgement`; then a column
            per source of `others`, as they print it.
        others: who reran a method of these rows.
        reasons: why no verdict is given; none where it is.
        not_run: titles of rows without a finished cell.
    """

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    others: tuple[Rerun, ...]
    reasons: tuple[str, ...]
    not_run: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether a figure that was judged is not reproduced."""
        return bool(self.frame["verdict"].isin(_FAILED).any())

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns of what others got."""
        return tuple(dict.fromkeys(other.source for other in self.others))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, how it was come to, and where the figures of others stand."""
        return (self._verdict, *self._notes())

    @property
    def _verdict(self) -> str:
        if self.reasons:
            return f"No verdict is given: {'; '.join(self.reasons)}."
        counts = self.frame["verdict"].value_counts()
        judged = {word: int(counts.get(word, 0)) for word in ("reproduced", "within noise", *_FAILED)}
        total = sum(judged.values())
        words = ", ".join(f"{number} {word}" for word, number in judged.items() if number)
        answer = "is not reproduced" if self.failed else "is reproduced as far as it was run"
        return f"{self.title.partition(':')[0]} {answer}: {counted(total, 'figure')} judged, {words or 'none'}."

    def _notes(self) -> Iterator[str]:
        if self.not_run:
            yield f"not run yet: {', '.join(self.not_run)}"
        yield f"paper, and what others got: on {_TITLES}, real scans; no results of this benchmark."
        bases = set(self.frame["basis"])
        if "folds" in bases:
            yield (
                "difference: ours less the paper's, with the 95 % interval (Welch) over the folds of both; the test "
                "scans are the same where sets and splits are."
            )
        if "scans" in bases:
            yield "(scans): a method without spread over folds; the interval is that of our mean over test scans."
        if not self.reasons:
            yield (
                "reproduced: within one published standard deviation; within noise: beyond it, yet p >= 0.05 by Holm's "
                "rule over the table; higher, lower: neither."
            )
        if (self.frame["verdict"] == _GARBLED).any():
            yield f"{_GARBLED}: the figure is garbled in the paper."
        for other in self.others:
            yield f"{other.source}, {other.title}: {other.link}; {other.note}."


def reproduction_of(
    which: str,
    cells: pd.DataFrame,
    volumes: pd.DataFrame,
    preset: Preset,
    data: str,
    *,
    seed: int = 0,
    modality: Modality = Modality.T2,
    fingerprint: str = "",
) -> Reproduction:
    """Compare finished cells with a table of the paper.

    Args:
        which: "table1" or "table2"; "1" and "2" do, too.
        cells: the frame of finished cells, see `reports.cells`.
        volumes: the frame of their test volumes; may be empty, and methods without spread are then not judged.
        preset: the numbers the rows were run with.
        data: what `--data` took.
        seed: the seed of the runs.
        modality: the contrast of the scans.
        fingerprint: of several versions of the data, that whose fingerprint begins so.

    Raises:
        MixedDataError: rows were measured on several versions of the data.
        UserError: the paper has no such table, no row of it is finished, or the preset does not fit a row.
    """
    suite = _suite(which)
    own = _own_cells(cells, data, modality, fingerprint)
    selection = select_cells(suite.rows, own, preset, seed, variants=False, modality=modality)
    rows = selection.shown(all_rows=False)
    if not rows:
        raise UserError(
            f"nothing of {suite.title.partition(':')[0]} is finished with preset {preset.name} on {data}; run "
            f"`bench run --method {suite.name} --preset {preset.name} --data {data} --folds all` first, or name the "
            "--preset, --data and --seed of what was run"
        )
    require_one_version(suite.title.partition(":")[0], rows)
    used = _together(rows)
    reasons = tuple(_reasons(used, preset, rows, modality))
    others = tuple(one for one in reruns() if one.row in {row.entry.row.name for row in rows})
    lines = list(_lines(suite, rows, volumes, judged=not reasons))
    title = str(used.sort_values("started")["data_title"].iloc[-1])
    return Reproduction(
        name=suite.name,
        title=suite.title,
        caption=f"Data: {title}, {modality.upper()}; preset: {preset_title(preset)}; seed: {seed}; "
        "mean ± standard deviation (n − 1).",
        frame=_frame(lines, others),
        others=others,
        reasons=reasons,
        not_run=selection.not_run,
    )


def _suite(which: str) -> Suite:
    for name in (which, f"table{which}"):
        if name in SUITES:
            return load_suite(name)
    raise UserError(f"the paper has no {which}; choose {' or '.join(SUITES)}")


def _own_cells(cells: pd.DataFrame, data: str, modality: Modality, fingerprint: str) -> pd.DataFrame:
    """Cells on the data that are meant; of several names that these may have, that of the newest counts."""
    found = cells[cells["data"].isin(data_names(data)) & (cells["modality"] == modality.value)].sort_values("started")
    return on_version(found[found["data"] == found["data"].iloc[-1]] if len(found) else found, fingerprint)


def _together(rows: Sequence[RowCells]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat([row.cells for row in rows]).drop_duplicates("id")


def _reasons(cells: pd.DataFrame, preset: Preset, rows: Sequence[RowCells], modality: Modality) -> Iterator[str]:
    """Why these cells cannot be held against the paper's."""
    found = {key: set(cells[f"{key}/cohort"].dropna()) for key in sets_in(cells)}
    if any(name.startswith("phantom") for names in found.values() for name in names):
        yield f"the sets are the phantom's, simulated brains, and not the paper's ({_TITLES})"
    elif any(names != {_PAPER_SETS.get(key, "")} for key, names in found.items()):
        shown = ", ".join(sorted(name for names in found.values() for name in names))
        yield f"the sets ({shown}) are not the paper's ({_TITLES})"
    else:
        splits = sorted(set(cells["splits"]) - {_PUBLISHED_SPLITS})
        if splits:
            yield f"the splits are not the published ones ({', '.join(splits)}); run with --splits published"
    if preset.changed:
        yield f"--set changes the protocol ({' '.join(preset.changed)})"
    if departures_of(preset, [row.entry for row in rows]):
        yield f"preset {preset.name} departs from the paper's numbers"
    if modality is not Modality.T2:
        yield f"the scans are {modality.upper()}, the paper's T2"


# ---------------------------------------------------------------------------------------------------- the figures


@dataclass(frozen=True)
class _Line:
    """A figure of ours and the published one, not yet judged."""

    row: RowCells
    column: Column
    ours: Figure
    whole: bool
    printed: str
    scans: tuple[float, ...]


def _lines(suite: Suite, rows: Sequence[RowCells], volumes: pd.DataFrame, *, judged: bool) -> Iterator[dict[str, Any]]:
    figures = published(suite.name)
    columns = columns_of(suite, set_titles(_together(rows), (), phantom=False), beside=False)
    pairs = [
        line
        for row in rows
        for column in columns
        if (line := _line(row, column, figures[row.entry.row.name], volumes)) is not None
    ]
    verdicts = iter(judge([(one.ours, _published(one.printed), one.scans) for one in pairs if _is_judged(one)]))
    for one in pairs:
        yield _words(one, next(verdicts) if _is_judged(one) else None, judged=judged)


def _line(row: RowCells, column: Column, figure: Published, volumes: pd.DataFrame) -> _Line | None:
    """Our number of a row and column beside the published one; None where either was never measured."""
    printed = figure.cells.get(column.name, "")
    if not printed or column.name not in row.cells:
        return None
    there = row.cells[row.cells[f"{column.key}/cohort"].notna()]
    values = (column.metric.scale * there[column.name]).dropna()
    if not len(values):
        return None
    learns = row.entry.card.learns
    spread = float(values.std(ddof=1)) if learns and len(values) > 1 else math.nan
    ours = Figure(float(values.mean()), spread, len(values))
    whole = not learns or len(values) == int(row.cells["folds"].max())
    return _Line(row, column, ours, whole, printed, _scans(row, column, volumes))


def _scans(row: RowCells, column: Column, volumes: pd.DataFrame) -> tuple[float, ...]:
    """Our scores of the test scans, folds averaged, in the column's unit."""
    if column.metric.name not in volumes:
        return ()
    own = volumes[volumes["id"].isin(set(row.cells["id"])) & (volumes["set"] == column.key)]
    means = own.groupby("subject")[column.metric.name].mean().dropna()
    return tuple(float(column.metric.scale * value) for value in means)


def _published(printed: str) -> Figure:
    return Figure(*as_numbers(printed), PUBLISHED_FOLDS)


def _is_judged(one: _Line) -> bool:
    return one.whole and not math.isnan(_published(one.printed).mean)


def _words(one: _Line, judgement: Judgement | None, *, judged: bool) -> dict[str, Any]:
    mean, std = as_numbers(one.printed)
    found = asdict(judgement) if judgement is not None else _unjudged(one, mean)
    if not judged and judgement is not None:
        found["verdict"] = "no verdict"
    metric = one.column.metric
    return {
        **{"row": one.row.entry.row.name, "title": one.row.title},
        **{"set": one.column.key, "set_title": one.column.title, "paper_set": _PAPER_TITLES[one.column.key]},
        **{"metric": metric.name, "label": metric.label, "unit": metric.unit},
        **{"ours": one.ours.mean, "ours_std": one.ours.std, "folds": one.ours.folds},
        **{"paper": one.printed, "paper_mean": mean, "paper_std": std},
        **found,
    }


def _unjudged(one: _Line, mean: float) -> dict[str, Any]:
    """What is said of a figure that is garbled in the paper, or of which folds are missing."""
    folds = int(one.row.cells["folds"].max())
    word = _GARBLED if math.isnan(mean) else f"{one.ours.folds}/{folds} {_PART}"
    nothing = dict.fromkeys((field.name for field in fields(Judgement)), math.nan)
    return {**nothing, "difference": one.ours.mean - mean, "basis": "", "inside": None, "verdict": word}


def _frame(lines: Sequence[Mapping[str, Any]], others: Sequence[Rerun]) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(lines)
    for source in dict.fromkeys(other.source for other in others):
        known = {other.row: other.cells for other in others if other.source == source}
        names = zip(frame["row"], frame["set"] + "/" + frame["metric"], strict=True)
        frame[source] = [known.get(row, {}).get(name, "") for row, name in names]
    return frame
