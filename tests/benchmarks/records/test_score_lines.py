"""The table of scores grows a line at a time: a kill at any byte costs one line; the file is as if written at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from uadbench.benchmarks.records import record_files
from uadbench.benchmarks.records.record import SCORES, RunRecord
from uadbench.benchmarks.records.record_files import VolumeScore
from uadbench.errors import UserError

FIRST = VolumeScore("tiny", "tumours", "a,b", 0.1, 1 / 3, 0.7, 1e-17, 0.02, 1.5, 0.25)
LINES = (
    FIRST,
    replace(FIRST, subject="öl", dice=None, note="no lesion"),
    replace(FIRST, subject='c "d"', lesion_ml=None),
)


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return RunRecord(tmp_path / "r")


def test_a_file_that_grew_is_the_file_that_is_written_at_once(record: RunRecord, tmp_path: Path) -> None:
    for line in LINES:
        record.add_score(line)
    whole = RunRecord(tmp_path / "whole")
    whole.save_scores(LINES)
    assert (record.folder / SCORES).read_bytes() == (whole.folder / SCORES).read_bytes()
    assert record.scores() == LINES


def test_a_kill_at_any_byte_costs_one_line_and_the_rest_comes_to_the_same_file(record: RunRecord) -> None:
    for line in LINES:
        record.add_score(line)
    path = record.folder / SCORES
    content = path.read_bytes()
    for cut in range(content.index(b"\n") + 1, len(content)):
        path.write_bytes(content[:cut])
        kept = record.scores()
        assert kept == LINES[: content[:cut].count(b"\n") - 1]
        for line in LINES[len(kept) :]:
            record.add_score(line)
        assert path.read_bytes() == content, cut


def test_a_line_that_does_not_fit_on_the_disk_is_one_sentence_and_harms_none(
    record: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    for line in LINES[:2]:
        record.add_score(line)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(record_files.os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write .*scores.csv: No space left on device; make room"):
            record.add_score(LINES[2])
    assert record.scores()[:2] == LINES[:2]


def test_a_full_disk_is_one_sentence_and_room_mends_it(small_disk: Path) -> None:
    record = RunRecord(small_disk / "r")
    record.add_score(LINES[0])
    filler = small_disk / "filler"
    written = 1
    with pytest.raises(UserError, match="No space left"):
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        for _ in range(10_000):
            record.add_score(LINES[1])
            written += 1
    filler.unlink()
    assert len(record.scores()) >= written
    record.save_scores((LINES[0],))
    record.add_score(LINES[1])
    assert record.scores() == LINES[:2]
