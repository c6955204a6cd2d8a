"""niivue as the user gives it: a package or a bundle is read, anything else is a sentence."""

from __future__ import annotations

import base64
import gzip
import hashlib
from pathlib import Path

import pytest

from uadbench.benchmarks.reports.page.viewer import read_viewer
from uadbench.errors import UserError

from .niivue_package import ABOUT, BUNDLE, package, whole_package


def test_a_package_gives_bundle_version_parts_and_licence(tmp_path: Path) -> None:
    viewer = read_viewer(whole_package(tmp_path))
    assert (viewer.script, viewer.version, viewer.parts) == (BUNDLE, "9.8.7", ("fflate", "gl-matrix"))
    assert viewer.licence == "Copyright <someone>"
    assert viewer.sha256 == hashlib.sha256(BUNDLE.encode()).hexdigest()
    assert gzip.decompress(base64.b64decode(viewer.packed)).decode() == BUNDLE


def test_a_bundle_alone_says_its_version_or_none(tmp_path: Path) -> None:
    bundle = tmp_path / "dist" / "niivue.umd.js"
    bundle.parent.mkdir()
    bundle.write_text("\ufeff" + BUNDLE + 'const about = {version:"0.69.0"};', encoding="utf-8")
    viewer = read_viewer(bundle)
    assert (viewer.version, viewer.parts) == ("0.69.0", ())
    assert viewer.script.startswith("(function")  # a browser would drop the mark at the beginning, and so do we
    assert "Redistributions in binary form must reproduce" in viewer.licence
    bundle.write_text(BUNDLE)
    assert read_viewer(bundle).version == "unknown"
    (tmp_path / "package.json").write_text(ABOUT)
    assert read_viewer(bundle).version == "9.8.7"
    (tmp_path / "package.json").write_text(ABOUT.replace("@niivue/niivue", "another"))
    assert read_viewer(bundle).version == "unknown"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no dist/niivue.umd.js lies in this package"),
        ({"dist/index.js": BUNDLE}, "no dist/niivue.umd.js lies in this package"),
        ({"dist/niivue.umd.js": "export { Niivue };"}, "is no bundle of niivue that a page can hold"),
        ({"dist/niivue.umd.js": "self.niivue = {}"}, "is no bundle of niivue that a page can hold"),
    ],
)
def test_another_package_is_refused(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_viewer(package(tmp_path / "a.tgz", files))
    assert "`npm pack @niivue/niivue` downloads" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_file_or_damaged_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.tgz", tmp_path):
        with pytest.raises(UserError, match="there is no such file"):
            read_viewer(path)
    cut = tmp_path / "cut.tgz"
    whole = whole_package(tmp_path).read_bytes()
    for length in range(1, len(whole), 97):
        cut.write_bytes(whole[:length])
        with pytest.raises(UserError, match="--niivue"):
            read_viewer(cut)


def test_a_bundle_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_bytes(bytes(range(256)) * 8)
    with pytest.raises(UserError, match="is no bundle of niivue"):
        read_viewer(tmp_path / "a.js")
