"""The volume store: whole or not at all, resumable, and never a damaged number."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from uadbench.datasets.cohort import Subject
from uadbench.datasets.scans.preparation import PreparedVolume
from uadbench.datasets.store.build import build_store
from uadbench.datasets.store.store import VolumeStore
from uadbench.errors import DataError

SHAPE = (4, 6, 5)
SUBJECTS = tuple(Subject(f"s{number}", 20.0 + number if number else None, "Guys") for number in range(6))


def prepared(subject, lesions=True, factor=1.0):
    rng = np.random.default_rng(int(subject.id[1:]))
    volume = (rng.random(SHAPE) * factor).astype(np.float32)
    return PreparedVolume(volume, volume > 0.2, volume > 0.9 if lesions else None)


class Preparing:
    """A `prepare` that remembers whom it prepared and may fail on one."""

    def __init__(self, fail_on=None, factor=1.0, lesions=True):
        self.calls = []
        self.fail_on = fail_on
        self.factor = factor
        self.lesions = lesions

    def __call__(self, subject):
        if subject.id == self.fail_on:
            raise ValueError("its header makes no sense")
        self.calls.append(subject.id)
        return prepared(subject, self.lesions, self.factor)


def build(folder, prepare=None, manifest=None, subjects=SUBJECTS, **more):
    settings = {"has_lesions": True, "jobs": 1, **more}
    return build_store(folder, subjects, prepare or Preparing(), manifest or {"steps": [1, 2]}, **settings)


def test_gives_back_what_was_prepared(tmp_path):
    store = build(tmp_path / "store")
    assert store.ids == tuple(subject.id for subject in SUBJECTS)
    assert store.subjects == SUBJECTS
    assert store.shape == SHAPE
    assert store.has_lesions
    for subject in SUBJECTS:
        expected = prepared(subject)
        assert store.volume(subject.id).dtype == np.float32
        assert store.brain_mask(subject.id).dtype == store.lesion_mask(subject.id).dtype == np.bool_
        assert np.array_equal(store.volume(subject.id), expected.volume)
        assert np.array_equal(store.brain_mask(subject.id), expected.brain_mask)
        assert np.array_equal(store.lesion_mask(subject.id), expected.lesion_mask)
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "brain_masks.npy", "lesion_masks.npy", "manifest.json", "subjects.csv", "volumes.npy",
    ]  # fmt: skip
    assert np.load(store.folder / "volumes.npy").shape == (6, *SHAPE)
    assert (store.folder / "subjects.csv").read_text().splitlines()[:3] == ["id,age,site", "s0,,Guys", "s1,21.0,Guys"]


def test_is_read_only(tmp_path):
    store = build(tmp_path / "store")
    for array in (store.volume("s0"), store.brain_mask("s0"), store.lesion_mask("s0")):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0, 0] = 1


def test_healthy_store_has_no_lesion_masks(tmp_path):
    store = build(tmp_path / "store", Preparing(lesions=False), has_lesions=False)
    assert not store.has_lesions
    assert not (store.folder / "lesion_masks.npy").exists()
    with pytest.raises(DataError, match="no lesion masks"):
        store.lesion_mask("s0")


def test_unknown_subject_is_named(tmp_path):
    with pytest.raises(DataError, match="no subject 'nobody'"):
        build(tmp_path / "store").volume("nobody")


def test_same_store_is_opened_not_rebuilt_and_reports_nothing(tmp_path):
    first = build(tmp_path / "store")
    again, seen = Preparing(), []
    second = build(tmp_path / "store", again, progress=lambda *done: seen.append(done))
    assert again.calls == seen == []
    assert second.fingerprint == first.fingerprint


def test_progress_counts_up(tmp_path):
    seen = []
    build(tmp_path / "store", progress=lambda *done: seen.append(done))
    assert seen == [(number, 6) for number in range(7)]


def test_fingerprint_follows_content_manifest_and_subjects_but_not_the_place(tmp_path):
    one = build(tmp_path / "one").fingerprint
    assert build(tmp_path / "deep" / "two").fingerprint == one
    others = {
        build(tmp_path / "a", manifest={"steps": [1, 3]}).fingerprint,
        build(tmp_path / "b", Preparing(factor=0.5)).fingerprint,
        build(tmp_path / "c", subjects=SUBJECTS[:5]).fingerprint,
    }
    assert len(others | {one}) == 4


def test_failure_names_the_subject_and_what_is_done_stays(tmp_path):
    with pytest.raises(DataError, match="s3: its header makes no sense"):
        build(tmp_path / "store", Preparing(fail_on="s3"))
    with pytest.raises(DataError, match="no finished volume store"):
        VolumeStore.open(tmp_path / "store")
    rest = Preparing()
    store = build(tmp_path / "store", rest)
    assert rest.calls == ["s3", "s4", "s5"]
    assert store.fingerprint == build(tmp_path / "uninterrupted").fingerprint


def test_partial_entry_that_was_damaged_is_prepared_again(tmp_path):
    with pytest.raises(DataError):
        build(tmp_path / "store", Preparing(fail_on="s3"))
    with (tmp_path / "store.partial" / "volumes.npy").open("r+b") as file:
        file.seek(128 + 4 * int(np.prod(SHAPE)) + 8)  # within s1
        file.write(b"\xff\xff")
    rest = Preparing()
    build(tmp_path / "store", rest)
    assert rest.calls == ["s1", "s3", "s4", "s5"]


def test_partial_build_of_another_manifest_is_dropped(tmp_path):
    with pytest.raises(DataError):
        build(tmp_path / "store", Preparing(fail_on="s3"))
    rest = Preparing()
    build(tmp_path / "store", rest, manifest={"steps": "others"})
    assert len(rest.calls) == 6


def test_changed_manifest_rebuilds_beside_and_replaces(tmp_path):
    old = build(tmp_path / "store")
    seen = []

    def prepare(subject):
        seen.append(VolumeStore.open(tmp_path / "store").fingerprint)  # readers see the old store, whole
        return prepared(subject, factor=0.5)

    new = build(tmp_path / "store", prepare, manifest={"steps": "others"})
    assert set(seen) == {old.fingerprint}
    assert new.fingerprint != old.fingerprint
    assert new.volume("s0").max() <= 0.5
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["store"]
    assert np.array_equal(old.volume("s5"), prepared(SUBJECTS[5]).volume)  # an open store keeps what it mapped


def test_build_cut_off_just_before_the_rename_is_finished_without_work(tmp_path):
    build(tmp_path / "store").folder.rename(tmp_path / "store.partial")
    idle = Preparing()
    assert build(tmp_path / "store", idle).ids == tuple(subject.id for subject in SUBJECTS)
    assert idle.calls == []


def test_two_builders_at_once_share_the_work(tmp_path):
    prepare = Preparing()

    def slowly(subject):
        time.sleep(0.03)
        return prepare(subject)

    with ThreadPoolExecutor(3) as pool:
        stores = list(pool.map(lambda _: build(tmp_path / "store", slowly), range(3)))
    assert prepare.calls == [subject.id for subject in SUBJECTS]
    assert len({store.fingerprint for store in stores}) == 1


def test_pickles_as_its_path(tmp_path):
    store = build(tmp_path / "store")
    packed = pickle.dumps(store)
    assert len(packed) < 500
    assert np.array_equal(pickle.loads(packed).volume("s2"), store.volume("s2"))


def damage(folder: Path, how: str) -> None:
    volumes, manifest = folder / "volumes.npy", folder / "manifest.json"
    match how:
        case "cut short":
            os.truncate(volumes, volumes.stat().st_size - 7)
        case "missing":
            (folder / "brain_masks.npy").unlink()
        case "not an array":
            volumes.write_text("hello")
        case "other shape":
            np.save(volumes, np.zeros((6, 2, 2, 2), np.float32))
        case "manifest cut":
            manifest.write_text(manifest.read_text()[:-30])
        case "manifest keys":
            manifest.write_text('{"format": 1, "fingerprint": "' + "0" * 64 + '"}')


@pytest.mark.parametrize(
    "how", ["cut short", "missing", "not an array", "other shape", "manifest cut", "manifest keys"]
)
def test_damage_is_found_on_opening(tmp_path, how):
    folder = build(tmp_path / "store").folder
    damage(folder, how)
    with pytest.raises(DataError, match="store"):
        VolumeStore.open(folder)


def test_changed_bytes_are_found_on_reading(tmp_path):
    folder = build(tmp_path / "store").folder
    with (folder / "volumes.npy").open("r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"\x01")
    store = VolumeStore.open(folder)
    assert np.array_equal(store.volume("s0"), prepared(SUBJECTS[0]).volume)
    with pytest.raises(DataError, match="volume of s5 was damaged"):
        store.volume("s5")


@pytest.mark.parametrize(
    ("subjects", "words"), [((), "at least one"), ((*SUBJECTS, SUBJECTS[2]), "stand twice in one data set: s2")]
)
def test_impossible_subjects_are_refused(tmp_path, subjects, words):
    with pytest.raises(DataError, match=words):
        build(tmp_path / "store", subjects=subjects)


def test_wrong_arrays_are_refused(tmp_path):
    with pytest.raises(DataError, match="s0: a lesion mask is unexpected"):
        build(tmp_path / "one", has_lesions=False)
    with pytest.raises(DataError, match="s0: a lesion mask is missing"):
        build(tmp_path / "two", Preparing(lesions=False))

    def growing(subject):
        size = 3 + int(subject.id[1:])
        return PreparedVolume(np.ones((size, 2, 2), np.float32), *(np.ones((size, 2, 2), np.bool_),) * 2)

    with pytest.raises(DataError, match="differ in shape"):
        build(tmp_path / "three", growing)


def test_full_disk_is_an_error_and_the_build_goes_on_later(tmp_path):
    """A limit on file size fails like a full disk: a write raises OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    many = [Subject(f"s{number}", None, None) for number in range(400)]  # 400 volumes of 480 bytes do not fit 64 KiB
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
        with pytest.raises(DataError, match="make room"):
            build(tmp_path / "store", subjects=many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(build(tmp_path / "store", subjects=many).ids) == 400


SCRIPT = """
    import os, sys, time
    from pathlib import Path
    import numpy as np
    from uadbench.datasets.cohort import Subject
    from uadbench.datasets.scans.preparation import PreparedVolume
    from uadbench.datasets.store.build import build_store

    LOG = Path(sys.argv[2])

    def prepare(subject):
        with LOG.open("a") as log:
            log.write(f"{subject.id} {os.getpid()}\\n")
        time.sleep(0.15)
        volume = np.random.default_rng(int(subject.id)).random((4, 6, 5)).astype(np.float32)
        return PreparedVolume(volume, volume > 0.2, None)

    if __name__ == "__main__":
        subjects = [Subject(str(number), None, None) for number in range(24)]
        store = build_store(Path(sys.argv[1]), subjects, prepare, {}, has_lesions=False, jobs=int(sys.argv[3]))
        print(store.fingerprint)
"""


def started(script: Path, folder: Path, log: Path, jobs: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(script), str(folder), str(log), str(jobs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def logged(log: Path) -> list[list[str]]:
    return [line.split() for line in log.read_text().splitlines()] if log.exists() else []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "how"), [(1, signal.SIGKILL), (2, signal.SIGKILL), (2, signal.SIGINT)])
def test_killed_build_goes_on_and_leaves_no_process_behind(tmp_path, jobs, how):
    script, folder, log = tmp_path / "script.py", tmp_path / "store", tmp_path / "log"
    script.write_text(textwrap.dedent(SCRIPT))
    victim = started(script, folder, log, jobs)
    done = folder.with_name("store.partial") / "done"
    deadline = time.monotonic() + 60
    while len(list(done.glob("*.json"))) < 4:
        assert time.monotonic() < deadline, victim.communicate(timeout=1)
        time.sleep(0.02)
    os.kill(victim.pid, how)
    victim.communicate(timeout=30)
    kept = {int(path.stem) for path in done.glob("*.json")}
    workers = {int(pid) for _, pid in logged(log)} - {victim.pid}
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its parent"
        time.sleep(0.05)
    assert not folder.exists()

    log.unlink()
    out, err = started(script, folder, log, jobs).communicate(timeout=60)
    assert {int(name) for name, _ in logged(log)} == set(range(24)) - kept, err
    fresh, _ = started(script, tmp_path / "uninterrupted", log, 1).communicate(timeout=60)
    assert out == fresh != ""
