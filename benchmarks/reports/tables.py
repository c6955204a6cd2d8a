"""The tables of the paper, from our runs: mean ± standard deviation over folds.

Three steps: `gather` reads finished folds (from MLflow, and from the run records what MLflow does not hold), `collect`
makes a `Table` of them, and `render` or `renderable` prints it; the last two are pure. Published figures stand beside
ours when asked for and never compete with them; neither do controls. `print_tables` is all of it: `bench table`.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...errors import UserError
from ...methods import Detector
from ...metrics.scores import scores
from ..plan.cell import Recipe
from ..plan.plan import fixed_changes, has_sections, plan_for
from ..plan.preset import Preset
from ..plan.suite import Suite, SuiteRow, load_suite, suite_names, with_score
from ..records.record import all_records, finished
from ..tracking.database import TrackingError, store_uri
from ..tracking.fold_result import FoldResult, newest_folds, over_folds
from ..tracking.sync import fold_results
from .console import in_ascii

if TYPE_CHECKING:
    from rich.console import Console, Group

Kind = Literal["method", "control", "paper", "elsewhere"]

_DASH = "–"
_UNREPORTED = "n/r"
_MARK = "‡"
_TITLES = {"tumours": "tumours", "ms": "MS", "healthy": "healthy"}


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        role: which kind of data set.
        metric: name of the number in a run record, without the data set.
        label: name of the number in the table.
        unit: what the printed number is in.
        scale: from the stored number to the printed one.
        higher: True where more is better.
        group: title of the data set.
    """

    role: str
    metric: str
    label: str
    unit: str
    scale: float
    higher: bool
    group: str = ""

    @property
    def key(self) -> str:
        """Name in the published tables, e.g. "tumours/dice"."""
        return f"{self.role}/{self.metric}"

    @property
    def heading(self) -> str:
        """Label, unit and which way is better."""
        return f"{self.label} {self.measure}"

    @property
    def measure(self) -> str:
        """Unit and which way is better."""
        return f"({self.unit}) {'↑' if self.higher else '↓'}"


_PAPER_COLUMNS = (
    Column("tumours", "dice", "DICE", "%", 100, True),
    Column("tumours", "auprc", "AUPRC", "%", 100, True),
    Column("ms", "dice", "DICE", "%", 100, True),
    Column("ms", "auprc", "AUPRC", "%", 100, True),
    Column("healthy", "l1", "l1", "1e-3", 1000, False),
)
#: What the protocol reports beside the paper's columns, never instead of them.
_BESIDE = {
    "tumours/auprc": Column("tumours", "dice_exact", "exact DICE", "%", 100, True),
    "ms/auprc": Column("ms", "dice_exact", "exact DICE", "%", 100, True),
    "healthy/l1": Column("healthy", "l1_brain", "brain l1", "1e-3", 1000, False),
}
#: What the means do with test scans that have no lesion in view, by `score.lesion_free`; no preset's word is "".
_LESION_FREE = {
    "exclude": ", left out of DICE and AUPRC (score.lesion_free=exclude)",
    "zero": ", DICE 0 where anything is marked and else left out, left out of AUPRC, as in the code of Behrendt et al. "
    "2023 (score.lesion_free=zero)",
    "refuse": "",
    "": "",
}
_BESIDE_NOTE = (
    "exact DICE: at the exact optimum of the validation set, where the greedy search may be trapped; "
    "brain l1: without the background."
)


@dataclass(frozen=True)
class Entry:
    """One number of a table, in the column's unit and unrounded.

    Attributes:
        mean: mean over folds.
        std: sample standard deviation over folds (n - 1); None where there is none to speak of.
        folds: how many folds stand behind it.
        rank: 1 for the column's best, 2 for the second, 0 for all others.
        printed: a published figure exactly as it was printed; ours have none. One that cannot be read as a number has
            a NaN for its mean and is marked.
    """

    mean: float
    std: float | None
    folds: int
    rank: int = 0
    printed: str | None = None

    def text(self, plus_minus: str = " ± ") -> str:
        """Two decimals, as in the paper."""
        if self.printed is not None:
            mark = "" if math.isfinite(self.mean) else f" {_MARK}"
            tight = self.printed if plus_minus == " ± " else self.printed.replace(" × ", "\n×")
            return tight.replace(" ± ", plus_minus) + mark
        if not math.isfinite(self.mean):
            return "NaN"
        return f"{self.mean:.2f}" if self.std is None else f"{self.mean:.2f}{plus_minus}{self.std:.2f}"


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        row: name of the row.
        title: what is printed.
        kind: ours, a control, published (in the paper or by a row's own source), or reported elsewhere.
        entries: one a column; None is a dash, or "n/r" in a line that others published.
        mark: "3/5" where only three of five folds are done, else empty.
    """

    row: str
    title: str
    kind: Kind
    entries: tuple[Entry | None, ...]
    mark: str = ""

    @property
    def published(self) -> bool:
        """Whether others measured it."""
        return self.kind in ("paper", "elsewhere")

    @property
    def gap(self) -> str:
        """What stands for a number that is not there: not run yet, or never reported."""
        return _UNREPORTED if self.published else _DASH


@dataclass(frozen=True)
class Table:
    """A table ready to be printed.

    Attributes:
        name: the suite's name.
        title: the suite's title.
        data: title of the data source.
        preset: name of the preset and what was changed in it.
        seed: the seed.
        columns: from left to right.
        lines: from top to bottom.
        caption: data, preset, seed and folds in one sentence.
        notes: what a reader must know.
    """

    name: str
    title: str
    data: str
    preset: str
    seed: int
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    caption: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Gathered:
    """Finished folds of one data source, and where they were read."""

    results: tuple[FoldResult, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """A published line: its cells as printed, by column key; `label` is what the table calls it."""

    row: str
    title: str
    source: str
    cells: Mapping[str, str]
    note: str
    label: str


def print_tables(
    which: str,
    form: str,
    preset: Preset,
    data: str,
    *,
    seed: int,
    results: Path,
    console: Console,
    paper: bool = False,
    controls: bool = False,
    elsewhere: bool = False,
    beside: bool = False,
    more: Sequence[SuiteRow] = (),
) -> None:
    """Print tables as `bench table` does.

    Args:
        which: "1", "2", "frontier" or "all".
        form: "rich", "markdown", "latex" or "csv".
        preset: the numbers the rows were run with.
        data: what `--data` took: "phantom" or a directory.
        seed: the seed of the runs.
        results: the results folder.
        console: where to.
        paper: put the published row under each.
        controls: add control rows and the l1 of untrained networks.
        elsewhere: add what other papers reported.
        beside: add Dice at the exact threshold and l1 inside the brain.
        more: rows to show below those of each table, e.g. of a method of the user's own.

    Raises:
        UserError: there is no such table or format, or the preset does not fit a row.
    """
    suites = [_extended(load_suite(name), more) for name in _suites_of(which)]
    if form not in ("rich", *_RENDERERS):
        raise UserError(f"--format {form}: choose rich, {', '.join(_RENDERERS)}")
    names = _data_names(data)
    gathered = gather(results / "runs", store_uri(results), *names)
    newest = max(gathered.results, key=lambda result: result.started, default=None)
    name = names[0] if newest is None else newest.data
    extra = load_suite("controls").rows if controls else ()
    options = {"paper": paper, "elsewhere": elsewhere, "beside": beside}
    tables = [collect(suite, preset, name, seed, gathered, controls=extra, **options) for suite in suites]
    if form == "rich":
        for table in tables:
            console.print(renderable(table, ascii_only=console.options.ascii_only), soft_wrap=False)
    else:
        console.file.write(render(tables, form))


def _extended(suite: Suite, more: Sequence[SuiteRow]) -> Suite:
    """A suite with more rows below its own; a row that it has already is not shown twice."""
    known = {entry.row.name for entry in suite.rows}
    return replace(suite, rows=(*suite.rows, *(entry for entry in more if entry.row.name not in known)))


def _suites_of(which: str) -> tuple[str, ...]:
    suites = sorted(suite_names(), key=lambda name: (not name.startswith("table"), name))
    known = tuple(name for name in suites if name != "controls")
    if which == "all":
        return known
    for name in (which, f"table{which}"):
        if name in known:
            return (name,)
    raise UserError(
        f"there is no table {which}; choose {', '.join(name.removeprefix('table') for name in known)} or all"
    )


def _data_names(word: str) -> tuple[str, ...]:
    """The names that runs on `--data WORD` may have: a directory's own, or with its mark where it holds phantoms."""
    if word == "phantom":
        return (word,)
    name = Path(word).resolve().name
    return name, f"phantom-{name}", f"mixed-{name}"


# ---------------------------------------------------------------------------------------------------------------------
# Reading


def gather(runs: Path, uri: str, *data: str) -> Gathered:
    """Read every finished fold of data sources: from MLflow, and what it does not hold from the run records.

    Args:
        runs: the folder of run records.
        uri: the MLflow store.
        data: names of data sources.
    """
    records = [FoldResult.of_record(record) for record in finished(all_records(runs))]
    on_disk = [result for result in records if result.data in data]
    try:
        tracked = fold_results(uri, *data)
    except TrackingError as error:
        return Gathered(tuple(on_disk), (f"Read from the run records, not from MLflow: {error}.",))
    known = {result.cell for result in tracked}
    missing = [result for result in on_disk if result.cell not in known]
    notes = [f"{_count(len(missing), 'fold')} not in MLflow yet, read from the run records; `bench sync` tells MLflow."]
    return Gathered((*tracked, *missing), tuple(notes if missing else ()))


def published(table: str) -> dict[str, Published]:
    """Published figures by row name: the paper's for its tables, else each row's own source; empty for other names."""
    lines = _read_csv(f"{table}.csv")
    paper = table.startswith("table")
    fixed = ("row", "title", "source", "note")
    return {
        line["row"]: Published(
            row=line["row"],
            title=line["title"],
            source=line["source"],
            cells={key: value for key, value in line.items() if key not in fixed},
            note=line["note"],
            label="paper" if paper else f"published ({line['source']})",
        )
        for line in lines
    }


def reported_elsewhere() -> tuple[Published, ...]:
    """What other papers reported on the same real sets, a line a method and source."""
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for line in _read_csv("elsewhere.csv"):
        cells = lines.setdefault((line["title"], line["source"]), {})
        cells |= {f"{line['role']}/{metric}": line[metric] for metric in ("dice", "auprc")}
    return tuple(
        Published("", title, source, cells, "", f"{title} ({source})") for (title, source), cells in lines.items()
    )


def _read_csv(name: str) -> list[dict[str, str]]:
    resource = resources.files("uadbench.results.paper") / name
    if not resource.is_file():
        return []
    return list(csv.DictReader(io.StringIO(resource.read_text(encoding="utf-8"))))


# ---------------------------------------------------------------------------------------------------------------------
# Collecting


def collect(
    suite: Suite,
    preset: Preset,
    data: str,
    seed: int,
    gathered: Gathered,
    *,
    controls: Sequence[SuiteRow] = (),
    paper: bool = False,
    elsewhere: bool = False,
    beside: bool = False,
) -> Table:
    """Make a table of finished folds.

    Args:
        suite: which rows.
        preset: the numbers the rows were run with; other numbers are other cells and do not count.
        data: name of the data source.
        seed: the seed they were run with.
        gathered: finished folds, see `gather`.
        controls: rows to add below, and with them an untrained copy of every trained row.
        paper: put the published row under each.
        elsewhere: put at the foot what other papers reported.
        beside: add Dice at the exact threshold and l1 inside the brain.

    Raises:
        UserError: the preset does not fit a row.
    """
    finished = {result.recipe for result in gathered.results if result.data == data}
    free, fixed_notes = _free_of_changes((*suite.rows, *controls), preset)
    entries = tuple(_with_scores(free, preset, seed, finished))
    recipes = {entry.row.name: _recipe(entry, preset, seed) for entry in entries}
    wanted = set(recipes.values())
    results = [result for result in gathered.results if result.data == data and result.recipe in wanted]
    results, split_notes = _one_split(results)
    folds = {name: newest_folds(r for r in results if r.recipe == recipe) for name, recipe in recipes.items()}
    used = [result for found in folds.values() for result in found]
    columns = _columns(used, data, beside)
    figures = published(suite.name) if paper else {}
    lines: list[Line] = []
    for entry in entries:
        lines += _lines_of(entry, folds[entry.row.name], columns, bool(controls), figures.get(entry.row.name))
    if elsewhere:
        lines += [_printed_line(line, columns, "elsewhere") for line in reported_elsewhere()]
    notes = (*gathered.notes, *split_notes, *_data_notes(results, used), *_scan_notes(used, preset))
    notes = (*notes, *_line_notes(lines), *_score_notes(entries))
    notes = (*notes, *fixed_notes, *_method_notes(entries), *_preset_notes(preset))
    notes = (*notes, *((_BESIDE_NOTE,) if beside else ()))
    notes = (*notes, *(f"{_MARK} {line.title}: {line.note}." for line in figures.values() if line.note))
    source = max(used, key=lambda result: result.started).data_title if used else data
    numbers = " ".join([preset.name, *preset.changed])
    return Table(
        name=suite.name,
        title=suite.title,
        data=source,
        preset=numbers,
        seed=seed,
        columns=columns,
        lines=_ranked(lines, columns),
        caption=f"Data: {source}; preset: {numbers}; seed: {seed}; {_part_in_words(preset)}{_folds_in_words(used)}.",
        notes=tuple(dict.fromkeys(notes)),
    )


def _recipe(entry: SuiteRow, preset: Preset, seed: int) -> str:
    return Recipe.of(entry.method, plan_for(preset, entry.method, entry.row, entry.score), seed).id


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
    entries: Sequence[SuiteRow], preset: Preset, seed: int, finished: Collection[str]
) -> Iterator[SuiteRow]:
    """Each row, and after it every other score of it that has finished folds and was not asked for by name."""
    asked = {entry.row.name for entry in entries}
    for entry in entries:
        yield entry
        others = [] if entry.score else [(with_score(entry, name), score) for name, score in scores().items()]
        for other, score in others:
            if other.row.name in asked or not has_sections(preset, score):
                continue
            if _recipe(other, preset, seed) in finished:
                yield other


def _one_split(results: list[FoldResult]) -> tuple[list[FoldResult], list[str]]:
    """Folds of different splits do not mix: keep the split that was run last."""
    if len({result.splits for result in results}) < 2:
        return results, []
    kept = max(results, key=lambda result: result.started).splits
    dropped = sorted({result.splits for result in results} - {kept})
    note = f"Shown: the split {kept!r}, which was run last; left out: {', '.join(map(repr, dropped))}."
    return [result for result in results if result.splits == kept], [note]


def _columns(used: Sequence[FoldResult], data: str, beside: bool) -> tuple[Column, ...]:
    """The paper's columns, titled by the data sets that were there."""
    titles = {role: f"phantom {title}" if data.startswith("phantom") else title for role, title in _TITLES.items()}
    for result in sorted(used, key=lambda result: result.started):
        for role, (name, title) in result.cohorts.items():
            titles[role] = _set_title(name, title)
    columns: list[Column] = []
    for column in _PAPER_COLUMNS:
        columns.append(column)
        if beside and column.key in _BESIDE:
            columns.append(_BESIDE[column.key])
    return tuple(replace(column, group=titles[column.role]) for column in columns)


def _set_title(name: str, title: str) -> str:
    """A data set's title, which always says where it is the phantom."""
    hidden = name.startswith("phantom") and "phantom" not in title.lower()
    return f"phantom {title}" if hidden else title


def _lines_of(
    entry: SuiteRow, folds: Sequence[FoldResult], columns: Sequence[Column], controls: bool, figure: Published | None
) -> Iterator[Line]:
    """A row of ours, its untrained copy and its published figures."""
    learns = entry.method.trainable or entry.method.absorb is not Detector.absorb
    kind: Kind = "control" if entry.method.info.control else "method"
    numbers = tuple(_entry(folds, column, column.metric, learns) for column in columns)
    total = max((result.folds for result in folds), default=0)
    mark = f"{len(folds)}/{total}" if learns and 0 < len(folds) < total else ""
    yield Line(entry.row.name, entry.row.title, kind, numbers, mark)
    if figure is not None:
        yield _printed_line(figure, columns, "paper")
    if controls and entry.method.trainable and not entry.score:
        before = tuple(_entry(folds, c, "l1_untrained", True) if c.metric == "l1" else None for c in columns)
        yield Line(f"{entry.row.name}-untrained", f"{entry.row.title}, untrained", "control", before, mark)


def _entry(folds: Sequence[FoldResult], column: Column, metric: str, learns: bool) -> Entry | None:
    """One number over folds; a method that learns nothing has the same number in each and no spread."""
    values = []
    for result in folds:
        name, _ = result.cohorts.get(column.role, ("", ""))
        value = result.metrics.get(f"{name}/{metric}")
        if value is not None:
            values.append(column.scale * value)
    if not values:
        return None
    mean, std = over_folds(values)
    return Entry(mean, std if learns and len(values) > 1 else None, len(values))


def _printed_line(line: Published, columns: Sequence[Column], kind: Kind) -> Line:
    """Published figures as a line; a cell that cannot be read as numbers is shown as printed and marked."""
    entries = tuple(_printed(line.cells.get(column.key, "")) for column in columns)
    return Line(line.row, line.label, kind, entries)


def _printed(cell: str) -> Entry | None:
    if not cell:
        return None
    numbers = re.fullmatch(r"(\d+\.\d+)(?: ± (\d+\.\d+))?", cell)
    if numbers is None:
        return Entry(math.nan, None, 0, printed=cell)
    mean, std = numbers.groups()
    return Entry(float(mean), None if std is None else float(std), 0, printed=cell)


def _ranked(lines: Sequence[Line], columns: Sequence[Column]) -> tuple[Line, ...]:
    """Rank our methods in each column by unrounded means; ties share a rank, and one alone has no rival."""
    ranks: list[list[float]] = []
    for index, column in enumerate(columns):
        entries = [line.entries[index] for line in lines if line.kind == "method"]
        means = [entry.mean for entry in entries if entry is not None and math.isfinite(entry.mean)]
        ranks.append(sorted(set(means), reverse=column.higher)[:2] if len(means) > 1 else [])
    return tuple(_with_ranks(line, ranks) if line.kind == "method" else line for line in lines)


def _with_ranks(line: Line, ranks: Sequence[Sequence[float]]) -> Line:
    entries = [
        None if entry is None else replace(entry, rank=best.index(entry.mean) + 1 if entry.mean in best else 0)
        for entry, best in zip(line.entries, ranks, strict=True)
    ]
    return replace(line, entries=tuple(entries))


def _folds_in_words(used: Sequence[FoldResult]) -> str:
    total = max((result.folds for result in used), default=0)
    return f"mean ± standard deviation (n − 1) over {_count(total, 'fold')}" if total else "no finished run yet"


def _part_in_words(preset: Preset) -> str:
    """That only a part of each test set is scored, where it is so."""
    count = preset.sections["score"].get("test_volumes", "all")
    return "" if count == "all" else f"of each test set {_count(int(count), 'scan')} at most; "


def _scan_notes(used: Sequence[FoldResult], preset: Preset) -> Iterator[str]:
    """How many scans stand behind the numbers, where these are not whole test sets, and which count for nothing."""
    words = ("scans_scored", "scans_in_test", "scans_lesion_free")
    found: dict[str, tuple[int, ...]] = {}
    for result in sorted(used, key=lambda result: result.started):
        for name, title in result.cohorts.values():
            found[_set_title(name, title)] = tuple(int(result.metrics.get(f"{name}/{word}", 0)) for word in words)
    part = [f"{title} {scored} of {whole}" for title, (scored, whole, _) in found.items() if scored < whole]
    if part:
        yield f"Scored are the first scans by the SHA-256 of their names (score.test_volumes): {', '.join(part)}."
    effect = _LESION_FREE[str(preset.sections["score"].get("lesion_free", ""))]
    for title, (scored, _, free) in found.items():
        if free:
            yield f"{title}: {free} of {_count(scored, 'test scan')} without a lesion in the scored slices{effect}."


def _data_notes(results: Sequence[FoldResult], used: Sequence[FoldResult]) -> Iterator[str]:
    simulated = sorted({role for r in used for role, (name, _) in r.cohorts.items() if name.startswith("phantom")})
    if simulated:
        shown = ", ".join(_TITLES[role] for role in simulated)
        yield f"phantom: simulated brains ({shown}), no patients; these figures say nothing about real scans."
    cells = {result.cell for result in used}
    older = [result for result in results if result.cell not in cells]
    versions = len({result.fingerprint for result in used})
    if older:
        yield f"Left out: {_count(len(older), 'fold')} of other versions of the data; the newest of each fold counts."
    if versions > 1:
        yield f"The data changed between these runs: {versions} versions of the data stand behind this table."


def _line_notes(lines: Sequence[Line]) -> Iterator[str]:
    kinds = {line.kind for line in lines}
    if any(line.mark for line in lines):
        yield "A fraction beside a name: so many folds are done, of so many."
    if any(entry is None for line in lines if line.kind == "method" for entry in line.entries):
        yield f"{_DASH}: not run yet, or the data set is not there."
    if "control" in kinds:
        yield "Controls are no methods and do not compete: what a trained method must beat on l1."
    titles = {line.title for line in lines if line.kind == "paper"}
    if "paper" in titles:
        yield "paper: as published for IXI, BraTS21 and MSLUB (real scans); no results of this benchmark."
    if titles - {"paper"}:
        yield "published: reported by the source in brackets on BraTS21 and MSLUB; no results of this benchmark."
    if "elsewhere" in kinds:
        yield "In the last lines: what other papers reported on BraTS21 and MSLUB; no results of this benchmark."
    if any(entry is None for line in lines if line.published for entry in line.entries):
        yield f"{_UNREPORTED}: not reported there."


def _method_notes(entries: Sequence[SuiteRow]) -> Iterator[str]:
    """What each method's publication leaves open, under the method's name."""
    for entry in entries:
        info = entry.method.info
        if info.note:
            text = info.note.rstrip(".") + "."
            yield text if text.startswith(info.title) else f"{info.title}: {text}"


def _score_notes(entries: Sequence[SuiteRow]) -> Iterator[str]:
    shown = sorted({entry.score for entry in entries if entry.score})
    known = [scores()[name].info for name in shown]
    if known:
        words = "; ".join(f"{info.title} ({info.paper})" for info in known)
        yield f"Behind a dot stands another score of the row above, without training: {words}."


def _preset_notes(preset: Preset) -> Iterator[str]:
    if preset.departures:
        yield f"Preset {preset.name} departs from the paper: {'; '.join(d.rstrip('.') for d in preset.departures)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# ---------------------------------------------------------------------------------------------------------------------
# Printing


def render(tables: Sequence[Table], form: str) -> str:
    """Write tables as text: "markdown", "latex" (booktabs) or "csv" (one number a line, unrounded)."""
    return _RENDERERS[form](tables)


def renderable(table: Table, *, ascii_only: bool = False) -> Group:
    """A table for the terminal; fits 80 characters. `ascii_only`: its signs too, so that columns stay straight."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    def words(text: str) -> str:
        return in_ascii(text) if ascii_only else text

    grid = RichTable(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=words(table.title), title_justify="left", pad_edge=False
    )
    grid.add_column("Method", overflow="fold")
    for column in table.columns:
        # One word a line, so that the numbers and not their headings take the room.
        head = "\n".join([*column.group.split(), *column.label.split(), column.measure])
        grid.add_column(words(head), justify="right", overflow="fold")
    faint = {"method": "", "control": "italic", "paper": "dim italic", "elsewhere": "dim italic"}
    emphasis = {0: "", 1: "bold", 2: "underline"}
    spread = "±" if len(table.columns) <= len(_PAPER_COLUMNS) else "\n±"
    for line in table.lines:
        cells = [
            Text(words(line.gap)) if entry is None else Text(words(entry.text(spread)), style=emphasis[entry.rank])
            for entry in line.entries
        ]
        indent = "  " if line.kind == "paper" else ""
        title = Text.assemble(words(f"{indent}{line.title}"), (f" {line.mark}" if line.mark else "", "yellow"))
        grid.add_row(title, *cells, style=faint[line.kind])
    return Group(grid, Text(words(table.caption)), *(Text(words(note), style="dim") for note in table.notes))


def _markdown(tables: Sequence[Table]) -> str:
    return "\n".join(_markdown_table(table) for table in tables)


def _markdown_table(table: Table) -> str:
    emphasis = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}
    heads = ["Method", *(f"{column.group}<br>{column.heading}" for column in table.columns)]
    lines = [f"**{table.title}**", "", _bar(heads), _bar([":--", *("--:" for _ in table.columns)])]
    for line in table.lines:
        title = line.title if line.kind == "method" else f"*{line.title}*"
        cells = [f"{title} <sup>{line.mark}</sup>" if line.mark else title]
        for entry in line.entries:
            text = line.gap if entry is None else emphasis[entry.rank].format(entry.text())
            cells.append(text if line.kind == "method" or entry is None else f"*{text}*")
        lines.append(_bar(cells))
    return "\n".join([*lines, "", table.caption, "", *(f"* {note}" for note in table.notes)]).rstrip() + "\n"


def _bar(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _latex(tables: Sequence[Table]) -> str:
    return "\n".join(["% needs \\usepackage{booktabs}", *(_latex_table(table) for table in tables)])


def _latex_table(table: Table) -> str:
    emphasis = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}
    body = []
    for line in table.lines:
        title = _tex(line.title) if line.kind == "method" else rf"\textit{{{_tex(line.title)}}}"
        cells = [f"{title}\\textsuperscript{{{line.mark}}}" if line.mark else title]
        cells += [_tex(line.gap) if e is None else emphasis[e.rank].format(_tex(e.text())) for e in line.entries]
        body.append(f"{' & '.join(cells)} \\\\")
    spans = _spans(table.columns)
    groups = [rf"\multicolumn{{{last - first + 1}}}{{c}}{{{_tex(group)}}}" for group, first, last in spans]
    rules = [rf"\cmidrule(lr){{{first}-{last}}}" for _, first, last in spans]
    heads = ["Method", *(_tex(column.heading) for column in table.columns)]
    notes = _tex(" ".join([table.caption, *table.notes]))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}. {notes}}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
            r"\toprule",
            f"& {' & '.join(groups)} \\\\",
            " ".join(rules),
            f"{' & '.join(heads)} \\\\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _spans(columns: Sequence[Column]) -> list[tuple[str, int, int]]:
    """Title, first and last column of each data set; the method's name is column 1."""
    spans: list[tuple[str, int, int]] = []
    for index, column in enumerate(columns, start=2):
        if spans and spans[-1][0] == column.group:
            spans[-1] = (column.group, spans[-1][1], index)
        else:
            spans.append((column.group, index, index))
    return spans


_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "$": r"\$",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "×": r"$\times$", "³": r"$^3$",
        "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "−": "$-$", "‡": r"$\ddagger$", "·": r"$\cdot$",
        "<": "$<$", ">": "$>$",
    }
)  # fmt: skip


def _tex(text: str) -> str:
    return text.translate(_TEX)


def _csv(tables: Sequence[Table]) -> str:
    """One number a line: easy to filter, and each says what it was measured on and in which unit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ["table", "data", "preset", "seed", "kind", "row", "title", "role", "set", "metric", "unit"]
    writer.writerow([*heads, "mean", "std", "folds", "printed"])
    for table in tables:
        conditions = [table.name, table.data, table.preset, table.seed]
        for line in table.lines:
            for column, entry in zip(table.columns, line.entries, strict=True):
                number = [column.role, column.group, column.metric, column.unit, *_csv_numbers(entry, line)]
                writer.writerow([*conditions, line.kind, line.row, line.title, *number])
    return text.getvalue()


def _csv_numbers(entry: Entry | None, line: Line) -> list[str | float | int]:
    if entry is None:
        return ["", "", 0, _UNREPORTED if line.published else ""]
    mean = entry.mean if math.isfinite(entry.mean) else ""
    return [mean, "" if entry.std is None else entry.std, entry.folds, entry.printed or ""]


_RENDERERS = {"markdown": _markdown, "latex": _latex, "csv": _csv}
