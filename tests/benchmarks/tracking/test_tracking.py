"""MLflow is told the truth, once, and a store that fails costs a sentence."""

from __future__ import annotations

import builtins
import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.tracking import connection
from uadbench.benchmarks.tracking.database import TrackingError, create_database, database_of, store_uri
from uadbench.benchmarks.tracking.fold_result import FoldResult
from uadbench.benchmarks.tracking.sync import fold_results, sync_all, sync_record
from uadbench.errors import UserError

Make = Callable[..., Any]


class Killed(BaseException):
    """Stands for kill -9: nothing in the program may catch it."""


@pytest.fixture
def entry(entry_of: Make) -> SuiteRow:
    return entry_of("toy", "Toy")


def runs_of(uri: str, data: str, kind: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("uadbench")
    query = f"tags.`uadbench.data` = '{data}' and tags.`uadbench.kind` = '{kind}'"
    return list(client.search_runs([experiment.experiment_id], query, order_by=["attributes.run_name ASC"]))


def content(uri: str, data: str) -> list[Any]:
    """Everything MLflow holds of a data source: names, parameters, tags, whole metric histories, artifacts."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    found = []
    for run in runs_of(uri, data, "parent") + runs_of(uri, data, "fold"):
        history = {
            key: [(m.value, m.step) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        tags = {key: value for key, value in run.data.tags.items() if key not in ("mlflow.parentRunId",)}
        files = sorted(item.path for item in client.list_artifacts(run.info.run_id))
        found.append([run.info.run_name, run.info.status, run.data.params, tags, history, files])
    return found


def test_a_fold_is_a_child_with_all_its_numbers(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    from mlflow import MlflowClient

    record = fake_record(tmp_path, entry, 3, data="whole")
    assert sync_record(record, mlflow_uri)
    (parent,), (child,) = (runs_of(mlflow_uri, "whole", kind) for kind in ("parent", "fold"))
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert "mlflow.parentRunId" not in parent.data.tags
    assert parent.info.run_name == "Toy · phantom (demo), T2 · demo"
    assert child.info.run_name == "Toy · fold 3"
    assert (child.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert child.info.end_time - child.info.start_time == 32_000  # 30 s of training, 2 s of scoring
    assert child.data.params["train.epochs"] == parent.data.params["train.epochs"] == "4"
    assert child.data.params["settings.net.width"] == str(sum(map(ord, "toy")))
    metrics = child.data.metrics
    assert metrics["phantom-tumours/dice"] == record.metrics["phantom-tumours/dice"]
    assert metrics["threshold/ms/greedy"] == 0.1
    assert metrics["training/best_val_loss"] == 0.5
    for key, value in {
        "method": "toy", "row": "toy", "fold": "3", "data": "whole", "preset": "demo", "seed": "0", "phantom": "yes",
        "env.torch": "2.13.0", "env.commit": "abc123def456", "mlflow.source.git.commit": "abc123def456",
    }.items():  # fmt: skip
        assert child.data.tags[key] == value
    client = MlflowClient(tracking_uri=mlflow_uri)
    losses = client.get_metric_history(child.info.run_id, "val_loss")
    assert [(point.step, point.value) for point in losses] == [(2, 1.0), (4, 0.5), (6, 2.0 / 6)]
    assert {item.path for item in client.list_artifacts(child.info.run_id)} == {
        "preset.json",
        "scores.csv",
        "reconstruction.png",
    }
    assert "t_test 250" in parent.data.tags["mlflow.note.content"]


def test_scans_without_a_lesion_are_a_tag_and_the_choices_parameters(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    record = fake_record(tmp_path, entry, 3, data="free")
    without = replace(record.scores()[1], subject="t2", dice=None, dice_exact=None, auprc=None, note="no lesion")
    record.save_scores((*record.scores(), without))
    record.finish(60.0)
    assert sync_record(record, mlflow_uri)
    (child,) = runs_of(mlflow_uri, "free", kind="fold")
    assert child.data.tags["lesion_free"] == "phantom-tumours: t2"
    assert (child.data.params["score.lesion_free"], child.data.params["score.test_volumes"]) == ("exclude", "all")


def test_the_parent_carries_mean_and_standard_deviation(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    records = [fake_record(tmp_path, entry, fold, data="means") for fold in range(3)]
    assert sync_all(tmp_path, mlflow_uri, SilentReporter()) == (3, 0)
    (parent,) = runs_of(mlflow_uri, "means", "parent")
    values = [record.metrics["phantom-ms/dice"] for record in records]
    assert parent.data.metrics["phantom-ms/dice"] == pytest.approx(fmean(values))
    assert parent.data.metrics["spread/phantom-ms/dice"] == pytest.approx(stdev(values))
    assert parent.data.metrics["dice_phantom-ms"] == pytest.approx(fmean(values))
    assert parent.data.metrics["training/folds_done"] == 3
    curves = {"train_loss", "val_loss", "learning_rate"}
    for child in runs_of(mlflow_uri, "means", "fold"):
        assert set(child.data.metrics) - curves == {
            key for key in parent.data.metrics if not key.startswith("spread/") and key != "training/folds_done"
        }


def test_methods_differ_first_in_what_a_reader_asks_for(
    tmp_path: Path, mlflow_uri: str, entry_of: Make, fake_record: Make
) -> None:
    """MLflow's page of comparison: the first three differing parameters of the alphabet, the first metric told."""
    for name in ("one", "two"):
        plan = {"data": {"slices": 12}, "method": {f"a_{name}": {"width": 3}}, "train": {"epochs": 4}}
        size = float(len(name) * ord(name[0]))
        for fold in range(2):
            metrics = {"phantom-tumours/dice": 0.5 + fold / 8, "phantom-ms/dice": 0.25, "parameters": size}
            words = {"data": "compared", "fingerprint": "c", "plan": plan, "metrics": metrics}
            sync_record(fake_record(tmp_path, entry_of(name, name), fold, **words), mlflow_uri)
    one, two = runs_of(mlflow_uri, "compared", "parent")
    words = {*one.data.params, *two.data.params}
    different = sorted(word for word in words if one.data.params.get(word) != two.data.params.get(word))
    assert different[:3] == ["method", "network.parameters", "row"]
    assert one.data.params["network.parameters"] == str(3 * ord("o"))
    assert "settings.a_one.width" in different
    assert next(iter(one.data.metrics)) == next(iter(two.data.metrics)) == "dice_phantom-tumours"


def test_a_second_sync_changes_nothing(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    for fold in range(2):
        fake_record(tmp_path, entry, fold, data="twice")
    assert sync_all(tmp_path, mlflow_uri, SilentReporter()) == (2, 0)
    before = content(mlflow_uri, "twice")
    assert sync_all(tmp_path, mlflow_uri, SilentReporter()) == (0, 2)
    assert content(mlflow_uri, "twice") == before
    assert len(before) == 3


def test_killed_at_any_moment_then_synced_again(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    writing = ("create_run", "log_batch", "log_text", "log_artifact", "set_terminated", "set_tag")
    originals = {name: getattr(MlflowClient, name) for name in writing}

    def die_after(calls: int) -> list[int]:
        left = [calls]

        def mortal(name: str) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return originals[name](*args, **kwargs)

            return call

        for name in writing:
            monkeypatch.setattr(MlflowClient, name, mortal(name))
        return left

    def synced(data: str, calls: int) -> tuple[bool, Any]:
        """Sync until killed, sync again; return what MLflow then holds, without the words that name the trial."""
        record = fake_record(tmp_path / data, entry, 0, data=data)
        left = die_after(calls)
        with contextlib.suppress(Killed):
            sync_record(record, mlflow_uri)
        died = left[0] == 0
        die_after(10_000)
        sync_record(record, mlflow_uri)
        held = content(mlflow_uri, data)
        for run in held:
            for key in ("uadbench.data", "data", "uadbench.complete", "uadbench.result"):
                run[3].pop(key, None)
        return died, held

    _, reference = synced("reference", 10_000)
    assert [run[1] for run in reference] == ["FINISHED", "FINISHED"]
    died, calls = True, 0
    while died:
        died, again = synced(f"after-{calls}", calls)
        assert again == reference, f"killed after {calls} calls"
        calls += 1
    assert calls > 8


def test_changed_numbers_replace_the_old(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    record = fake_record(tmp_path, entry, 0, data="changed")
    sync_record(record, mlflow_uri)
    record.save_metrics({**record.metrics, "phantom-ms/dice": 0.77})
    record.finish(60.0)
    assert sync_record(record, mlflow_uri)
    (child,) = runs_of(mlflow_uri, "changed", "fold")
    assert child.data.metrics["phantom-ms/dice"] == 0.77
    (parent,) = runs_of(mlflow_uri, "changed", "parent")
    assert parent.data.metrics["phantom-ms/dice"] == parent.data.metrics["dice_phantom-ms"] == 0.77


def test_the_checkpoint_travels_by_choice(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    from mlflow import MlflowClient

    record = fake_record(tmp_path, entry, 0, data="checkpoint")
    sync_record(record, mlflow_uri)
    (child,) = runs_of(mlflow_uri, "checkpoint", "fold")
    client = MlflowClient(tracking_uri=mlflow_uri)
    assert "checkpoints" not in {item.path for item in client.list_artifacts(child.info.run_id)}
    assert sync_record(record, mlflow_uri, with_checkpoint=True)
    assert not sync_record(record, mlflow_uri, with_checkpoint=True)
    assert not sync_record(record, mlflow_uri)
    (same,) = runs_of(mlflow_uri, "checkpoint", "fold")
    assert same.info.run_id == child.info.run_id
    assert [item.path for item in client.list_artifacts(same.info.run_id, "checkpoints")] == ["checkpoints/best.ckpt"]


def test_what_was_uploaded_by_choice_is_uploaded_again_with_changed_numbers(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    from mlflow import MlflowClient

    record = fake_record(tmp_path, entry, 0, data="weights again")
    sync_record(record, mlflow_uri, with_checkpoint=True)
    (before,) = runs_of(mlflow_uri, "weights again", "fold")
    record.save_metrics({**record.metrics, "phantom-ms/dice": 0.77})
    record.finish(60.0)
    sync_record(record, mlflow_uri)
    (after,) = runs_of(mlflow_uri, "weights again", "fold")
    assert after.info.run_id != before.info.run_id
    names = {item.path for item in MlflowClient(tracking_uri=mlflow_uri).list_artifacts(after.info.run_id)}
    assert "checkpoints" in names and "model" not in names


def test_an_unfinished_cell_is_not_told(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    record = fake_record(tmp_path, entry, 0, data="unfinished", done=False)
    assert not sync_record(record, mlflow_uri)


def test_long_and_odd_parameters_fit(tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make) -> None:
    plan = {"method": {"a(b)": "x" * 600}, "many": {f"n{i}": i for i in range(150)}}
    sync_record(fake_record(tmp_path, entry, 0, data="odd's data", plan=plan), mlflow_uri)
    assert len(fold_results(mlflow_uri, "odd's data")) == 1
    assert sync_all(tmp_path, mlflow_uri, SilentReporter()) == (0, 1)


def test_results_are_read_back_as_they_are_on_disk(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    record: RunRecord = fake_record(
        tmp_path, entry, 1, data="back", cohorts={"healthy": {"name": "ixi", "title": "IXI"}}
    )
    sync_record(record, mlflow_uri)
    (found,) = fold_results(mlflow_uri, "back")
    expected = FoldResult.of_record(record)
    assert found.metrics.items() >= {k: v for k, v in expected.metrics.items() if k != "val_loss"}.items()
    assert (found.cohorts, found.cell, found.fold, found.folds) == (expected.cohorts, expected.cell, 1, 5)
    assert found.started == expected.started
    assert fold_results(mlflow_uri, "nobody's") == ()


def test_no_store_yet_is_no_result_and_makes_none(tmp_path: Path) -> None:
    assert fold_results(f"sqlite:///{tmp_path / 'none.db'}", "phantom") == ()
    assert list(tmp_path.iterdir()) == []


def test_a_store_whose_making_was_killed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlite3

    database = tmp_path / "results" / "mlflow.db"
    asked: list[str] = []

    class Client:
        """Makes a file and dies in the middle of it, the first time."""

        def __init__(self, tracking_uri: str) -> None:
            asked.append(tracking_uri)
            path = Path(tracking_uri.removeprefix("sqlite:///"))
            with contextlib.closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("CREATE TABLE half (number INTEGER)")
            if len(asked) == 1:
                raise Killed
            with contextlib.closing(sqlite3.connect(path)) as connection, connection:
                connection.execute("CREATE TABLE whole (number INTEGER)")

    database.parent.mkdir()
    with pytest.raises(Killed):
        create_database(Client, f"sqlite:///{database}")
    assert not database.exists()
    create_database(Client, f"sqlite:///{database}")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert tables == {"half", "whole"}
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]
    create_database(Client, f"sqlite:///{database}")
    assert len(asked) == 2


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "http://name:secret@127.0.0.1:9", "sqlite:////proc/nowhere/mlflow.db", "odd://place"]
)
def test_an_unreachable_store_is_one_sentence_and_quick(
    uri: str, tmp_path: Path, entry: SuiteRow, fake_record: Make, mlflow_uri: str
) -> None:
    record = fake_record(tmp_path, entry)
    before = dict(os.environ)
    start = time.monotonic()
    with pytest.raises(TrackingError, match="run `bench sync`") as caught:
        sync_record(record, uri)
    assert time.monotonic() - start < 8
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value, UserError)
    assert {k: v for k, v in os.environ.items() if "HTTP" in k} == {k: v for k, v in before.items() if "HTTP" in k}


def test_without_mlflow_it_is_one_sentence(
    tmp_path: Path, entry: SuiteRow, fake_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def bare(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", bare)
    with pytest.raises(TrackingError, match="mlflow is not installed here; the run record keeps everything"):
        sync_record(fake_record(tmp_path, entry), "sqlite:///never.db")


def test_the_users_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    with connection._settings(connection._PROBE):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "0"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"


def test_the_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    assert store_uri(tmp_path) == "http://somewhere"


def test_a_deleted_experiment_is_explained(tmp_path: Path, entry: SuiteRow, fake_record: Make, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    record = fake_record(tmp_path, entry, data="gone")
    sync_record(record, mlflow_uri)
    client = MlflowClient(tracking_uri=mlflow_uri)
    number = client.get_experiment_by_name("uadbench").experiment_id
    client.delete_experiment(number)
    try:
        with pytest.raises(TrackingError, match=f"restore -x {number}"):
            sync_record(record, mlflow_uri)
    finally:
        client.restore_experiment(number)


def test_mlflow_keeps_quiet(
    tmp_path: Path, entry: SuiteRow, fake_record: Make, mlflow_uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sync_record(fake_record(tmp_path, entry, data="quiet"), mlflow_uri)
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)


# ---------------------------------------------------------------------------------------------------------------------
# Addresses: whatever a folder is called

#: Every printable ASCII character that a file's name can hold, what looks like an escape, umlauts and a newline.
PRINTABLE = "".join(map(chr, range(32, 127))).replace("/", "")
NASTY = f"{PRINTABLE} %25 %2F äöü ß\n end"


@pytest.mark.parametrize("name", [*PRINTABLE.replace(".", ""), "%25", "%3F", "a b", "äöü", "a\nb", "?x=1", NASTY])
def test_sqlalchemy_reads_the_file_that_is_meant(name: str, tmp_path: Path) -> None:
    engine = pytest.importorskip("sqlalchemy.engine")
    results = tmp_path / name
    uri = store_uri(results)
    expected = results.resolve() / "mlflow.db"
    url = engine.make_url(uri)
    assert Path(url.database) == expected and not url.query and not url.host
    arguments, _ = url.get_dialect()().create_connect_args(url)
    assert Path(arguments[0]) == expected
    assert database_of(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///relative/mlflow.db",
        "sqlite:///mlflow.db",
        "sqlite:////absolute/a b/mlflow.db",
        "sqlite:////absolute/mlflow.db?timeout=30",
        "sqlite:////absolute/a%20b/mlflow.db?timeout=30",
        "sqlite+pysqlite:////absolute/mlflow.db",
    ],
)
def test_an_address_of_the_users_own_is_read_as_sqlalchemy_reads_it(uri: str) -> None:
    engine = pytest.importorskip("sqlalchemy.engine")
    assert database_of(uri) == Path(engine.make_url(uri).database)


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///:memory:", "sqlite:///", "http://host/a?b", "postgresql://h/d"]
)
def test_what_is_no_file_has_no_file(uri: str) -> None:
    assert database_of(uri) is None


def test_sqlites_own_addresses_are_unquoted_as_sqlite_does() -> None:
    assert database_of("sqlite:///file:/a/b/mlflow.db?uri=true") == Path("/a/b/mlflow.db")
    assert database_of("sqlite:///file:/a?mode=memory&uri=true") is None


def test_a_folder_of_any_name_holds_a_whole_store(tmp_path: Path, entry: SuiteRow, fake_record: Make) -> None:
    """Sync, artifacts and reading back through MLflow itself, and nothing beside the folder."""
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed here")
    results = tmp_path / "place" / NASTY
    record = fake_record(results / "runs", entry, data="anywhere")
    uri = store_uri(results)
    assert sync_record(record, uri)
    assert not sync_record(record, uri)
    assert [result.cell for result in fold_results(uri, "anywhere")] == [record.config.cell]
    assert [path.name for path in (tmp_path / "place").iterdir()] == [NASTY]
    assert {path.name for path in results.iterdir()} == {"runs", "mlflow.db", "mlflow.db.lock", "mlartifacts"}
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs(["1"], f"tags.`uadbench.cell` = '{record.config.cell}'")
    names = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert names == {path.name for path in (results / "mlartifacts").rglob("*") if path.is_file()}
    assert names


@pytest.mark.parametrize("kind", ["folder", "text"])
def test_a_store_that_is_no_database_is_one_sentence_at_once(
    kind: str, tmp_path: Path, entry: SuiteRow, fake_record: Make, mlflow_uri: str
) -> None:
    database = tmp_path / "mlflow.db"
    database.mkdir() if kind == "folder" else database.write_text("no database")
    record = fake_record(tmp_path / "runs", entry)
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"mlflow.db is (a folder|no SQLite file); move it away, then run `bench"):
        sync_record(record, store_uri(tmp_path))
    assert time.monotonic() - start < 8


def test_a_store_that_cannot_be_made_leaves_no_draft(tmp_path: Path) -> None:
    def broken(tracking_uri: str) -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        create_database(broken, store_uri(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_whoever_comes_second_to_an_empty_database_begins_again(
    tmp_path: Path, entry: SuiteRow, fake_record: Make, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines make the tables at once: one is told that a table is there already (see `postgres_trial.py`)."""
    from sqlalchemy.exc import IntegrityError

    tried: list[str] = []
    real = connection.Store

    def second(client: Any, uri: str) -> Any:
        tried.append(uri)
        if len(tried) < 3:
            raise IntegrityError("CREATE TABLE", {}, Exception("it is there"))
        return real(client, uri)

    monkeypatch.setattr(connection, "Store", second)
    monkeypatch.setattr(connection, "_PAUSE", 0.0)
    assert sync_record(fake_record(tmp_path, entry, data="second", fingerprint="second"), mlflow_uri)
    assert len(tried) == 3


def test_children_of_a_parent_that_lost_a_race_come_to_the_one_that_stays(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    from mlflow import MlflowClient

    first = fake_record(tmp_path, entry, 0, data="race", fingerprint="race")
    sync_record(first, mlflow_uri)
    (parent,), (child,) = (runs_of(mlflow_uri, "race", kind) for kind in ("parent", "fold"))
    client = MlflowClient(tracking_uri=mlflow_uri)
    tags = {key: value for key, value in parent.data.tags.items() if key.startswith("uadbench.")}
    late = client.create_run(parent.info.experiment_id, start_time=parent.info.start_time + 1, tags=tags)
    client.set_tag(child.info.run_id, "mlflow.parentRunId", late.info.run_id)
    sync_record(fake_record(tmp_path, entry, 1, data="race", fingerprint="race"), mlflow_uri)
    assert [run.info.run_id for run in runs_of(mlflow_uri, "race", "parent")] == [parent.info.run_id]
    children = runs_of(mlflow_uri, "race", "fold")
    assert [run.data.tags["mlflow.parentRunId"] for run in children] == [parent.info.run_id] * 2


def test_a_whole_run_that_another_shows_as_running_is_finished(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make
) -> None:
    """Who shows a cell live can say so a moment after somebody else has told the whole of it."""
    from mlflow import MlflowClient

    record = fake_record(tmp_path, entry, 0, data="late", fingerprint="late")
    sync_record(record, mlflow_uri)
    (whole,) = runs_of(mlflow_uri, "late", "fold")
    MlflowClient(tracking_uri=mlflow_uri).update_run(whole.info.run_id, status="RUNNING")
    assert not sync_record(record, mlflow_uri)
    (same,) = runs_of(mlflow_uri, "late", "fold")
    assert (same.info.run_id, same.info.status) == (whole.info.run_id, "FINISHED")
    assert same.info.end_time == whole.info.end_time


def test_parameters_that_somebody_else_tells_at_the_same_moment_are_no_error(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tell the parent's size at once: of the second, a database refuses what it would take a moment later."""
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import BAD_REQUEST

    real, refused = MlflowClient.log_batch, []

    def log_batch(client: Any, run_id: str, **what: Any) -> Any:
        done = real(client, run_id, **what)
        if what.get("params") and run_id not in refused:
            refused.append(run_id)
            raise MlflowException("duplicate key value violates unique constraint", BAD_REQUEST)
        return done

    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    assert sync_record(fake_record(tmp_path, entry, data="at once", fingerprint="once"), mlflow_uri)
    assert len(refused) == 2, "parent and fold"
    assert len(fold_results(mlflow_uri, "at once")) == 1
