"""`bench compare` and `bench table --ci` on a small study that was never run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from trials.simulated_study import Shape, Study
from typer.testing import CliRunner

from uadbench import load_results
from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.reports.renderers.terminal import renderable
from uadbench.benchmarks.reports.table import TableOptions
from uadbench.benchmarks.reports.tables import render, suites_of, tables_of, volumes_in
from uadbench.errors import UserError
from uadbench.metrics.inference import paired, two_level_interval


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows, two seeds, three folds; 60 healthy scans, 55 with tumours, 8 with MS."""
    results = tmp_path_factory.mktemp("study")
    list(Study(results / "runs", Shape(rows=4, folds=3, volumes=(60, 55, 8), bins=0, seeds=2)).write())
    return results


def bench(*words: str) -> str:
    answer = CliRunner().invoke(app, words, env={"COLUMNS": "80", "TERM": "dumb"})
    assert answer.exit_code == 0, answer.stderr
    return answer.stdout


@cache
def all_volumes(study: Path) -> pd.DataFrame:
    return load_results(study).volumes()


def scores_of(study: Path, row: str, key: str, metric: str, seed: int = 0) -> np.ndarray:
    """Scores [folds, volumes], straight from the frame of volumes."""
    volumes = all_volumes(study)
    own = volumes[(volumes["row"] == row) & (volumes["set"] == key) & (volumes["seed"] == seed)]
    return own.pivot_table(index="fold", columns="subject", values=metric).to_numpy()


def test_numbers_are_those_of_the_volumes(study: Path) -> None:
    found = load_results(study).compare("maediff", "pddpm-s16")
    own = found.frame[found.frame["seed"] == 0]
    pairs = [("tumours", "dice"), ("tumours", "auprc"), ("ms", "dice"), ("ms", "auprc"), ("healthy", "l1")]
    assert list(zip(own["set"], own["metric"], strict=True)) == pairs
    for row in own.itertuples():
        one, other = (scores_of(study, name, row.set, row.metric) for name in ("maediff", "pddpm-s16"))
        wanted = paired(one, other, higher=row.metric != "l1")
        assert (row.wins, row.losses, row.n) == (wanted.wins, wanted.losses, wanted.n)
        assert (row.p, row.difference) == pytest.approx((wanted.p, wanted.difference))
    assert str(found) == found.sentence
    assert found.sentence.startswith("On phantom tumours MAEDiff is better than pDDPM (s16) (DICE +")
    assert found.titles == {"tumours": "phantom tumours", "ms": "phantom MS", "healthy": "phantom healthy"}
    assert found.notes[0].startswith("phantom: simulated brains")
    assert "MS 8" in found.notes[-1]


def test_other_seeds_stand_beside_the_one_that_was_asked_for(study: Path) -> None:
    found = load_results(study).compare("maediff", "pddpm-s16", seed=1, metrics=["dice"])
    assert found.frame["seed"].tolist() == [1, 1, 0, 0]
    first = found.frame.iloc[0]
    one, other = (scores_of(study, name, "tumours", "dice", seed=1) for name in ("maediff", "pddpm-s16"))
    assert first["difference"] == pytest.approx((one - other).mean())
    assert "With the seeds 1, 0 the difference is on phantom tumours +" in found.sentence


def test_the_other_way_round_turns_the_sign(study: Path) -> None:
    results = load_results(study)
    one, other = results.compare("maediff", "ae").frame, results.compare("ae", "maediff").frame
    assert one["difference"].tolist() == (-other["difference"]).tolist()
    assert one["p_holm"].tolist() == other["p_holm"].tolist()


def test_a_row_is_found_by_its_recipe(study: Path) -> None:
    """The U-Net of Table 2 is pDDPM (s16) of Table 1."""
    results = load_results(study)
    one, other = (results.compare("maediff", name).frame for name in ("pddpm-s16", "unet"))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("maediff", "vae"),
            "VAE has no finished cell on phantom by preset demo with seed 0; run `bench run --method vae`",
        ),
        (("unet", "pddpm-s16"), "are the same cells"),
        (("table1", "maediff"), "table1 names 10 rows"),
        (("maediff", "aee"), "there is no method 'aee'"),
        (("maediff", "ae", "--metric", "f1"), "--metric f1: there is no such number; did you mean lesion_f1?"),
        (
            ("maediff", "ae", "--metric", "hd95"),
            "--metric hd95: 6 cells have no lesion-wise numbers yet: `bench score --method ae --method maediff`",
        ),
        (("maediff", "ae", "--seed", "7"), "with seed 7"),
        (("maediff", "ae", "--fingerprint", "abc"), "no cell was run on such data"),
        (("maediff", "ae", "--results", "nowhere"), "there is no results folder"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(study: Path, words: tuple[str, ...], sentence: str) -> None:
    answer = CliRunner().invoke(app, ["compare", "--results", str(study), *words], env={"COLUMNS": "300"})
    assert answer.exit_code == 2
    assert sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_folds_that_both_have_are_compared_and_others_said(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "runs", tmp_path / "runs")
    results = load_results(tmp_path)
    (lost,) = (one for one in results.records if (one.config.row, one.config.fold, one.config.seed) == ("ae", 1, 0))
    shutil.rmtree(lost.folder)
    found = load_results(tmp_path).compare("maediff", "ae", metrics=["dice"])
    own = found.frame[found.frame["seed"] == 0]
    assert own["folds"].tolist() == [2, 2]
    assert "MAEDiff has 3 folds; compared by the 2 that both have." in found.notes
    wanted = scores_of(study, "maediff", "tumours", "dice")[[0, 2]].mean()
    assert own["first"].iloc[0] == pytest.approx(wanted)


def test_what_is_printed_and_the_same_as_json(study: Path) -> None:
    words = ("compare", "maediff", "pddpm-s16", "--results", str(study))
    text, found = bench(*words), json.loads(bench(*words, "--json"))
    assert max(map(len, text.splitlines())) <= 80
    assert found["sentence"] == load_results(study).compare("maediff", "pddpm-s16").sentence
    first = found["numbers"][0]
    assert f"{100 * first['difference']:+.2f}" in text
    assert f"{first['wins']}/{first['ties']}/{first['losses']}" in text
    assert found["sets"]["ms"] == "phantom MS"


def test_a_table_with_intervals(study: Path) -> None:
    """Text, LaTeX, HTML and CSV say the same as the volumes do."""
    results = load_results(study)
    cells = results.to_dataframe()
    (table,) = tables_of(
        suites_of("1"),
        cells,
        load_preset("demo", ()),
        "phantom",
        seed=0,
        options=TableOptions(ci=True, paper=True),
        volumes=lambda ids: volumes_in(results.records, ids),
    )
    wanted = two_level_interval(100 * scores_of(study, "maediff", "tumours", "dice"))
    place = table.lines.index[(table.lines["row"] == "maediff") & (table.lines["kind"] == "method")][0]
    sure = table.sure(place, table.columns[0])
    assert sure is not None
    assert (sure.low, sure.high, sure.n) == pytest.approx((wanted.low, wanted.high, 55))
    ends = f"[{wanted.low:.2f}, {wanted.high:.2f}]"
    assert ends in table.text().iloc[place, 0]
    assert all(ends in render([table], form) for form in ("markdown", "latex", "html"))
    lines = csv.DictReader(io.StringIO(render([table], "csv")))
    (line,) = (
        x for x in lines if (x["row"], x["kind"], x["role"], x["metric"]) == ("maediff", "method", "tumours", "dice")
    )
    assert (float(line["low"]), int(line["volumes"])) == (pytest.approx(wanted.low), 55)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(renderable(table))
    shown = console.export_text(styles=False)
    assert f"{wanted.low:.1f}–{wanted.high:.1f}" in shown
    paper = table.lines.index[table.lines["kind"] == "paper"][0]
    assert table.sure(paper, table.columns[0]) is None


def test_signs_say_what_is_near_the_best_and_what_stands_on_few_volumes(study: Path) -> None:
    text = bench("table", "1", "--ci", "--format", "csv", "--results", str(study))
    lines = list(csv.DictReader(io.StringIO(text)))
    near = {(x["row"], x["role"], x["metric"]) for x in lines if x["near_best"] == "True"}
    assert ("pddpm-s16", "tumours", "dice") not in near
    best = max((x for x in lines if (x["role"], x["metric"]) == ("tumours", "dice")), key=lambda x: float(x["mean"]))
    assert (best["row"], "tumours", "dice") in near
    markdown = bench("table", "1", "--ci", "--format", "markdown", "--results", str(study))
    (row,) = [line for line in markdown.splitlines() if line.startswith("| MAEDiff |")]
    cells = [cell.strip() for cell in row.split("|")[2:-1]]
    assert ["†" in cell for cell in cells] == [False, False, True, True, False]
    assert any("≈" in line for line in markdown.splitlines() if line.startswith("| "))
    assert "≈**" not in markdown and "**≈" not in markdown, "the best is bold and needs no other sign"


def test_a_table_without_intervals_is_as_ever(study: Path) -> None:
    text = bench("table", "1", "--format", "csv", "--results", str(study))
    assert text.splitlines()[0].endswith(",printed,origin")
    assert "[" not in bench("table", "1", "--format", "markdown", "--results", str(study)).split("Data:")[0]


def test_the_numbers_of_a_notebook(study: Path) -> None:
    numbers = load_results(study).numbers("1", ci=True)
    wanted = two_level_interval(100 * scores_of(study, "ae", "ms", "auprc"))
    found = numbers.loc[("ae", "method")]["ms"]["auprc"]
    assert (found["low"], found["high"], found["volumes"]) == pytest.approx((wanted.low, wanted.high, 8))
    assert "low" not in load_results(study).numbers("1").columns.get_level_values(2)
    assert "†" in load_results(study).table("1", ci=True).to_html()


@pytest.fixture(scope="module")
def found_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rows, two seeds, two folds, with what was found in 12 healthy scans, 55 with tumours and 30 with MS."""
    results = tmp_path_factory.mktemp("found")
    shape = Shape(rows=4, folds=2, volumes=(12, 55, 30), bins=16, seeds=2)
    list(Study(results / "runs", shape).write())
    return results


def lines_of(study: Path, row: str, key: str, at: str) -> pd.DataFrame:
    detections = load_results(study).detections()
    own = detections[(detections["row"] == row) & (detections["seed"] == 0) & (detections["set"] == key)]
    return own[own["at"] == at]


def test_numbers_of_what_was_found(found_study: Path) -> None:
    """HD95 of scans in which nothing is found is the diagonal: 192 mm, 192 mm and 12 slices of 2 mm."""
    metrics = ["dice", "hd95", "healthy_false_ml"]
    found = load_results(found_study).compare("maediff", "pddpm-s16", metrics=metrics)
    own = found.frame[found.frame["seed"] == 0].set_index(["set", "metric"])
    assert list(own.index) == [
        *(("tumours", "dice"), ("tumours", "hd95"), ("ms", "dice"), ("ms", "hd95")),
        *(("healthy@tumours", "healthy_false_ml"), ("healthy@ms", "healthy_false_ml")),
    ]
    worst = np.sqrt(192**2 + 192**2 + 24**2)
    one, other = (
        lines_of(found_study, row, "ms", "ms").set_index(["fold", "subject"])["hd95"].unstack("subject")  # noqa: PD010
        for row in ("maediff", "pddpm-s16")
    )
    blank = other.isna().any(axis=0)
    assert blank.any(), "the study has a scan in which pDDPM finds nothing"
    wanted = paired(one.fillna(worst).to_numpy(), other.fillna(worst).to_numpy(), higher=False)
    row = own.loc[("ms", "hd95")]
    assert (row["difference"], row["p"], row["wins"]) == pytest.approx((wanted.difference, wanted.p, wanted.wins))
    assert (row["n"], row["scans"], row["worst_second"]) == (30, 30, blank.sum())
    (note,) = [note for note in found.notes if note.startswith("HD95 on phantom MS")]
    assert f"pDDPM (s16) in {blank.sum()}, in one fold at least" in note
    assert "(the diagonal of the volume, 273 mm)" in note
    both = (one.isna() | other.isna()).to_numpy()
    left = np.where(both, np.nan, one.to_numpy() - other.to_numpy())
    assert f"the difference is {np.nanmean(left):+.2f} mm".replace("-", "−") in note
    marked = lines_of(found_study, "maediff", "healthy", "ms")["found_ml"].mean()
    assert own.loc[("healthy@ms", "healthy_false_ml"), "first"] == pytest.approx(marked)
    assert "on healthy scans at the threshold of phantom tumours" in found.sentence
    assert "With the seeds 0, 1 the difference is" in found.sentence


def test_the_family_is_what_is_asked_for(found_study: Path) -> None:
    results = load_results(found_study)
    alone, both = (
        results.compare("maediff", "ae", metrics=names).frame for names in (["hd95"], ["hd95", "components"])
    )
    assert any(
        "adjusted for 2 comparisons" in note for note in results.compare("maediff", "ae", metrics=["hd95"]).notes
    )
    first, second = (frame[frame["metric"] == "hd95"] for frame in (alone, both))
    assert first["p"].tolist() == second["p"].tolist()
    assert (second["p_holm"].to_numpy() >= first["p_holm"].to_numpy()).all()


def test_what_was_found_is_printed_in_80_letters(found_study: Path) -> None:
    words = ("compare", "maediff", "ae", "--results", str(found_study))
    text = bench(*words, "--metric", "l1_ratio", "--metric", "healthy_false_below_01", "--metric", "lesion_f1")
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    assert "healthy scans at the threshold of phantom tumours" in flat
    assert "l1 in lesions over elsewhere: neither more nor less is better" in flat
    assert "means over scans here" in flat
    found = json.loads(bench(*words, "--metric", "hd95", "--json"))
    assert found["numbers"][0]["scans"] == 55


def test_cells_that_are_measured_in_part_are_not_compared(found_study: Path, tmp_path: Path) -> None:
    """A cell that `bench score` has opened: what is there of it would be a choice of volumes."""
    shutil.copytree(found_study / "runs", tmp_path / "runs")
    records = load_results(tmp_path).records
    for seed in (1, 0):
        opened = next(one for one in records if (one.config.row, one.config.seed) == ("ae", seed))
        measured = opened.detection.measured()
        config = opened.detection.config
        opened.reopen()
        assert config is not None
        opened.detection.begin(config)
        opened.detection.keep(measured[:20])
        results = load_results(tmp_path)
        if seed:
            found = results.compare("maediff", "ae", metrics=["hd95"])
            assert set(found.frame["seed"]) == {0}
            assert found.notes[-1].startswith("Seed 1 is left out: 1 cell has no lesion-wise numbers yet")
    with pytest.raises(UserError, match=r"--metric hd95: 1 cell has no lesion-wise .* `bench score --method ae`"):
        results.compare("maediff", "ae", metrics=["hd95"])
    assert len(results.compare("maediff", "ae").frame), "the paper's numbers are there"
