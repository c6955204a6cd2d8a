"""Which cells stand in which line of a table: those of the line's recipe, of one split, the newest of each fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ...datasets.modality import Modality
from ...errors import UserError
from ...metrics.scores import scores
from ..plan.cell import Recipe
from ..plan.plan import fixed_changes, has_sections, plan_for
from ..plan.preset import Preset
from ..plan.suite import SuiteRow, with_score
from .console import counted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class RowCells:
    """The cells of one line of ours.

    Attributes:
        entry: the row.
        recipe: id of the recipe.
        differs: how the recipe differs from the one that was asked for; "" where it does not.
        cells: the frame of its cells, the newest of each fold, by fold.
    """

    entry: SuiteRow
    recipe: str
    differs: str
    cells: pd.DataFrame

    @property
    def title(self) -> str:
        """Title of the row, and how the recipe differs."""
        return f"{self.entry.row.title} ({self.differs})" if self.differs else self.entry.row.title


@dataclass(frozen=True, eq=False)
class Selection:
    """The cells of a table.

    Attributes:
        rows: from top to bottom, also those without a cell.
        notes: what was left out.
    """

    rows: tuple[RowCells, ...]
    notes: tuple[str, ...]

    def shown(self, *, all_rows: bool) -> tuple[RowCells, ...]:
        """The rows that have a cell, or all."""
        return tuple(row for row in self.rows if all_rows or len(row.cells))

    @property
    def not_run(self) -> tuple[str, ...]:
        """Titles of the rows that have no cell."""
        return tuple(row.title for row in self.rows if not len(row.cells))


def select_cells(
    entries: Sequence[SuiteRow],
    cells: pd.DataFrame,
    preset: Preset,
    seed: int,
    *,
    variants: bool,
    modality: Modality = Modality.T2,
) -> Selection:
    """Choose the cells of each row.

    Args:
        entries: the rows.
        cells: finished cells of one data source, in one modality.
        preset: the numbers the rows were run with; other numbers are other cells.
        seed: the seed they were run with.
        variants: also take cells with other changes and seeds, each in a line of its own.
        modality: the contrast of the scans they were run on.

    Raises:
        UserError: the preset does not fit a row.
    """
    free, fixed = _free_of_changes(entries, preset)
    asked_for = partial(_recipe, preset=preset, seed=seed, modality=modality)
    rows = list(_with_scores(free, cells, preset, asked_for))
    asked = {entry.row.name for entry in free}
    if variants:
        rows = [each for row in rows for each in (row, *_variants(row, cells, preset, seed))]
    # Scores that nobody asked for stand below their row, where there are any.
    rows = [row for row in rows if row.entry.row.name in asked or row.recipe in set(cells["recipe"])]
    wanted = cells[cells["recipe"].isin({row.recipe for row in rows})]
    kept, left_out = _one_split(wanted)
    newest = kept.sort_values(["started", "id"]).groupby(["recipe", "fold"]).tail(1).sort_values("fold")
    older = len(kept) - len(newest)
    notes = [*left_out, *fixed]
    if older:
        notes.append(
            f"Left out: {counted(older, 'fold')} of other versions of the data; the newest of each fold counts."
        )
    chosen = tuple(replace(row, cells=newest[newest["recipe"] == row.recipe]) for row in rows)
    return Selection(chosen, tuple(notes))


def _free_of_changes(entries: Sequence[SuiteRow], preset: Preset) -> tuple[list[SuiteRow], list[str]]:
    """The rows that no change passes by, and a note of the others: they fix the number, so no such row can be run.

    Raises:
        UserError: none is left.
    """
    fixed = [entry for entry in entries if fixed_changes(preset, entry.row)]
    if not fixed:
        return list(entries), []
    if len(fixed) == len(entries):
        raise UserError(f"--set {' --set '.join(preset.changed)}: every row of this table fixes that; leave it out")
    titles = ", ".join(entry.row.title for entry in fixed)
    return [entry for entry in entries if entry not in fixed], [f"Left out, as they fix what --set changes: {titles}."]


def _with_scores(
    entries: Sequence[SuiteRow], cells: pd.DataFrame, preset: Preset, recipe: Callable[[SuiteRow], str]
) -> Iterator[RowCells]:
    """Each row, and after it every other score of it that the preset has the numbers of."""
    asked = {entry.row.name for entry in entries}
    for entry in entries:
        yield RowCells(entry, recipe(entry), "", cells)
        names = [] if entry.score else [name for name, score in scores().items() if has_sections(preset, score)]
        for other in (with_score(entry, name) for name in names):
            if other.row.name not in asked:
                yield RowCells(other, recipe(other), "", cells)


def _recipe(entry: SuiteRow, preset: Preset, seed: int, modality: Modality) -> str:
    return Recipe.of(entry.card, plan_for(preset, entry.card, entry.row, entry.score), seed, modality).id


def _variants(row: RowCells, cells: pd.DataFrame, preset: Preset, seed: int) -> Iterator[RowCells]:
    """The other recipes that this row was run with under a preset of this name, by seed and changes."""
    others = cells[
        (cells["row"] == row.entry.row.name) & (cells["preset"] == preset.name) & (cells["recipe"] != row.recipe)
    ]
    first = others.sort_values(["seed", "changes", "started"]).drop_duplicates("recipe", keep="last")
    words = [_difference(*pair, preset, seed) for pair in zip(first["changes"], first["seed"], strict=True)]
    for recipe, word in zip(first["recipe"], words, strict=True):
        same_words = not word or words.count(word) > 1
        parts = [word, f"other numbers, recipe {recipe[:6]}" if same_words else ""]
        yield RowCells(row.entry, recipe, ", ".join(filter(None, parts)), cells)


def _difference(changes: str, number: int, preset: Preset, seed: int) -> str:
    """What was changed, and the seed, where they are not those that were asked for."""
    asked = " ".join(preset.changed)
    words = [] if changes == asked else [changes or "nothing changed"]
    return ", ".join([*words, *([] if number == seed else [f"seed {number}"])])


def _one_split(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Folds of different splits do not mix: keep the split that was run last."""
    if cells["splits"].nunique() < 2:
        return cells, []
    kept = cells.sort_values("started")["splits"].iloc[-1]
    dropped = sorted(set(cells["splits"]) - {kept})
    note = f"Shown: the split {kept!r}, which was run last; left out: {', '.join(map(repr, dropped))}."
    return cells[cells["splits"] == kept], [note]
