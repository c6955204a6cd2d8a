"""What the package's own methods say of themselves, kept on disk by the digest of all the text that it comes from.

Each answer is a function of that text and of what was asked, so that it never grows old: another text has another
digest, and its answers lie in another folder. Where nothing can be written, or what lies there is damaged, the methods
are asked themselves.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import files
from ..errors import WriteError

#: What may decide how the text is understood.
_LIBRARIES = ("pydantic", "pydantic-core", "torch", "lightning", "numpy")
#: How many digests' answers lie on disk: several checkouts and environments share the folder.
_MOST_DIGESTS = 16


def digest_of_text() -> str:
    """SHA-256 of this folder's Python files and of the ground floor's, with the versions of what reads them."""
    methods, ground_floor = Path(__file__).parent, Path(files.__file__).parent
    texts = {f"methods/{path.relative_to(methods)}": path for path in methods.rglob("*.py")}
    texts |= {path.name: path for path in ground_floor.glob("*.py")}
    digests = {name: files.sha256_of_file(path) for name, path in texts.items()}
    return files.sha256_of_json([digests, files.versions_of(_LIBRARIES)])


def read_answer(digest: str, question: str) -> Any:
    """The answer that was kept; None where there is none that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        return json.loads((_folder(digest) / f"{question}.json").read_text(encoding="utf-8"))
    return None


def keep_answer(digest: str, question: str, answer: Any) -> None:
    """Keep an answer of methods that were imported just now, unless it is there or cannot be kept.

    Nothing is kept where the text has changed since the digest was taken: nobody knows which of the two was imported.

    Args:
        digest: of the text before the methods were imported.
        question: name of a file.
        answer: plain values.
    """
    folder = _folder(digest)
    if (folder / f"{question}.json").exists() or digest_of_text() != digest:
        return
    with suppress(OSError, WriteError):
        if not folder.exists():
            _make_room(folder.parent)
        files.write_json(folder / f"{question}.json", answer)


def _make_room(folder: Path) -> None:
    """Remove the answers of the digests that were used first, but for so many that one more may join them."""
    known = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime) if folder.is_dir() else []
    for old in known[: max(0, len(known) + 1 - _MOST_DIGESTS)]:
        shutil.rmtree(old, ignore_errors=True)


def _folder(digest: str) -> Path:
    """Where the answers to one text lie, in the user's own cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  (no home is no error)
    return Path(cache) / "uadbench" / "methods" / digest[:32]
