"""Cells that are trained already, in a world where nothing is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from uadbench.benchmarks.engine import learn


def _forbid(*words: object, **more: object) -> None:
    raise AssertionError("something was trained")


@pytest.fixture
def runs(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the module's `trained` cells, where no training is possible."""
    copy = tmp_path / "runs"
    shutil.copytree(trained, copy)
    monkeypatch.setattr(learn, "train", _forbid)
    return copy
