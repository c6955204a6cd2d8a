"""Methods that would end the program have failed, the others go on; only the user and the scheduler stop a run."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from uadbench.benchmarks.commands import app as cli
from uadbench.benchmarks.contract import checks as contract
from uadbench.benchmarks.contract.labels import LabelError, labels_hidden
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.own import load_detector
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError
from uadbench.methods.thresh import Thresh
from uadbench.stopping import Stop, exit_code, raise_stop, signals_stop

from cases import TINY, run_jobs, untold

LEAVER = """
    import asyncio, os, signal, sys, time
    from pathlib import Path
    import torch
    from uadbench.methods import MethodInfo, Row
    from uadbench.methods.ae import AE

    class Leaver(AE):
        info = MethodInfo("leaver", "leaver", "nobody", None, (Row("leaver", "leaver"),))
"""
PLACES = {
    "constructor": "def __init__(self, settings): {}",
    "absorb": "def absorb(self, volumes): {}",
    "make_optimizer": "def make_optimizer(self, settings): {}",
    "configure_optimizers": "def configure_optimizers(self): {}",
    "training_step": "def training_step(self, batch, batch_idx): {}",
    "validation_step": "def validation_step(self, batch, batch_idx): {}",
    "on_train_end": "def on_train_end(self): {}",
    "reconstruct": "def reconstruct(self, volume, scan): {}",
}
ENDS = ("SystemExit(0)", "KeyboardInterrupt()", "GeneratorExit()", "EOFError()", "asyncio.CancelledError()")

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file whose method holds this line."""

    def write_file(line: str) -> Path:
        path = tmp_path / "mine.py"
        path.write_text(textwrap.dedent(LEAVER) + f"\n    {line}\n")
        return path

    return write_file


def jobs_of(path: Path | None, data: Data, preset: Preset) -> list[Job]:
    rows = [str(path), "thresh"] if path is not None else ["thresh", "mean-brain"]
    return jobs_for(select_rows(rows), (0,), data, preset, 0)


@pytest.mark.parametrize(
    ("place", "end"),
    [*((place, ENDS[0]) for place in PLACES), *(("training_step", end) for end in ENDS[1:]), ("reconstruct", ENDS[1])],
)
def test_what_would_end_the_program_ends_the_cell(
    place: str, end: str, write: Write, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    jobs = jobs_of(write(PLACES[place].format(f"raise {end}")), tiny_data, tiny_preset)
    with signals_stop():
        first, second = run_jobs(jobs, tmp_path / "runs", "cpu", 1, SilentReporter())
    assert f"Leaver failed: {end.partition('.')[2].partition('(')[0] or end.partition('(')[0]}" in first.problem
    assert "mine.py, line 11)" in first.problem and not first.record.done
    assert "Traceback" in (first.record.folder / "error.log").read_text()
    assert second.record.done


@pytest.mark.parametrize("end", ENDS)
def test_the_check_before_a_run_says_so(end: str, write: Write) -> None:
    for place in ("training_step", "reconstruct"):
        cls = load_detector(str(write(PLACES[place].format(f"raise {end}"))))
        with signals_stop(), pytest.raises(contract.ContractError, match=r"Leaver.* failed: .*mine.py, line 11\)"):
            contract.check_detector(cls, str(TINY))


@pytest.mark.parametrize("end", ENDS)
def test_a_file_that_ends_the_program_when_imported_is_a_sentence(end: str, write: Write) -> None:
    path = write("pass\n" + f"raise {end}")
    with signals_stop(), pytest.raises(UserError, match="mine.py cannot be imported: "):
        load_detector(str(path))


@pytest.mark.parametrize("end", ENDS)
def test_methods_of_ours_are_treated_alike(
    end: str, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    def leave(self: Thresh, volume: object, scan: object) -> None:
        raise eval(end, {"asyncio": asyncio})

    monkeypatch.setattr(Thresh, "reconstruct", leave)
    with signals_stop():
        first, second = run_jobs(jobs_of(None, tiny_data, tiny_preset), tmp_path, "cpu", 1, SilentReporter())
    assert "Thresh failed: " in first.problem
    assert second.record.done


SWALLOWED = (
    "try: os.kill(os.getpid(), signal.{}); time.sleep(1)\n        except BaseException{}\n"
    "        return super().training_step(batch, batch_idx)"
)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("answer", [": raise", ": pass", ": sys.exit(0)", " as e: raise ValueError() from e"])
def test_a_real_stop_stops_whatever_a_method_makes_of_it(
    name: str, answer: str, write: Write, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    line = f"def training_step(self, batch, batch_idx):\n        {SWALLOWED.format(name, answer)}"
    jobs = jobs_of(write(line), tiny_data, tiny_preset)
    with signals_stop(), pytest.raises(Stop, match=name) as stop:
        list(run_jobs(jobs, tmp_path / "runs", "cpu", 1, SilentReporter()))
    assert exit_code(stop.value) == {"SIGINT": 130, "SIGTERM": 143}[name]


def test_a_label_that_was_read_is_told_whatever_the_method_ends_with(tiny_data: Data) -> None:
    store = next(iter(tiny_data.lesions.values())).store
    with pytest.raises(LabelError, match="read a lesion mask"), labels_hidden("it"):
        try:
            store.lesion_mask(store.ids[0])
        except PermissionError:
            raise SystemExit(0) from None


def test_ctrl_c_without_a_handler_of_ours_is_real() -> None:
    """As in a notebook or a test, where Python's own handler raises KeyboardInterrupt."""
    with pytest.raises(KeyboardInterrupt):
        raise_stop(KeyboardInterrupt())
    raise_stop(SystemExit(0))
    with signals_stop():
        raise_stop(KeyboardInterrupt())


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SystemExit(0), 2, "tried to end the program with SystemExit: 0"),
        (GeneratorExit(), 2, "tried to end the program with GeneratorExit"),
        (EOFError("cut"), 1, "EOFError: cut"),
        (KeyboardInterrupt(), 130, "Stopped. The same command goes on"),
        (Stop(15), 143, "Stopped. The same command goes on"),
    ],
)
def test_no_command_ends_in_silence(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object) -> None:
        raise error

    monkeypatch.setattr("uadbench.benchmarks.commands.listing.listing", fail)
    answer = CliRunner().invoke(cli.app, ["list", "methods"])
    assert answer.exit_code == code
    assert said in answer.stderr and "Aborted" not in answer.stderr


def test_a_run_with_such_a_method_ends_with_2(
    write: Write, tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uadbench.benchmarks.opening.open_data", lambda *words, **more: tiny_data)
    monkeypatch.setattr("uadbench.benchmarks.experiment.telling", untold)
    path = write(PLACES["on_train_end"].format("raise SystemExit(0)"))
    words = ["run", "--method", str(path), "--method", "thresh", "--preset", str(TINY), "--folds", "0", "--jobs", "1"]
    answer = CliRunner().invoke(cli.app, [*words, "--results", str(tmp_path / "results")])
    assert answer.exit_code == 2, answer.stderr
    assert "Leaver failed: SystemExit: 0" in answer.stderr and "mine.py, line 11)" in answer.stderr
    assert "1 of 2 cells failed, the others are done" in answer.stderr


@pytest.mark.usefixtures("ending_process")
@pytest.mark.parametrize("by_typer", [True, False])
def test_a_stop_before_a_command_heeds_it_is_a_sentence_too(
    by_typer: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While Typer reads the words a stop is a traceback, while it calls the command an exit code without a word."""
    stopper = typer.Typer()

    @stopper.command()
    def stopped() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    def beside_typer() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(sys, "argv", ["bench"])
    monkeypatch.setattr(cli, "app", stopper if by_typer else beside_typer)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().err == "Stopped. The same command goes on where it stopped.\n"
