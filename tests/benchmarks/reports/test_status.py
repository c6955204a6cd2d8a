"""`bench status`: read from the folders alone, whoever runs the cells."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors.data_file import write_data
from uadbench.benchmarks.executors.here import Here
from uadbench.benchmarks.executors.spec import CellSpec
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.claims import claimed
from uadbench.benchmarks.records.running.progress import RecordReporter
from uadbench.benchmarks.reports.status import CellStatus, Status, status_of
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError


@pytest.fixture
def specs(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> dict[str, CellSpec]:
    """Cells that were handed out, by row and fold; thresh/0 is done."""
    jobs = jobs_for(select_rows(["thresh", "mean-brain"]), (0, 1), tiny_data, tiny_preset, 0)
    place = write_data(tiny_data, tmp_path / "specs")
    found = {f"{job.entry.row.name}/{job.fold}": CellSpec.of(job, place, tmp_path / "runs", "cpu") for job in jobs}
    for spec in found.values():
        spec.write(tmp_path / "specs")
    list(Here().run([found["thresh/0"]], SilentReporter()))
    return found


def states(results: Path) -> dict[str, str]:
    return {f"{cell.title}/{cell.fold}": cell.state for cell in status_of(results).cells}


def test_what_runs_waits_failed_and_is_done(specs: dict[str, CellSpec], tmp_path: Path) -> None:
    assert states(tmp_path) == {
        "Thresh/0": "done",
        "Thresh/1": "waiting",
        "Mean brain/0": "waiting",
        "Mean brain/1": "waiting",
    }
    running, failed = (tmp_path / "runs" / specs[name].label for name in ("mean-brain/0", "mean-brain/1"))
    with pytest.raises(UserError), claimed(failed, {}):
        raise UserError("the network diverged; lower it")
    with (
        claimed(running, {}),
        RecordReporter(running) as reporter,
        reporter.bar("score mean_brain-fold0", 40, 10) as bar,
    ):
        bar.note("loss 0.2")
        bar.advance(5)
        reporter._write()
        found = {f"{cell.title}/{cell.fold}": cell for cell in status_of(tmp_path).cells}
        assert found["Mean brain/0"].state == "running"
        assert found["Mean brain/0"].words.startswith("score 15 of 40, ")
        assert found["Mean brain/0"].words.endswith(f"loss 0.2, by process {os.getpid()} on {os.uname().nodename}")
        assert (found["Mean brain/1"].state, found["Mean brain/1"].words) == (
            "failed",
            "the network diverged; lower it",
        )
        lines = CliRunner().invoke(app, ["status", "--results", str(tmp_path)]).output.splitlines()
        assert lines[0].startswith("running Mean brain, fold 0: score 15 of 40")
        assert lines[1] == "failed  Mean brain, fold 1: the network diverged; lower it"
        assert lines[-1] == "4 cells: 1 running, 1 failed, 1 waiting, 1 done."
    assert states(tmp_path)["Mean brain/0"] == "waiting"  # the attempt is over and the numbers are not there


def test_a_killed_process_is_told(specs: dict[str, CellSpec], tmp_path: Path) -> None:
    folder = tmp_path / "runs" / specs["mean-brain/0"].label
    child = os.fork()
    if child == 0:
        with claimed(folder, {}):
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    (cell,) = (cell for cell in status_of(tmp_path).cells if cell.label == folder.name)
    assert (cell.state, cell.words) == ("waiting", "interrupted: its process was killed")


def test_the_time_that_is_left() -> None:
    def cell(title: str, state: str, seconds: float | None = None) -> CellStatus:
        return CellStatus("", title, 0, state, "", None, seconds)  # type: ignore[arg-type]

    done = [cell("A", "done", 100.0), cell("A", "done", 140.0), cell("B", "done", 10.0)]
    going = [cell("A", "running", 20.0), cell("B", "running", 0.0)]
    status = Status((*done, *going, cell("A", "waiting")))
    assert status.seconds_left == (120 + 10 + 120 - 20) / 2
    assert Status((*done, cell("A", "waiting"))).seconds_left is None  # nothing runs
    assert Status((*done, *going, cell("C", "waiting"))).seconds_left is None  # nobody knows how long C takes


def test_json_holds_everything_and_an_empty_folder_nothing(specs: dict[str, CellSpec], tmp_path: Path) -> None:
    answer = json.loads(CliRunner().invoke(app, ["status", "--results", str(tmp_path), "--json"]).output)
    assert {cell["state"] for cell in answer["cells"]} == {"done", "waiting"} and len(answer["cells"]) == 4
    nothing = CliRunner().invoke(app, ["status", "--results", str(tmp_path / "empty")])
    assert nothing.output == "0 cells: 0 running, 0 failed, 0 waiting, 0 done.\n"
