"""Two results folders: real tiny cells in one, nothing yet in the other; and archives as a stranger might make them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.travel.door import export_cells
from uadbench.datasets.cohort import Data


@dataclass(frozen=True)
class Clone:
    """A results folder."""

    results: Path

    @property
    def runs(self) -> Path:
        return self.results / "runs"

    def record(self, label: str) -> RunRecord:
        return RunRecord(self.runs / label)

    def tree(self) -> dict[str, bytes]:
        """Every file under the folder of runs, but the lock of imports."""
        files = [path for path in self.runs.rglob("*") if path.is_file() and path.name != ".lock"]
        return {str(path.relative_to(self.runs)): path.read_bytes() for path in files}


class Parcel:
    """The members of an archive, to be changed and written again as a stranger might."""

    def __init__(self, path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            self.members = {name: archive.read(name) for name in archive.namelist()}

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.members["manifest.json"])
        return found

    def list_anew(self, **words: Any) -> None:
        """Write a list that fits the members; `words` are those of every cell that lie."""
        manifest = self.manifest
        for cell in manifest["cells"]:
            head = f"runs/{cell['label']}/"
            names = [name for name in self.members if name.startswith(head)]
            cell["files"] = {name.removeprefix(head): _listed(self.members[name]) for name in names}
            cell.update(words)
        self.members["manifest.json"] = json.dumps(manifest).encode()

    def digest_anew(self, label: str) -> None:
        """Write digests that fit the members of a cell."""
        path = f"runs/{label}/digests.json"
        digests = json.loads(self.members[path])
        digests["files"] = {
            name: sha256(self.members[f"runs/{label}/{name}"]).hexdigest()
            if f"runs/{label}/{name}" in self.members
            else old
            for name, old in digests["files"].items()
        }
        self.members[path] = json.dumps(digests).encode()

    def change_json(self, member: str, **words: Any) -> None:
        self.members[member] = json.dumps({**json.loads(self.members[member]), **words}).encode()

    def write(self, path: Path, kind: int = zipfile.ZIP_STORED) -> Path:
        with zipfile.ZipFile(path, "w", kind) as archive:
            for name, content in self.members.items():
                archive.writestr(zipfile.ZipInfo(name), content, kind)
        return path


def _listed(content: bytes) -> Mapping[str, Any]:
    return {"sha256": sha256(content).hexdigest(), "size": len(content)}


@pytest.fixture(scope="session")
def there(tiny_data: Data, tiny_preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Another laboratory's results folder: two folds of Thresh and one of AE, which is trained. Not to be changed."""
    clone = Clone(tmp_path_factory.mktemp("there") / "results")
    for row, folds in (("thresh", (0, 1)), ("ae", (0,))):
        for job in jobs_for(select_rows([row]), folds, tiny_data, tiny_preset, 0):
            run_job(job, clone.runs, "cpu", SilentReporter())
    return clone


@pytest.fixture
def here(tmp_path: Path) -> Clone:
    """Our results folder, in which nothing is yet."""
    return Clone(tmp_path / "here" / "results")


@pytest.fixture(scope="session")
def sent(there: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of the other laboratory, without weights."""
    path = tmp_path_factory.mktemp("sent") / "cells.zip"
    export_cells("all", path, who="Lab X", results=there.results)
    return path


@pytest.fixture(scope="session")
def sent_whole(there: Clone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything of the other laboratory, with weights."""
    path = tmp_path_factory.mktemp("sent") / "weights.zip"
    export_cells("all", path, who="Lab X", with_weights=True, results=there.results)
    return path


@pytest.fixture
def parcel(sent: Path) -> Parcel:
    return Parcel(sent)


@pytest.fixture
def open_parcel() -> Callable[[Path], Parcel]:
    return Parcel
