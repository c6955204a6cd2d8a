"""Records out of a results folder and into another: what `bench export`, `bench import` and Python call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from ..records.record import RunRecord, all_records, finished
from ..tracking.database import store_uri
from ..tracking.named import records_named
from .arrival import Arrival, take_in
from .contents import label_of
from .packing import Packed, pack, whoever_sends

if TYPE_CHECKING:
    from pandas import DataFrame

_ALL = "all"


def export_cells(
    runs: str | Sequence[str],
    out: str | Path,
    *,
    with_weights: bool = False,
    who: str = "",
    results: str | Path = "results",
) -> Packed:
    """Pack the records of finished cells into one file for another machine, as `bench export` does.

    Args:
        runs: cells, parents (all their folds), rows or MLflow's ids, as for `predict`; or "all" that is finished.
        out: the .zip to write; the same records of the same sender give the same bytes.
        with_weights: send the weights, too, for predictions and other scores.
        who: whoever sends them; "" takes user and machine.
        results: the folder of the runs.

    Raises:
        UserError: nothing has that name, nothing of it is finished, or the file cannot be written.
    """
    words = (runs,) if isinstance(runs, str) else tuple(runs)
    return pack(choose(words, Path(results)).records, Path(out), whoever_sends(who), with_weights=with_weights)


def import_cells(archive: str | Path, *, sha256: str = "", results: str | Path = "results") -> DataFrame:
    """Let the records of an archive join a results folder, as `bench import` does.

    Args:
        archive: what `export_cells` or `bench export` wrote, here or elsewhere.
        sha256: of the archive, as its sender says; "" takes any.
        results: the folder that they join; made where there is none.

    Returns:
        One row per cell of the archive, as `load_results(results).to_dataframe()` has them.

    Raises:
        UserError: the archive is refused, or cells of it are; all others have joined.
    """
    from ..reports.cells import cells_of_records

    runs = Path(results) / "runs"
    arrival = take_in(Path(archive), runs, sha256)
    raise_refusals(arrival)
    return cells_of_records(RunRecord(runs / label) for label in arrival.fates)


def raise_refusals(arrival: Arrival) -> None:
    """Say which cells did not join, if any.

    Raises:
        UserError: some did not.
    """
    if arrival.refused:
        count, whole = len(arrival.refused), len(arrival.refused) + len(arrival.fates)
        raise UserError(f"{count} of {whole} cells refused: {'; '.join(arrival.refused.values())}")


@dataclass(frozen=True)
class Choice:
    """Finished records by the words that name them.

    Attributes:
        records: each once.
        notes: what was left out, in sentences.
    """

    records: tuple[RunRecord, ...]
    notes: tuple[str, ...]


def choose(words: Sequence[str], results: Path) -> Choice:
    """The finished records that some words name.

    Args:
        words: see `export_cells`.
        results: the results folder.

    Raises:
        UserError: a word names nothing, or nothing of what it names is finished.
    """
    runs = results / "runs"
    everything = all_records(runs)
    named: dict[str, RunRecord] = {}
    for word in words:
        found = list(finished(everything)) if word == _ALL else records_named(word, everything, store_uri(results))
        if not found:
            known = ", ".join(sorted({record.config.row for record in finished(everything)})) or "none"
            raise UserError(
                f"{word}: nothing of that name under {runs}; `bench list runs` lists it, finished rows: {known}"
            )
        if not any(record.done for record in found):
            raise UserError(f"{word}: {found[0].folder.name} {found[0].problem()}; run it to its end first")
        named |= {label_of(record.config): record for record in found}
    open_ = [label for label, record in named.items() if not record.done]
    notes = [f"Left out: {label}, which {named[label].problem()}." for label in open_]
    return Choice(tuple(record for label, record in named.items() if label not in open_), tuple(notes))
