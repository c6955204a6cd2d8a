"""`bench splits fetch` against a server on the loopback: everything is placed, or nothing is touched."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import Result
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app
from uadbench.datasets.registry import data_sets
from uadbench.datasets.splits.audit import leaks_among
from uadbench.datasets.splits.published import (
    BASE_URL,
    COMMIT,
    SHA256,
    LocalCopy,
    Placed,
    Server,
    fetch_splits,
    review_splits,
)
from uadbench.errors import DataError

BENCH = Path(sys.executable).with_name("bench")
FILES = {
    "IXI_test.csv": b",img_name\n0,A_t1.nii.gz\n",
    "IXI_train_fold0.csv": b",img_name\n" + b"".join(b"%d,B%d_t1.nii.gz\n" % (n, n) for n in range(3000)),
    "IXI_val_fold0.csv": b",img_name\n0,C_t1.nii.gz\n",
}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
SECOND = "IXI_train_fold0.csv"


class Mirror:
    """A web server with faults to order, which counts who asked for what."""

    def __init__(self) -> None:
        self.files = dict(FILES)
        self.fault: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.release = threading.Event()
        self.url = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = request.path.rpartition("/")[2]
        self.asked[name] += 1
        fault, content = self.fault.get(name), self.files.get(name)
        if content is None or fault == "404":
            request.send_error(404)
        elif fault == "500":
            request.send_error(500)
        elif fault == "drop":
            request.connection.close()
        elif fault == "silent":
            self.release.wait(20)
        else:
            request.send_response(200)
            request.send_header("Content-Length", str(len(content)))
            request.end_headers()
            request.wfile.write(content[: len(content) // 2] if fault in ("cut", "stall") else content)
            request.wfile.flush()
            if fault == "stall":
                self.release.wait(20)


class Handler(BaseHTTPRequestHandler):
    def __init__(self, mirror: Mirror, *args: object) -> None:
        self.mirror = mirror
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.mirror.answer(self)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    made = Mirror()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, made))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is what we test
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/Data/splits"
    yield made
    made.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    return folder


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder below, hidden ones included, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    before = listing(folder)
    yield
    assert listing(folder) == before


def fetch(directory: Path, url: str, cache: Path, *, force: bool = False, timeout: float = 5) -> Placed:
    return fetch_splits(directory, Server(url, cache, timeout), hashes=HASHES, force=force)


# ------------------------------------------------------------------------------------------------------- all is well


def test_every_file_arrives_byte_for_byte(mirror: Mirror, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    said = io.StringIO()
    with redirect_stderr(said):
        source = Server(mirror.url + "/", tmp_path / "cache")
        placed = fetch_splits(tmp_path / "a" / "b", source, hashes=HASHES, progress=lambda *step: seen.append(step))
    assert placed == Placed(tmp_path / "a" / "b" / "splits", tuple(FILES), ())
    assert listing(placed.folder) == FILES
    assert mirror.asked == Counter(list(FILES))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert said.getvalue() == ""  # pooch's own remarks would break the progress bar
    assert all((placed.folder / name).stat().st_mode & 0o777 == 0o644 for name in FILES)


def test_a_second_directory_is_served_from_the_cache(mirror: Mirror, tmp_path: Path) -> None:
    fetch(tmp_path / "one", mirror.url, tmp_path / "cache")
    fetch(tmp_path / "two", mirror.url, tmp_path / "cache")
    assert mirror.asked == Counter(list(FILES))
    assert listing(tmp_path / "one") == listing(tmp_path / "two")


def test_the_second_run_asks_nobody_and_leaves_the_files(tmp_path: Path, local: Path) -> None:
    fetch_splits(tmp_path / "data", LocalCopy(local), hashes=HASHES)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "splits").iterdir()}
    placed = fetch_splits(tmp_path / "data", LocalCopy(tmp_path / "nowhere"), hashes=HASHES)
    assert placed == Placed(tmp_path / "data" / "splits", (), tuple(FILES))
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "splits").iterdir()}


def test_a_broken_cache_is_mended(mirror: Mirror, tmp_path: Path) -> None:
    fetch(tmp_path / "one", mirror.url, tmp_path / "cache")
    (tmp_path / "cache" / SECOND).write_bytes(b"half a file")
    fetch(tmp_path / "two", mirror.url, tmp_path / "cache")
    assert mirror.asked == Counter({**dict.fromkeys(FILES, 1), SECOND: 2})
    assert (tmp_path / "two" / "splits" / SECOND).read_bytes() == FILES[SECOND]


def test_other_files_of_the_directory_stay(tmp_path: Path, local: Path) -> None:
    splits = tmp_path / "data" / "splits"
    splits.mkdir(parents=True)
    (splits / "ages.csv").write_text("img_name,age\nA,30\n")
    (splits / "IXI_test.csv").write_bytes(FILES["IXI_test.csv"])
    placed = fetch_splits(tmp_path / "data", LocalCopy(local), hashes=HASHES)
    assert placed.kept == ("IXI_test.csv",)
    assert listing(splits) == {**FILES, "ages.csv": b"img_name,age\nA,30\n"}


# -------------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("404", "the server answers HTTP 404"),
        ("500", "the server answers HTTP 500"),
        ("cut", "the connection broke off in the middle of the file"),
        ("silent", "the server was silent for 0.3 s"),
        ("stall", "the server was silent for 0.3 s"),
        ("drop", "there is no connection to 127.0.0.1"),
    ],
)
def test_a_failing_server_leaves_nothing_and_the_repeat_goes_on(
    fault: str, sentence: str, mirror: Mirror, tmp_path: Path
) -> None:
    mirror.fault[SECOND] = fault
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    with untouched(data), pytest.raises(DataError, match=sentence) as caught:
        fetch(data, mirror.url, cache, timeout=0.3)
    assert f"{mirror.url}/{SECOND}" in str(caught.value)
    assert "--from" in str(caught.value)
    assert listing(cache) == {"IXI_test.csv": FILES["IXI_test.csv"]}  # whole files only, no temporary one
    mirror.fault.clear()
    fetch(data, mirror.url, cache)
    assert listing(data / "splits") == FILES
    assert mirror.asked == Counter({**dict.fromkeys(FILES, 1), SECOND: 2})


def test_a_wrong_file_is_named_with_both_hashes(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files[SECOND] = b"<html>Please log in</html>"
    found = hashlib.sha256(mirror.files[SECOND]).hexdigest()
    with pytest.raises(DataError) as caught:
        fetch(tmp_path / "data", mirror.url, tmp_path / "cache")
    for words in (f"{mirror.url}/{SECOND} is not the published file", HASHES[SECOND], found):
        assert words in str(caught.value)
    assert not (tmp_path / "data").exists()
    assert listing(tmp_path / "cache") == {"IXI_test.csv": FILES["IXI_test.csv"]}


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = held.getsockname()[1]
        with pytest.raises(DataError, match=f"there is no connection to 127.0.0.1:{port}"):
            fetch(tmp_path / "data", f"http://127.0.0.1:{port}", tmp_path / "cache")
    assert not (tmp_path / "data").exists()


def test_a_host_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no connection to nowhere.invalid"):
        fetch(tmp_path / "data", "http://nowhere.invalid/x", tmp_path / "cache")


@pytest.mark.parametrize("address", ["ftp://host/x", "host/x", "", "http://", "http://[::1", "file:///etc"])
def test_a_base_url_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(DataError, match="is no address"):
        Server(address)


def test_a_cache_that_cannot_be_written_is_named(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file/cache cannot keep IXI_test.csv: Not a directory; choose another --cache"):
        fetch(tmp_path / "data", mirror.url, tmp_path / "file" / "cache")


# ----------------------------------------------------------------------------------------------------- a local copy


def test_a_copy_that_lacks_a_file(tmp_path: Path, local: Path) -> None:
    (local / SECOND).unlink()
    with pytest.raises(DataError, match=f"{SECOND} is missing; give --from"):
        fetch_splits(tmp_path / "data", LocalCopy(local), hashes=HASHES)
    assert not (tmp_path / "data").exists()


def test_a_copy_with_another_file_is_named_with_both_hashes(tmp_path: Path, local: Path) -> None:
    (local / SECOND).write_bytes(b"something else")
    with pytest.raises(DataError) as caught:
        fetch_splits(tmp_path / "data", LocalCopy(local), hashes=HASHES)
    for words in (str(local / SECOND), HASHES[SECOND], hashlib.sha256(b"something else").hexdigest()):
        assert words in str(caught.value)
    assert "line ends" not in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_checkout_with_crlf_is_recognised(tmp_path: Path, local: Path) -> None:
    (local / SECOND).write_bytes(FILES[SECOND].replace(b"\n", b"\r\n"))
    with pytest.raises(DataError, match="only its line ends differ"):
        fetch_splits(tmp_path / "data", LocalCopy(local), hashes=HASHES)


# -------------------------------------------------------------------------------------- what stands in the directory


def test_different_files_need_force(mirror: Mirror, tmp_path: Path) -> None:
    splits = tmp_path / "data" / "splits"
    splits.mkdir(parents=True)
    (splits / SECOND).write_bytes(b"img_name\nmy own\n")
    with untouched(tmp_path / "data"), pytest.raises(DataError, match=f"other content: {SECOND}; --force replaces"):
        fetch(tmp_path / "data", mirror.url, tmp_path / "cache")
    assert not mirror.asked  # refused before a byte is fetched
    placed = fetch(tmp_path / "data", mirror.url, tmp_path / "cache", force=True)
    assert placed.written == tuple(FILES)
    assert listing(splits) == FILES


def test_force_with_a_failing_source_keeps_the_old_files(mirror: Mirror, tmp_path: Path) -> None:
    splits = tmp_path / "data" / "splits"
    splits.mkdir(parents=True)
    (splits / "IXI_test.csv").write_bytes(b"img_name\nmy own\n")
    mirror.fault["IXI_val_fold0.csv"] = "cut"
    with untouched(tmp_path / "data"), pytest.raises(DataError, match="broke off"):
        fetch(tmp_path / "data", mirror.url, tmp_path / "cache", force=True)


def test_a_folder_under_a_files_name_is_one_sentence(tmp_path: Path, local: Path) -> None:
    (tmp_path / "data" / "splits" / SECOND).mkdir(parents=True)
    with untouched(tmp_path / "data"), pytest.raises(DataError, match=f"{SECOND} cannot be read: Is a directory"):
        fetch_splits(tmp_path / "data", LocalCopy(local), hashes=HASHES, force=True)


def test_a_directory_that_cannot_be_made(tmp_path: Path, local: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="splits cannot be written: Not a directory"):
        fetch_splits(tmp_path / "file" / "data", LocalCopy(local), hashes=HASHES)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path: Path, local: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    with pytest.raises(DataError, match="splits cannot be written: Permission denied"):
        fetch_splits(locked, LocalCopy(local), hashes=HASHES)
    assert not listing(locked)


def test_a_full_disk_leaves_the_old_files(tmp_path: Path, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = tmp_path / "data" / "splits"
    splits.mkdir(parents=True)
    (splits / "IXI_test.csv").write_bytes(b"img_name\nmy own\n")
    flushed: list[int] = []
    flush = os.fsync

    def full_at_the_last_file(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) == len(FILES):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    monkeypatch.setattr(os, "fsync", full_at_the_last_file)
    with untouched(tmp_path / "data"), pytest.raises(DataError, match="cannot be written: No space left on device"):
        fetch_splits(tmp_path / "data", LocalCopy(local), hashes=HASHES, force=True)


def test_a_write_that_truly_fails_leaves_no_folder_behind(tmp_path: Path, local: Path) -> None:
    """The kernel refuses the write here: no file may exceed 1000 bytes, and the second file does."""
    script = textwrap.dedent(f"""
        import resource, signal
        from pathlib import Path
        from uadbench.errors import DataError
        from uadbench.datasets.splits.published import LocalCopy, fetch_splits
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            fetch_splits(Path({str(tmp_path / "x" / "data")!r}), LocalCopy(Path({str(local)!r})), hashes={HASHES!r})
        except DataError as error:
            print(error)
    """)
    answer = subprocess.run([sys.executable, "-B", "-c", script], capture_output=True, text=True, check=True)
    assert "splits cannot be written: File too large; make room" in answer.stdout
    assert not (tmp_path / "x").exists()


# ------------------------------------------------------------------------------------------------- what is in them


def test_the_review_finds_leaks_without_any_scan(tmp_path: Path) -> None:
    parts = {
        "IXI_train_fold0": "ABCX",  # X stands in test too
        "IXI_val_fold0": "DE",
        "IXI_train_fold1": "ADEE",  # E twice
        "IXI_val_fold1": "BC",
        "IXI_test": "XY",
        "MSLUB_val": "P",
        "MSLUB_test": "QR",
    }
    (tmp_path / "splits").mkdir()
    for name, scans in parts.items():
        rows = "".join(f"{number},{scan}_t1.nii.gz\n" for number, scan in enumerate(scans))
        (tmp_path / "splits" / f"{name}.csv").write_text(f",img_name\n{rows}")
    review = review_splits(tmp_path, tuple(data_sets().values()))
    assert review.leaks
    assert review.lines() == (
        "published: healthy: 2 folds of 4 training and 2 validation scans, 2 test; ms: 1 validation, 2 test",
        "  leak: scan-in-two-parts (fold 0: train and test): X",
        "  also: duplicate-rows in 1 places",
        "deleaked: healthy: 2 folds of 3 training and 2 validation scans, 2 test; ms: 1 validation, 2 test",
    )
    for name in ("IXI_train_fold0", "IXI_train_fold1"):
        path = tmp_path / "splits" / f"{name}.csv"
        path.write_text("".join(dict.fromkeys(line for line in path.read_text().splitlines(True) if "X" not in line)))
    (tmp_path / "splits" / "IXI_train_fold1.csv").write_text("img_name\nA\nD\nE\n")
    clean = review_splits(tmp_path, tuple(data_sets().values()))
    assert not clean.leaks
    assert clean.lines() == (
        "published: healthy: 2 folds of 3 training and 2 validation scans, 2 test; ms: 1 validation, 2 test",
    )


# ------------------------------------------------------------------------------------------------ the real files


@pytest.fixture
def published(shared_data: Path) -> Path:
    return shared_data / "behrendt2023-splits"


def test_the_hashes_are_those_of_the_published_files(published: Path) -> None:
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in published.iterdir()} == SHA256


def test_the_address_names_the_pinned_commit() -> None:
    assert urlsplit(BASE_URL).scheme == "https"
    assert f"/{COMMIT}/" in BASE_URL
    assert COMMIT.startswith("da14cd0")


def test_the_review_of_the_published_files(published: Path, tmp_path: Path) -> None:
    """What PROTOCOL.md says of them, counted there by hand."""
    fetch_splits(tmp_path, LocalCopy(published))
    review = review_splits(tmp_path, tuple(data_sets().values()))
    leaked = {
        (one.fold, one.part_a, one.part_b): len(one.scans)
        for one in leaks_among(review.published.findings)
        if one.kind == "scan-in-two-parts"
    }
    assert [leaked[fold, "train", "test"] for fold in range(5)] == [9, 9, 9, 7, 8]
    assert [leaked.get((fold, "train", "val"), 0) for fold in range(5)] == [0, 0, 2, 3, 3]
    assert [leaked.get((fold, "val", "test"), 0) for fold in range(5)] == [0, 0, 0, 2, 1]
    assert not leaks_among(review.deleaked.findings)
    assert len(review.published.lesion["tumours"].test) == 1151


# ------------------------------------------------------------------------------------------------- the command line


def bench_fetch(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["splits", "fetch", *map(str, words)])


def test_the_command_fetches_and_says_what_to_do_next(mirror: Mirror, published: Path, tmp_path: Path) -> None:
    mirror.files = {path.name: path.read_bytes() for path in published.iterdir()}
    data = tmp_path / "my data"
    answer = bench_fetch("--out", data, "--base-url", mirror.url, "--cache", tmp_path / "cache")
    assert answer.exit_code == 0, answer.stderr
    assert listing(data / "splits") == mirror.files
    lines = answer.stdout.splitlines()
    assert lines[0] == f"{data}/splits: 16 files written, 0 were there already."
    assert sum(line.startswith("  leak: ") for line in lines) == 10
    assert lines[-1].endswith(f"bench run --method table1 --data '{data}' --splits deleaked")
    again = bench_fetch("--out", data, "--from", published)
    assert again.stdout.splitlines()[0] == f"{data}/splits: 0 files written, 16 were there already."
    assert mirror.asked == Counter(list(mirror.files))


def test_the_command_fails_with_one_sentence_and_exit_code_2(mirror: Mirror, tmp_path: Path) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    server = ("--base-url", mirror.url, "--cache", cache)
    cases = {
        "HTTP 404": server,
        "is missing; give --from": ("--from", tmp_path),
        "--from takes a local copy": ("--from", tmp_path, *server),
        "is no address": ("--base-url", "ftp://host"),
    }
    for sentence, words in cases.items():
        answer = bench_fetch("--out", data, *words)
        assert answer.exit_code == 2, answer.stderr
        assert sentence in answer.stderr
        assert len(answer.stderr.splitlines()) == 1, answer.stderr
        assert not data.exists()
    mirror.files["Brats21_test.csv"] = b"another file"
    answer = bench_fetch("--out", data, *server)
    assert answer.exit_code == 2
    assert SHA256["Brats21_test.csv"] in answer.stderr
    assert hashlib.sha256(b"another file").hexdigest() in answer.stderr
    assert not data.exists()
    assert not listing(cache)


def test_ctrl_c_leaves_nothing(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["Brats21_test.csv"] = bytes(4000)
    mirror.fault["Brats21_test.csv"] = "stall"
    words = ("splits", "fetch", "--out", tmp_path / "data", "--base-url", mirror.url, "--cache", tmp_path / "cache")
    with subprocess.Popen([BENCH, *words], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not mirror.asked and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.2)  # it now waits for the second half
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Stopped" in said
    assert "Traceback" not in said
    assert not (tmp_path / "data").exists()
    assert not listing(tmp_path / "cache")
