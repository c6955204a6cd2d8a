"""Records out of a results folder and into another: what `bench export`, `bench import` and Python call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from ..records.record import RunRecord
from .arrival import Arrival, take_in
from .choice import choose
from .packing import Packed, pack, whoever_sends

if TYPE_CHECKING:
    from pandas import DataFrame


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
