"""The house keeps its shape: no circle, no file that nobody reads to its end, no room that nobody finds anything in."""

from __future__ import annotations

from pathlib import Path

import pytest
from rooms import arrows, circles, floors, rooms

from cases import ROOT

#: One file per method, data set or command: these grow with what they hold.
_SHELVES = {ROOT / folder for folder in ("methods", "methods/parts", "datasets", "benchmarks/commands")}


def test_no_files_import_each_other_in_a_circle() -> None:
    assert [sorted(path.name for path in circle) for circle in circles(arrows(ROOT))] == []


def test_no_file_is_longer_than_450_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("core", "benchmarks", "datasets", "methods", "metrics")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 450
    }
    assert long == {}


def test_a_room_has_about_a_dozen_files_at_most() -> None:
    crowded = {room.folder.name: room.files for room in rooms(ROOT) if room.files > 16 and room.folder not in _SHELVES}
    assert crowded == {}


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A house of four files: b and c import each other, a stands above them, d is free."""
    files = {
        "a": "from . import b",
        "b": "from .c import x",
        "c": "def f():\n    from uadbench.methods import b",
        "d": "",
    }
    (tmp_path / "methods").mkdir()
    for name, text in files.items():
        (tmp_path / "methods" / f"{name}.py").write_text(text)
    return tmp_path


def test_circles_and_floors_are_found(house: Path) -> None:
    graph = arrows(house)
    assert [sorted(path.stem for path in circle) for circle in circles(graph)] == [["b", "c"]]
    assert floors(graph) == 0
    (house / "methods" / "c.py").write_text("")
    (room,) = rooms(house)
    assert (room.files, room.arrows, room.floors, room.circles) == (4, 2, 3, 0)
