"""What a record that arrives says of itself is held against its own id; what honest ones say always passes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record_files import CellConfig
from uadbench.benchmarks.travel.arrival import take_in
from uadbench.benchmarks.travel.contents import ListedCell
from uadbench.benchmarks.travel.door import export_cells
from uadbench.benchmarks.travel.trust import contradiction
from uadbench.datasets.cohort import Data

if TYPE_CHECKING:
    from .conftest import Clone, Parcel

METHOD = """
    import torch
    from uadbench.methods import Detector, Frozen, MethodInfo, Row

    print("imported", file=open({trace!r}, "a"))

    class Nothing(Frozen):
        pass

    class Flat(Detector):
        info = MethodInfo("flat", "Flat", "nobody", None, (Row("flat", "Flat"),))
        Settings = Nothing
        trainable = False

        def reconstruct(self, volume, scan):
            return torch.full_like(volume, 0.25)
"""


@pytest.mark.parametrize("preset", ["demo", "paper", "paper-bf16"])
def test_every_row_says_one_thing_of_itself(preset: str, tiny_data: Data) -> None:
    rows = select_rows(["all", "ae+ssim", "pddpm-s48+mahalanobis"])
    for job in jobs_for(rows, (0,), tiny_data, load_preset(preset), 3):
        config = CellConfig.model_validate_json(job.config().model_dump_json())
        listed = ListedCell(
            label=job.cell.label, cell=job.cell.id, protocol=4, fingerprint=job.cell.fingerprint, who="", files={}
        )
        assert contradiction(config, listed) == ""


def test_a_method_of_ones_own_travels_as_text_and_is_not_imported(
    here: Clone, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, open_parcel: type[Parcel]
) -> None:
    trace, there = tmp_path / "trace", tmp_path / "there"
    file = tmp_path / "flat.py"
    file.write_text("\n".join(line[4:] for line in METHOD.format(trace=str(trace)).splitlines()))
    (job,) = jobs_for(select_rows([f"{file}:Flat"]), (0,), tiny_data, tiny_preset, 0)
    run_job(job, there / "runs", "cpu", SilentReporter())
    export_cells("flat", tmp_path / "cells.zip", results=there)
    trace.unlink()
    modules = set(sys.modules)
    assert take_in(tmp_path / "cells.zip", here.runs).of("joined") == (job.cell.label,)
    assert here.record(job.cell.label).method_file.read_bytes() == file.read_bytes()
    assert not trace.exists() and set(sys.modules) == modules
    parcel = open_parcel(tmp_path / "cells.zip")
    parcel.members[f"runs/{job.cell.label}/method.py"] += b"\n# and more"
    parcel.list_anew()
    answer = take_in(parcel.write(tmp_path / "other.zip"), tmp_path / "else")
    assert "brings a method.py that is not the one that was run" in answer.refused[job.cell.label]
    del parcel.members[f"runs/{job.cell.label}/method.py"]
    parcel.list_anew()
    answer = take_in(parcel.write(tmp_path / "none.zip"), tmp_path / "else")
    assert "brings no method.py, and one was run" in answer.refused[job.cell.label]
