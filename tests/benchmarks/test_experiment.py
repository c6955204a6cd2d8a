"""The use case behind `bench run` and `uadbench.run`: read, checked, announced, run; a dry run runs nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from uadbench.benchmarks.announcement import announce
from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors.processes import Processes
from uadbench.benchmarks.experiment import Experiment, prepare, raise_failures
from uadbench.benchmarks.opening import open_request
from uadbench.benchmarks.plan.departures import departures_of
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.request import Request, Where, fold_numbers
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.detections import DETECTION_FILES
from uadbench.benchmarks.records.record import record_of
from uadbench.benchmarks.reports.duration import duration
from uadbench.benchmarks.reports.results_line import results_line
from uadbench.datasets.cohort import Data
from uadbench.datasets.modality import Modality
from uadbench.errors import UserError
from uadbench.methods.thresh import Thresh

import cases

TINY = str(cases.TINY)


class Heard(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True)
def _tiny(tiny_data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uadbench.benchmarks.opening.open_data", lambda *words, **more: tiny_data)
    monkeypatch.setattr("uadbench.benchmarks.experiment.telling", cases.untold)


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., Request]:
    def make(*methods: str, **more: Any) -> Request:
        given = {"where": Where(jobs=1), **more}
        return Request(methods=methods, preset=TINY, results=tmp_path / "results", device="cpu", **given)

    return make


def prepared(request: Request) -> Experiment:
    return prepare(open_request(request, SilentReporter()))


def test_a_request_becomes_cells_each_once(request_for: Callable[..., Request]) -> None:
    experiment = prepared(request_for("thresh", "thresh", "ae", folds="1"))
    assert [(job.entry.row.name, job.fold) for job in experiment.jobs] == [("thresh", 1), ("ae", 1)]
    assert [job.fold for job in prepared(request_for("thresh")).jobs] == [0, 1]
    assert prepared(request_for("thresh", where=Where(on="here"))).workers == 1


def test_data_are_opened_as_they_are_asked_for(
    request_for: Callable[..., Request], tiny_data: Data, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def opened(*words: Any, **more: Any) -> Data:
        asked.extend([words, more])
        return tiny_data

    monkeypatch.setattr("uadbench.benchmarks.opening.open_data", opened)
    prepared(request_for("thresh", data="clinic", modality=Modality.T1, where=Where(on="here")))
    words, more = asked
    assert words[0] == "clinic" and words[-1] is Modality.T1 and more == {"jobs": 1}
    with pytest.raises(UserError, match="--data-set .*nothing.py: .*No such file"):
        prepared(request_for("thresh", data_sets=(tmp_path / "nothing.py",)))


def test_outcomes_come_in_the_order_of_the_cells(request_for: Callable[..., Request]) -> None:
    experiment = prepared(request_for("ae", "thresh", folds="0"))
    experiment = Experiment(**{**vars(experiment), "executor": Processes(["", ""])})
    outcomes = experiment.run(SilentReporter())  # thresh is done long before
    assert [outcome.spec.row for outcome in outcomes] == ["ae", "thresh"]
    assert all(outcome.record.done for outcome in outcomes)
    raise_failures(outcomes)


def test_the_announcement_counts_what_is_left(request_for: Callable[..., Request]) -> None:
    heard = Heard()
    experiment = prepared(request_for("thresh", folds="0"))
    forecast = announce(experiment, heard)
    assert forecast.cells == 1 and forecast.seconds > 0
    assert "Cells: 1, of which 0 are done." in heard.lines
    experiment.run(heard)
    assert announce(prepared(request_for("thresh", folds="0")), heard).cells == 0
    assert heard.lines[-1] == "Cells: 1, of which 1 are done."


def test_scoring_alone_refuses_what_was_never_trained(request_for: Callable[..., Request]) -> None:
    with pytest.raises(UserError, match="no trained weights to score; train first.*bench run --method ae --folds 0,1"):
        prepared(request_for("ae", train=False, scores=("ssim",)))


@pytest.mark.parametrize("on", ["here", "processes"])
def test_scoring_adds_lesion_wise_numbers_to_finished_cells_and_a_run_does_not(
    on: str, request_for: Callable[..., Request]
) -> None:
    where, heard = Where(on=on, jobs=int(on == "processes")), Heard()
    (outcome,) = prepared(request_for("thresh", folds="0", where=where)).run(heard)
    record, digests = outcome.record, outcome.record.folder / "digests.json"
    wanted = {name: (record.folder / name).read_bytes() for name in DETECTION_FILES}
    whole = digests.read_text()
    digests.write_text(json.dumps({**json.loads(whole), "files": without_found(json.loads(whole)["files"])}))
    for name in DETECTION_FILES:
        (record.folder / name).unlink()
    before = digests.read_text()

    run = prepared(request_for("thresh", folds="0", where=where))
    assert (run.open_jobs(), run.incomplete_jobs()) == ((), ())
    assert announce(run, heard).cells == 0
    run.run(heard)
    assert digests.read_text() == before

    score = prepared(request_for("thresh", folds="0", where=where, train=False))
    assert announce(score, heard).cells == 1
    assert "  1 finished cell without lesion-wise numbers: these are added." in heard.lines
    assert digests.read_text() == before  # to say so changes nothing
    (outcome,) = score.run(heard)
    assert not outcome.problem and outcome.record.done
    assert {name: (record.folder / name).read_bytes() for name in DETECTION_FILES} == wanted
    assert json.loads(digests.read_text()) == json.loads(whole)
    assert prepared(request_for("thresh", folds="0", train=False)).open_jobs() == ()

    cases.as_version_1(record)
    older = prepared(request_for("thresh", folds="0", where=where, train=False))
    assert announce(older, heard).cells == 1
    assert (
        "  1 finished cell with lesion-wise numbers of before FROC: they are measured again, and FROC is added."
        in heard.lines
    )
    older.run(heard)
    assert {name: (record.folder / name).read_bytes() for name in DETECTION_FILES} == wanted


def without_found(files: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in files.items() if name not in DETECTION_FILES}


def test_a_failed_cell_is_said_and_the_others_are_done(
    request_for: Callable[..., Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*words: object) -> None:
        raise SystemExit(3)

    monkeypatch.setattr(Thresh, "reconstruct", fail)
    heard = Heard()
    outcomes = prepared(request_for("thresh", "mean-brain", folds="0")).run(heard)
    assert [bool(outcome.problem) for outcome in outcomes] == [True, False]
    assert "[1/2] Thresh, fold 0: failed: Thresh failed: SystemExit" in heard.lines[0]
    with pytest.raises(UserError, match="1 of 2 cells failed, the others are done; the first: Thresh failed"):
        raise_failures(outcomes)


def test_results_have_units(request_for: Callable[..., Request]) -> None:
    (outcome,) = prepared(request_for("thresh", folds="0")).run(SilentReporter())
    numbers = outcome.record.metrics
    assert results_line(outcome.record) == (
        f"tiny tumours Dice {numbers['tiny-tumours/dice'] * 100:.1f} %, "
        f"AUPRC {numbers['tiny-tumours/auprc'] * 100:.1f} %; "
        f"tiny ms Dice {numbers['tiny-ms/dice'] * 100:.1f} %, AUPRC {numbers['tiny-ms/auprc'] * 100:.1f} %; "
        f"tiny healthy l1 {numbers['tiny-healthy/l1'] * 1000:.1f}e-3"
    )


# --------------------------------------------------------------------------------------------- --dry-run and --json


def bench(tmp_path: Path, *words: str) -> Any:
    common = ["--preset", TINY, "--jobs", "1", "--device", "cpu", "--results", str(tmp_path / "results")]
    return CliRunner().invoke(app, [*words, *common])


def test_a_dry_run_tells_what_would_be_run_and_runs_nothing(tmp_path: Path) -> None:
    answer = bench(tmp_path, "run", "--method", "ae", "--folds", "0,1", "--dry-run", "--json")
    assert answer.exit_code == 0, answer.stderr
    assert "Cells: 2, of which 0 are done." in answer.stderr and "This should take about" in answer.stderr
    assert "All cells are done" not in answer.stderr
    assert not (tmp_path / "results" / "runs").exists()
    found = json.loads(answer.stdout)
    assert [(cell["row"], cell["fold"], cell["state"], cell["metrics"]) for cell in found["cells"]] == [
        ("ae", 0, "open", {}),
        ("ae", 1, "open", {}),
    ]
    assert found["expected_seconds"] > 0 and found["preset"] == "tiny"


def test_json_is_what_the_records_hold(tmp_path: Path, tiny_data: Data, request_for: Callable[..., Request]) -> None:
    words = ("--method", "thresh", "--folds", "0", "--json")
    first, again = bench(tmp_path, "run", *words), bench(tmp_path, "run", *words)
    assert first.exit_code == again.exit_code == 0, first.stderr
    experiment = prepared(request_for("thresh", folds="0"))
    record = record_of(experiment.runs, experiment.jobs[0].cell)
    (cell,) = json.loads(first.stdout)["cells"]
    assert cell == json.loads(again.stdout)["cells"][0]
    assert (cell["id"], cell["state"], cell["folder"]) == (record.config.cell, "done", str(record.folder))
    assert cell["metrics"] == {name: pytest.approx(value) for name, value in record.metrics.items()}
    assert json.loads(bench(tmp_path, "score", *words).stdout)["cells"] == [cell]


def test_json_tells_of_a_failed_cell_and_of_a_number_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uadbench.benchmarks.records.record.RunRecord.metrics", {"tumours/dice": math.nan})
    monkeypatch.setattr("uadbench.benchmarks.experiment.preflight", lambda *words: None)  # it would find out first

    def fail(*words: Any) -> Any:
        raise SystemExit(3)

    bench(tmp_path, "run", "--method", "thresh", "--folds", "0")
    monkeypatch.setattr(Thresh, "reconstruct", fail)
    answer = bench(tmp_path, "run", "--method", "thresh", "--json")
    assert answer.exit_code == 2 and "1 of 2 cells failed" in answer.stderr
    done, failed = json.loads(answer.stdout)["cells"]
    assert (done["state"], done["metrics"]) == ("done", {"tumours/dice": None})
    assert failed["state"] == "failed" and failed["problem"].startswith("Thresh failed: SystemExit")


# ------------------------------------------------------------------------------------------------------------ its words


@pytest.mark.parametrize(("word", "folds"), [("all", None), ("0", (0,)), ("0, 2", (0, 2))])
def test_folds_are_read(word: str, folds: tuple[int, ...] | None) -> None:
    assert fold_numbers(word) == folds


def test_only_departures_of_the_methods_that_run_are_told() -> None:
    preset = load_preset("demo")
    told = {name: departures_of(preset, select_rows([name])) for name in ("thresh", "ae", "maediff", "fanogan", "svae")}
    assert told["thresh"] == ("data.slices is 12 central slices of 50",)
    assert [text.partition(":")[0] for text in told["ae"][1:]] == ["train", "train"]
    assert [text.partition(":")[0] for text in told["maediff"][1:]] == ["unet", "mae", "train", "train", "diffusion"]
    assert any("f-AnoGAN" in text or text.startswith("fanogan:") for text in told["fanogan"])
    assert any(text.startswith("vae, svae, dae:") for text in told["svae"])
    assert departures_of(preset, select_rows(["all"])) == preset.departures


def test_a_departure_that_names_no_section_concerns_all() -> None:
    preset = load_preset("demo").model_copy(update={"departures": ("note: this is ours", "unet: narrow", "less noise")})
    assert departures_of(preset, select_rows(["thresh"])) == ("note: this is ours", "less noise")


@pytest.mark.parametrize(("seconds", "words"), [(89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (9000, "2.5 h")])
def test_a_duration_is_told_in_the_unit_that_reads_best(seconds: float, words: str) -> None:
    assert duration(seconds) == words
