"""Small files written whole or not at all, and read back without surprises."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None where there is no readable one."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object beside its place and rename it: a reader sees the old file or the new one, never a part."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.write_text(json.dumps(value, indent=1))
    unfinished.replace(path)
