"""Caption and notes of a table: the conditions of its numbers, and what a reader must know of the rows in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...metrics.scores import scores
from ..plan.departures import departures_of
from ..plan.preset import Preset
from ..plan.suite import SuiteRow
from .cells import is_simulated, sets_in
from .console import counted

if TYPE_CHECKING:
    import pandas as pd

#: What stands for a number that is not there: not run yet, or never reported; and beside one that cannot be read.
DASH, UNREPORTED, MARK = "–", "n/r", "‡"
#: Below published figures in a table of other scans than theirs.
OTHER_MODALITY_NOTE = "Published figures are those of T2 scans and do not compare with this table's."
_COUNTS = ("scans_scored", "scans_in_test", "scans_lesion_free")
#: What the means do with test scans that have no lesion in view, by `score.lesion_free`; no preset's word is "".
_LESION_FREE = {
    "exclude": ", left out of DICE and AUPRC (score.lesion_free=exclude)",
    "zero": ", DICE 0 where anything is marked and else left out, left out of AUPRC, as in the code of Behrendt et al. "
    "2023 (score.lesion_free=zero)",
    "refuse": "",
    "": "",
}


def preset_title(preset: Preset) -> str:
    """The preset and what was changed in it."""
    return " ".join([preset.name, *preset.changed])


def caption_of(cells: pd.DataFrame, source: str, preset: Preset, seed: int | None) -> str:
    """Data, preset, seed and folds in one sentence.

    Args:
        cells: the cells of the table.
        source: title of the data source, and its modality.
        preset: the numbers that were asked for.
        seed: the seed; None where lines of several stand side by side.
    """
    seeds = "" if seed is None else f"seed: {seed}; "
    part = preset.sections["score"].get("test_volumes", "all")
    parts = "" if part == "all" else f"of each test set {counted(int(part), 'scan')} at most; "
    folds = "no finished run yet"
    if len(cells):
        folds = f"mean ± standard deviation (n − 1) over {counted(int(cells['folds'].max()), 'fold')}"
    return f"Data: {source}; preset: {preset_title(preset)}; {seeds}{parts}{folds}."


def cell_notes(cells: pd.DataFrame, preset: Preset) -> Iterator[str]:
    """What the numbers were measured on: simulated brains, versions of the data, parts of test sets."""
    sets = sets_in(cells)
    simulated = [key for key in sets if is_simulated(cells, key)]
    if simulated:
        shown = ", ".join(dict.fromkeys(_title(cells, key).removeprefix("phantom ") for key in simulated))
        yield f"phantom: simulated brains ({shown}), no patients; these figures say nothing about real scans."
    versions = cells["fingerprint"].nunique()
    if versions > 1:
        yield f"The data changed between these runs: {versions} versions of the data stand behind this table."
    yield from _scan_notes(cells, sets, str(preset.sections["score"].get("lesion_free", "")))


def _scan_notes(cells: pd.DataFrame, sets: Sequence[str], lesion_free: str) -> Iterator[str]:
    """How many scans stand behind the numbers, where these are not whole test sets, and which count for nothing."""
    found = {_title(cells, key): tuple(_count(cells, f"{key}/{word}") for word in _COUNTS) for key in sets}
    part = [f"{title} {scored} of {whole}" for title, (scored, whole, _) in found.items() if scored < whole]
    if part:
        yield f"Scored are the first scans by the SHA-256 of their names (score.test_volumes): {', '.join(part)}."
    for title, (scored, _, free) in found.items():
        if free:
            scans = f"{free} of {counted(scored, 'test scan')}"
            yield f"{title}: {scans} without a lesion in the scored slices{_LESION_FREE[lesion_free]}."


def _title(cells: pd.DataFrame, key: str) -> str:
    return str(_newest(cells, f"{key}/title", key))


def _count(cells: pd.DataFrame, name: str) -> int:
    return int(_newest(cells, name, 0)) if name in cells else 0


def _newest(cells: pd.DataFrame, name: str, default: Any) -> Any:
    known = cells.sort_values("started")[name].dropna()
    return known.iloc[-1] if len(known) else default


def line_notes(lines: pd.DataFrame, gaps: Sequence[bool]) -> Iterator[str]:
    """What marks, dashes and lines that are not ours mean.

    Args:
        lines: see `Table.lines`.
        gaps: whether a number is missing, by line.
    """
    kinds = lines["kind"]
    with_gap = set(kinds[list(gaps)])
    if (lines["mark"] != "").any():
        yield "(n/m folds): only so many folds are done; such a row is not ranked."
    if "method" in with_gap:
        yield f"{DASH}: not run yet, or the data set is not there."
    if (kinds == "control").any():
        yield "Controls are no methods and do not compete: what a trained method must beat on l1."
    titles = set(lines["title"][kinds == "paper"])
    if "paper" in titles:
        yield "paper: as published for IXI, BraTS21 and MSLUB (real scans); no results of this benchmark."
    if titles - {"paper"}:
        yield "published: reported by the source in brackets on BraTS21 and MSLUB; no results of this benchmark."
    if (kinds == "elsewhere").any():
        yield "In the last lines: what other papers reported on BraTS21 and MSLUB; no results of this benchmark."
    if with_gap & {"paper", "elsewhere"}:
        yield f"{UNREPORTED}: not reported there."


def row_notes(entries: Sequence[SuiteRow]) -> Iterator[str]:
    """Which scores stand behind a dot, and what each method's publication leaves open, under the method's name."""
    shown = sorted({entry.score for entry in entries if entry.score})
    words = "; ".join(f"{info.title} ({info.paper})" for info in (scores()[name].info for name in shown))
    if words:
        yield f"Behind a dot stands another score of the row above, without training: {words}."
    for info in (entry.card.info for entry in entries):
        text = info.note.rstrip(".") + "."
        if info.note:
            yield text if text.startswith(info.title) else f"{info.title}: {text}"


def preset_notes(preset: Preset, entries: Sequence[SuiteRow]) -> Iterator[str]:
    """Where the preset leaves the paper's numbers in what these rows read."""
    departures = departures_of(preset, entries)
    if departures:
        yield f"Preset {preset.name} departs from the paper: {'; '.join(text.rstrip('.') for text in departures)}."
