"""One line of `bench speed`: what was measured, where and when; kept as CSV, printed as a table."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ...errors import UserError
from ...files import write_text
from ...markdown import markdown_table
from ...methods import Frozen
from .words import code, significant

_DASH = "–"

#: Dense bf16 peak of known cards in TFLOP/s, from their data sheets, without sparsity. The whole name must match: a
#: part of a card (MIG), a laptop's or another memory's version of it has another peak.
_PEAK_TFLOPS = {
    r"NVIDIA H100( 80GB HBM3)?": 989.4,
    r"NVIDIA H100 PCIe": 756.0,
    r"NVIDIA H200": 989.4,
    r"NVIDIA A100(-SXM4|-PCIE)?(-40GB|-80GB)?|NVIDIA A100 80GB PCIe": 312.0,
    r"NVIDIA L4": 121.0,
    r"NVIDIA GeForce RTX 4090": 165.2,
}


class Measurement(Frozen):
    """What one workload costs on one machine.

    Attributes:
        rows: names of the table rows, with commas between them.
        title: title of the first.
        recipe: hash of the class and all its numbers.
        parameters: numbers that training may change.
        pass_gflop: GFLOP of one image through the network.
        passes: images through the network for one slice.
        slice_gflop: GFLOP to reconstruct one slice.
        precision: the preset's.
        batch_size: slices per step.
        steps: timed steps.
        step_seconds: the median one; None where nothing is trained.
        images_per_second: slices per second of training.
        step_gflop: GFLOP of the first step.
        tflops: achieved, TFLOP/s.
        peak_share: of the card's dense bf16 peak; None where that is not known.
        product_tflops: what a large matrix product reaches on this device in the same precision, measured, TFLOP/s.
        product_share: of that.
        step_counted_mib: most bytes of tensors alive at once in a step, counted (see `memory`).
        step_peak_mib: most GPU memory a step takes, measured.
        slices: of the volume.
        score_batch_size: images per forward pass of the reconstruction.
        volume_seconds: reconstruction and raw score of one volume; None where it was left out.
        volumes_per_second: its reciprocal.
        volume_peak_mib: most GPU memory a volume takes.
        note: why a figure is missing.
        device: GPU, or CPU and its threads.
        machine: processor and operating system.
        date: UTC, when the row was measured.
        preset: its name.
        changes: what `--set` changed.
        seed: of weights and slices.
        torch: version.
        commit: of this package.
    """

    rows: str
    title: str
    recipe: str
    parameters: int
    pass_gflop: float
    passes: float
    slice_gflop: float
    precision: str
    batch_size: int
    steps: int
    step_seconds: float | None = None
    images_per_second: float | None = None
    step_gflop: float | None = None
    tflops: float | None = None
    peak_share: float | None = None
    product_tflops: float | None = None
    product_share: float | None = None
    step_counted_mib: float | None = None
    step_peak_mib: float | None = None
    slices: int
    score_batch_size: int
    volume_seconds: float | None = None
    volumes_per_second: float | None = None
    volume_peak_mib: float | None = None
    note: str | None = None
    device: str
    machine: str
    date: str
    preset: str
    changes: str | None = None
    seed: int
    torch: str
    commit: str | None = None

    def same_work(self, other: Measurement) -> bool:
        """Whether the other one measured the same thing under the same conditions; dates and commits may differ."""
        keys = ("recipe", "batch_size", "steps", "score_batch_size", "device", "machine", "seed", "torch")
        return all(getattr(self, key) == getattr(other, key) for key in keys)


def peak_tflops(device: str) -> float | None:
    """Dense bf16 peak of a card by the name CUDA gives it, TFLOP/s; None for one that is not listed."""
    return next((peak for name, peak in _PEAK_TFLOPS.items() if re.fullmatch(name, device)), None)


def read_measurements(path: Path) -> tuple[Measurement, ...]:
    """Read what `write_measurements` wrote; nothing where there is no file.

    Raises:
        UserError: the file is something else.
    """
    if not path.exists():
        return ()
    try:
        lines = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        return tuple(Measurement.model_validate({key: value or None for key, value in line.items()}) for line in lines)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise UserError(
            f"{path} is no file that this version of `bench speed` wrote; remove it or choose another --out"
        ) from error


def write_measurements(path: Path, measurements: Iterable[Measurement]) -> None:
    """Write a CSV with a line a measurement, whole or not at all.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(Measurement.model_fields), lineterminator="\n")
    writer.writeheader()
    for measurement in measurements:
        writer.writerow({key: _written(value) for key, value in measurement.model_dump().items()})
    write_text(path, text.getvalue())


def as_markdown(measurements: Sequence[Measurement]) -> str:
    """Write measurements as a Markdown table, their conditions below it."""
    import pandas as pd

    rows = [code(m.rows.split(", ")) for m in measurements]
    notes = [f"* {note}" for note in _notes(measurements)]
    frame = pd.DataFrame({"row": rows, **_columns(measurements)})
    return "\n".join([markdown_table(frame, left=1), "", *notes])


def as_rich(measurements: Sequence[Measurement]) -> Group:
    """The same for a terminal."""
    table = Table("row", title="Speed")
    columns = _columns(measurements)
    for name in columns:
        table.add_column(name, justify="right")
    for measurement, *cells in zip(measurements, *columns.values(), strict=True):
        table.add_row(measurement.rows, *cells)
    return Group(table, *(Text(note, style="dim") for note in _notes(measurements)))


def _columns(measurements: Sequence[Measurement]) -> dict[str, list[str]]:
    """The figures by heading, top to bottom; a column without a figure is left out."""
    names = (
        "parameters (M)",
        "GFLOP per step",
        "step (s)",
        "images/s",
        "TFLOP/s",
        "of bf16 peak",
        "of a product",
        "counted (GiB)",
        "memory (GiB)",
        "volumes/s",
    )
    columns = dict(zip(names, map(list, zip(*map(_cells, measurements), strict=True)), strict=True))
    return {name: cells for name, cells in columns.items() if any(cell != _DASH for cell in cells)}


def _cells(m: Measurement) -> list[str]:
    return [
        f"{m.parameters / 1e6:.2f}",
        _figure(m.step_gflop),
        _figure(m.step_seconds),
        _figure(m.images_per_second),
        _figure(m.tflops),
        _share(m.peak_share),
        _share(m.product_share),
        _DASH if m.step_counted_mib is None else _figure(m.step_counted_mib / 1024),
        _DASH if m.step_peak_mib is None else _figure(m.step_peak_mib / 1024),
        _figure(m.volumes_per_second),
    ]


def _share(value: float | None) -> str:
    return _DASH if value is None else f"{100 * value:.1f} %"


def _figure(value: float | None) -> str:
    return _DASH if value is None else significant(value, 3)


def _notes(measurements: Sequence[Measurement]) -> list[str]:
    """Under what conditions the lines were measured, then what single lines lack."""
    notes = dict.fromkeys(
        f"Preset {m.preset}{f' with {m.changes}' if m.changes else ''}, {m.precision}, {m.batch_size} slices per step, "
        f"median of {m.steps}, seed {m.seed}; {m.device}, {m.machine}; torch {m.torch}; {m.date[:10]}."
        for m in measurements
    )
    for m in measurements:
        if m.device.startswith("CPU"):
            notes["Memory is not measured on a CPU: the growth of the process tells of other things too."] = None
        elif peak_tflops(m.device) is None:
            notes[f"The bf16 peak of {m.device} is not known to this version: no share of it."] = None
        else:
            notes[f"The share is of {m.device}'s dense bf16 peak, whatever the precision."] = None
        if m.product_share is not None:
            notes["Of a product: of what a product of two large matrices reaches here, in the same precision."] = None
        if m.step_counted_mib is not None:
            notes["Counted is what the tensors of a step take that are alive at once, in the preset's precision."] = (
                None
            )
        if m.note:
            notes[f"{m.title}: {m.note}."] = None
    return list(notes)


def _written(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value
