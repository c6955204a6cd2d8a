"""Everything that was run, for a notebook: frames of cells and volumes, tables, single records.

Reads the run records, which are the truth, and nothing else; tables take the cards of the methods behind their rows, so
that PyTorch is imported only where there is no card yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from ..records.cost import CellCost, cost_of
from ..records.looked_at import looked_at
from ..records.origin import Origin, origin_of
from ..records.record import RunRecord, all_records
from ..records.record_files import CellConfig, CellState, Epoch, ThresholdPair
from .cells import (
    CellHistograms,
    cells_of_records,
    detections_of_records,
    froc_frames,
    froc_of_records,
    histograms_of_records,
    lesions_of_records,
    volumes_of_records,
    without_detection,
    without_froc,
)

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

    from ..plan.preset import Preset
    from .judged.asked import Comparison
    from .table import Table, TableOptions


@dataclass(frozen=True)
class Results:
    """The run records of a results folder.

    Attributes:
        records: those that say what they are, by name of their folder.
    """

    records: tuple[RunRecord, ...]

    def looked_at(self) -> Results:
        """The same records for one command, which reads them several times and compares each with its digests once.

        A change of a record that comes later is not seen; a notebook that stays open asks `Results` itself.
        """
        return Results(looked_at(self.records))

    def to_dataframe(self) -> pd.DataFrame:
        """One row per cell, finished or not (`done`): what was run, on which sets, and every number of it.

        Numbers are called `<set>/<metric>`, such as "tumours/dice", and are as the records hold them: fractions, not
        percents. See `reports.cells` for the columns. A damaged record is left out and costs a `RecordWarning`.
        """
        return cells_of_records(self.records)

    def volumes(self) -> pd.DataFrame:
        """One row per cell and scored test volume: scan, set, dice, auprc, l1, lesion volume (ml), seconds."""
        return volumes_of_records(self.records)

    def detections(self) -> pd.DataFrame:
        """What was found: one row per cell, test volume and lesion set whose thresholds were used (`at`).

        A lesion scan has a row at its own set's thresholds, a healthy one a row at each set's. Columns as `volumes`,
        then those of `VolumeDetection`; ml and mm.
        """
        return detections_of_records(self.records)

    def lesions(self) -> pd.DataFrame:
        """One row per cell, test volume and lesion: its volume (ml), and how it was found."""
        return lesions_of_records(self.records)

    def froc(self) -> pd.DataFrame:
        """What thresholds that need no lesion label find: one row per cell, test volume and threshold (`share`).

        Lesions, hits, components and those of them that touch no lesion; columns as `detections`.
        """
        return froc_of_records(self.records)

    def froc_points(self) -> pd.DataFrame:
        """The FROC curves of cells: one row per cell, lesion set and threshold (`share`), pooled over test volumes.

        `sensitivity` and `false_per_scan`, `healthy_per_scan` (components marked in a healthy scan), and the sums that
        they are made of.
        """
        from ..judgement.froc import froc_points

        return froc_points(froc_frames(self.records))

    def histograms(self) -> Iterator[CellHistograms]:
        """The score histograms of test volumes, cell by cell, from which curves follow without a network."""
        return histograms_of_records(self.records)

    def found(self) -> pd.DataFrame:
        """What was found, as numbers of a set: one row per finished cell that has such lines, `<set>/<metric>`.

        Fractions, ml and mm, as `judgement.detection` names them, such as "ms/lesion_recall"; NaN where nothing can be
        measured.
        """
        from .tables import found_in

        records = looked_at(self.records)
        cells = cells_of_records(records)
        heads = cells.loc[cells["done"].astype(bool), ["id", "row", "title", "preset", "data", "fold", "seed"]]
        return heads.merge(found_in(records), on="id", validate="one_to_one")

    def without_detection(self) -> str:
        """A sentence about finished cells that have no lesion-wise numbers yet; "" where all have them."""
        return without_detection(self.records)

    def without_froc(self) -> str:
        """A sentence about finished cells whose lesion-wise numbers have no FROC yet; "" where all have it."""
        return without_froc(self.records)

    def table(
        self,
        which: str = "1",
        *,
        preset: str | Preset = "demo",
        data: str = "phantom",
        seed: int = 0,
        modality: str = "t2",
        changes: Sequence[str] = (),
        options: TableOptions | None = None,
        cost: bool = False,
        ci: bool = False,
    ) -> Styler:
        """A table of the paper, mean ± standard deviation over folds: the best is bold, the second underlined.

        Args:
            which: "1", "2" or "frontier".
            preset: the numbers the rows were run with: name, path of a .toml file, or a preset.
            data: what the rows were run on: "phantom" or a directory.
            seed: the seed they were run with.
            modality: the contrast of their scans, such as "t1".
            changes: what `--set` changed, `section.key=value`.
            options: what else stands in the table, see `TableOptions`.
            cost: columns of parameters, GFLOP per slice, minutes of training, seconds per volume and memory.
            ci: 95 % intervals, and a sign at what is not significantly worse than the best.

        Raises:
            UserError: there is no such table or preset, or the preset does not fit a row.
        """
        from .renderers.html import html_style

        table = self._table(which, preset, data, seed, modality, changes, options, cost, ci)
        return html_style(table).set_caption(table.title)

    def numbers(
        self,
        which: str = "1",
        *,
        preset: str | Preset = "demo",
        data: str = "phantom",
        seed: int = 0,
        modality: str = "t2",
        changes: Sequence[str] = (),
        options: TableOptions | None = None,
        cost: bool = False,
        ci: bool = False,
    ) -> pd.DataFrame:
        """The numbers of a table, unrounded: index (row, kind), columns (set, metric, mean | std | folds).

        With `ci` also low, high and volumes: the interval's ends and the volumes behind it. Args and errors are those
        of `table`.
        """
        import pandas as pd

        table = self._table(which, preset, data, seed, modality, changes, options, cost, ci)
        numbers = (table.with_intervals() if table.certainty else table.numbers).drop(
            columns="printed", level="statistic"
        )
        return numbers.set_index(pd.MultiIndex.from_frame(table.lines[["row", "kind"]]))

    def compare(
        self,
        first: str,
        second: str,
        *,
        metrics: Sequence[str] = (),
        preset: str | Preset = "demo",
        data: str = "phantom",
        seed: int = 0,
        modality: str = "t2",
        changes: Sequence[str] = (),
        fingerprint: str = "",
    ) -> Comparison:
        """Two rows, volume by volume: difference, interval, p, wins, ties and losses of each set, and one sentence.

        Args:
            first: a row, as `--method` takes it, e.g. "maediff".
            second: the row that it is compared with.
            metrics: such as "dice", "hd95" or "healthy_false_ml", see `judgement.scan_numbers.COMPARABLE`; none are the
                paper's.
            preset: the numbers both were run with: name, path of a .toml file, or a preset.
            data: what they were run on: "phantom" or a directory.
            seed: the seed that is spoken of; others that both were run with stand below it.
            modality: the contrast of their scans.
            changes: what `--set` changed, `section.key=value`.
            fingerprint: of several versions of the data, that whose fingerprint begins so.

        Raises:
            UserError: there is no such row, metric or preset, a row has no finished cell, or both are the same cells.
        """
        from ...datasets.modality import modality_named
        from ..judgement.scan_numbers import known_metrics
        from ..plan.request import requested_preset
        from .judged.asked import Asked, comparison_of, row_of

        rows = (row_of(first), row_of(second))
        chosen = requested_preset(preset, changes, rows) if isinstance(preset, str) else preset
        kind, names = modality_named(modality), known_metrics(metrics)
        return comparison_of(
            looked_at(self.records), Asked(first, second, chosen, data, seed, kind, names, fingerprint)
        )

    def _table(
        self,
        which: str,
        preset: str | Preset,
        data: str,
        seed: int,
        modality: str,
        changes: Sequence[str],
        options: TableOptions | None,
        cost: bool,
        ci: bool,
    ) -> Table:
        from ...datasets.modality import modality_named
        from ..plan.preset import load_preset
        from .cost import bills_of, with_cost
        from .table import PLAIN
        from .tables import suites_of, tables_of, volumes_in

        suites = suites_of(which)
        if len(suites) > 1:
            raise UserError(f"table {which!r} is several tables; ask for one after the other")
        chosen = load_preset(preset, changes) if isinstance(preset, str) else preset
        records = looked_at(self.records)
        cells = cells_of_records(records)
        done = cells[cells["done"].astype(bool)]
        plain = options or PLAIN
        wanted = replace(plain, cost=cost or plain.cost, ci=ci or plain.ci)
        if wanted.detection:
            raise UserError("detection makes several tables; `Results.found()` has their numbers")
        if wanted.cost:
            done = with_cost(done, bills_of(records))
        (table,) = tables_of(
            suites,
            done,
            chosen,
            data,
            seed=seed,
            modality=modality_named(modality),
            options=wanted,
            volumes=partial(volumes_in, records),
        )
        return table


@dataclass(frozen=True)
class CellView:
    """One cell as its record tells it; whatever is read raises a `RecordError` where a file is damaged."""

    record: RunRecord

    @property
    def id(self) -> str:
        """Hash of all that determines the cell's numbers."""
        return self.config.cell

    @property
    def folder(self) -> Path:
        """Where the record lies."""
        return self.record.folder

    @cached_property
    def config(self) -> CellConfig:
        """What was run."""
        return self.record.config

    @cached_property
    def state(self) -> CellState:
        """Status and seconds spent."""
        return self.record.state

    @property
    def done(self) -> bool:
        """Whether every number of the cell is there, unchanged."""
        return self.record.counts

    @property
    def environment(self) -> dict[str, str]:
        """Commit, machine, device and versions of libraries."""
        return self.record.environment

    @property
    def origin(self) -> Origin | None:
        """Who computed it elsewhere, and how it came here; None of a cell from here."""
        return origin_of(self.record)

    @property
    def metrics(self) -> dict[str, float]:
        """The cell's numbers by data set and metric, e.g. "brats21/dice"; empty until it is finished."""
        return self.record.metrics

    @property
    def cost(self) -> CellCost | None:
        """Where its seconds went, its memory and its arithmetic; None in a record of before there were bills."""
        return cost_of(self.record)

    @property
    def thresholds(self) -> pd.DataFrame:
        """Greedy and exact threshold of each lesion set, by its key, with the validation Dice each reaches."""
        import pandas as pd

        pairs = {key: asdict(pair) for key, pair in self.record.thresholds.items()}
        names = [field.name for field in fields(ThresholdPair)]
        return pd.DataFrame.from_dict(pairs, orient="index", columns=names, dtype=float).rename_axis("set")

    @property
    def history(self) -> pd.DataFrame:
        """One row per validation: epoch, step, train_loss, val_loss, learning_rate."""
        import pandas as pd

        names = [field.name for field in fields(Epoch)]
        return pd.DataFrame([asdict(epoch) for epoch in self.record.history()], columns=names)

    @property
    def volumes(self) -> pd.DataFrame:
        """One row per scored test volume."""
        return volumes_of_records([self.record])

    @property
    def checkpoint(self) -> Path | None:
        """The weights with the lowest healthy validation loss; None where there are none."""
        return self.record.best_checkpoint if self.record.best_checkpoint.exists() else None

    @property
    def figure(self) -> Path | None:
        """The reconstruction figure; None where there is none."""
        return self.record.figure if self.record.figure.exists() else None


def load_results(results: str | Path = "results") -> Results:
    """Read the run records of a results folder; one that is broken is left out and costs a `RecordWarning`.

    Raises:
        UserError: there is no such folder.
    """
    folder = Path(results)
    if not folder.is_dir():
        raise UserError(f"there is no results folder {folder}; name the one that `bench run` wrote to (--results)")
    return Results(all_records(folder / "runs"))


def read_cell(cell: str, results: str | Path = "results") -> CellView:
    """One cell, by its id, the first letters of the id, or the name of its folder.

    Raises:
        UserError: there is no such results folder or cell, or several cells begin so.
    """
    records = load_results(results).records
    named = [record for record in records if cell in (record.folder.name, record.config.cell)]
    found = named or [record for record in records if cell and record.config.cell.startswith(cell)]
    if len(found) == 1:
        return CellView(found[0])
    if not found:
        raise UserError(f"there is no cell {cell!r} under {Path(results) / 'runs'}; `bench list runs` shows them")
    names = ", ".join(record.folder.name for record in found)
    raise UserError(f"{len(found)} cells begin with {cell!r}: {names}; write more of the id")
