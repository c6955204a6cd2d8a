"""Whatever a stranger's archive holds: one sentence, nothing written outside, nothing run, no number but those sent."""

from __future__ import annotations

import io
import json
import pickle
import stat
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from uadbench.benchmarks.commands.listing import listing
from uadbench.benchmarks.plan.cell_id import cell_id, digest
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.reports.console import make_console
from uadbench.benchmarks.reports.results import load_results
from uadbench.benchmarks.tracking.report import Report
from uadbench.benchmarks.travel import members as members_module
from uadbench.benchmarks.travel.archive import ArchiveError
from uadbench.benchmarks.travel.arrival import Arrival, take_in
from uadbench.errors import UserError

if TYPE_CHECKING:
    from .conftest import Clone, Parcel

    Open = Callable[[Path], Parcel]

#: Each example writes some small files.
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def refused_whole(path: Path, here: Clone) -> str:
    """The sentence about an archive of which nothing is used; not even the folder of runs is made."""
    with warnings.catch_warnings(), pytest.raises(ArchiveError) as caught:
        warnings.simplefilter("error")
        take_in(path, here.runs)
    assert not here.results.exists()
    sentence = str(caught.value)
    assert sentence.startswith(str(path)) and sentence.isprintable() and len(sentence) < len(str(path)) + 400
    return sentence


def refused_cell(parcel: Parcel, place: Path, here: Clone) -> str:
    """The sentence about the only cell of an archive that does not join."""
    whole = len(parcel.manifest["cells"])
    arrival = take_in(parcel.write(place / "cells.zip"), here.runs)
    (sentence,) = arrival.refused.values()
    assert len(arrival.fates) == whole - 1
    (label,) = arrival.refused
    assert not (here.runs / label).exists() and sentence.startswith(label) and sentence.isprintable()
    assert ".arriving" not in sentence
    return sentence


def label_in(parcel: Parcel, row: str = "ae-fold0") -> str:
    return next(cell["label"] for cell in parcel.manifest["cells"] if cell["label"].startswith(row))


# ----------------------------------------------------------------------------------------------------- names of members

NAMES = {
    "absolute": "/etc/cron.d/job",
    "upwards": "../../evil.json",
    "upwards inside": "runs/{label}/../../../evil.json",
    "upwards to a known name": "runs/../runs/{label}/cost.json",
    "of the other slash": "runs\\{label}\\config.json",
    "a drive": "C:/runs/{label}/config.json",
    "a folder": "runs/{label}/",
    "a dot": "runs/./{label}/cost.json",
    "two slashes": "runs//{label}/cost.json",
    "code": "runs/{label}/sitecustomize.py",
    "the state of a training": "runs/{label}/checkpoints/last.ckpt",
    "a lock": "runs/{label}/.lock",
    "an origin": "runs/{label}/origin.json",
    "what was put aside": "runs/{label}/config.json.broken",
    "an attempt without a number": "runs/{label}/attempts/first.json",
    "an attempt with a longer name": "runs/{label}/attempts/000001.json.py",
    "another label": "runs/config.json/config.json",
    "fullwidth": "runs/{label}/ｃonfig.json",
    "no width": "runs/{label}/config\u200b.json",
    "from right to left": "runs/{label}/\u202enosj.gifnoc",
    "a digit that is none": "runs/ae-fold٣-0123456789ab/config.json",
    "a new line": "runs/{label}/config.json\n",
    "a bell": "runs/{label}/\x07\x1b[2J.json",
    "nothing": "",
    "very long": "runs/{label}/" + 60_000 * "x",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_no_record_has_is_refused(name: str, parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    parcel.members[name.format(label=label_in(parcel))] = b"{}"
    parcel.list_anew()
    sentence = refused_whole(parcel.write(tmp_path / "cells.zip"), here)
    assert "which is none of the files that a record sends" in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.zip"]


def test_a_name_that_ends_in_a_nought_is_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    """Zipfile cuts a name at a zero byte, and would take this for another."""
    name = f"runs/{label_in(parcel)}/cost.json"
    parcel.members[f"{name}Xevil"] = b"{}"
    path = parcel.write(tmp_path / "cells.zip")
    path.write_bytes(path.read_bytes().replace(f"{name}Xevil".encode(), f"{name}\0evil".encode()))
    assert "which is none of the files" in refused_whole(path, here)


def test_two_members_of_a_name_are_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    path = parcel.write(tmp_path / "cells.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("manifest.json", "{}")
    assert "holds 'manifest.json' more than once" in refused_whole(path, here)


def test_names_that_differ_in_case_are_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    label = label_in(parcel)
    parcel.members[f"runs/{label.replace('ae', 'AE')}/cost.json"] = b"{}"
    assert "which are one file on some disks" in refused_whole(parcel.write(tmp_path / "cells.zip"), here)


# ------------------------------------------------------------------------------------------------------ kinds and sizes


def entry_of(path: Path, name: str) -> tuple[int, int]:
    """Where a member's header and its line of the directory begin."""
    with zipfile.ZipFile(path) as archive:
        local, directory = archive.getinfo(name).header_offset, archive.start_dir
    place = path.read_bytes().index(name.encode(), directory)
    return local, place - 46


def patch(path: Path, changes: dict[int, bytes]) -> Path:
    content = bytearray(path.read_bytes())
    for place, new in changes.items():
        content[place : place + len(new)] = new
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFDIR | 0o755, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644]
)
def test_what_is_no_plain_file_is_refused(mode: int, parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    name = f"runs/{label_in(parcel)}/metrics.json"
    path = parcel.write(tmp_path / "cells.zip")
    _, line = entry_of(path, name)
    patch(path, {line + 38: struct.pack("<L", mode << 16)})
    assert "which is a link or another thing" in refused_whole(path, here)


def test_what_is_encrypted_is_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    path = parcel.write(tmp_path / "cells.zip")
    local, line = entry_of(path, "manifest.json")
    assert "which is encrypted" in refused_whole(patch(path, {local + 6: b"\1\0", line + 8: b"\1\0"}), here)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_otherwise_is_refused(kind: int, parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    assert "packed in a way that ours are not" in refused_whole(parcel.write(tmp_path / "cells.zip", kind), here)


def test_what_is_deflated_is_taken(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    assert len(take_in(parcel.write(tmp_path / "cells.zip", zipfile.ZIP_DEFLATED), here.runs).fates) == 3


def test_a_bomb_is_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    parcel.members[f"runs/{label_in(parcel)}/scores.csv"] = bytes(60 * 2**20)
    parcel.list_anew()
    path = parcel.write(tmp_path / "cells.zip", zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 2**18
    assert "bytes would become 62914560" in refused_whole(path, here)


def test_what_is_larger_than_such_a_file_can_be_is_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    parcel.members[f"runs/{label_in(parcel)}/state.json"] = b" " * (2**20 + 1)
    parcel.list_anew()
    path = parcel.write(tmp_path / "cells.zip")
    assert "which is larger than such a file can be (1048577 bytes)" in refused_whole(path, here)


@pytest.mark.parametrize("size", [3, 2**19])
def test_a_size_that_lies_is_refused(size: int, parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    """The directory and the list agree, and what is deflated is shorter or longer than they say."""
    label = label_in(parcel)
    path = parcel.write(tmp_path / "cells.zip", zipfile.ZIP_DEFLATED)
    manifest = parcel.manifest
    cell = next(cell for cell in manifest["cells"] if cell["label"] == label)
    cell["files"]["scores.csv"]["size"] = size
    parcel.members["manifest.json"] = json.dumps(manifest).encode()
    path = parcel.write(tmp_path / "cells.zip", zipfile.ZIP_DEFLATED)
    local, line = entry_of(path, f"runs/{label}/scores.csv")
    patch(path, {local + 22: struct.pack("<L", size), line + 24: struct.pack("<L", size)})
    if size > 2**16:  # more than so few bytes could become
        assert "would become" in refused_whole(path, here)
        return
    arrival = take_in(path, here.runs)
    assert list(arrival.refused) == [label] and f"{label}: scores.csv is damaged" in arrival.refused[label]
    assert not (here.runs / label).exists()


def test_members_that_share_their_bytes_are_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    label = label_in(parcel)
    path = parcel.write(tmp_path / "cells.zip")
    first, _ = entry_of(path, f"runs/{label}/config.json")
    _, line = entry_of(path, f"runs/{label}/cost.json")
    assert "which lies over another file" in refused_whole(patch(path, {line + 42: struct.pack("<L", first)}), here)


def test_more_files_than_any_archive_has_are_refused(
    parcel: Parcel, here: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = parcel.write(tmp_path / "cells.zip")
    end = len(path.read_bytes()) - 22
    for changes in ({end + 8: struct.pack("<HH", 60_001, 60_001)}, {end + 12: struct.pack("<L", 2**31)}):
        copy = tmp_path / "copy.zip"
        copy.write_bytes(path.read_bytes())
        assert "holds more than 60000 files" in refused_whole(patch(copy, changes), here)
    monkeypatch.setattr(members_module, "MOST_FILES", 20)  # as if the last record said fewer than there are
    patch(path, {end + 8: struct.pack("<HH", 5, 5)})
    assert "holds more than" in refused_whole(path, here)


# ------------------------------------------------------------------------------------------------------ broken archives

BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "does not begin as one"),
    "no zip": (lambda content: b"not a zip file at all", "does not begin as one"),
    "a pickle": (lambda content: pickle.dumps([1, 2]), "does not begin as one"),
    "cut off": (lambda content: content[: len(content) // 2], "is cut off"),
    "without its last byte": (lambda content: content[:-1], "is cut off"),
    "something before": (lambda content: b"#!/bin/sh\n" + content, "does not begin as one"),
    "something after": (lambda content: content + b"more", "does not end as one"),
    "a remark at its end": (lambda content: content[:-2] + b"\4\0more", "does not end as one"),
    "an empty zip": (lambda content: b"PK\5\6" + bytes(18), "does not begin as one"),
    "a damaged directory": (lambda content: content.replace(b"PK\1\2", b"PK\1\3"), "no whole zip file"),
}


@pytest.mark.parametrize(("damage", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_is_one_sentence(
    damage: Callable[[bytes], bytes], words: str, sent: Path, here: Clone, tmp_path: Path
) -> None:
    path = tmp_path / "cells.zip"
    path.write_bytes(damage(sent.read_bytes()))
    assert words in refused_whole(path, here)


def test_what_is_no_file_is_one_sentence(here: Clone, tmp_path: Path) -> None:
    assert "is no file" in refused_whole(tmp_path, here)
    assert "is no file" in refused_whole(tmp_path / "nothing.zip", here)
    assert "is no file" in refused_whole(Path("/dev/zero"), here)


def test_a_byte_that_broke_on_the_way_is_refused_by_name(sent: Path, here: Clone, tmp_path: Path) -> None:
    content = bytearray(sent.read_bytes())
    place = content.index(b"tiny-tumours,tumours")
    content[place] ^= 1
    (tmp_path / "cells.zip").write_bytes(content)
    arrival = take_in(tmp_path / "cells.zip", here.runs)
    assert len(arrival.refused) == 1 and len(arrival.fates) == 2
    (sentence,) = arrival.refused.values()
    assert "detections.csv is damaged in the archive (Bad CRC-32" in sentence


# ------------------------------------------------------------------------------------------------------------- the list


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda list_: list_ | {"format": 2}, "is of format 2"),
        (lambda list_: list_ | {"cells": 2 * list_["cells"]}, "names a cell twice"),
        (lambda list_: list_ | {"cells": list_["cells"][1:]}, "manifest.json does not name"),
        (lambda list_: list_ | {"sent_by": "a\x1b[2Jb"}, "which is no name"),
        (lambda list_: list_ | {"sent_by": "a" * 2001}, "which is no name"),
        (lambda list_: list_ | {"cells": {}}, "manifest.json is damaged: cells"),
        (lambda list_: [list_], "manifest.json is damaged"),
        (lambda list_: {}, "manifest.json is damaged: format"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(
    change: Callable[[Any], Any], words: str, parcel: Parcel, here: Clone, tmp_path: Path
) -> None:
    parcel.members["manifest.json"] = json.dumps(change(parcel.manifest)).encode()
    assert words in refused_whole(parcel.write(tmp_path / "cells.zip"), here)


def test_an_archive_without_a_list_or_a_file_of_it_is_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    label = label_in(parcel)
    content = parcel.members.pop(f"runs/{label}/metrics.json")
    assert "manifest.json names" in refused_whole(parcel.write(tmp_path / "cells.zip"), here)
    parcel.members[f"runs/{label}/metrics.json"] = content + b" "
    assert "has two sizes" in refused_whole(parcel.write(tmp_path / "cells.zip"), here)
    del parcel.members[f"runs/{label}/digests.json"]
    parcel.list_anew()
    assert "without its config.json or digests.json" in refused_whole(parcel.write(tmp_path / "cells.zip"), here)
    del parcel.members["manifest.json"]
    assert "holds no manifest.json" in refused_whole(parcel.write(tmp_path / "cells.zip"), here)
    parcel.members["manifest.json"] = b"[" * 100_000
    assert "manifest.json is damaged" in refused_whole(parcel.write(tmp_path / "cells.zip"), here)


# ------------------------------------------------------------------------- records whose every checksum was made to fit


def keep_one(parcel: Parcel) -> str:
    """Leave the trained cell alone in the archive; returns its name."""
    label = label_in(parcel)
    manifest = parcel.manifest
    manifest["cells"] = [cell for cell in manifest["cells"] if cell["label"] == label]
    parcel.members = {name: text for name, text in parcel.members.items() if label in name}
    parcel.members["manifest.json"] = json.dumps(manifest).encode()
    return label


def rename(parcel: Parcel, old: str, new: str, cell: str) -> None:
    """Give a cell another id, wherever it is written but in its configuration."""
    parcel.members = {name.replace(old, new): text for name, text in parcel.members.items()}
    manifest = parcel.manifest
    for line in manifest["cells"]:
        if line["label"] == old:
            line.update(label=new, cell=cell)
    parcel.members["manifest.json"] = json.dumps(manifest).encode()
    parcel.change_json(f"runs/{new}/digests.json", cell=cell)


def forge(parcel: Parcel, label: str, **words: Any) -> None:
    """Change a cell's configuration, and make digests and list fit."""
    parcel.change_json(f"runs/{label}/config.json", **words)
    parcel.digest_anew(label)
    parcel.list_anew()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"fold": 1}, "holds the files of another cell"),
        ({"fingerprint": "0" * 64}, "holds the files of another cell"),
        ({"recipe": "0" * 12}, "bears the id of another recipe than its own"),
        ({"seed": 7}, "bears an id that was not made of its own numbers"),
        ({"plan": {}}, "bears an id that was not made of its own numbers"),
        ({"trainable": False}, "bears an id that was not made of its own numbers"),
        ({"method": "../../evil"}, "is not the cell of its folder's name"),
        ({"row": "../x"}, "is not the cell of its folder's name"),
        ({"folds": 0}, "is fold 0 of 0"),
        ({"title": "AE\x1b]0;owned\x07"}, "which is no line of text"),
        ({"departures": ["a\nb"]}, "which is no line of text"),
        ({"cohorts": {"tumours/dice": {"name": "a", "title": "a"}}}, "which is no name"),
        ({"cell": "0" * 12}, "holds the files of another cell"),
        ({"content": []}, "is damaged: content"),
    ],
)
def test_a_record_that_says_it_is_another_is_refused(
    words: dict[str, Any], sentence: str, parcel: Parcel, here: Clone, tmp_path: Path
) -> None:
    forge(parcel, label_in(parcel), **words)
    assert sentence in refused_cell(parcel, tmp_path, here)


def test_another_protocol_is_refused_though_its_id_fits(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    old = label_in(parcel)
    config = json.loads(parcel.members[f"runs/{old}/config.json"])
    content = config["content"] | {"protocol": 3}
    cell = cell_id(content, 0, config["fingerprint"])
    label = f"ae-fold0-{cell}"
    rename(parcel, old, label, cell)
    forge(parcel, label, content=content, cell=cell, recipe=digest(content))
    assert "was made by version 3 of the protocol" in refused_cell(parcel, tmp_path, here)


@pytest.mark.parametrize("name", ["/dev/zero", "../../../../../../etc/passwd", "origin.json", "method.py"])
def test_digests_of_files_that_are_none_of_a_record_are_not_looked_at(
    name: str, parcel: Parcel, here: Clone, tmp_path: Path
) -> None:
    path = f"runs/{label_in(parcel)}/digests.json"
    digests = json.loads(parcel.members[path])
    parcel.members[path] = json.dumps({**digests, "files": {name: "0" * 64, **digests["files"]}}).encode()
    parcel.list_anew()
    assert "which is no file of a record" in refused_cell(parcel, tmp_path, here)


def test_a_file_that_no_digest_vouches_for_is_refused(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    path = f"runs/{label_in(parcel)}/digests.json"
    digests = json.loads(parcel.members[path])
    del digests["files"]["metrics.json"]
    parcel.members[path] = json.dumps(digests).encode()
    parcel.list_anew()
    assert "digests.json does not vouch for, metrics.json" in refused_cell(parcel, tmp_path, here)


def test_a_method_that_was_not_run_is_refused_and_never_imported(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    parcel.members[f"runs/{label_in(parcel)}/method.py"] = f"open({str(trap)!r}, 'w')".encode()
    parcel.list_anew()
    assert "brings a method.py, and none was run" in refused_cell(parcel, tmp_path, here)
    assert not trap.exists()


def test_a_pickle_is_never_opened(parcel: Parcel, here: Clone, tmp_path: Path) -> None:
    trap, label = tmp_path / "sprung", label_in(parcel)
    held = np.empty(1, dtype=object)
    held[0] = Trap(trap)
    arrays = io.BytesIO()
    np.savez(arrays, held, allow_pickle=True)
    parcel.members[f"runs/{label}/score.npz"] = arrays.getvalue()
    path = f"runs/{label}/digests.json"
    digests = json.loads(parcel.members[path])
    digests["files"]["score.npz"] = ""
    parcel.members[path] = json.dumps(digests).encode()
    parcel.digest_anew(label)
    parcel.list_anew()
    assert "score.npz is damaged" in refused_cell(parcel, tmp_path, here)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("name", "words", "sentence"),
    [
        ("environment.json", {"started": "yesterday"}, "was begun at no time that is one"),
        ("environment.json", {"commit": "a\rb"}, "which is no line of text"),
        ("metrics.json", {"origin": 1.0}, "calls a number 'origin'"),
        ("metrics.json", {"tiny-ms/title": 1.0}, "calls a number 'tiny-ms/title'"),
        ("metrics.json", {"tiny-ms/dice": "much"}, "is damaged"),
        ("state.json", {"seconds": "many"}, "is damaged"),
    ],
)
def test_a_file_of_other_things_is_refused(
    name: str, words: dict[str, Any], sentence: str, parcel: Parcel, here: Clone, tmp_path: Path
) -> None:
    label = label_in(parcel)
    parcel.change_json(f"runs/{label}/{name}", **words)
    parcel.digest_anew(label)
    parcel.list_anew()
    assert sentence in refused_cell(parcel, tmp_path, here)


# ------------------------------------------------------------------------------------------------------------ at random


def outcome(path: Path, sent: Mapping[str, bytes]) -> None:
    """Take an archive in: a sentence, or records that are to the last byte those that were sent, and nothing beside."""
    results = path.parent / "results"
    try:
        take_in(path, results / "runs")
    except UserError as error:
        assert str(error)
    assert {file.name for file in path.parent.iterdir()} <= {path.name, "results"}
    for file in results.rglob("*"):
        if file.is_file() and file.name not in ("origin.json", ".lock"):
            assert file.read_bytes() == sent[str(file.relative_to(results))]


@QUICK
@given(places=st.lists(st.tuples(st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=8))
def test_no_changed_byte_is_ever_taken(
    places: list[tuple[int, int]], sent: Path, open_parcel: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("random") / "cells.zip"
    content = bytearray(sent.read_bytes())
    for where, change in places:
        content[where % len(content)] ^= change
    path.write_bytes(content)
    outcome(path, open_parcel(sent).members)


@QUICK
@given(start=st.integers(0, 2**16), length=st.integers(1, 400), filling=st.binary(max_size=40))
def test_no_cut_or_filled_archive_is_ever_taken(
    start: int, length: int, filling: bytes, sent: Path, open_parcel: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("random") / "cells.zip"
    content = sent.read_bytes()
    start %= len(content)
    path.write_bytes(content[:start] + filling + content[start + length :])
    outcome(path, open_parcel(sent).members)


_PARTS = st.sampled_from(
    ["..", ".", "", "runs", "LABEL", "config.json", "attempts", "000001.json", "/", "\\", "~", "C:"]
)


@QUICK
@given(parts=st.lists(st.one_of(_PARTS, st.text(max_size=12)), min_size=1, max_size=6))
def test_no_other_name_is_ever_written(
    parts: list[str], sent: Path, open_parcel: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path, parcel = tmp_path_factory.mktemp("random") / "cells.zip", open_parcel(sent)
    parcel.members["/".join(parts).replace("LABEL", label_in(parcel))] = b"{}"
    parcel.list_anew()
    outcome(parcel.write(path), parcel.members)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
_KEYS = st.sampled_from(
    [
        "content",
        "plan",
        "cohorts",
        "changed",
        "title",
        "row",
        "method",
        "fold",
        "folds",
        "seed",
        "data",
        "splits",
        "recipe",
    ]
)


@QUICK
@given(words=st.dictionaries(_KEYS, _JSON, min_size=1, max_size=3))
def test_no_configuration_is_a_traceback(
    words: dict[str, Any], sent: Path, open_parcel: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every checksum fits, and so does the id, where the content can be hashed at all."""
    place, parcel = tmp_path_factory.mktemp("random"), open_parcel(sent)
    label = keep_one(parcel)
    config = json.loads(parcel.members[f"runs/{label}/config.json"]) | words
    cell = cell_id(config["content"], config["fold"], config["fingerprint"])
    rename(parcel, label, f"ae-fold0-{cell}", cell)
    forge(parcel, f"ae-fold0-{cell}", **words, cell=cell)
    look_at_everything(take_in(parcel.write(place / "cells.zip"), place / "runs"), place)


_WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=30)
_SHOWN = st.fixed_dictionaries(
    {},
    optional={
        "title": st.one_of(_WORDS, st.sampled_from(["[/red]", "[bold", "%s{0}", "<script>", "$HOME", "| a |"])),
        "preset": _WORDS,
        "data": _WORDS,
        "data_title": _WORDS,
        "splits": _WORDS,
        "changed": st.lists(_WORDS, max_size=2),
    },
)


@QUICK
@given(words=_SHOWN)
@example(words={"title": "[/red]", "data_title": "{0} %s"})
def test_no_word_of_a_record_that_joined_breaks_what_shows_it(
    words: dict[str, Any], sent: Path, open_parcel: Open, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place, parcel = tmp_path_factory.mktemp("random"), open_parcel(sent)
    label = keep_one(parcel)
    forge(parcel, label, **words)
    arrival = take_in(parcel.write(place / "cells.zip"), place / "runs")
    assert arrival.fates or "which is no line of text" in arrival.refused[label]
    look_at_everything(arrival, place)


def look_at_everything(arrival: Arrival, results: Path) -> None:
    """Whatever joined can be listed, told to MLflow, framed and read."""
    assert len(arrival.fates) + len(arrival.refused) == 1
    make_console(io.StringIO(), width=200).print(listing("runs", results))
    frame = load_results(results).to_dataframe()
    assert len(frame) == len(arrival.fates)
    for label in arrival.fates:
        assert Report.of(RunRecord(results / "runs" / label)).digest
