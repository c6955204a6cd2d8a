"""A folder that is written through a check: nothing changes once the check fails, at whatever moment that is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from uadbench.benchmarks.records.fence import FencedFolder
from uadbench.benchmarks.records.record_files import VolumeScore, append_lines, read_lines, write_arrays, write_lines
from uadbench.errors import UserError, WriteError

LINE = VolumeScore("tiny", "tumours", "a", 0.1, 0.3, 0.7, 0.5, 0.02, 1.5, 0.25)


class LostError(UserError):
    pass


class Door:
    """A check that passes so many times, and does something at the last."""

    def __init__(self, passes: int, then: Callable[[], None] = lambda: None) -> None:
        self.passes, self.then = passes, then

    def __call__(self) -> None:
        self.passes -= 1
        if self.passes == 0:
            self.then()
        if self.passes < 0:
            raise LostError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cell"
    (path / "maps").mkdir(parents=True)
    (path / "maps" / "a.npz").write_bytes(b"map")
    (path / "state.json").write_text("{}")
    write_lines(FencedFolder(path, lambda: None), "scores.csv", (LINE,), VolumeScore)
    return path


WRITES: dict[str, tuple[int, Callable[[FencedFolder], None]]] = {
    "json": (2, lambda folder: folder.write_json("state.json", {"a": 1})),
    "new json": (2, lambda folder: folder.write_json("deep/er/state.json", {"a": 1})),
    "arrays": (2, lambda folder: write_arrays(folder, "maps/a.npz", {"a": [1]})),
    "lines": (2, lambda folder: write_lines(folder, "scores.csv", (), VolumeScore)),
    "a line more": (1, lambda folder: append_lines(folder, "scores.csv", [LINE], VolumeScore)),
    "a first line": (2, lambda folder: append_lines(folder, "more.csv", [LINE], VolumeScore)),
    "remove a file": (1, lambda folder: folder.remove("state.json")),
    "remove a folder": (1, lambda folder: folder.remove("maps")),
    "rename": (1, lambda folder: folder.rename("state.json", folder.path.with_name("aside"))),
    "shut out": (3, lambda folder: folder.shut_out("scores.csv")),
}


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", WRITES)
def test_each_write_asks_at_its_beginning_and_at_its_last_moment(kind: str, folder: Path) -> None:
    checks, write = WRITES[kind]
    before = content(folder)
    for passes in range(checks):
        with pytest.raises(LostError):
            write(FencedFolder(folder, Door(passes)))
        assert content(folder) == before
    write(FencedFolder(folder, Door(checks)))
    assert content(folder) != before or kind == "shut out"


@pytest.mark.parametrize("kind", ["json", "arrays", "lines", "a line more"])
def test_a_write_that_slept_after_its_last_check_harms_nothing(kind: str, folder: Path) -> None:
    """The folder is taken over at the worst moment: all is checked, and nothing is written yet."""
    checks, write = WRITES[kind]
    seen = {}

    def take_over() -> None:
        FencedFolder(folder, lambda: None).shut_out("scores.csv")
        seen.update(content(folder))

    before = content(folder)
    try:
        write(FencedFolder(folder, Door(checks, take_over)))
    except LostError:
        pass
    else:
        assert kind == "a line more"  # it went to a file that nobody sees
    assert content(folder) == seen == before


def test_what_is_removed_is_gone_at_once_and_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        FencedFolder(folder, lambda: None).remove("maps")
    assert not (folder / "maps").exists()
    monkeypatch.undo()
    FencedFolder(folder, lambda: None).shut_out()
    assert sorted(path.name for path in folder.iterdir()) == ["scores.csv", "state.json"]


def test_a_line_is_cut_where_it_was_cut_and_the_copy_has_it_whole(folder: Path) -> None:
    path = folder / "scores.csv"
    path.write_bytes(path.read_bytes() + b"half a li")
    fenced = FencedFolder(folder, lambda: None)
    fenced.shut_out("scores.csv", "nothing.csv")
    append_lines(fenced, "scores.csv", [LINE], VolumeScore)
    assert read_lines(path, VolumeScore) == (LINE, LINE)


def test_what_the_system_says_is_one_sentence(folder: Path) -> None:
    fenced = FencedFolder(folder, lambda: None)
    with pytest.raises(WriteError, match=r"cannot write .*aside: No such file or directory"):
        fenced.rename("nothing", folder.with_name("aside"))
    with (
        pytest.raises(WriteError, match=r"cannot write .*nothing: No such file or directory"),
        fenced.opened("nothing"),
    ):
        pass
    with pytest.raises(WriteError, match=r"cannot write .*a.npz/b.json: "):
        fenced.write_json("maps/a.npz/b.json", {})
