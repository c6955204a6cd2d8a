"""A table of the paper as a frame: mean and standard deviation over folds, made of the frame of cells.

Pure: cells and a suite go in, a `Table` comes out. Published figures stand beside ours when asked for and never compete
with them; neither do controls, nor rows of which folds are missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...datasets.cohort import is_phantom_name
from ...datasets.modality import Modality
from ..plan.preset import Preset
from ..plan.suite import Suite, SuiteRow
from ..tracking.fold_result import over_folds
from .columns import BESIDE_NOTE, Column, columns_of, set_titles
from .cost import COST, COST_COLUMNS, cost_note
from .judged.certainty import FEW_SIGN, NEAR_SIGN, CertainLine, Certainty, Sureness, certainty_notes, certainty_of
from .notes import (
    DASH,
    MARK,
    OTHER_MODALITY_NOTE,
    UNREPORTED,
    caption_of,
    cell_notes,
    line_notes,
    preset_notes,
    preset_title,
    row_notes,
)
from .provenance import Source, on_version, people_of, require_one_version, signs_of, source_notes, sources_in
from .published import Published, as_numbers, published, reported_elsewhere
from .selection import RowCells, select_cells

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["method", "control", "paper", "elsewhere"]

_STATISTICS = ("mean", "std", "folds", "printed")
_LINE = ("row", "title", "kind", "done", "folds", "mark", "origin", "sign")


@dataclass(frozen=True)
class TableOptions:
    """What stands in a table beside our finished rows.

    Attributes:
        paper: the published row under each of ours.
        elsewhere: what other papers reported, at the foot.
        controls: control rows and the l1 of untrained networks.
        beside: Dice at the exact threshold and l1 inside the brain.
        all_rows: rows that were not run yet, too.
        variants: runs of the rows with other changes and seeds, each in a line of its own.
        cost: parameters, arithmetic, time and memory; the frame of cells must have them, see `reports.cost`.
        detection: further tables of lesions found, other thresholds, surfaces, ceilings and healing; the frame of cells
            must have them, see `judgement.detection`.
        fingerprint: cells of the version of the data alone whose fingerprint begins so; "" takes what is there.
        ci: 95 % intervals, and what is not significantly worse than the best; the volumes' scores must be there.
    """

    paper: bool = False
    elsewhere: bool = False
    controls: bool = False
    beside: bool = False
    all_rows: bool = False
    variants: bool = False
    cost: bool = False
    detection: bool = False
    fingerprint: str = ""
    ci: bool = False


#: Our finished rows alone.
PLAIN = TableOptions()


@dataclass(frozen=True, eq=False)
class Table:
    """A table ready to be shown.

    Attributes:
        name: the suite's name.
        title: the suite's title.
        data: title of the data source.
        modality: the contrast of the scans.
        preset: name of the preset and what was changed in it.
        seed: the seed.
        columns: from left to right.
        lines: one row per line: `row`, `title`, `kind`, how many folds are `done` of `folds`, `mark`, which says so
            where some are missing, `origin`, who computed cells of it elsewhere, and `sign`, which a note explains.
        numbers: one row per line; columns (set, metric, statistic) with the statistics mean, std (sample standard
            deviation over folds), folds and printed (a published figure as it was printed); in the column's unit,
            unrounded, NaN where there is none.
        not_run: titles of the rows that were asked for and not run yet.
        caption: data, preset, seed and folds in one sentence.
        notes: what a reader must know.
        certainty: how sure the numbers are; None where nobody asked.
    """

    name: str
    title: str
    data: str
    modality: Modality
    preset: str
    seed: int
    columns: tuple[Column, ...]
    lines: pd.DataFrame
    numbers: pd.DataFrame
    not_run: tuple[str, ...]
    caption: str
    notes: tuple[str, ...]
    certainty: Certainty | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Everything below the table: what was not run, the notes."""
        return (*([f"not run yet: {', '.join(self.not_run)}"] if self.not_run else []), *self.notes)

    def of(self, column: Column) -> pd.DataFrame:
        """The statistics of a column: mean, std, folds, printed."""
        found: pd.DataFrame = self.numbers[column.key][column.metric.name]
        return found

    def ranks(self) -> pd.DataFrame:
        """By line and column: 1 for the column's best, 2 for the second, 0 for all others.

        Our whole rows compete, by unrounded means; ties share a rank, and one alone has no rival.
        """
        import pandas as pd

        whole = (self.lines["kind"] == "method") & (self.lines["mark"] == "")
        ranks = {}
        for column in self.columns:
            numbers = self.of(column)
            rivals = numbers["mean"][whole & (numbers["folds"] == self.lines["done"])].dropna()
            higher = column.metric.higher
            best = sorted(set(rivals), reverse=higher)[:2] if len(rivals) > 1 and higher is not None else []
            places = {mean: place for place, mean in enumerate(best, start=1)}
            ranks[column.name] = rivals.map(places).reindex(self.lines.index).fillna(0).astype(int)
        return pd.DataFrame(ranks, index=self.lines.index, columns=[column.name for column in self.columns])

    def text(self, plus_minus: str = " ± ", interval: str = " [{:.2f}, {:.2f}]") -> pd.DataFrame:
        """By line and column, each number as it is read: two decimals, as in the paper.

        Args:
            plus_minus: between mean and deviation.
            interval: how the ends of an interval are written behind them, where the table has intervals.
        """
        import pandas as pd

        cells, ranks = {}, self.ranks()
        for column in self.columns:
            numbers = self.of(column).to_dict("records")
            pairs = zip(numbers, self.lines["kind"], strict=True)
            texts = [_text(found, is_published(kind), plus_minus) for found, kind in pairs]
            places = enumerate(zip(texts, ranks[column.name] == 1, strict=True))
            cells[column.name] = [
                _surely(text, self.sure(place, column), interval, best=bool(best)) for place, (text, best) in places
            ]
        return pd.DataFrame(cells, index=self.lines.index, columns=[column.name for column in self.columns])

    def sure(self, place: int, column: Column) -> Sureness | None:
        """How sure the number of a line (by its place) and a column is; None where nothing is known of it."""
        return None if self.certainty is None else self.certainty.at(place, column.name)

    def with_intervals(self) -> pd.DataFrame:
        """The numbers, and of each the statistics low, high and volumes: NaN where there is no interval."""
        numbers = self.numbers.copy()
        for column in self.columns:
            found = [self.sure(place, column) for place in range(len(self.lines))]
            head = (column.key, column.metric.name)
            numbers[*head, "low"] = [math.nan if one is None else one.low for one in found]
            numbers[*head, "high"] = [math.nan if one is None else one.high for one in found]
            numbers[*head, "volumes"] = [0 if one is None else one.n for one in found]
        return numbers


def is_published(kind: str) -> bool:
    """Whether others measured a line of this kind."""
    return kind in ("paper", "elsewhere")


def _text(found: Mapping[Hashable, Any], foreign: bool, plus_minus: str) -> str:
    """A number as it is read; `foreign`: others published it."""
    mean, std = found["mean"], found["std"]
    printed: str = found["printed"]
    if printed:
        mark = f" {MARK}" if math.isnan(mean) else ""
        tight = printed if plus_minus == " ± " else printed.replace(" × ", "\n×")
        return tight.replace(" ± ", plus_minus) + mark
    if not found["folds"]:
        return UNREPORTED if foreign else DASH
    if math.isnan(mean):
        return "NaN"
    return f"{mean:.2f}" if math.isnan(std) else f"{mean:.2f}{plus_minus}{std:.2f}"


def _surely(text: str, sure: Sureness | None, interval: str, *, best: bool) -> str:
    """A number with its interval, and with its signs."""
    if sure is None:
        return text
    near = NEAR_SIGN if sure.near and not best else ""
    return f"{near}{text}{interval.format(sure.low, sure.high)}{FEW_SIGN if sure.doubtful else ''}"


def make_table(
    suite: Suite,
    cells: pd.DataFrame,
    preset: Preset,
    data: str,
    seed: int,
    *,
    modality: Modality = Modality.T2,
    controls: Sequence[SuiteRow] = (),
    options: TableOptions = PLAIN,
    notes: Sequence[str] = (),
    volumes: Callable[[Set[str]], pd.DataFrame] | None = None,
) -> Table:
    """Make a table of finished cells.

    Args:
        suite: which rows and which metrics.
        cells: the frame of finished cells, see `reports.cells`.
        preset: the numbers the rows were run with; other numbers are other cells and do not count.
        data: name of the data source.
        seed: the seed they were run with.
        modality: the contrast of their scans; cells of another do not count.
        controls: rows to add below, and with them an untrained copy of every trained row.
        options: what else stands in the table.
        notes: what is to be said of the source of the cells.
        volumes: reads the frame of the scored volumes of cells, by their ids; for intervals.

    Raises:
        MixedDataError: its rows were measured on several versions of the data.
        UserError: the preset does not fit a row.
    """
    import pandas as pd

    own = cells[(cells["data"] == data) & (cells["modality"] == modality.value)]
    own = on_version(own, options.fingerprint)
    selection = select_cells((*suite.rows, *controls), own, preset, seed, variants=options.variants, modality=modality)
    shown = selection.shown(all_rows=options.all_rows)
    require_one_version(suite.title, shown)
    signs = sources_in(shown)
    figures = _figures_beneath(shown, published(suite.name) if options.paper else {})
    others = reported_elsewhere() if options.elsewhere else ()
    used = pd.concat([own.iloc[:0], *(row.cells for row in shown)]).drop_duplicates("id")
    sets = {key for line in (*figures.values(), *others) for key in line.sets}
    columns = columns_of(suite, set_titles(used, sets, phantom=is_phantom_name(data)), beside=options.beside)
    measured = sum(not column.metric.optional for column in columns)
    columns = (*columns, *(COST_COLUMNS if options.cost else ()))
    lines = [
        line for row in shown for line in _lines_of(row, columns, figures.get(row), signs, untrained=bool(controls))
    ]
    lines += [_published_line(line, columns, "elsewhere") for line in others]
    frame = pd.DataFrame([line.words for line in lines], columns=list(_LINE))
    certainty = _certainty(lines, columns[:measured], volumes) if options.ci and volumes is not None else None
    remarks = (
        *(
            *notes,
            *selection.notes,
            *source_notes(used, signs),
            *cell_notes(used, preset),
            *line_notes(frame, [line.gaps(measured) for line in lines]),
        ),
        *(
            *row_notes([row.entry for row in shown]),
            *(preset_notes(preset, [row.entry for row in shown]) if shown else ()),
            *([BESIDE_NOTE] if options.beside else []),
            *([cost_note(used)] if options.cost else []),
            *(certainty_notes(certainty, sum(bool(line.cells) for line in lines)) if certainty is not None else ()),
        ),
        *(f"{MARK} {line.title}: {line.note}." for line in figures.values() if line.note),
        *([OTHER_MODALITY_NOTE] if (figures or others) and modality is not Modality.T2 else ()),
    )
    source = str(used.sort_values("started")["data_title"].iloc[-1]) if len(used) else data
    return Table(
        name=suite.name,
        title=suite.title,
        data=source,
        modality=modality,
        preset=preset_title(preset),
        seed=seed,
        columns=columns,
        lines=frame,
        numbers=_number_frame(lines, columns),
        not_run=() if options.all_rows else selection.not_run,
        caption=caption_of(used, f"{source}, {modality.upper()}", preset, None if options.variants else seed),
        notes=tuple(dict.fromkeys(remarks)),
        certainty=certainty,
    )


def _certainty(
    lines: Sequence[_Line], columns: Sequence[Column], volumes: Callable[[Set[str]], pd.DataFrame]
) -> Certainty:
    """How sure the numbers of our lines are."""
    ours = [
        CertainLine(place, line.cells, competes=line.kind == "method" and not line.mark)
        for place, line in enumerate(lines)
        if line.cells
    ]
    return certainty_of(ours, columns, volumes({cell for line in ours for cell in line.cells}))


@dataclass(frozen=True)
class _Statistics:
    """What stands behind one number."""

    mean: float = math.nan
    std: float = math.nan
    folds: int = 0
    printed: str = ""


@dataclass(frozen=True)
class _Line:
    """A line before it becomes a row of the frames."""

    row: str
    title: str
    kind: Kind
    statistics: tuple[_Statistics, ...]
    done: int = 0
    folds: int = 0
    mark: str = ""
    origin: str = ""
    sign: str = ""
    cells: frozenset[str] = frozenset()

    @property
    def words(self) -> tuple[str | int, ...]:
        return tuple(getattr(self, name) for name in _LINE)

    def gaps(self, columns: int) -> bool:
        """Whether a number of the first so many columns is missing."""
        return any(not found.folds and not found.printed for found in self.statistics[:columns])


def _figures_beneath(shown: Sequence[RowCells], figures: Mapping[str, Published]) -> dict[RowCells, Published]:
    """The published figures by the line that they stand under, which is the last one of its row."""
    last = {row.entry.row.name: row for row in shown}
    return {row: figures[name] for name, row in last.items() if name in figures}


def _lines_of(
    row: RowCells,
    columns: Sequence[Column],
    figure: Published | None,
    signs: Mapping[Source, str],
    *,
    untrained: bool,
) -> Iterator[_Line]:
    """A row of ours, its published figures and its untrained copy."""
    entry = row.entry
    learns = entry.card.learns
    done, folds = len(row.cells), int(row.cells["folds"].max()) if len(row.cells) else 0
    mark = f"{done}/{folds} folds" if learns and 0 < done < folds else ""
    kind: Kind = "control" if entry.card.info.control else "method"
    numbers = tuple(_statistics(row.cells, column, learns=learns) for column in columns)
    from_where = people_of(row.cells), signs_of(row.cells, signs)
    cells = frozenset(row.cells["id"])
    yield _Line(entry.row.name, row.title, kind, numbers, done, folds, mark, *from_where, cells)
    if figure is not None:
        yield _published_line(figure, columns, "paper")
    if untrained and entry.card.trainable and not entry.score:
        before = tuple(_untrained(row.cells, column) for column in columns)
        name, title = f"{entry.row.name}-untrained", f"{row.title}, untrained"
        yield _Line(name, title, "control", before, done, folds, mark, *from_where)


def _statistics(cells: pd.DataFrame, column: Column, *, learns: bool) -> _Statistics:
    """One number over folds; a method that learns nothing has the same number in each and no spread."""
    if column.name not in cells:
        return _Statistics()
    if column.key == COST:
        return _over_folds(cells[column.name].dropna(), column, learns=column.metric.varies)
    there = cells[cells[f"{column.key}/cohort"].notna()][column.name]
    return _over_folds(there.dropna() if column.metric.optional else there, column, learns=learns)


def _untrained(cells: pd.DataFrame, column: Column) -> _Statistics:
    """The healthy l1 before training, where it was measured."""
    name = f"{column.key}/l1_untrained"
    if column.metric.name != "l1" or name not in cells:
        return _Statistics()
    return _over_folds(cells[name].dropna(), column, learns=True)


def _over_folds(numbers: pd.Series, column: Column, *, learns: bool) -> _Statistics:
    values = [column.metric.scale * float(number) for number in numbers]
    if not values:
        return _Statistics()
    mean, std = over_folds(values)
    return _Statistics(mean, std if learns and len(values) > 1 else math.nan, len(values))


def _published_line(line: Published, columns: Sequence[Column], kind: Kind) -> _Line:
    """Published figures as a line; a cell that cannot be read as numbers is shown as printed and marked."""
    printed = [line.cells.get(column.name, "") for column in columns]
    return _Line(line.row, line.label, kind, tuple(_Statistics(*as_numbers(cell), 0, cell) for cell in printed))


def _number_frame(lines: Sequence[_Line], columns: Sequence[Column]) -> pd.DataFrame:
    """See `Table.numbers`."""
    import pandas as pd

    names = [(column.key, column.metric.name, name) for column in columns for name in _STATISTICS]
    values = [[getattr(found, name) for found in line.statistics for name in _STATISTICS] for line in lines]
    heads = pd.MultiIndex.from_tuples(names, names=["set", "metric", "statistic"])
    return pd.DataFrame(values, columns=heads)
