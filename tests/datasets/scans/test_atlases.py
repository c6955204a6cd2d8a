"""SRI24 from a server on the loopback: it arrives whole and verified, or not at all and with one sentence."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from uadbench.datasets.scans import atlases
from uadbench.datasets.scans.atlases import (
    SRI24_SHA256,
    SRI24_T2_GIT_ID,
    SRI24_T2_URL,
    SRI24_URL,
    KnownAtlas,
    choose_atlas,
    fetch_sri24,
    fetch_sri24_t2,
    git_id_of,
    load_atlas,
    load_mni152,
    modality_in,
    read_atlas,
)
from uadbench.datasets.splits.published import COMMIT
from uadbench.errors import DataError


class Shelf:
    """One file behind a web server, with a fault to order."""

    def __init__(self, content: bytes) -> None:
        self.content, self.fault, self.asked, self.url = content, "", 0, ""
        self.release = threading.Event()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        if self.fault == "404":
            request.send_error(404)
            return
        if self.fault == "silent":
            self.release.wait(20)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(self.content)))
        request.end_headers()
        request.wfile.write(self.content[: len(self.content) // 2] if self.fault == "cut" else self.content)


class Handler(BaseHTTPRequestHandler):
    def __init__(self, shelf: Shelf, *args: object) -> None:
        self.shelf = shelf
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.shelf.answer(self)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def brain_file(head, oriented, grid_points, tmp_path_factory) -> bytes:
    shape, affine = oriented("LAS", (6, 6, 6))
    points = grid_points(shape, affine)
    image = np.where(head.brain(points), head.sample(points, "t1", skull=False), 0).astype(np.int16)
    path = tmp_path_factory.mktemp("atlas") / "atlas.nii"
    nib.save(nib.Nifti1Image(image.transpose(2, 1, 0)[..., None], affine), path)
    return path.read_bytes()


@pytest.fixture
def shelf(brain_file: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    made = Shelf(brain_file)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, made))
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that hangs up is what we test
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/atlas.nii"
    yield made
    made.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(shelf: Shelf, cache: Path) -> Path:
    return fetch_sri24(shelf.url, hashlib.sha256(shelf.content).hexdigest(), cache, timeout=0.5)


def test_the_atlas_arrives_and_is_kept(shelf, tmp_path):
    path = fetch(shelf, tmp_path / "cache")
    assert path.read_bytes() == shelf.content
    assert fetch(shelf, tmp_path / "cache") == path
    assert shelf.asked == 1
    path.write_bytes(b"half a file")
    assert fetch(shelf, tmp_path / "cache").read_bytes() == shelf.content
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [path.name]


def test_it_is_an_atlas_under_its_own_name(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(atlases, "fetch_sri24", lambda: fetch(shelf, tmp_path))
    atlas = load_atlas("sri24")
    assert (atlas.name, atlas.sha256) == ("sri24", hashlib.sha256(shelf.content).hexdigest())
    assert 800 < atlas.mask.sum() * atlas.grid.voxel_ml < 2000


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("404", "the server answers HTTP 404"),
        ("cut", "the connection broke off in the middle of the file"),
        ("silent", "the server was silent for 0.5 s"),
    ],
)
def test_a_failing_server_leaves_nothing(fault, sentence, shelf, tmp_path):
    shelf.fault = fault
    with pytest.raises(DataError, match=sentence) as caught:
        fetch(shelf, tmp_path / "cache")
    assert "--atlas FILE, or use --atlas mni152" in str(caught.value)
    assert not list((tmp_path / "cache").glob("*"))
    shelf.fault = ""
    assert fetch(shelf, tmp_path / "cache").read_bytes() == shelf.content


def test_another_file_is_refused_with_both_hashes(shelf, tmp_path):
    with pytest.raises(DataError) as caught:
        fetch_sri24(shelf.url, SRI24_SHA256, tmp_path)
    for words in (SRI24_SHA256, hashlib.sha256(shelf.content).hexdigest(), "is not the SRI24 that was meant"):
        assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_no_network_is_one_sentence(tmp_path):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = held.getsockname()[1]
        with pytest.raises(DataError, match=f"there is no connection to 127.0.0.1:{port}; give the stripped SRI24"):
            fetch_sri24(f"http://127.0.0.1:{port}/x.nii", cache=tmp_path)


def test_a_cache_that_cannot_be_written_is_named(shelf, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"sri24_t1_stripped.nii cannot be kept: Not a directory; give the stripped"):
        fetch(shelf, tmp_path / "file" / "cache")


@pytest.fixture
def from_shelf(shelf, tmp_path, monkeypatch) -> Shelf:
    """SRI24 is what lies on the shelf."""
    monkeypatch.setattr(atlases, "fetch_sri24", lambda: fetch(shelf, tmp_path / "cache"))
    return shelf


def test_the_published_atlas_is_taken_where_it_can_be_had(from_shelf):
    choice = choose_atlas("auto", ())
    assert (choice.atlas.name, choice.notes) == ("sri24", ())


def test_else_mni152_with_the_reason(from_shelf):
    from_shelf.fault = "404"
    choice = choose_atlas("auto", ())
    assert choice.atlas.name == "mni152"
    [note] = choice.notes
    assert note.startswith("mni152 is taken, for SRI24")
    assert note.endswith("the server answers HTTP 404")


def test_new_scans_go_with_those_that_are_there(from_shelf):
    digest = load_mni152().sha256
    choice = choose_atlas("auto", [KnownAtlas("the scans in DIR", "mni152", digest)])
    assert (choice.atlas.name, choice.notes) == ("mni152", ())
    assert choose_atlas("auto", [KnownAtlas("the scans in DIR", "mni152", None)]).notes == ()
    assert from_shelf.asked == 0
    older = choose_atlas("auto", [KnownAtlas("the scans in DIR", "mni152", "0" * 64)])
    assert older.notes == (
        f"the scans in DIR lie in another atlas, mni152 (sha256 000000000000…), than mni152 (sha256 {digest[:12]}…)",
    )


def test_an_atlas_from_a_file_is_asked_for_and_recognised(brain_file, tmp_path):
    path = tmp_path / "ours.nii"
    path.write_bytes(brain_file)
    digest = hashlib.sha256(brain_file).hexdigest()
    known = KnownAtlas("the scans in DIR", "ours.nii", digest)
    with pytest.raises(DataError, match=rf"ours.nii \(sha256 {digest[:12]}…\); give that file by --atlas FILE"):
        choose_atlas("auto", [known])
    assert choose_atlas(str(path), [known]).notes == ()
    assert "lie in another atlas, ours.nii" in choose_atlas("mni152", [known]).notes[0]


def test_several_atlases_need_a_word(from_shelf):
    known = [KnownAtlas("the scans in DIR", name, "0" * 64) for name in ("mni152", "sri24")]
    with pytest.raises(DataError, match="the scans in DIR lie in several atlases, mni152 .*, sri24 .*--atlas"):
        choose_atlas("auto", known)
    assert len(choose_atlas("sri24", known).notes) == 2


def test_the_address_is_pinned():
    commit = SRI24_URL.split("/")[5]
    assert SRI24_URL.startswith("https://") and len(commit) == 40 and int(commit, 16)
    assert len(SRI24_SHA256) == 64 and int(SRI24_SHA256, 16)


def test_the_real_sri24_reads_as_an_atlas(shared_data):
    atlas = read_atlas(shared_data / "real" / "sri24" / "sri24_t1_stripped.nii.gz")
    assert atlas.grid.shape == (155, 240, 240)
    assert 1300 < atlas.mask.sum() * atlas.grid.voxel_ml < 1600


# ------------------------------------------------------------------------------------------------------ T1 or T2


def fetch_t2(shelf: Shelf, cache: Path) -> Path:
    return fetch_sri24_t2(shelf.url, git_id_of(shelf.content), cache, timeout=0.5)


def test_the_id_of_a_file_is_gits_own(tmp_path):
    """`git hash-object` of an empty file and of "hello", as Git's book prints them."""
    assert git_id_of(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert git_id_of(b"test content\n") == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"


def test_the_t2_arrives_verified_and_is_kept(shelf, tmp_path):
    path = fetch_t2(shelf, tmp_path / "cache")
    assert path.read_bytes() == shelf.content
    assert fetch_t2(shelf, tmp_path / "cache") == path
    assert shelf.asked == 1
    path.write_bytes(b"half a file")
    assert fetch_t2(shelf, tmp_path / "cache").read_bytes() == shelf.content
    assert [one.name for one in (tmp_path / "cache").iterdir()] == [path.name]


def test_another_t2_is_refused_with_both_ids(shelf, tmp_path):
    with pytest.raises(DataError) as caught:
        fetch_sri24_t2(shelf.url, cache=tmp_path)
    for words in (SRI24_T2_GIT_ID, git_id_of(shelf.content), "--atlas FILE --atlas-modality t2"):
        assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_address_of_the_t2_is_the_publications_commit():
    assert SRI24_T2_URL.split("/")[3:5] == ["FinnBehrendt", "patched-Diffusion-Models-UAD"]
    commit = SRI24_T2_URL.split("/")[5]
    assert len(commit) == 40 and commit.startswith(COMMIT)
    assert SRI24_T2_URL.endswith("sri_atlas/templates/T2_brain.nii")
    assert len(SRI24_T2_GIT_ID) == 40 and int(SRI24_T2_GIT_ID, 16)


def test_sri24_is_the_t1_and_sri24_t2_the_t2(from_shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(atlases, "fetch_sri24_t2", lambda: fetch_t2(from_shelf, tmp_path / "t2"))
    named = {name: load_atlas(name) for name in ("mni152", "sri24", "sri24-t2")}
    assert [(atlas.name, atlas.modality) for atlas in named.values()] == [
        ("mni152", "t1"),
        ("sri24", "t1"),
        ("sri24-t2", "t2"),
    ]
    assert (named["sri24"].file, named["sri24-t2"].file) == ("sri24_t1_stripped.nii", "sri24_t2_stripped.nii")
    with pytest.raises(DataError, match="--atlas-modality t2: sri24 is a T1; leave it out, or name a T2 by --atlas"):
        load_atlas("sri24", "t2")
    t1 = KnownAtlas("the scans in DIR", "sri24", "0" * 64, "t1")
    assert "lie in another atlas, sri24 " in choose_atlas("sri24-t2", [t1]).notes[0]
    known = KnownAtlas("the scans in DIR", "sri24-t2", named["sri24-t2"].sha256, "t2")
    assert choose_atlas("auto", [known]).atlas.modality == "t2"


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("sri24_t1_stripped.nii.gz", "t1"),
        ("T2_brain.nii", "t2"),
        ("MNI152-T2w.nii.gz", "t2"),
        ("atlas.nii", None),
        ("t1_to_t2.nii", None),
        ("at1las.nii", None),
        ("patient12_t12.nii", None),
    ],
)
def test_a_files_name_may_say_its_modality(name, modality):
    assert modality_in(name) == modality


def test_a_file_by_path_is_what_the_user_says(brain_file, tmp_path):
    path = tmp_path / "T1_brain.nii"
    path.write_bytes(brain_file)
    assert load_atlas(str(path)).modality == "t1"
    assert load_atlas(str(path), "t2").modality == "t2"
    known = KnownAtlas("the scans in DIR", path.name, hashlib.sha256(brain_file).hexdigest(), "t1")
    assert choose_atlas(str(path), [known]).notes == ()
    plain = path.rename(tmp_path / "plain.nii")
    assert load_atlas(str(plain)).modality is None
    assert choose_atlas(str(plain), [known]).atlas.modality == "t1", "said once, it need not be said again"
    path = plain.rename(path)
    (note,) = choose_atlas(str(path), [known], "t2").notes
    assert "lie in another atlas, T1_brain.nii (T1, sha256 " in note and "than T1_brain.nii (T2, sha256 " in note
