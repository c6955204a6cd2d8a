"""Claims: one holder at a time, whatever is killed, copied, damaged or slow; whoever lost a cell finds out."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from uadbench.benchmarks.records import claims
from uadbench.benchmarks.records.attempts import (
    Attempt,
    HeldError,
    ProcessMark,
    attempts_of,
    check_free,
    last_holder,
    server_time,
)
from uadbench.benchmarks.records.claims import LostClaimError, claimed
from uadbench.errors import UserError

ENVIRONMENT = {"commit": "abc123", "machine": "a machine"}


@pytest.fixture
def cell(tmp_path: Path) -> Path:
    return tmp_path / "ae-fold0-0123456789ab"


def write_attempt(cell: Path, number: int, *, age: float = 0.0, **changes: object) -> Path:
    """The file of an attempt on another machine, whose last sign of life was so many seconds ago."""
    attempt = Attempt.here(ENVIRONMENT, 60.0)
    mark = attempt.process.model_copy(update={"host": "node7", "pid": 4711})
    attempt = attempt.model_copy(update={"process": mark, **changes})
    path = cell / "attempts" / f"{number:06d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(attempt.text())
    os.utime(path, (time.time() - age,) * 2)
    return path


def hold(cell: Path) -> None:
    """Claim a cell and give it back."""
    with claimed(cell, ENVIRONMENT):
        pass


@contextmanager
def holding_process(cell: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the cell until the end of the block."""
    script = f"""
        import time
        from pathlib import Path
        from uadbench.benchmarks.records.claims import claimed
        with claimed(Path({str(cell)!r}), {{}}):
            print("held", flush=True)
            time.sleep(600)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_cell_has_one_holder_and_each_attempt_is_kept(cell: Path) -> None:
    with claimed(cell, ENVIRONMENT) as claim:
        claim.check()
        with pytest.raises(HeldError):
            hold(cell)
        claim.check()
    with pytest.raises(ZeroDivisionError), claimed(cell, {"commit": "def456"}):
        1 / 0  # noqa: B018
    with pytest.raises(UserError), claimed(cell, ENVIRONMENT):
        raise UserError("the disk\nis full")
    with pytest.raises(KeyboardInterrupt), claimed(cell, ENVIRONMENT):
        raise KeyboardInterrupt
    found = attempts_of(cell)
    assert [(one.how, one.problem) for one in found] == [
        ("done", ""),
        ("failed", "ZeroDivisionError: division by zero"),
        ("failed", "the disk is full"),
        ("stopped", ""),
    ]
    assert [one.environment["commit"] for one in found] == ["abc123", "def456", "abc123", "abc123"]
    assert all(one.ended is not None and one.begun <= one.ended for one in found)
    assert [path.name for path in sorted((cell / "attempts").iterdir())] == [f"00000{n}.json" for n in (1, 2, 3, 4)]


def test_who_holds_a_cell_is_said_with_the_age_of_the_last_sign_of_life(cell: Path) -> None:
    write_attempt(cell, 1, age=37.0, command="bench run --method ae")
    words = (
        rf"another process is running the cell {re.escape(str(cell))}: process 4711 on node7 \(bench run --method ae\)"
    )
    with pytest.raises(HeldError, match=words + ", its last sign of life 3[678] s ago; wait for it or stop it"):
        hold(cell)
    with pytest.raises(HeldError, match="node7"):
        check_free(cell)


def test_words_of_a_strange_file_do_not_reach_the_terminal(cell: Path) -> None:
    write_attempt(cell, 1, command="\x1b[2Jbench")
    with pytest.raises(HeldError, match=r"process 4711 on node7 \(\?\)"):
        hold(cell)


@pytest.mark.parametrize("is_reaped", [True, False])
def test_a_killed_process_of_this_machine_is_followed_at_once(is_reaped: bool, cell: Path) -> None:
    with holding_process(cell) as process:
        with pytest.raises(HeldError, match=f"process {process.pid} on "):
            hold(cell)
        process.kill()
        if is_reaped:
            process.wait()
        else:  # a zombie: its parent has not asked for it yet
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        hold(cell)
    first, second = attempts_of(cell)
    assert (first.how, first.problem) == ("lost", "its process was killed")
    assert second.how == "done"


def test_a_process_that_stands_still_is_held_for_its_lease_and_no_longer(cell: Path) -> None:
    with holding_process(cell) as process:
        process.send_signal(signal.SIGSTOP)
        path = cell / "attempts" / "000001.json"
        with pytest.raises(HeldError):
            hold(cell)
        os.utime(path, (time.time() - 61,) * 2)
        hold(cell)
        process.send_signal(signal.SIGCONT)
    assert attempts_of(cell)[0].how == "lost"


def test_a_number_that_belongs_to_another_process_by_now_is_no_holder(cell: Path) -> None:
    here = ProcessMark.here()
    write_attempt(cell, 1, process=here.model_copy(update={"started": "1"}))
    hold(cell)
    write_attempt(cell, 3, process=here)
    with pytest.raises(HeldError):
        hold(cell)


@pytest.mark.parametrize("what", ["host", "boot", "namespace"])
def test_of_a_process_elsewhere_nothing_is_known_but_its_signs_of_life(what: str, cell: Path) -> None:
    elsewhere = ProcessMark.here().model_copy(update={"pid": 2**22 + 1, what: "another"})
    path = write_attempt(cell, 1, process=elsewhere, age=59.0)
    with pytest.raises(HeldError):
        hold(cell)
    os.utime(path, (time.time() - 61,) * 2)
    hold(cell)
    assert attempts_of(cell)[0].problem == "it gave no sign of life for 61 s"


def test_signs_of_life_are_given_while_a_cell_is_held(cell: Path) -> None:
    with claimed(cell, ENVIRONMENT, lease=1.2) as claim:
        for _ in range(5):
            time.sleep(0.3)
            holder = last_holder(cell)
            assert holder is not None and holder.is_alive and holder.age < 1.2
        claim.check()


def test_the_clocks_of_the_machines_do_not_matter(cell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_attempt(cell, 1, age=5.0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert server_time(cell) > 1e9
    with pytest.raises(HeldError, match="5 s ago"):
        hold(cell)


def test_a_record_that_was_copied_is_free_once_the_lease_is_over(cell: Path, tmp_path: Path) -> None:
    write_attempt(cell, 1, lease=1e9)
    copy = shutil.copytree(cell, tmp_path / "copy", copy_function=shutil.copyfile)
    (path,) = (copy / "attempts").iterdir()
    with pytest.raises(HeldError):
        hold(copy)
    for away in (-3601, 3601):  # no lease is believed that is longer than an hour, nor a time to come
        os.utime(path, (time.time() + away,) * 2)
        check_free(copy)
    hold(copy)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"token": 1}'])
def test_a_damaged_attempt_holds_for_a_lease_and_no_longer(content: bytes, cell: Path) -> None:
    path = write_attempt(cell, 1)
    path.write_bytes(content)
    with pytest.raises(HeldError, match="an unknown process"):
        hold(cell)
    os.utime(path, (time.time() - 61,) * 2)
    hold(cell)
    assert path.read_bytes() == content
    assert [one.how for one in attempts_of(cell)] == ["done"]


def test_strange_things_among_the_attempts_stop_nobody(cell: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep me")
    folder = cell / "attempts"
    (folder / "000009.json").mkdir(parents=True)
    (folder / "notes.json").write_text("{}")
    (folder / "000008.json").symlink_to(tmp_path / "precious")
    os.utime(folder / "000009.json", (0, 0))
    hold(cell)
    (folder / f"{10**30}.json").write_text("{}")
    os.utime(folder / f"{10**30}.json", (0, 0))
    hold(cell)
    assert (folder / f"{10**30 + 1}.json").is_file()
    assert (tmp_path / "precious").read_text() == "keep me"


def test_whoever_lost_a_cell_finds_out_and_says_nothing_in_its_files(cell: Path) -> None:
    taken_over = pytest.raises(LostClaimError, match="was taken over by process 4711 on node7")
    with taken_over, claimed(cell, ENVIRONMENT) as claim:
        write_attempt(cell, 2)
        before = {path: path.read_bytes() for path in cell.rglob("*.json")}
        claim.check()
    assert {path: path.read_bytes() for path in cell.rglob("*.json")} == before


def test_the_thread_finds_out_too(cell: Path) -> None:
    with pytest.raises(LostClaimError), claimed(cell, ENVIRONMENT, lease=0.1) as claim:
        claim.raise_if_lost()
        write_attempt(cell, 2)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            claim.raise_if_lost()


def test_a_folder_that_was_removed_and_begun_anew_is_not_ours(cell: Path) -> None:
    with (
        pytest.raises(LostClaimError, match="taken over by process 4711 on node7"),
        claimed(cell, ENVIRONMENT) as claim,
    ):
        shutil.rmtree(cell)
        write_attempt(cell, 1)
        claim.check()
    with pytest.raises(HeldError):
        hold(cell)
    with pytest.raises(LostClaimError, match="was removed"), claimed(cell.with_name("b"), ENVIRONMENT) as claim:
        shutil.rmtree(cell.with_name("b"))
        claim.check()
    assert not cell.with_name("b").exists()


def test_after_its_end_a_claim_allows_nothing(cell: Path) -> None:
    with claimed(cell, ENVIRONMENT) as claim:
        pass
    with pytest.raises(LostClaimError, match="no longer run by this process"):
        claim.check()


def test_a_full_disk_does_not_keep_a_cell(cell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken, claimed(cell, ENVIRONMENT):
        broken.setattr(os, "fsync", full)
    hold(cell)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"cannot write .*attempts: No space left on device; make room or choose"):
            hold(cell)


def test_an_answer_that_got_lost_is_no_failure(cell: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def forgetful(source: Path, target: Path) -> None:
        link(source, target)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(claims.os, "link", forgetful)
    hold(cell)
    assert len(attempts_of(cell)) == 1


RACE = """
    import os, select, sys, time
    from pathlib import Path
    from uadbench.benchmarks.records import claims
    from uadbench.benchmarks.records.attempts import HeldError

    folder, links, processes, rounds = Path(sys.argv[1]), sys.argv[2], 16, 20
    if links == "without":
        def no_link(source, target):
            raise OSError(1, "Operation not permitted")
        claims.os.link = no_link

    def race(cell, start, over):
        while time.monotonic() < start:
            pass
        try:
            with claims.claimed(cell, {}) as claim:
                select.select([over], [], [], 30)  # until all others have tried
                claim.check()
            return 0
        except HeldError:
            return 1

    counts = []
    for number in range(rounds):
        cell = folder / str(number)
        with claims.claimed(cell, {}):
            stale = (cell / "attempts/000001.json").read_text()
        stale = stale.replace('"ended"', '"never"').replace('"how"', '"now"')
        (cell / "attempts/000001.json").write_text(stale)
        os.utime(cell / "attempts/000001.json", (0, 0))
        start = time.monotonic() + 0.03
        over, end = os.pipe()
        for _ in range(processes):
            child = os.fork()
            if not child:
                os.close(end)
                code = 2
                try:
                    code = race(cell, start, over)
                finally:
                    os._exit(code)
        codes = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(processes - 1)]
        os.close(end)
        codes.append(os.waitstatus_to_exitcode(os.wait()[1]))
        os.close(over)
        counts.append((codes.count(0), codes.count(1)))
    print(counts)
"""


@pytest.mark.parametrize("links", ["with", "without"])
def test_of_many_that_race_for_a_stale_cell_one_wins(links: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RACE), str(tmp_path), links], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.replace("(", "[").replace(")", "]")) == [[1, 15]] * 20
    assert not list(tmp_path.rglob("*.partial"))
