"""README's first lines of Python run as they stand, here on a phantom of a few people."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cases import ROOT


def first_block() -> str:
    """The first block of Python in README."""
    found = re.search(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.M)
    assert found is not None, "README has no block of Python"
    return found[1]


@pytest.mark.slow
def test_the_first_lines_of_a_notebook_user_run(small_phantom: Path, phantom_scan: Path) -> None:
    text = first_block()
    assert len([line for line in text.splitlines() if line.strip()]) <= 12
    shutil.copy(phantom_scan, small_phantom / "scan.nii.gz")
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "README.md", "exec"), names)
    assert names["cells"]["tumours/dice"].between(0, 1).all()
    assert names["found"].score.any()
