"""Two machines' worth of writers tell one PostgreSQL at once: of the same experiment, some of them of the same cells.

    python tests/trials/postgres_trial.py [--cells 12] [--direct]

Starts Debian's PostgreSQL 15 on loopback, in a folder of its own, and MLflow's server before it (or, with `--direct`,
two writers that use the database without a server, beginning with an empty one). Each writer has run records of its
own, of invented numbers, and a third of the cells is in both; each shows cells live and tells the finished ones. Then
it is counted what the database holds: every cell once, one parent per experiment, every curve point once, the means of
the parents as the records give them. Exit code 1 where anything is otherwise. Needs `psycopg[binary]`; about two
minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

POSTGRES = Path("/usr/lib/postgresql/15/bin")
TESTS = Path(__file__).resolve().parents[1]
FOLDS = 6  # of each method: one writer has the first four, the other the last four


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def as_postgres(*command: str | Path) -> list[str]:
    """A command as the user `postgres`, which PostgreSQL insists on where root asks."""
    words = [str(word) for word in command]
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else words


@contextlib.contextmanager
def database(place: Path) -> Iterator[str]:
    """A PostgreSQL of our own on loopback; gives its address."""
    data, port = place / "postgres", free_port()
    data.mkdir()
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(data, owner.pw_uid, owner.pw_gid)
        place.chmod(0o755)
    subprocess.run(
        as_postgres(POSTGRES / "initdb", "-D", data, "-A", "trust", "-U", "uad", "--no-sync"),
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={data} -c fsync=off"
    control = as_postgres(POSTGRES / "pg_ctl", "-D", data, "-w", "-l", data / "log")
    subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    try:
        yield f"postgresql://uad@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True, capture_output=True, cwd="/")


@contextlib.contextmanager
def server(store: str, place: Path) -> Iterator[str]:
    """MLflow's server before a database; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--port", str(port)]
    command += ["--artifacts-destination", str(place / "artifacts"), "--workers", "2"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (place / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            wait_for(port, process, place / "server.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
            process.wait(30)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.5)
    raise SystemExit(f"MLflow's server did not start: {log.read_text()[-800:]}")


def write(place: Path, uri: str, number: int, cells: int) -> None:
    """One writer's whole life: its records, live and then whole."""
    from uadbench.benchmarks.engine.progress import SilentReporter
    from uadbench.benchmarks.records.fence import FencedFolder
    from uadbench.benchmarks.records.running.live import LiveHistory
    from uadbench.benchmarks.telling.parent_files import parent_files
    from uadbench.benchmarks.tracking.live import LiveCells
    from uadbench.benchmarks.tracking.sync import sync_all, sync_record

    fixtures = runpy.run_path(str(TESTS / "benchmarks" / "conftest.py"))
    make_entry, write_record = fixtures["make_entry"], fixtures["write_record"]
    runs = place / f"machine{number}" / "runs"
    own = range(0, 4) if number == 0 else range(2, FOLDS)
    rows = [make_entry(f"toy{row}", f"Toy {row}") for row in range(max(1, cells // len(own)))]
    records = [write_record(runs, row, fold, data="shared", done=False) for row in rows for fold in own]
    live = LiveCells([record.folder for record in records], uri)
    (place / f"ready{number}").touch()
    while not all((place / f"ready{one}").exists() for one in (0, 1)):
        time.sleep(0.01)
    for record in records:
        curve = LiveHistory(FencedFolder(record.folder, lambda: None))
        curve.begin([])
        for epoch in record.history():
            curve.add(epoch)
            live.look()
        record.set_state("scoring", trained=True)
        record.finish(60.0)
        live.finish(record.folder)
        sync_record(record, uri, parent_files=parent_files)
    synced = sync_all(runs, uri, SilentReporter(), parent_files=parent_files)
    numbers = {record.config.cell: record.metrics for record in records}
    said = {"cells": numbers, "written_again": synced.written}
    (place / f"said{number}.json").write_text(json.dumps(said))


def faults(uri: str, place: Path, rows: int) -> list[str]:
    """What is not as it should be."""
    from mlflow import MlflowClient

    from uadbench.benchmarks.tracking.sync import fold_results

    said = [json.loads((place / f"said{number}.json").read_text()) for number in (0, 1)]
    expected = {**said[0]["cells"], **said[1]["cells"]}
    client = MlflowClient(uri)
    experiments = [one for one in client.search_experiments() if one.name == "uadbench"]
    found = []
    if len(experiments) != 1:
        found.append(f"{len(experiments)} experiments")
    runs = client.search_runs([experiments[0].experiment_id], max_results=5000)
    told = Counter(run.data.tags["uadbench.cell"] for run in runs if run.data.tags["uadbench.kind"] == "fold")
    parents = {run.info.run_id: run for run in runs if run.data.tags["uadbench.kind"] == "parent"}
    if told != Counter(expected.keys()):
        found.append(f"cells told otherwise than once: {told - Counter(expected.keys())}, {Counter(expected) - told}")
    if len(parents) != rows:
        found.append(f"{len(parents)} parents of {rows} experiments")
    for run in runs:
        name = run.info.run_name
        if run.info.status != "FINISHED":
            found.append(f"{name} is {run.info.status}")
        if run.data.tags["uadbench.kind"] == "fold":
            steps = [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")]
            if sorted(steps) != [2, 4, 6]:
                found.append(f"{name} has the curve {steps}")
            if run.data.tags["mlflow.parentRunId"] not in parents:
                found.append(f"{name} has no parent")
    for parent in parents.values():
        folds = [
            result for result in fold_results(uri, "shared") if result.recipe == parent.data.tags["uadbench.recipe"]
        ]
        mean = fmean(result.metrics["phantom-ms/dice"] for result in folds)
        if len(folds) != FOLDS or abs(parent.data.metrics["dice_phantom-ms"] - mean) > 1e-12:
            found.append(
                f"{parent.info.run_name}: {len(folds)} folds, {parent.data.metrics['dice_phantom-ms']} != {mean}"
            )
    numbers = {result.cell: dict(result.metrics) for result in fold_results(uri, "shared")}
    for cell, metrics in expected.items():
        if {key: numbers.get(cell, {}).get(key) for key in metrics} != metrics:
            found.append(f"{cell} has other numbers")
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--cells", type=int, default=12, help="of each writer")
    words.add_argument("--direct", action="store_true", help="without MLflow's server")
    words.add_argument("--writer", type=int, help=argparse.SUPPRESS)
    words.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    words.add_argument("--uri", help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.writer is not None:
        write(given.place, given.uri, given.writer, given.cells)
        return
    place = Path(tempfile.mkdtemp(prefix="postgres-trial-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        uri = stack.enter_context(database(place))
        if not given.direct:
            uri = stack.enter_context(server(uri, place))
        began = time.monotonic()
        command = [sys.executable, __file__, "--cells", str(given.cells), "--place", str(place), "--uri", uri]
        writers = [
            subprocess.Popen([*command, "--writer", str(number)], cwd=place, env={**os.environ, "OMP_NUM_THREADS": "1"})
            for number in (0, 1)
        ]
        codes = [writer.wait() for writer in writers]
        took = time.monotonic() - began
        rows = max(1, given.cells // 4)
        found = [f"a writer ended with {codes}"] if any(codes) else faults(uri, place, rows)
    for fault in found:
        print(fault)
    way = "the database itself" if given.direct else "MLflow's server"
    count = f"{2 * 4 * rows} tellings of {FOLDS * rows} cells"
    print(f"2 writers by way of {way}: {count} in {took:.0f} s, {len(found)} faults")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
