"""A table shows runs of one modality, says which, and says that published figures are of another."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.records.record import all_records
from uadbench.benchmarks.reports.tables import gather, render
from uadbench.benchmarks.tracking.sync import sync_all
from uadbench.datasets.modality import Modality

if TYPE_CHECKING:
    from .conftest import Bench

T1, T2, FLAIR = Modality.T1, Modality.T2, Modality.FLAIR


def run_both(bench: Bench, data: str = "phantom") -> None:
    """The autoencoder on T2 and MAEDiff on T1, Thresh on both."""
    bench.run(0, 0, bench.words(0.03, 0.20), data=data)
    bench.run(1, 0, bench.words(0.03, 0.30), data=data)
    bench.run(0, 0, bench.words(0.03, 0.40), data=data, modality=T1)
    bench.run(2, 0, bench.words(0.03, 0.50), data=data, modality=T1)


def dice(bench: Bench, modality: Modality, uri: str = "http://127.0.0.1:9", **options: object) -> dict[str, str]:
    """The first number of each line that has one."""
    table = bench.table(uri, modality=modality, **options)  # type: ignore[arg-type]
    return {line.row: line.texts[0] for line in bench.lines(table) if line.texts[0] != "–"}


def test_a_table_shows_one_modality(bench: Bench) -> None:
    run_both(bench)
    for variants in (False, True):  # as variants of a row count other numbers and seeds, and no other scans
        assert dice(bench, T2, variants=variants) == {"thresh": "20.00", "ae": "30.00"}
        assert dice(bench, T1, variants=variants) == {"thresh": "40.00", "maediff": "50.00"}
    assert dice(bench, FLAIR) == {}


def test_mlflow_tells_them_apart(bench: Bench, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    run_both(bench, "two contrasts")
    sync_all(bench.runs, mlflow_uri, SilentReporter())
    bench.runs = bench.runs.with_name("elsewhere")
    assert dice(bench, T2, mlflow_uri, data="two contrasts") == {"thresh": "20.00", "ae": "30.00"}
    assert dice(bench, T1, mlflow_uri, data="two contrasts") == {"thresh": "40.00", "maediff": "50.00"}
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("uadbench")
    runs = client.search_runs([experiment.experiment_id], "tags.data = 'two contrasts' and tags.row = 'thresh'")
    told = sorted((run.data.tags["uadbench.kind"], run.data.tags["modality"]) for run in runs)
    assert told == [("fold", "t1"), ("fold", "t2"), ("parent", "t1"), ("parent", "t2")]
    assert {run.data.params["modality"] for run in runs} == {"t1", "t2"}


def test_a_cell_told_before_there_were_modalities_is_t2(bench: Bench, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    bench.run(1, 0, bench.words(0.03, 0.30), data="old")
    sync_all(bench.runs, mlflow_uri, SilentReporter())
    client = MlflowClient(tracking_uri=mlflow_uri)
    experiment = client.get_experiment_by_name("uadbench")
    for run in client.search_runs([experiment.experiment_id], "tags.data = 'old'"):
        client.delete_tag(run.info.run_id, "modality")
    cells, _ = gather(all_records(bench.runs.with_name("elsewhere")), mlflow_uri, "old")
    assert cells["modality"].tolist() == ["t2"]


def test_caption_csv_and_notes_say_it(bench: Bench) -> None:
    run_both(bench)
    table = bench.table(modality=T1)
    assert table.modality is T1 and table.caption.startswith("Data: phantom (demo), T1; preset: demo; ")
    lines = list(csv.DictReader(io.StringIO(render([table], "csv"))))
    assert {line["modality"] for line in lines} == {"t1"}
    note = "Published figures are those of T2 scans and do not compare with this table's."
    assert note not in table.notes
    assert note in bench.table(modality=T1, paper=True).notes
    assert note in bench.table(modality=T1, elsewhere=True).notes
    assert note not in bench.table(modality=T2, paper=True, elsewhere=True).notes
