"""The examples run as they stand, here on a phantom of a few people."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from cases import ROOT

EXAMPLES = ROOT / "examples"


def cells_of(path: Path, kind: str = "code") -> list[str]:
    """The cells of a notebook."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


def test_a_notebook_is_committed_without_outputs() -> None:
    notebooks = sorted(EXAMPLES.glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        document = json.loads(path.read_text(encoding="utf-8"))
        assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
        code = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
        assert len({cell["id"] for cell in document["cells"]}) == len(document["cells"])
        for text in cells_of(path):
            compile(text, path.name, "exec")


@pytest.mark.slow
def test_the_script_runs(small_phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "first_steps.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert "2 cells, 6 test volumes" in told, told
    assert "Thresh" in told and "its figure: " in told


@pytest.mark.slow
def test_the_notebook_runs(small_phantom: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for text in cells_of(EXAMPLES / "first_steps.ipynb"):
        exec(compile(text, "first_steps.ipynb", "exec"), names)
    assert names["cells"]["tumours/dice"].between(0, 1).all()
    assert names["found"].score.shape == names["head"].shape
    assert names["found"].score.any()
