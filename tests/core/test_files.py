"""Files whole or not at all, with the permissions of the umask, and locks that say who holds them."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from uadbench import files as atomic
from uadbench.files import LockTimeoutError, LockWarning, locked, replacing


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o007, 0o000])
def test_a_written_file_has_the_permissions_that_the_umask_gives_any_file(mask: int, tmp_path: Path) -> None:
    with umask(mask):
        (tmp_path / "plain").write_text("as open() makes it")
        with replacing(tmp_path / "ours") as partial:
            partial.write_text("x")
        with locked(tmp_path / "lock"):
            pass
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "lock").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_must_not_be_written_any_more_is_not(tmp_path: Path) -> None:
    def refuse() -> None:
        assert [path.name for path in tmp_path.iterdir() if path.suffix == ".partial"] != []  # all but renamed
        raise RuntimeError("no more")

    (tmp_path / "kept").write_text("old")
    for name in ("kept", "new"):
        with pytest.raises(RuntimeError, match="no more"), replacing(tmp_path / name, refuse) as partial:
            partial.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"kept": "old"}


def test_a_lock_does_not_follow_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / ".lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"), locked(tmp_path / ".lock"):
        pass
    assert precious.read_text() == "keep me"


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock `tmp_path/lock`."""
    script = textwrap.dedent(f"""
        from pathlib import Path
        from uadbench.files import locked
        with locked(Path({str(tmp_path / "lock")!r})):
            print("held", flush=True)
            input()
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script, "--folds", "all"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def let_go_after(seconds: float, holder: subprocess.Popen[str]) -> None:
    def let_go() -> None:
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()

    threading.Timer(seconds, let_go).start()


def test_whoever_waits_is_told_for_whom(holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_SAY_AFTER", 0.2)
    let_go_after(0.6, holder)
    with pytest.warns(LockWarning) as told, locked(tmp_path / "lock"):
        pass
    (sentence,) = [str(warning.message) for warning in told]
    assert sentence == f"waiting for process {holder.pid} (-c --folds all), which holds {tmp_path / 'lock'}"


def test_nobody_waits_for_ever(holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "PATIENCE", 0.3)
    sentence = rf"process {holder.pid} .* has held .*lock for 0 s; .* stop it"
    with pytest.raises(LockTimeoutError, match=sentence), locked(tmp_path / "lock"):
        pass


def test_a_holder_that_gets_on_is_waited_for(holder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "PATIENCE", 0.3)
    let_go_after(1.0, holder)
    started = time.monotonic()
    with locked(tmp_path / "lock", progress=lambda: int(10 * time.monotonic())):
        assert time.monotonic() - started > 0.9


def test_a_free_lock_costs_no_word(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with locked(tmp_path / "lock"):
            pass
        with locked(tmp_path / "lock", wait=False):
            pass
    with locked(tmp_path / "lock"), pytest.raises(BlockingIOError), locked(tmp_path / "lock", wait=False):
        pass
