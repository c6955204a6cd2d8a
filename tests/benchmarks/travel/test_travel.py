"""Records leave one results folder and join another, the same to the last digit; one that was changed is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from uadbench.benchmarks.records.origin import origin_of
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.travel.arrival import take_in
from uadbench.benchmarks.travel.door import export_cells, import_cells
from uadbench.errors import UserError

if TYPE_CHECKING:
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
    assert stayed == {"best.ckpt", "last.ckpt"}
    assert all(here.record(label).done for label in labels(here))


def test_the_same_records_give_the_same_bytes(there: Clone, sent: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(there.results, tmp_path / "copied")  # other times, another place
    export_cells("all", tmp_path / "again.zip", who="Lab X", results=copy)
    assert (tmp_path / "again.zip").read_bytes() == sent.read_bytes()


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
