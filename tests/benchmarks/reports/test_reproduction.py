"""`bench reproduce` on records of a toy table: verdicts on the paper's sets, none on others, in every format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.plan import request
from uadbench.benchmarks.plan.suite import load_suite
from uadbench.benchmarks.reports.judged import reproduction
from uadbench.benchmarks.reports.judged.reproduction import Reproduction, reproduction_of
from uadbench.benchmarks.reports.published import published, reruns
from uadbench.benchmarks.reports.renderers.reproduction import print_reproduction
from uadbench.benchmarks.reports.results import load_results
from uadbench.errors import UserError

if TYPE_CHECKING:
    from .conftest import Bench

PAPER = {
    "cohorts": {
        "healthy": {"name": "ixi", "title": "IXI"},
        "tumours": {"name": "brats21", "title": "BraTS21"},
        "ms": {"name": "mslub", "title": "MSLUB"},
    },
    "splits": "published",
    "data": "scans",
    "data_title": "IXI, BraTS21, MSLUB",
}
SPREAD = (-0.01, -0.005, 0.0, 0.005, 0.01)


def numbers(dice: float, auprc: float, ms_dice: float, ms_auprc: float, l1: float) -> dict[str, float]:
    return {
        "brats21/dice": dice,
        "brats21/auprc": auprc,
        "mslub/dice": ms_dice,
        "mslub/auprc": ms_auprc,
        "ixi/l1": l1,
    }


@pytest.fixture
def paper(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The toy table as the paper's Table 1; its AE as published, but for the Dice of MSLUB, which is far higher."""
    bench.preset = bench.preset.model_copy(update={"departures": ()})
    monkeypatch.setattr(reproduction, "load_suite", lambda name: bench.suite)
    for fold, shift in enumerate(SPREAD):
        bench.run(1, fold, numbers(0.3287 + shift, 0.3107 + shift, 0.1710 + shift / 10, 0.0558, 0.03055), **PAPER)
    return bench


def found(bench: Bench, **words: Any) -> Reproduction:
    results = load_results(bench.runs.parent)
    cells = results.to_dataframe()
    asked = {"data": "scans", "which": "table1", **words}
    return reproduction_of(
        asked.pop("which"), cells[cells["done"].astype(bool)], results.volumes(), bench.preset, **asked
    )


def verdicts(one: Reproduction, row: str = "ae") -> dict[str, str]:
    own = one.frame[one.frame["row"] == row]
    return dict(zip(own["set"] + "/" + own["metric"], own["verdict"], strict=True))


def test_verdicts_on_the_papers_sets(paper: Bench) -> None:
    one = found(paper)
    assert one.reasons == ()
    assert verdicts(one) == {
        "tumours/dice": "reproduced",
        "tumours/auprc": "reproduced",
        "ms/dice": "higher",
        "ms/auprc": "reproduced",
        "healthy/l1": "reproduced",
    }
    assert one.failed
    assert one.sentences[0] == "Table 1 is not reproduced: 5 figures judged, 4 reproduced, 1 higher."
    assert one.not_run == ("Thresh", "MAEDiff")
    line = one.frame.iloc[0]
    assert line["ours"] == pytest.approx(32.87)
    assert line["paper"] == published("table1")["ae"].cells["tumours/dice"]
    assert line["difference"] == pytest.approx(0, abs=1e-9)
    assert line["low"] == pytest.approx(-line["high"]) != 0


def test_a_method_without_spread_is_judged_over_scans(paper: Bench) -> None:
    paper.run(0, 0, numbers(0.1969, 0.2027, 0.08, 0.0423, 0.14512), **PAPER)
    one = found(paper)
    own = one.frame[one.frame["row"] == "thresh"].set_index(["set", "metric"])
    assert own.loc[("tumours", "dice"), "verdict"] == "reproduced"
    assert own.loc[("ms", "dice"), "verdict"] == "no verdict"  # no scan of MSLUB in these records, no spread printed


@pytest.mark.parametrize(
    ("config", "changes", "reason"),
    [
        ({"splits": "own"}, (), "the splits are not the published ones (own); run with --splits published"),
        ({"cohorts": {**PAPER["cohorts"], "ms": {"name": "msseg2016", "title": "MSSEG"}}}, (), "not the paper's"),  # type: ignore[dict-item]
        ({"data": "phantom", "cohorts": {"ms": {"name": "phantom-ms", "title": "MS"}}}, (), "simulated brains"),
    ],
)
def test_no_verdict_on_anything_else(
    bench: Bench, config: dict[str, Any], changes: tuple[str, ...], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduction, "load_suite", lambda name: bench.suite)
    words = {**PAPER, **config}
    cohort = words["cohorts"]["ms"]["name"]
    bench.run(1, 0, {f"{cohort}/dice": 0.9}, **words)
    one = found(bench, data=words["data"])
    assert reason in one.sentences[0]
    assert "preset demo departs from the paper's numbers" in one.sentences[0]
    assert not one.failed


def test_folds_that_are_missing_and_a_garbled_figure_are_not_judged(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, entry_of: Any
) -> None:
    bench.preset = bench.preset.model_copy(update={"departures": ()})
    bench.suite = load_suite("table2").__class__("table2", "Table 2: a title", (entry_of("unet-att", "U-Net + Att."),))
    monkeypatch.setattr(reproduction, "load_suite", lambda name: bench.suite)
    for fold in range(5):
        bench.run(0, fold, numbers(0.1587, 0.0971, 0.0411, 0.0264, 2.0), **PAPER)
    assert verdicts(found(bench, which="2"), "unet-att")["healthy/l1"] == "cannot be read"
    (path,) = [path for path in bench.runs.iterdir() if "fold4" in path.name]
    (path / "digests.json").unlink()
    one = found(bench, which="2")
    assert set(verdicts(one, "unet-att").values()) == {"4/5 folds", "cannot be read"}
    assert not one.failed


def test_what_others_got_stands_in_columns_of_their_own(paper: Bench, entry_of: Any) -> None:
    paper.suite = paper.suite.__class__("table1", "Table 1: a title", (entry_of("pddpm-s48", "pDDPM (s48)"),))
    for fold, shift in enumerate(SPREAD):
        paper.run(0, fold, numbers(0.41 + shift, 0.44 + shift, 0.09, 0.09, 0.011), **PAPER)
    one = found(paper)
    assert one.sources == ("issue 7", "issue 8", "arXiv 2408.08228", "arXiv 2409.19623")
    line = one.frame.set_index(["set", "metric"]).loc[("tumours", "dice")]
    assert [line[source] for source in one.sources] == ["41.16", "41.60", "49.41 ± 0.66", "39.49"]
    file = io.StringIO()
    console = Console(file=file, width=80)
    print_reproduction(one, "rich", console)
    text = file.getvalue()
    assert "49.41±0.66" in text
    assert "issues/8" in text
    assert max(map(len, text.splitlines())) <= 80


def test_others_are_told_of_the_papers_sets_whatever_ours_are(
    bench: Bench, entry_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.suite = bench.suite.__class__("table1", "Table 1: a title", (entry_of("pddpm-s48", "pDDPM (s48)"),))
    monkeypatch.setattr(reproduction, "load_suite", lambda name: bench.suite)
    bench.run(0, 0, bench.words(0.03, 0.3))
    file = io.StringIO()
    print_reproduction(found(bench, data="phantom"), "rich", Console(file=file, width=80))
    _, _, others = file.getvalue().partition("What others got")
    assert "BraTS21 DICE" in others
    assert "phantom tumours" not in others


def test_every_format_has_the_same_figures(paper: Bench) -> None:
    one = found(paper)
    texts = {}
    for form in ("markdown", "csv", "json"):
        file = io.StringIO()
        print_reproduction(one, form, Console(file=file))
        texts[form] = file.getvalue()
    lines = list(csv.DictReader(io.StringIO(texts["csv"])))
    figures = json.loads(texts["json"])["figures"]
    assert [float(line["ours"]) for line in lines] == pytest.approx([figure["ours"] for figure in figures])
    assert [line["verdict"] for line in lines] == [figure["verdict"] for figure in figures]
    assert texts["markdown"].count("| reproduced |") == 4
    with pytest.raises(UserError, match="choose rich, markdown, csv, json"):
        print_reproduction(one, "pdf", Console(file=io.StringIO()))


def test_versions_of_the_data_do_not_mix(paper: Bench) -> None:
    paper.run(2, 0, numbers(0.4, 0.4, 0.1, 0.1, 0.01), fingerprint="0" * 64, **PAPER)
    with pytest.raises(UserError, match="Table 1 would mix 2 versions of the data"):
        found(paper)
    assert set(found(paper, fingerprint="f").frame["row"]) == {"ae"}


def test_what_cannot_be_compared_is_one_sentence(paper: Bench) -> None:
    with pytest.raises(UserError, match="the paper has no frontier; choose table1 or table2"):
        found(paper, which="frontier")
    with pytest.raises(UserError, match="nothing of Table 1 is finished with preset demo on elsewhere"):
        found(paper, data="elsewhere")


def test_the_exit_code_says_whether_it_failed(paper: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request, "requested_preset", lambda *words, **_: paper.preset)
    words = ["reproduce", "table1", "--data", "scans", "--results", str(paper.runs.parent)]
    failed = CliRunner().invoke(app, words)
    assert failed.exit_code == 1, failed.output
    assert "not reproduced" in failed.output
    paper.preset = paper.preset.model_copy(update={"departures": ("everything is smaller",)})
    assert CliRunner().invoke(app, words).exit_code == 0


def test_reruns_name_a_row_of_the_paper_their_source_and_their_conditions() -> None:
    rows = {entry.row.name for name in ("table1", "table2") for entry in load_suite(name).rows}
    columns = set(next(iter(published("table1").values())).cells)
    for one in reruns():
        assert one.row in rows
        assert one.source
        assert one.link.startswith("github.com/")
        assert one.note
        assert set(one.cells) == columns
        assert any(one.cells.values())
    assert len({(one.row, one.source) for one in reruns()}) == len(reruns())


def test_a_rerun_that_stands_elsewhere_too_is_the_same_figure() -> None:
    text = (Path(__file__).parents[3] / "results" / "paper" / "elsewhere.csv").read_text(encoding="utf-8")
    known = {
        (line["title"], line["source"], f"{line['role']}/{metric}"): line[metric]
        for line in csv.DictReader(io.StringIO(text))
        for metric in ("dice", "auprc")
    }
    compared = 0
    for one in reruns():
        for name, cell in one.cells.items():
            if expected := known.get((one.title, one.source, name)):
                assert cell.partition(" ")[0] == expected
                compared += 1
    assert compared == 6
