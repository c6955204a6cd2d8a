"""The house in numbers: files, arrows, floors and circles per room, read from the import statements.

    python tests/rooms.py [CHECKOUT]

A room is a folder of Python files; an arrow is an import from one file to another, whether it is made at the top, in a
function or for a type checker; floors are the files on the longest chain of arrows that stays in the room; a circle is
a group of files that import each other. `test_rooms.py` holds the house to it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

#: The folders of the package, and the name under which each is installed below `uadbench`.
FOLDERS = {"core": "", "benchmarks": "benchmarks", "datasets": "datasets", "methods": "methods", "metrics": "metrics"}

Arrows = Mapping[Path, frozenset[Path]]


@dataclass(frozen=True)
class Room:
    """One folder in numbers; `longest` is the number of lines of its longest file."""

    folder: Path
    files: int
    arrows: int
    floors: int
    circles: int
    longest: int


def modules(root: Path) -> dict[str, Path]:
    """Every file of the package by its module name below `uadbench`."""
    found = {}
    for folder, name in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = [name, *path.relative_to(root / folder).with_suffix("").parts]
            found[".".join(part for part in parts if part not in ("", "__init__"))] = path
    return found


def arrows(root: Path) -> dict[Path, frozenset[Path]]:
    """For each file the files that it imports; a package stands for its `__init__.py`."""
    known = modules(root)
    return {
        path: frozenset(known[target] for target in _targets(name, path, known) if known[target] != path)
        for name, path in known.items()
    }


def _targets(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = _base(package, node)
            for imported in node.names if base is not None else ():
                whole = f"{base}.{imported.name}".strip(".")
                yield from (target for target in (whole, base) if target in known and target)
        elif isinstance(node, ast.Import):
            yield from (word for item in node.names if (word := item.name.removeprefix("uadbench.")) in known)


def _base(package: str, node: ast.ImportFrom) -> str | None:
    """The module that a `from` names, below `uadbench`; None outside."""
    if not node.level:
        module = node.module or ""
        return module.removeprefix("uadbench").lstrip(".") if module.partition(".")[0] == "uadbench" else None
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - (node.level - 1)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def circles(graph: Arrows) -> list[set[Path]]:
    """Groups of files that reach each other."""
    reached = {path: _reachable(path, graph) for path in graph}
    groups: list[set[Path]] = []
    for path in graph:
        group = {other for other in reached[path] if path in reached[other]} | {path}
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups


def _reachable(path: Path, graph: Arrows) -> set[Path]:
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        for target in graph.get(waiting.pop(), frozenset()):
            if target not in seen:
                seen.add(target)
                waiting.append(target)
    return seen


def floors(graph: Arrows) -> int:
    """Files on the longest chain of arrows; 0 where they run in a circle."""
    height: dict[Path, int] = {}
    try:
        for path in TopologicalSorter(graph).static_order():
            height[path] = 1 + max((height[target] for target in graph.get(path, ())), default=0)
    except CycleError:
        return 0
    return max(height.values(), default=0)


def rooms(root: Path) -> list[Room]:
    """Every room, in order of name."""
    graph = arrows(root)
    folders = sorted({path.parent for path in graph})
    return [_room(folder, graph) for folder in folders]


def _room(folder: Path, graph: Arrows) -> Room:
    inside = {path for path in graph if path.parent == folder and path.name != "__init__.py"}
    own = {path: frozenset(graph[path] & inside) for path in inside}
    longest = max((len(path.read_text(encoding="utf-8").splitlines()) for path in inside), default=0)
    return Room(folder, len(inside), sum(map(len, own.values())), floors(own), len(circles(own)), longest)


def followed(root: Path, start: Path) -> set[Path]:
    """The files that a reader opens who follows every call of a file once: itself and what it imports by name."""
    return {start, *arrows(root)[start]}


def main() -> None:
    """Print the rooms of a checkout."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    print("| room | files | arrows | floors | circles | longest file |")
    print("| :-- | --: | --: | --: | --: | --: |")
    for room in rooms(root):
        words = (room.folder.relative_to(root), room.files, room.arrows, room.floors or "–", room.circles, room.longest)
        print(f"| {' | '.join(map(str, words))} |")
    print(f"\nCircles in the whole house: {len(circles(arrows(root)))}")


if __name__ == "__main__":
    main()
