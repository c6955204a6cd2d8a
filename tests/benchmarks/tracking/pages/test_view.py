"""The prepared view of MLflow's page of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.tracking.pages.view import CURVES_TAG, VIEW_TAG, curves_state, names_in, view_state
from uadbench.benchmarks.tracking.sync import prepare_store, sync_all
from uadbench.benchmarks.tracking.tags import TAG_LENGTH

NAMES = ("dice_brats21", "auprc_brats21", "l1_ixi")


def test_it_shows_the_names_as_columns_and_as_bars_in_their_order() -> None:
    state = json.loads(view_state(NAMES))
    assert state["selectedColumns"] == [f"metrics.`{name}`" for name in NAMES]
    assert [chart["metricKey"] for chart in state["compareRunCharts"] if chart["type"] == "BAR"] == list(NAMES)
    assert "parent" in state["searchFilter"]
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} == sections
    assert names_in(view_state(NAMES)) == NAMES


def test_one_chart_has_a_line_per_method_through_all_columns_by_row() -> None:
    state = json.loads(view_state(NAMES))
    (lines,) = [chart for chart in state["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert (lines["selectedParams"], lines["selectedMetrics"]) == (["row"], list(NAMES))


def test_the_curves_are_those_of_folds_taken_together_by_parent(
    tmp_path: Path, mlflow_uri: str, entry_of: Callable[..., Any], fake_record: Callable[..., Any]
) -> None:
    from mlflow import MlflowClient

    fake_record(tmp_path, entry_of("toy", "Toy"), data="curves", fingerprint="curves")
    sync_all(tmp_path, mlflow_uri, SilentReporter())
    client = MlflowClient(mlflow_uri)
    experiment = client.get_experiment_by_name("uadbench")
    state = json.loads(experiment.tags[CURVES_TAG])
    assert state == json.loads(curves_state()) and len(curves_state()) <= TAG_LENGTH
    query = f"{state['searchFilter']} and tags.`uadbench.data` = 'curves'"
    (fold,) = client.search_runs([experiment.experiment_id], query)
    shown = [chart["metricKey"] for chart in state["compareRunCharts"]]
    assert shown == ["train_loss", "val_loss", "learning_rate"] and set(shown) <= set(fold.data.metrics)
    assert all(chart["lineSmoothness"] == 0 for chart in state["compareRunCharts"]), "what is shown is what was"
    (key,) = state["groupBy"]["groupByKeys"]
    parent = client.get_run(fold.data.tags["mlflow.parentRunId"])
    assert fold.data.tags[key["groupByData"]] == parent.info.run_name


def test_a_tag_has_room_for_it_however_many_sets_there_are() -> None:
    names = [f"dice_a-data-set-of-a-long-name-{number}" for number in range(300)]
    state = view_state(names)
    assert len(state) <= TAG_LENGTH
    assert 3 < len(names_in(state)) < 300
    assert view_state(names_in(state)) == state


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"compareRunCharts": [{}]}', '{"compareRunCharts": 3}'])
def test_what_somebody_else_wrote_has_no_names(text: str) -> None:
    assert names_in(text) == ()


def test_the_experiment_has_it_from_the_beginning_and_it_grows(
    tmp_path: Path, mlflow_uri: str, entry_of: Callable[..., Any], fake_record: Callable[..., Any]
) -> None:
    from mlflow import MlflowClient

    def names() -> tuple[str, ...]:
        return names_in(MlflowClient(mlflow_uri).get_experiment(number).tags[VIEW_TAG])

    number = prepare_store(mlflow_uri)
    before = names()
    fake_record(tmp_path, entry_of("toy", "Toy"), data="view", fingerprint="view", metrics={"a-set/dice": 0.5},
                cohorts={"tumours": {"name": "a-set", "title": "A set"}})  # fmt: skip
    sync_all(tmp_path, mlflow_uri, SilentReporter())
    assert names() == (*before, "dice_a-set")
