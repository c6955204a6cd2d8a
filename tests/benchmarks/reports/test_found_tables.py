"""`bench table --detection` on toy records: every format has the tables, a record without lines has dashes."""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from uadbench.benchmarks.judgement.found import FOUND_TABLES, POOLED_TABLE
from uadbench.benchmarks.records.detection_lines import (
    LesionDetection,
    Measured,
    VolumeDetection,
    VolumeFroc,
    VolumeHistogram,
    pack,
)
from uadbench.benchmarks.records.detections import DETECTION_VERSION, DetectionConfig, LadderStep, SetThresholds
from uadbench.benchmarks.records.record import RunRecord, all_records
from uadbench.benchmarks.reports import tables
from uadbench.benchmarks.reports.results import Results
from uadbench.benchmarks.reports.table import TableOptions
from uadbench.benchmarks.reports.tables import print_tables
from uadbench.errors import UserError

if TYPE_CHECKING:
    from .conftest import Bench

SHOWN = (*FOUND_TABLES, POOLED_TABLE)
DOWN = "http://127.0.0.1:9"
THRESHOLDS = SetThresholds(greedy=0.3, exact=0.3, at_1=0.6, at_5=0.5, at_10=0.4)
CONFIG = DetectionConfig(
    version=DETECTION_VERSION,
    thresholds={"tumours": THRESHOLDS, "ms": THRESHOLDS},
    top=1.0,
    bins=8,
    voxel_mm=2.0,
    ladder=(LadderStep(share=0.01, threshold=0.6), LadderStep(share=0.05, threshold=0.5)),
)


def measured(role: str, subject: str, hits: int, found_ml: float) -> Measured:
    """A volume of two lesions of which so many are found, or a healthy one in which so much is marked."""
    whole: dict[str, Any] = {field.name: 0 if field.type == "int" else 0.0 for field in fields(VolumeDetection)}
    names = {"cohort": f"phantom-{role}", "role": role, "subject": subject}
    ill = role != "healthy"
    counts = (
        {"lesions": 2, "hits": hits, "hits_iou": 0, "merged": 0, "split": 0}
        if ill
        else dict.fromkeys(
            ("lesions", "hits", "hits_iou", "merged", "split", "hit_ml", "hd95", "surface_dice", "ceiling_dice")
        )
    )
    numbers = {**whole, **names, **counts, "brain_ml": 1000.0, "found_ml": found_ml, "components": hits}
    lines = tuple(VolumeDetection(**{**numbers, "at": at}) for at in ([role] if ill else list(CONFIG.thresholds)))
    lesions = [
        LesionDetection(**names, lesion=n + 1, ml=0.5, dice=float(n < hits), iou=0.0, touched=0.0) for n in (0, 1)
    ]
    froc = [
        VolumeFroc(
            **names,
            share=step.share,
            components=hits + place,
            false=place,
            lesions=2 if ill else None,
            hits=hits if ill else None,
        )
        for place, step in enumerate(CONFIG.ladder)
    ]
    counted = np.ones(len(CONFIG.edges) + 1, dtype=np.int64)
    words = (pack(counted), pack(counted), pack(np.zeros(3, dtype=np.float32)), pack(np.zeros(3, dtype=np.int64)))
    return Measured(
        lines,
        tuple(lesions if ill else ()),
        tuple(froc),
        VolumeHistogram(**names, **dict(zip(_ARRAYS, words, strict=True))),
    )


_ARRAYS = ("inside", "outside", "slice_scores", "slice_lesions")


def record_of(bench: Bench, place: int) -> RunRecord:
    return RunRecord(sorted(path for path in bench.runs.iterdir() if path.is_dir())[place])


@pytest.fixture
def found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Two folds of a row with lines, one fold of another without."""
    monkeypatch.setattr(tables, "suites_of", lambda which: (bench.suite,))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DOWN)
    for fold, hits in enumerate((1, 2)):
        bench.run(1, fold, bench.words(0.03, 0.3), done=False)
        record = record_of(bench, fold)
        record.detection.begin(CONFIG)
        record.detection.keep(
            [
                measured("tumours", "t1", hits, 3.0),
                measured("ms", "m1", 1, 1.0),
                measured("healthy", "h1", 1, 4.0 + fold),
            ]
        )
        record.set_state("scoring", trained=True)
        record.finish(60.0)
    bench.run(2, 0, bench.words(0.02, 0.4))
    return bench


def printed(bench: Bench, form: str, width: int = 1000) -> str:
    file = io.StringIO()
    words: dict[str, Any] = {"seed": 0, "results": bench.runs.parent, "options": TableOptions(detection=True)}
    print_tables("1", form, bench.preset, "phantom", console=Console(file=file, width=width), **words)
    return file.getvalue()


def test_the_numbers_are_means_over_the_folds_that_have_them(found: Bench) -> None:
    lines = list(csv.DictReader(io.StringIO(printed(found, "csv"))))
    assert len({line["table"] for line in lines}) == 1 + len(SHOWN)
    own = {
        (line["role"], line["metric"]): (float(line["mean"]), int(line["folds"]))
        for line in lines
        if line["row"] == "ae" and line["mean"]
    }
    assert own["tumours", "lesion_recall"] == (75.0, 2)
    assert own["ms", "lesion_recall"] == (50.0, 2)
    assert own["tumours", "recall_01_1"] == (75.0, 2)
    # Fold 0 finds one of two lesions, fold 1 both, and the second step of each has one false component per scan.
    assert own["tumours", "froc_at_1"] == own["tumours", "froc_at_8"] == (75.0, 2)
    assert own["tumours", "healthy_false_ml"] == (4.5, 2)
    assert ("tumours", "recall_1_10") not in own
    other = [line for line in lines if line["row"] == "maediff" and line["table"] != "table1"]
    assert other and all(not line["mean"] for line in other)
    assert len(lines) == 2 * (5 + 2 * sum(len(table.metrics) for table in SHOWN))


@pytest.mark.parametrize("form", ["rich", "markdown", "latex", "html"])
def test_every_format_has_the_tables_and_their_notes(found: Bench, form: str) -> None:
    text = " ".join(printed(found, form).split())
    for table in SHOWN:
        assert f"Table 1: {table.title}" in text or table.title.capitalize() in text
    assert "1 cell has no lesion-wise numbers yet: `bench score --method maediff`" in text
    assert "nothing to measure" in text
    assert text.count("phantom: simulated brains") == 1 + len(SHOWN)


def test_the_terminal_keeps_to_80_letters(found: Bench) -> None:
    lines = printed(found, "rich", 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert any("75.00±35.36" in line for line in lines)


def test_without_the_option_there_is_one_table(found: Bench) -> None:
    file = io.StringIO()
    print_tables("1", "csv", found.preset, "phantom", seed=0, results=found.runs.parent, console=Console(file=file))
    assert {line["table"] for line in csv.DictReader(io.StringIO(file.getvalue()))} == {"table1"}


def test_the_notebook_has_the_same_numbers_cell_by_cell(found: Bench) -> None:
    results = Results(all_records(found.runs))
    frame = results.found()
    assert frame["fold"].tolist() == [0, 1]
    assert frame["tumours/lesion_recall"].tolist() == [0.5, 1.0]
    with pytest.raises(UserError, match=r"`Results.found\(\)` has their numbers"):
        results.table("1", preset=found.preset, options=TableOptions(detection=True))
