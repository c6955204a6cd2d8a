"""The id of a cell: a hash of plain values, so that a record is checked and read without the methods and PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ...files import sha256_of_bytes


def cell_id(content: Mapping[str, Any], fold: int, fingerprint: str) -> str:
    """The id of the cell of a recipe's content, a fold and the data's fingerprint, 12 hexadecimal digits."""
    return digest({"recipe": content, "fold": fold, "data": fingerprint})


def digest(content: Mapping[str, Any]) -> str:
    """Hash of a tree of plain values, 12 hexadecimal digits."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return sha256_of_bytes(text.encode())[:12]
