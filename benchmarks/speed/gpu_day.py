"""A day with a GPU, in minutes: tests, all rows in all precisions, volumes, a whole cell; into one JSON and one CSV.

    python -m uadbench.benchmarks.speed.gpu_day --out DIR --minutes 25
    python -m uadbench.benchmarks.speed.gpu_day --out DIR --small        # all of it in small, on the CPU

Steps come in the order of their worth. Each runs in a process of its own, may take only so long, and is ended when the
time is over; what it had measured until then stays. After every step `gpu-day.json` holds how it ended and what it
found, and `gpu-day.csv` every measurement (the lines of `bench speed`). The same command goes on where it stopped:
finished steps are not repeated, nor are measured rows.

A GPU node may have no more than PyTorch, Lightning, NumPy, SciPy, scikit-learn, pandas, Rich, Typer and pydantic, and
pytest for the tests.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from xml.etree import ElementTree

import typer
from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import UserError
from ...files import read_json, write_json, write_text
from ...stopping import signals_stop

_JSON, _CSV, _LOG = "gpu-day.json", "gpu-day.csv", "gpu-day.log"
_BENCH = ("-m", "uadbench", "speed")
_PEAK = ("-m", f"{__package__}.peak")
_CELL = ("-m", f"{__package__}.trial_cell")
_KERNELS = ("-m", f"{__package__}.kernels")
_CHECKOUT = Path(__file__).resolve().parents[2]
_TESTS = ("tests/benchmarks/engine/test_gpu.py", "tests/benchmarks/engine/test_out_of_memory.py")
#: Rows that say most, in the order of their worth, then all the others.
_FIRST = ("maediff", "pddpm-s16", "ae")
_TABLES = ("table1", "table2", "frontier")
_COMPILED = ("train.compile=true",)
#: Checkpoints after each validation, or after every other one.
_OFTEN_ON_DISK = ("train.checkpoint_minutes=0", "train.checkpoint_every=2")
_WORTH_A_STEP = 8.0  # s; with less time left nothing is begun
_TAIL = 3000  # letters of a step's output that are kept
_GRACE = 5.0  # s between being asked to end and being ended
Outcome = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        name: of letters, digits and hyphens.
        words: what Python is given; OUT stands for the file in which the step leaves its result, if it leaves one.
        seconds: the most that it may take.
    """

    name: str
    words: tuple[str, ...]
    seconds: float


class StepResult(BaseModel):
    """How a step ended.

    Attributes:
        name: the step's.
        outcome: "done"; "stopped" where its time was over; "failed" where it ended in an error.
        seconds: how long it took, all its tries together.
        found: what it left: peaks, tests, a cell's bill.
        tail: the end of its output, unless it is done.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    outcome: Outcome
    seconds: float
    found: dict[str, Any] | None = None
    tail: str = ""


@dataclass(frozen=True)
class Trial:
    """What is measured.

    Attributes:
        preset: name, or path of a file.
        device: "cuda" or "cpu".
        first: rows measured before all others.
        rows: all rows.
        timed: timed steps of each.
        side: of the matrices whose product is timed; None fills the device.
        compiled: words that switch on compilation; none where this version knows no such setting.
        small: whether the whole cell is a small one.
    """

    preset: str
    device: str
    first: tuple[str, ...]
    rows: tuple[str, ...]
    timed: int
    side: int | None
    compiled: tuple[str, ...]
    small: bool


def steps_of(trial: Trial) -> tuple[Step, ...]:
    """The steps in the order of their worth."""
    bf16 = ("train.precision=bf16-mixed",)
    side = () if trial.side is None else ("--side", str(trial.side))
    steps = [
        Step("peak", (*_PEAK, "--device", trial.device, *side, "--out", "OUT"), 60),
        Step("first-preset", _speed(trial, trial.first, ()), 120),
        Step("first-bf16", _speed(trial, trial.first, bf16), 90),
        *_tests_of(trial),
    ]
    steps += [Step("kernels-preset", _kernels(trial, ()), 90), Step("kernels-bf16", _kernels(trial, bf16), 90)]
    if trial.compiled:
        fastest = (*bf16, *trial.compiled)
        steps.append(Step("first-compiled-bf16", _speed(trial, trial.first, fastest), 300))
        steps.append(Step("kernels-compiled-bf16", _kernels(trial, fastest), 240))
    steps += [
        Step("cell-preset", _cell(trial, ()), 180),
        Step("rows-preset", _speed(trial, trial.rows, ()), 240),
        Step("rows-bf16", _speed(trial, trial.rows, bf16), 200),
        Step("cell-bf16", _cell(trial, bf16), 150),
    ]
    if trial.compiled:
        steps += [
            Step("first-compiled", _speed(trial, trial.first, trial.compiled), 240),
            Step("rows-compiled-bf16", _speed(trial, trial.rows, (*bf16, *trial.compiled)), 600),
        ]
    return tuple(steps)


def _speed(trial: Trial, rows: Sequence[str], changes: Sequence[str]) -> tuple[str, ...]:
    methods = [word for row in rows for word in ("--method", row)]
    where = ("--preset", trial.preset, "--device", trial.device, "--steps", str(trial.timed), "--out", "CSV")
    return (*_BENCH, *methods, *where, *_sets(changes))


def _kernels(trial: Trial, changes: Sequence[str]) -> tuple[str, ...]:
    where = ("--method", trial.first[0], "--preset", trial.preset, "--device", trial.device, "--out", "OUT")
    return (*_KERNELS, *where, *_sets(changes))


def _cell(trial: Trial, changes: Sequence[str]) -> tuple[str, ...]:
    """A few epochs, of which the last is validated and written to disk."""
    small = ("--small",) if trial.small else ()
    epochs = known(("train.epochs=4", "train.validate_every=1", *_OFTEN_ON_DISK))
    where = ("--method", trial.first[0], "--preset", trial.preset, "--device", trial.device, *small, "--out", "OUT")
    return (*_CELL, *where, *_sets((*epochs, *changes)))


def _sets(changes: Sequence[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def _tests_of(trial: Trial) -> list[Step]:
    """The GPU's tests, where they and pytest are there; several at a time where pytest-xdist is, too."""
    files = [_CHECKOUT / name for name in _TESTS if (_CHECKOUT / name).exists()]
    if not files or not importlib.util.find_spec("pytest"):
        return []
    spread = ("-n", "4") if importlib.util.find_spec("xdist") and not trial.small else ()
    options = ("-m", "gpu", "-p", "no:cacheprovider", *spread, "--junitxml", "OUT")
    return [Step("tests", ("-m", "pytest", *options, *map(str, files)), 240)]


class Day:
    """The steps that were done, on disk after each.

    Args:
        out: the folder of `gpu-day.json` and `gpu-day.csv`.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._results = self._read()

    def run(self, steps: Sequence[Step], seconds: float) -> None:
        """Do what is not done yet, until the time is over.

        Args:
            steps: in the order in which they are done.
            seconds: how long that may take.
        """
        end = time.monotonic() + seconds
        for number, step in enumerate(steps, start=1):
            title, left = f"[{number}/{len(steps)}] {step.name}", end - time.monotonic()
            before = self._results.get(step.name)
            if before is not None and before.outcome == "done":
                _say(f"{title}: done already")
            elif left < _WORTH_A_STEP:
                _say(f"{title}: no time left; the same command goes on here")
            else:
                _say(f"{title}: at most {min(left, step.seconds):.0f} s")
                result = self._attempt(step, min(left, step.seconds))
                spent = 0.0 if before is None else before.seconds
                self._keep(result.model_copy(update={"seconds": result.seconds + spent}))
                _say(f"{title}: {result.outcome} after {result.seconds:.0f} s{_hint(result)}")

    def _attempt(self, step: Step, seconds: float) -> StepResult:
        with tempfile.TemporaryDirectory() as folder:
            result, log = Path(folder) / "result", Path(folder) / "log"
            places = {"OUT": str(result), "CSV": str(self._out / _CSV)}
            words = [sys.executable, *(places.get(word, word) for word in step.words)]
            started = time.monotonic()
            outcome = _run(words, log, seconds)
            took = time.monotonic() - started
            said = log.read_text(encoding="utf-8", errors="replace")
            self._append(f"== {step.name}: {outcome} after {took:.1f} s\n{said}\n")
            tail = "" if outcome == "done" else said[-_TAIL:]
            return StepResult(name=step.name, outcome=outcome, seconds=took, found=_found(result), tail=tail)

    def _keep(self, result: StepResult) -> None:
        self._results[result.name] = result
        steps = [one.model_dump(mode="json", exclude_none=True) for one in self._results.values()]
        write_json(self._out / _JSON, {"python": sys.version.split()[0], "steps": steps})

    def _append(self, text: str) -> None:
        log = self._out / _LOG
        before = log.read_text(encoding="utf-8") if log.exists() else ""
        write_text(log, before + text)

    def _read(self) -> dict[str, StepResult]:
        """What an earlier call did; a file that cannot be read counts as none."""
        content = read_json(self._out / _JSON) or {}
        with suppress(ValidationError, TypeError):
            results = [StepResult.model_validate(step) for step in content.get("steps", [])]
            return {result.name: result for result in results}
        return {}


def _run(words: Sequence[str], log: Path, seconds: float) -> Outcome:
    """Run a program with all its children, its output in a file, and end them when the time is over."""
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return "done" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            return "stopped"
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children: asked first, so that it gives back the device, then told."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, word)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)


def _found(path: Path) -> dict[str, Any] | None:
    """What a step left: JSON, or the report of pytest."""
    if not path.exists():
        return None
    return read_json(path) or _tests(path)


def _tests(path: Path) -> dict[str, Any] | None:
    """Counts of a JUnit report, the names and first words of what failed, and seconds of each test."""
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (ElementTree.ParseError, OSError):
        return None
    failures = {case.get("name", ""): bad.get("message", "")[:500] for case in cases for bad in _bad(case)}
    skipped = sum(case.find("skipped") is not None for case in cases)
    seconds = {case.get("name", ""): float(case.get("time", 0)) for case in cases}
    return {"tests": len(cases), "skipped": skipped, "failures": failures, "seconds": seconds}


def _bad(case: ElementTree.Element) -> list[ElementTree.Element]:
    return [*case.findall("failure"), *case.findall("error")]


def _hint(result: StepResult) -> str:
    lines = result.tail.strip().splitlines()
    return f": {lines[-1]}" if lines else ""


def _say(text: str) -> None:
    typer.echo(text)


def known(changes: Sequence[str]) -> tuple[str, ...]:
    """Those changes of the training whose settings this version has."""
    from ..plan.settings import TrainSettings

    return tuple(
        word for word in changes if word.removeprefix("train.").partition("=")[0] in TrainSettings.model_fields
    )


def main(
    out: Annotated[Path, typer.Option("--out", help="The folder of gpu-day.json and gpu-day.csv.")],
    minutes: Annotated[float, typer.Option("--minutes", min=0.1, max=600, help="When to stop.")] = 25.0,
    small: Annotated[bool, typer.Option("--small", help="All of it in small, on the CPU.")] = False,
    preset: Annotated[str, typer.Option("--preset", help="A preset; default: paper, in small demo.")] = "",
    only: Annotated[list[str], typer.Option("--only", help="A step; repeatable. Default: all.")] = [],  # noqa: B006
) -> None:
    """Measure everything that needs a GPU."""
    trial = (
        Trial(preset or "demo", "cpu", ("ae",), ("ae", "maediff"), 1, 256, known(_COMPILED), small=True)
        if small
        else Trial(preset or "paper", "cuda", _FIRST, (*_FIRST, *_TABLES), 6, None, known(_COMPILED), small=False)
    )
    steps = steps_of(trial)
    unknown = set(only) - {step.name for step in steps}
    if unknown:
        raise typer.BadParameter(f"--only {unknown.pop()}: there are {', '.join(step.name for step in steps)}")
    out.mkdir(parents=True, exist_ok=True)
    Day(out).run([step for step in steps if not only or step.name in only], 60 * minutes)


def run_program(main: Callable[..., Any]) -> None:
    """Run a function as a command line; the user's mistakes are a sentence and exit code 2, a signal ends it as Ctrl-C.

    Args:
        main: its arguments are the options.
    """
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        with signals_stop():
            app()
    except UserError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    run_program(main)
