"""Records leave one results folder and join another, the same to the last digit; one that was changed is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.prediction.trained import find_run
from uadbench.benchmarks.records.detections import DETECTION_FILES, FROC
from uadbench.benchmarks.records.origin import origin_of
from uadbench.benchmarks.records.record import RunRecord, all_records
from uadbench.benchmarks.records.record_files import file_digest
from uadbench.benchmarks.records.reuse import require_weights
from uadbench.benchmarks.reports.results import Results, load_results
from uadbench.benchmarks.reports.tables import render, suites_of, tables_of
from uadbench.benchmarks.tracking.fold_result import FoldResult
from uadbench.benchmarks.tracking.sync import fold_results, sync_all
from uadbench.benchmarks.travel.archive import Archive
from uadbench.benchmarks.travel.arrival import take_in
from uadbench.benchmarks.travel.door import export_cells, import_cells
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

from cases import as_version_1

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Clone, Parcel


def labels(clone: Clone) -> list[str]:
    return sorted(path.parent.name for path in clone.runs.glob("*/config.json"))


def test_records_join_as_they_were(there: Clone, here: Clone, sent: Path) -> None:
    arrival = take_in(sent, here.runs)
    assert arrival.refused == {}
    assert list(arrival.of("joined")) == labels(here) == labels(there)
    ours, theirs = here.tree(), there.tree()
    origins = {name for name in ours if name.endswith("/origin.json")}
    assert len(origins) == 3
    assert all(ours[name] == theirs[name] for name in ours.keys() - origins)
    stayed = {name.rpartition("/")[2] for name in theirs.keys() - ours.keys()}
    assert stayed == {"best.ckpt", "last.ckpt", "epochs.jsonl"}
    assert all(here.record(label).done for label in labels(here))


def test_the_same_records_give_the_same_bytes(there: Clone, sent: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(there.results, tmp_path / "copied")  # other times, another place
    export_cells("all", tmp_path / "again.zip", who="Lab X", results=copy)
    assert (tmp_path / "again.zip").read_bytes() == sent.read_bytes()
    with zipfile.ZipFile(sent) as archive:  # whatever the hour and the version of zlib
        infos = archive.infolist()
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.compress_type for info in infos} == {zipfile.ZIP_STORED}
    names = [info.filename for info in infos]
    assert names == [*sorted(names[:-1]), "manifest.json"]


def test_what_is_here_already_is_passed_over(here: Clone, sent: Path) -> None:
    take_in(sent, here.runs)
    before = here.tree()
    arrival = take_in(sent, here.runs)
    assert len(arrival.of("known")) == 3 and not arrival.refused and here.tree() == before


def test_one_changed_byte_is_refused_by_name_and_the_others_join(here: Clone, parcel: Parcel, tmp_path: Path) -> None:
    label = parcel.manifest["cells"][1]["label"]
    scores = parcel.members[f"runs/{label}/scores.csv"]
    parcel.members[f"runs/{label}/scores.csv"] = scores[:-9] + bytes([scores[-9] ^ 1]) + scores[-8:]
    arrival = take_in(parcel.write(tmp_path / "changed.zip"), here.runs)
    assert list(arrival.refused) == [label]
    assert f"{label}: scores.csv is not the file that was sent" in arrival.refused[label]
    assert len(labels(here)) == 2 and label not in labels(here)


def test_weights_travel_when_asked(there: Clone, here: Clone, sent: Path, sent_whole: Path) -> None:
    take_in(sent, here.runs)
    (ae,) = (label for label in labels(here) if label.startswith("ae"))
    assert here.record(ae).done and not here.record(ae).best_checkpoint.exists()
    arrival = take_in(sent_whole, here.runs)
    assert len(arrival.of("completed")) == 3  # what Thresh has learnt, which is nothing, is kept in a file, too
    assert here.record(ae).best_checkpoint.read_bytes() == there.record(ae).best_checkpoint.read_bytes()
    here.record(ae).check_weights()
    assert len(take_in(sent_whole, here.runs).of("known")) == 3


def test_attempts_travel_and_nobody_seems_to_be_at_work(there: Clone, here: Clone, tmp_path: Path) -> None:
    copy = shutil.copytree(there.results, tmp_path / "copied")
    (fold0,) = (copy / "runs").glob("thresh-fold0-*")
    (fold0 / "attempts").mkdir(exist_ok=True)
    for name in ("000001.json", "000002.json", ".000003.json.ab.partial", "notes.txt"):
        (fold0 / "attempts" / name).write_text("{}")
    export_cells("thresh", tmp_path / "cells.zip", results=copy)
    take_in(tmp_path / "cells.zip", here.runs)
    attempts = sorted((here.runs / fold0.name / "attempts").iterdir())
    assert [path.name for path in attempts if path.read_text() == "{}"] == ["000001.json", "000002.json"]
    assert {path.stat().st_mtime for path in attempts} == {0.0}  # a heartbeat of long ago


def test_an_origin_stays_with_whoever_computed(here: Clone, sent: Path, tmp_path: Path) -> None:
    take_in(sent, here.runs)
    export_cells("thresh", tmp_path / "on.zip", who="Lab Y", results=here.results)
    take_in(tmp_path / "on.zip", tmp_path / "third" / "runs")
    record = RunRecord(next((tmp_path / "third" / "runs").glob("thresh-fold0-*")))
    origin = origin_of(record)
    assert origin is not None
    assert (origin.who, origin.sent_by, origin.file) == ("Lab X", "Lab Y", "on.zip")
    assert origin.computed == record.environment["started"] and origin.commit == record.environment["commit"]


def test_python_has_it_too(here: Clone, there: Clone, tmp_path: Path) -> None:
    packed = export_cells(["ae", "thresh"], tmp_path / "cells.zip", results=there.results)
    cells = import_cells(tmp_path / "cells.zip", sha256=packed.sha256, results=here.results)
    assert sorted(cells["row"]) == ["ae", "thresh", "thresh"] and cells["done"].all()
    with pytest.raises(UserError, match="not the archive that was meant"):
        import_cells(tmp_path / "cells.zip", sha256="0" * 64, results=tmp_path / "else")
    assert not (tmp_path / "else").exists()


def test_what_needs_weights_says_that_they_did_not_come(
    here: Clone, sent: Path, sent_whole: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    take_in(sent, here.runs)
    own, other = (jobs_for(select_rows([row]), (0,), tiny_data, tiny_preset, 0)[0] for row in ("ae", "ae+ssim"))
    record = here.record(own.cell.label)
    sentence = "was computed by Lab X and came without its weights; import an archive that was exported --with-weights"
    with pytest.raises(UserError, match=sentence):
        reader_of(own, record, "cpu")  # figures
    with pytest.raises(UserError, match=sentence):
        find_run("ae", here.runs, "").readers("cpu")  # predictions
    with pytest.raises(UserError, match=sentence):
        require_weights([("ae", other.cell)], here.runs)  # other scores
    assert run_job(own, here.runs, "cpu", SilentReporter()).done and not record.best_checkpoint.exists()
    take_in(sent_whole, here.runs)
    reader_of(own, record, "cpu")
    find_run("ae", here.runs, "").readers("cpu")
    require_weights([("ae", other.cell)], here.runs)


def test_a_cell_that_is_run_again_here_is_no_longer_from_elsewhere(
    here: Clone, sent: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    take_in(sent, here.runs)
    (job,) = jobs_for(select_rows(["thresh"]), (0,), tiny_data, tiny_preset, 0)
    record = here.record(job.cell.label)
    assert origin_of(record) is not None
    (record.folder / "metrics.json").unlink()
    run_job(job, here.runs, "cpu", SilentReporter())
    assert record.done and origin_of(record) is None


def test_a_score_made_here_of_weights_from_elsewhere_says_so(
    here: Clone, sent_whole: Path, tiny_data: Data, tiny_preset: Preset, tmp_path: Path
) -> None:
    take_in(sent_whole, here.runs)
    (job,) = jobs_for(select_rows(["ae+ssim"]), (0,), tiny_data, tiny_preset, 0)
    record = run_job(job, here.runs, "cpu", SilentReporter())
    origin = origin_of(record)
    assert record.state.weights_from is not None and origin is not None and origin.who == "Lab X (training)"
    export_cells("ae+ssim", tmp_path / "cells.zip", who="Lab Y", results=here.results)
    assert take_in(tmp_path / "cells.zip", tmp_path / "third").refused == {}
    third = origin_of(RunRecord(tmp_path / "third" / job.cell.label))
    assert third is not None and third.who == "Lab Y; Lab X (training)"


def test_an_origin_that_is_damaged_is_still_not_here(here: Clone, sent: Path) -> None:
    take_in(sent, here.runs)
    record = here.record(labels(here)[0])
    (record.folder / "origin.json").write_text("{")
    origin = origin_of(record)
    assert origin is not None and "unknown" in origin.who


# ---------------------------------------------------------------------------------------------- what is here already


def test_an_unfinished_a_damaged_and_another_record_of_a_name_stay_as_they_are(
    here: Clone, there: Clone, sent: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    ae, fold0, fold1 = labels(there)
    for label in labels(there):
        shutil.copytree(there.runs / label, here.runs / label)
    (here.runs / ae / "digests.json").unlink()
    (here.runs / fold0 / "metrics.json").write_text("{}")
    shutil.rmtree(here.runs / fold1)
    (job,) = jobs_for(select_rows(["thresh"]), (1,), tiny_data, tiny_preset, 0)
    other = run_job(job, here.runs, "cpu", SilentReporter())  # the same numbers, other seconds
    assert other.metrics["tiny-tumours/dice"] == there.record(fold1).metrics["tiny-tumours/dice"]
    before = here.tree()
    arrival = take_in(sent, here.runs)
    assert not arrival.fates and here.tree() == before
    assert "is begun here and not finished" in arrival.refused[ae]
    assert "metrics.json was changed after the cell was finished" in arrival.refused[fold0]
    assert "they differ in environment.json, metrics.json" in arrival.refused[fold1]


def test_a_cell_that_is_being_run_here_is_left_alone(here: Clone, sent: Path, there: Clone) -> None:
    label = labels(there)[0]
    with RunRecord(here.runs / label).claimed({}):
        before = here.tree()
        arrival = take_in(sent, here.runs)
        assert "is begun here and not finished" in arrival.refused[label]
        assert {name: text for name, text in here.tree().items() if name.startswith(label)} == before


def test_cells_on_other_data_are_refused_where_there_are_some_already(
    here: Clone, sent: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    swapped = replace(tiny_data.splits, folds=tiny_data.splits.folds[::-1])
    (job,) = jobs_for(select_rows(["thresh"]), (0,), replace(tiny_data, splits=swapped), tiny_preset, 0)
    run_job(job, here.runs, "cpu", SilentReporter())
    arrival = take_in(sent, here.runs)
    assert not arrival.fates
    assert all("was computed on other data: tiny has the fingerprint" in why for why in arrival.refused.values())


# --------------------------------------------------------------------------------- what was found in each test volume


def without_found(clone: Clone, label: str) -> dict[str, bytes]:
    """Make a cell one of a version that knew nothing of what is found; returns what it had."""
    folder = clone.runs / label
    digests = json.loads((folder / "digests.json").read_text())
    had = {name: (folder / name).read_bytes() for name in DETECTION_FILES if name in digests["files"]}
    for name in had:
        (folder / name).unlink()
        del digests["files"][name]
    (folder / "digests.json").write_text(json.dumps(digests))
    return had


def test_it_travels_with_its_cell(here: Clone, there: Clone, sent: Path) -> None:
    assert not take_in(sent, here.runs).refused
    for label in labels(there):
        for name in DETECTION_FILES:
            assert (here.runs / label / name).read_bytes() == (there.runs / label / name).read_bytes()
        assert here.record(label).has_detection


def test_cells_of_before_travel_without_it_and_what_nobody_vouches_for_stays(
    here: Clone, there: Clone, tmp_path: Path
) -> None:
    shutil.copytree(there.results, here.results)
    label = labels(here)[0]
    without_found(here, label)
    (here.runs / label / "detections.csv").write_text("begun and given up")
    export_cells("all", tmp_path / "cells.zip", who="Lab X", results=here.results)
    assert not take_in(tmp_path / "cells.zip", tmp_path / "third").refused
    third = RunRecord(tmp_path / "third" / label)
    assert third.done and not any((third.folder / name).exists() for name in DETECTION_FILES)


def test_a_cell_that_lacks_it_here_is_given_it_and_nothing_else(here: Clone, there: Clone, sent: Path) -> None:
    shutil.copytree(there.results, here.results)
    label = labels(here)[0]
    had = without_found(here, label)
    before = here.tree()
    arrival = take_in(sent, here.runs)
    assert arrival.of("completed") == (label,) and len(arrival.of("known")) == 2 and not arrival.refused
    added = {f"{label}/{name}": content for name, content in had.items()}
    digests = f"{label}/digests.json"
    assert here.tree() == {**before, **added, digests: there.tree()[digests]}
    assert here.record(label).has_detection


def test_cells_of_version_1_travel_and_are_given_what_they_lack(
    here: Clone, there: Clone, sent: Path, tmp_path: Path
) -> None:
    shutil.copytree(there.results, here.results)
    label = labels(here)[0]
    as_version_1(here.record(label))
    old = tmp_path / "old.zip"
    export_cells("all", old, who="Lab X", results=here.results)

    third = type(here)(tmp_path / "third")
    assert not take_in(old, third.runs).refused
    assert third.record(label).detection_version == 1
    assert len(Results((third.record(label),)).detections()) > 0

    before = third.tree()
    assert len(take_in(old, third.runs).of("known")) == 3 and third.tree() == before
    without_found(third, label)
    assert take_in(old, third.runs).of("completed") == (label,)
    assert third.record(label).detection_version == 1

    assert take_in(sent, here.runs).of("completed") == (label,)
    assert here.record(label).done and here.record(label).has_detection
    for name in DETECTION_FILES:
        assert (here.runs / label / name).read_bytes() == (there.runs / label / name).read_bytes()
    before = here.tree()
    assert len(take_in(old, here.runs).of("known")) == 3 and here.tree() == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda text: text.replace(",0.0001,", ",0.0003,"), "counts at a share of voxels that the ladder"),
        (lambda text: text.replace("cohort", "other", 1), "froc.csv is damaged: it has no column cohort"),
        (lambda text: text.replace(",0.0001,", ",much,", 1), "froc.csv is damaged at line 2"),
    ],
)
def test_counts_that_contradict_the_ladder_are_refused(
    change: Callable[[str], str], sentence: str, here: Clone, there: Clone, tmp_path: Path
) -> None:
    shutil.copytree(there.results, here.results)
    record = here.record(labels(here)[0])
    path = record.folder / FROC
    path.write_text(change(path.read_text()))
    digests = json.loads((record.folder / "digests.json").read_text())
    digests["files"][FROC] = file_digest(path)
    (record.folder / "digests.json").write_text(json.dumps(digests))
    export_cells(record.folder.name, tmp_path / "one.zip", who="Lab X", results=here.results)
    assert sentence in take_in(tmp_path / "one.zip", tmp_path / "third").refused[record.folder.name]


def test_what_is_found_here_by_other_means_stays(here: Clone, there: Clone, sent: Path) -> None:
    """Two devices may round a histogram in two ways; the cell is the same, and keeps its own."""
    shutil.copytree(there.results, here.results)
    record = here.record(labels(here)[0])
    record.reopen()
    for name in DETECTION_FILES:
        content = (there.runs / record.folder.name / name).read_text()
        (record.folder / name).write_text(content.replace("0.1", "0.2"))
    record.close(added=True)
    before = here.tree()
    arrival = take_in(sent, here.runs)
    assert len(arrival.of("known")) == 3 and here.tree() == before


def test_a_cell_that_is_open_for_it_is_not_sent(here: Clone, there: Clone, tmp_path: Path) -> None:
    shutil.copytree(there.results, here.results)
    record = here.record(labels(here)[0])
    record.reopen()
    packed = export_cells("all", tmp_path / "cells.zip", who="Lab X", results=here.results)
    assert record.folder.name not in packed.labels and len(packed.labels) == 2
    with pytest.raises(UserError, match="is open for what `bench score` adds to it"):
        export_cells(record.folder.name, tmp_path / "one.zip", who="Lab X", results=here.results)


@pytest.mark.parametrize(
    ("name", "old", "new", "sentence"),
    [
        ("detections.csv", ",tumours,", ",elsewhere,", "thresholds of a set that detection.json does not name"),
        ("histograms.csv", "<i8:", "|O:", "holds a histogram that is none"),
        ("lesions.csv", "tiny-tumours,", "tiny\x1b,", "is no line of text"),
        ("detection.json", '"bins": 4096', '"bins": 1000000000', "is damaged"),
        ("detection.json", '"top": ', '"top": -', "is damaged"),
    ],
)
def test_what_is_none_is_refused(
    name: str, old: str, new: str, sentence: str, sent: Path, here: Clone, tmp_path: Path, open_parcel: Any
) -> None:
    parcel = open_parcel(sent)
    label = parcel.manifest["cells"][0]["label"]
    member = f"runs/{label}/{name}"
    changed = parcel.members[member].decode().replace(old, new)
    assert changed.encode() != parcel.members[member]
    parcel.members[member] = changed.encode()
    parcel.digest_anew(label)
    parcel.list_anew()
    arrival = take_in(parcel.write(tmp_path / "cells.zip"), here.runs)
    assert list(arrival.refused) == [label] and sentence in arrival.refused[label]


def test_histograms_that_are_not_those_of_the_cell_are_refused(
    sent: Path, here: Clone, tmp_path: Path, open_parcel: Any
) -> None:
    """The digests of a cell compare them when they are used; an import compares them at once."""
    parcel = open_parcel(sent)
    label = parcel.manifest["cells"][0]["label"]
    member = f"runs/{label}/histograms.csv"
    parcel.members[member] = b"\n".join(parcel.members[member].splitlines()[:-1]) + b"\n"
    parcel.list_anew()
    arrival = take_in(parcel.write(tmp_path / "cells.zip"), here.runs)
    assert "histograms.csv that is not the one that it was finished with" in arrival.refused[label]


# --------------------------------------------------------------------------------------------------- kills, two at once


class Killed(BaseException):
    """Stands for kill -9: nothing in the program may catch it."""


@pytest.mark.parametrize("files", [0, 1, 5, 11, 14, 25])
def test_a_kill_in_the_middle_leaves_no_half_record_and_the_same_import_goes_on(
    files: int, here: Clone, there: Clone, sent: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, left = Archive.copy, [files]

    def mortal(*words: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            monkeypatch.setattr("uadbench.benchmarks.travel.arrival._clear", lambda place: None)  # nothing tidies up
            raise Killed
        copy(*words)

    monkeypatch.setattr(Archive, "copy", mortal)
    with pytest.raises(Killed):
        take_in(sent, here.runs)
    monkeypatch.undo()
    assert len(list((here.runs / ".arriving").iterdir())) == 2, "else nothing was to be tidied up"
    assert all(record.done for record in all_records(here.runs))
    arrival = take_in(sent, here.runs)
    assert not arrival.refused and labels(here) == labels(there)
    assert [path.name for path in (here.runs / ".arriving").iterdir()] == [".lock"]


def test_of_two_imports_at_once_each_cell_joins_one(here: Clone, sent: Path) -> None:
    words = "import sys, pathlib; from uadbench.benchmarks.travel.arrival import take_in;"
    words += "found = take_in(*map(pathlib.Path, sys.argv[1:])); print(found.fates, found.refused)"
    command = [sys.executable, "-c", words, str(sent), str(here.runs)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=100)[0] for process in both]
    assert sum(answer.count("joined") for answer in answers) == 3, answers
    assert sum(answer.count("known") for answer in answers) == 3, answers


def test_a_full_disk_is_said_and_the_same_import_goes_on(
    sent: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, filler = small_disk / "runs", small_disk / "filler"
    with pytest.raises(UserError, match="MiB are free under"):
        take_in(sent, runs)
    monkeypatch.setattr("uadbench.benchmarks.travel.arrival._check_room", lambda archive, place: None)
    subprocess.run(["mount", "-o", "remount,size=400k", str(small_disk)], check=True)
    filler.write_bytes(bytes(360_000))
    with pytest.raises(UserError, match="No space left on device"):
        take_in(sent, runs)
    filler.unlink()
    assert not take_in(sent, runs).refused and len(all_records(runs)) == 3


# ------------------------------------------------------------------------------------------------------- tables, MLflow


def test_a_table_says_who_computed_its_cells(
    here: Clone, there: Clone, sent: Path, tiny_preset: Preset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(there.runs, here.runs)
    for label in labels(here):
        if label.startswith("ae") or "fold1" in label:
            shutil.rmtree(here.runs / label)
    take_in(sent, here.runs)
    environment = there.record(labels(there)[0]).environment
    table = tables_of(suites_of("1"), load_results(here.results).to_dataframe(), tiny_preset, "tiny", seed=0)[0]
    lines = table.lines.set_index("row")
    assert (
        lines.loc["ae", ["origin", "sign"]].tolist()
        == lines.loc["thresh", ["origin", "sign"]].tolist()
        == ["Lab X", "[1]"]
    )
    day = environment["started"][:10]
    assert f"[1] computed elsewhere, by Lab X: 2 cells, {day}, commit {environment['commit']}." in table.notes
    assert "| Thresh [1] |" in render([table], "markdown")
    cells = load_results(here.results).to_dataframe().set_index(["row", "fold"])
    assert cells["origin"].to_dict() == {("ae", 0): "Lab X", ("thresh", 0): "", ("thresh", 1): "Lab X"}


def test_mlflow_is_told_of_them_once_and_by_whom_they_were_computed(here: Clone, sent: Path, mlflow_uri: str) -> None:
    take_in(sent, here.runs)
    assert sync_all(here.runs, mlflow_uri, SilentReporter()) == (3, 0)
    assert sync_all(here.runs, mlflow_uri, SilentReporter()) == (0, 3)
    told = {result.cell: result for result in fold_results(mlflow_uri, "tiny")}
    on_disk = [FoldResult.of_record(record) for record in all_records(here.runs)]
    assert len(on_disk) == 3
    for result in on_disk:
        assert (told[result.cell].origin, told[result.cell].commit) == ("Lab X", result.commit)
    for label in labels(here):  # the laboratory that computed them tells the same server
        (here.runs / label / "origin.json").unlink()
    assert sync_all(here.runs, mlflow_uri, SilentReporter()) == (0, 3)
