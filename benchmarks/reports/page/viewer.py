"""niivue, the viewer of volumes in 3-D, as the user gives it: its bundle, its version, its licence.

It is not ours and lies nowhere here. `npm pack @niivue/niivue` downloads its package, a .tgz, of which one file is
needed: a script that is whole in itself and makes a global `niivue`. In a page it lies gzipped in base64, so that
nothing in it can end the element that holds it; the page's script unpacks and starts it when a reader asks for 3-D.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import tarfile
import zlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from ....errors import UserError
from ....files import sha256_of_bytes

PACKAGE = "@niivue/niivue"
_BUNDLE = "dist/niivue.umd.js"
_LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
_HOW = f"`npm pack {PACKAGE}` downloads niivue-niivue-VERSION.tgz; give that file, or {_BUNDLE} of it"
_GZIP = b"\x1f\x8b"
#: What the page's script calls; an ES module has these words too, but sets no global.
_GLOBAL = re.compile(r"\.niivue\s*=\s*\{")
_CALLED = ("Niivue", "attachToCanvas", "loadFromBase64")
_VERSION = re.compile(r"""version:\s*["'](\d+\.\d+\.\d+[\w.+-]*)["']""")


@dataclass(frozen=True)
class Viewer:
    """niivue.

    Attributes:
        script: the bundle.
        version: "0.69.0"; "unknown" where nothing says it.
        parts: packages that it holds beside its own code, each under its own licence; empty where nothing says them.
        licence: the text of its licence, with the copyright notice.
    """

    script: str
    version: str
    parts: tuple[str, ...]
    licence: str

    @property
    def packed(self) -> str:
        """The bundle, gzipped, in base64."""
        return base64.b64encode(gzip.compress(self.script.encode(), mtime=0)).decode()

    @property
    def sha256(self) -> str:
        """SHA-256 of the bundle."""
        return sha256_of_bytes(self.script.encode())


def read_viewer(path: Path) -> Viewer:
    """Read niivue from the package that npm downloads, or from the bundle alone.

    Args:
        path: the .tgz, or the bundle `niivue.umd.js`.

    Raises:
        UserError: it cannot be read, is a package without the bundle, or is no bundle that a page can hold.
    """
    if not path.is_file():
        raise UserError(f"--niivue {path}: there is no such file; {_HOW}")
    try:
        content = path.read_bytes()
        files = _of_package(content) if content.startswith(_GZIP) else _of_bundle(path, content)
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"--niivue {path} cannot be read ({error}); {_HOW}") from error
    if _BUNDLE not in files:
        raise UserError(f"--niivue {path}: no {_BUNDLE} lies in this package; {_HOW}")
    script = _text(files[_BUNDLE])
    if not _GLOBAL.search(script) or not all(word in script for word in _CALLED):
        raise UserError(f"--niivue {path} is no bundle of niivue that a page can hold; {_HOW}")
    about = _about(files.get("package.json", b""))
    said = _VERSION.search(script)
    return Viewer(
        script,
        about.version or (said[1] if said else "unknown"),
        about.parts,
        next((_text(files[name]) for name in _LICENCES if name in files), "") or _licence_of_repository(),
    )


def _of_package(content: bytes) -> dict[str, bytes]:
    """The files of a package that are needed, by their names; it is unpacked whole, so that a cut one fails."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as package:
        for member in package:
            name = "/".join(PurePosixPath(member.name).parts[1:])  # npm puts all below `package`
            if name in (_BUNDLE, "package.json", *_LICENCES):
                held = package.extractfile(member)
                files[name] = b"" if held is None else held.read()
    return files


def _of_bundle(path: Path, content: bytes) -> dict[str, bytes]:
    """The bundle, and what lies where the package was unpacked."""
    folder = path.resolve().parent.parent
    beside = {name: folder / name for name in ("package.json", *_LICENCES)}
    return {_BUNDLE: content, **{name: one.read_bytes() for name, one in beside.items() if one.is_file()}}


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig", errors="replace")


@dataclass(frozen=True)
class _About:
    """What package.json says: version and dependencies."""

    version: str = ""
    parts: tuple[str, ...] = ()


def _about(content: bytes) -> _About:
    """What package.json says; nothing where it is another package's, or none."""
    try:
        said = json.loads(_text(content))
    except ValueError:
        return _About()
    if not isinstance(said, dict) or said.get("name") != PACKAGE:
        return _About()
    return _About(str(said.get("version") or ""), tuple(sorted(map(str, said.get("dependencies") or ()))))


def _licence_of_repository() -> str:
    """The licence as niivue's repository has it: the package of version 0.69.0 comes without one."""
    folder = resources.files("uadbench.benchmarks.reports.page") / "assets"
    return (folder / "niivue-licence.txt").read_text(encoding="utf-8")
