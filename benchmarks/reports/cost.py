"""What rows cost, as columns beside their numbers: from the cells' numbers and from the bills in their records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..judgement.measures import Metric
from ..records.cost import CellCost, cost_of
from ..records.record import RunRecord
from ..records.record_files import RecordError
from .columns import Column

if TYPE_CHECKING:
    import pandas as pd

#: Stands where the key of a set does.
COST = "cost"
#: What is counted of a method is the same in all folds; what is measured is not.
_COUNTED = (
    Metric("parameters", "parameters", "M", 1e-6, None, varies=False),
    Metric("slice_gflop", "GFLOP per slice", "GFLOP", 1, None, varies=False),
)
_MEASURED = (
    Metric("train_minutes", "training", "min", 1, None),
    Metric("volume_seconds", "per volume", "s", 1, None),
    Metric("peak_gib", "memory", "GiB", 1, None),
)
COST_COLUMNS = tuple(Column(COST, "cost", metric) for metric in (*_COUNTED, *_MEASURED))


@dataclass(frozen=True)
class CellBill:
    """What the record of a cell says of its cost.

    Attributes:
        cost: the bill; None in a record of before there were bills.
        device: where the cell was run, in words.
    """

    cost: CellCost | None
    device: str


def bills_in(runs: Path) -> dict[str, CellBill]:
    """The bills below the folder of runs, by id of the cell, by which its folder is called; no other file is read."""
    return bills_of(RunRecord(path) for path in sorted(runs.glob("*")) if path.is_dir() and path.suffix != ".broken")


def bills_of(records: Iterable[RunRecord]) -> dict[str, CellBill]:
    """The bills of records, by id of the cell."""
    return {record.folder.name.rpartition("-")[2]: _bill_of(record) for record in records}


def _bill_of(record: RunRecord) -> CellBill:
    try:
        return CellBill(cost_of(record), record.environment.get("device", ""))
    except RecordError:
        return CellBill(None, "")


def with_cost(cells: pd.DataFrame, bills: Mapping[str, CellBill]) -> pd.DataFrame:
    """The frame of cells with the columns of `COST_COLUMNS` and "cost/device"; NaN where something is not known.

    Args:
        cells: see `reports.cells`.
        bills: by id of the cell.
    """
    import pandas as pd

    lines = [_numbers(cell, bills.get(str(cell["id"]), CellBill(None, ""))) for cell in cells.to_dict("records")]
    names = [*(column.name for column in COST_COLUMNS), f"{COST}/device"]
    return pd.concat([cells.reset_index(drop=True), pd.DataFrame(lines, columns=names)], axis=1)


def _numbers(cell: Mapping[object, object], bill: CellBill) -> dict[str, object]:
    cost = bill.cost or CellCost()
    minutes, seconds = _number(cell, "seconds_train"), _number(cell, "seconds_score")
    scans = sum(_number(cell, str(name)) or 0 for name in cell if str(name).endswith("/scans_scored"))
    found = {
        "parameters": _number(cell, "parameters"),
        "slice_gflop": cost.slice_gflop,
        "train_minutes": None if minutes is None else minutes / 60,
        "volume_seconds": seconds / scans if seconds is not None and scans else None,
        "peak_gib": None if cost.peak_bytes is None else cost.peak_bytes / 2**30,
        "device": _device(bill),
    }
    return {f"{COST}/{name}": value for name, value in found.items()}


def _number(cell: Mapping[object, object], name: str) -> float | None:
    """A number of a cell; None where it is missing or none."""
    value = cell.get(name)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def _device(bill: CellBill) -> str:
    """Where the cell was run, and whose memory was measured there."""
    peak = "" if bill.cost is None or bill.cost.peak_of != "process" else " (memory of the whole process)"
    return f"{bill.device}{peak}" if bill.device else ""


def cost_note(cells: pd.DataFrame) -> str:
    """What the columns mean, and on which devices they were measured."""
    devices = sorted({str(word) for word in cells[f"{COST}/device"].dropna() if word}) if len(cells) else []
    where = f", on {'; '.join(devices)}" if devices else ""
    return (
        "cost: parameters and GFLOP per reconstructed slice are counted; minutes of training, seconds of a volume's "
        f"reconstruction and the most memory are measured{where}, and compare on one machine alone; – where a record "
        "holds no bill."
    )
