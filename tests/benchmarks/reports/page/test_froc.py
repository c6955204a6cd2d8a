"""The FROC figure: its numbers are the tables', its rows those that have a curve, its dots the run's thresholds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from uadbench.benchmarks.judgement.detection import detection_numbers, with_detection
from uadbench.benchmarks.records.record import all_records
from uadbench.benchmarks.reports.page.report import write_report
from uadbench.benchmarks.reports.page.sections.froc import RowFroc, froc_figure, row_frocs
from uadbench.benchmarks.reports.page.study import Study
from uadbench.benchmarks.reports.results import load_results
from uadbench.benchmarks.sources import data_of_runs
from uadbench.metrics.lesions import Froc

from .conftest import ask
from cases import as_version_1


@pytest.fixture(scope="module")
def points(study: Study) -> pd.DataFrame:
    return study.results.froc_points()


@pytest.fixture(scope="module")
def cells(study: Study, points: pd.DataFrame) -> pd.DataFrame:
    numbers = detection_numbers(study.results.detections(), study.results.lesions(), points=points)
    return with_detection(study.cells, numbers)


def test_the_curves_are_those_of_the_tables(study: Study, points: pd.DataFrame, cells: pd.DataFrame) -> None:
    one = study.lesion_sets[0]
    found = row_frocs(study, one, points, cells)
    assert set(found) == {row.place for row in study.rows}
    for row in study.rows:
        own = cells[cells["id"].isin(row.cells["id"])]
        at = found[row.place].at(np.array([1.0, 2.0, 4.0, 8.0]))
        assert at == pytest.approx([own[f"{one.key}/froc_at_{n}"].mean() for n in (1, 2, 4, 8)])
        assert found[row.place].sensitivity == pytest.approx(own[f"{one.key}/lesion_recall"].mean())
        assert found[row.place].false_per_scan == pytest.approx(own[f"{one.key}/false_per_scan"].mean())
    figure = froc_figure(study, one, found)
    assert figure is not None
    said = re.findall(r"\(([\d.]+) % at 1\)", figure.picture)
    shown = sorted((f"{100 * found[place].at(np.array([1.0]))[0]:.1f}" for place in found), key=float)
    assert sorted(said, key=float) == shown
    assert figure.picture.count("knob") == len(study.rows)


def test_rows_without_a_curve_are_left_out(study: Study, points: pd.DataFrame, cells: pd.DataFrame) -> None:
    one, last = study.lesion_sets[0], study.rows[-1]
    own = points[~points["id"].isin(last.cells["id"])]
    assert set(row_frocs(study, one, own, cells)) == {row.place for row in study.rows[:-1]}
    blind = points.assign(lesions=0.0, hits=0.0)
    assert row_frocs(study, one, blind, cells) == {}
    assert froc_figure(study, one, {}) is None


def test_a_curve_ends_where_components_are_the_most_and_a_thin_line_goes_on() -> None:
    folds = (
        Froc(np.array([0.1, 0.5, 0.9]), np.array([1.0, 8.0, 2.0])),
        Froc(np.array([0.3, 0.5, 0.7]), np.array([2.0, 6.0, 4.0])),
    )
    row = RowFroc(folds, 0.8, 3.0)
    assert row.most == 8.0
    np.testing.assert_allclose(row.tail.false_per_scan, [7, 3])
    np.testing.assert_allclose(row.tail.sensitivity, [0.5, 0.8])
    np.testing.assert_allclose(row.at(np.array([100.0])), [0.5])


def test_the_page_has_a_figure_per_lesion_set(text: str, study: Study) -> None:
    for one in study.lesion_sets:
        assert text.count(f"{one.title}: lesions found and false components (FROC)") == 1
        assert text.count(f"{one.title}: operating points") == 1


def test_records_of_version_1_make_a_page_that_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "old")
    for record in all_records(tmp_path / "old" / "runs"):
        as_version_1(record)
    write_report(
        load_results(tmp_path / "old"),
        ask(),
        tmp_path / "report.html",
        folder=tmp_path,
        open_data=lambda fingerprint: data_of_runs(tmp_path, fingerprint),
    )
    text = (tmp_path / "report.html").read_text()
    assert "8 cells have no FROC yet: `bench score --method …` with the options of its run adds it." in text
    assert "(FROC)" not in text and ": operating points" in text and 'id="curves"' in text
