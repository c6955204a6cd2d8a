"""Volumes in 3-D: what the page holds, when it does without, and what a browser makes of it.

With UADBENCH_NIIVUE=niivue-niivue-0.69.0.tgz, which `npm pack @niivue/niivue` downloads, the real niivue is tried, too.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Page as Browser
from browser import chromium, page_in

from uadbench.benchmarks.reports.page import report
from uadbench.benchmarks.reports.page.html import Page, Section, render
from uadbench.benchmarks.reports.page.pictures import FOUND, grey_strip, outline_strip
from uadbench.benchmarks.reports.page.report import rendered
from uadbench.benchmarks.reports.page.sections.gallery import Case, Tile
from uadbench.benchmarks.reports.page.solid import Solid, lesions_file, map_file, middle_of, scan_file
from uadbench.benchmarks.reports.page.viewer import read_viewer

from .niivue_package import BUNDLE, whole_package

REAL = os.environ.get("UADBENCH_NIIVUE", "")
in_a_browser = pytest.mark.skipif(chromium() is None, reason="there is no chromium here")
_EVIL = "</script><b>A & B</b>"
_READY = "document.getElementById('volume-body').dataset.ready === '3-D'"


def solid() -> Solid:
    """A ball with a lesion in the patient's left, in front and high; the first map marks it, the second nothing."""
    z, y, x = np.mgrid[:20, :30, :24]
    ball = ((z - 10) / 9) ** 2 + ((y - 15) / 14) ** 2 + ((x - 12) / 11) ** 2 < 1
    lesions = np.zeros(ball.shape, bool)
    lesions[12:16, 19:24, 5:9] = True
    scan = np.where(lesions, 1, 0.4 * ball).astype(np.float32)
    maps = ((_EVIL, map_file(scan, 0.7, 2.0)), ("none", map_file(scan, 2.0, 2.0)))
    return Solid(scan_file(scan, 2.0), lesions_file(lesions, 2.0), maps, middle_of(lesions))


def page_with(package: Path, *, solid: Solid | None) -> Page:
    ramp = np.broadcast_to(np.linspace(0, 1, 16, dtype=np.float32), (3, 16, 16))
    strip, lines = grey_strip(ramp, (0, 1, 2)), outline_strip(ramp > 0.5, (0, 1, 2), FOUND)
    tiles = (Tile(_EVIL, "Dice 1.0 %", strip, strip, lines),)
    case = Case("highest", "set", _EVIL, "said", "1.0", (3, 4, 5), 0, strip, lines, tiles, solid)
    gallery = Section("gallery", "Gallery", "gallery.html.j2", content={"cases": (case,), "drawn": ()})
    content = {"tables": (), "split": (), "page": "bench report"}
    sources = Section("provenance", "Provenance", "provenance.html.j2", content=content)
    return Page("title", "conditions", "", "made", (gallery, sources), {"sets": []}, viewer=read_viewer(package))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_package(tmp_path_factory.mktemp("npm"))


def test_the_page_says_whose_viewer_it_is_and_names_its_digest(package: Path) -> None:
    page = page_with(package, solid=solid())
    assert page.viewer is not None
    text = render(page)
    assert "niivue 9.8.7" in text
    assert page.viewer.sha256 in text
    assert "Copyright &lt;someone&gt;" in text
    assert "fflate, gl-matrix" in text
    assert text.count("'sha256-") + text.count("&#39;sha256-") == 4
    assert BUNDLE not in text
    assert text.count("<script") == text.count("</script>") == 6  # data, three of ours, niivue, the volume


def test_a_page_without_a_viewer_is_as_it_was(package: Path) -> None:
    page = Page("title", "", "", "", page_with(package, solid=None).sections, {})
    assert rendered(page) == (page, render(page))
    assert "in-3d" not in render(page)
    assert "niivue" not in render(page)


def test_where_no_volume_is_shown_the_viewer_is_left_out(package: Path) -> None:
    page, text = rendered(page_with(package, solid=None))
    assert page.viewer is None
    assert "There is no 3-D view, since no volume is shown here." in text
    assert 'id="viewer-bundle"' not in text


def test_what_is_too_large_is_left_out_and_said(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_volumes = page_with(package, solid=solid())
    size = len(render(with_volumes).encode())
    monkeypatch.setattr(report, "MOST_BYTES", size)
    assert rendered(with_volumes) == (with_volumes, render(with_volumes))
    monkeypatch.setattr(report, "MOST_BYTES", size - 1)
    page, text = rendered(with_volumes)
    assert page.viewer is None
    assert re.search(r"There is no 3-D view: with it this page would have [\d.]+ MB, more than the", text)
    assert "in-3d" not in text
    assert 'class="solid"' not in text


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with page_in(tmp_path_factory.mktemp("chromium"), "--enable-unsafe-swiftshader") as page:
        yield page


@pytest.fixture
def opened(browser: Browser, package: Path, tmp_path: Path) -> Iterator[Browser]:
    """A page whose bundle is ours, in a browser that says it has WebGL 2."""
    path = tmp_path / "report.html"
    path.write_text(render(page_with(package, solid=solid())), encoding="utf-8")
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(path)
    browser.ask("HTMLCanvasElement.prototype.getContext = () => ({ getExtension: () => null }); 0")
    yield browser
    assert browser.complaints == []
    assert browser.requests == []


def wait_for(page: Browser, question: str) -> None:
    end = time.monotonic() + 60
    while not page.ask(question):
        assert time.monotonic() < end, question
        time.sleep(0.05)


def change(page: Browser, control: str, value: object, event: str) -> None:
    page.ask(f"(() => {{ {control}.value = '{value}'; {control}.dispatchEvent(new Event('{event}')); }})()")


@in_a_browser
def test_the_bundle_runs_when_it_is_asked_for_and_shows_scan_lesions_and_map(opened: Browser) -> None:
    assert opened.ask("typeof window.niivue") == "undefined"
    opened.ask("document.querySelector('button.in-3d').click()")
    wait_for(opened, _READY)
    assert opened.ask("window.told.slice(0, 2)") == ["</script><!--<script>", "é"]
    assert opened.ask("window.told[2].isRadiologicalConvention") is False
    names = opened.ask("window.viewer.volumes.map(v => v.name)")
    assert names == ["scan.nii.gz", "map.nii.gz", "lesions.nii.gz"]
    made = solid()
    held = opened.ask("window.viewer.volumes.map(v => v.base64)")
    assert held == [made.scan, made.maps[0][1], made.lesions]
    assert opened.ask("window.viewer.scene.crosshairPos") == pytest.approx(made.middle)
    assert opened.ask("window.viewer.type") == 4
    assert opened.ask("document.querySelector('#volume-body b')") is None


@in_a_browser
def test_a_reader_changes_map_limit_lesions_view_and_side(opened: Browser) -> None:
    opened.ask("document.querySelector('button.in-3d').click()")
    wait_for(opened, _READY)
    selects, sliders = ("document.querySelectorAll('#volume-body " + kind for kind in ("select')", "input')"))
    assert opened.ask(f"[...{selects}[0].options].map(o => o.textContent)") == [_EVIL, "none"]
    change(opened, f"{sliders}[0]", 64, "input")
    assert opened.ask("window.viewer.volumes[1].cal_min") == 64
    assert opened.ask("document.querySelector('#volume-body output').textContent") == "0.5 × the threshold"
    change(opened, f"{selects}[0]", 1, "change")
    wait_for(opened, f"window.viewer.volumes[1]?.base64 === {solid().maps[1][1]!r}")
    assert opened.ask("[window.viewer.volumes.length, window.viewer.volumes[1].cal_min]") == [3, 64]
    opened.ask(f"{sliders}[1].click()")
    assert opened.ask("window.viewer.volumes[2].opacity") == 0
    change(opened, f"{selects}[1]", "sliceTypeMultiplanar", "change")
    assert opened.ask("window.viewer.type") == 3
    change(opened, f"{sliders}[2]", 40, "input")
    assert opened.ask("window.viewer.plane") == pytest.approx([0.1, 0, 90])
    press = "document.querySelector('canvas.solid').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))"
    opened.ask(press)
    assert opened.ask("window.viewer.scene.renderAzimuth") == 100
    opened.ask("document.querySelector('#volume form button').click()")
    wait_for(opened, "!document.querySelector('canvas.solid')")


@in_a_browser
def test_without_webgl_a_sentence_stands_there(opened: Browser) -> None:
    opened.ask("HTMLCanvasElement.prototype.getContext = () => null; 0")
    opened.ask("document.querySelector('button.in-3d').click()")
    wait_for(opened, "document.getElementById('volume').open")
    assert "This browser has no WebGL 2" in opened.ask("document.getElementById('volume-body').textContent")
    assert opened.ask("typeof window.niivue") == "undefined"


@in_a_browser
def test_planes_are_moved_by_keys_and_clicks(browser: Browser, package: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(render(page_with(package, solid=None)), encoding="utf-8")
    browser.open(path)
    browser.ask("document.querySelector('button.planes').click()")
    wait_for(browser, "document.querySelectorAll('canvas.plane').length === 3")
    axial, coronal, sagittal = (f"document.querySelectorAll('canvas.plane')[{number}]" for number in range(3))

    def seen() -> list[str]:
        return [str(browser.ask(f"{plane}.toDataURL()")) for plane in (axial, coronal, sagittal)]

    before = seen()
    browser.ask(f"{axial}.focus(); 0")
    assert browser.ask(f"document.activeElement === {axial}")
    browser.ask(f"{axial}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight'}}))")
    moved = seen()
    assert all(one != other for one, other in zip(before, moved, strict=True))
    browser.ask(f"{axial}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowLeft'}}))")
    assert seen() == before
    for _ in range(40):  # to the edge, and no further
        browser.ask(f"{coronal}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowUp'}}))")
    at_the_edge = seen()
    browser.ask(f"{coronal}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowUp'}}))")
    assert seen() == at_the_edge != before


@in_a_browser
@pytest.mark.skipif(not REAL, reason="UADBENCH_NIIVUE names no package of niivue")
def test_the_real_niivue_draws_the_lesion_where_it_is(browser: Browser, tmp_path: Path) -> None:
    """In the axial plane through the lesion its pixels lie left of the middle and above it."""
    path = tmp_path / "report.html"
    path.write_text(render(page_with(Path(REAL), solid=solid())), encoding="utf-8")
    browser.requests.clear()
    browser.open(path)
    # a picture of the canvas is taken later than it is drawn
    browser.ask(
        "(() => { const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = "
        "function (kind, how) { return get.call(this, kind, { ...how, preserveDrawingBuffer: true }); }; })()"
    )
    browser.ask("document.querySelector('button.in-3d').click()")
    wait_for(browser, _READY)
    # the middle of the coloured and of the grey pixels in the field at the left below, where the axial plane is
    view = "document.querySelectorAll('#volume-body select')[1]"
    change(browser, view, "sliceTypeMultiplanar", "change")
    time.sleep(1)
    sums = browser.ask(
        """(() => {
        const canvas = document.querySelector('canvas.solid');
        const flat = Object.assign(document.createElement('canvas'), {width: canvas.width, height: canvas.height});
        const context = flat.getContext('2d');
        context.drawImage(canvas, 0, 0);
        const half = Math.floor(canvas.width / 2), top = Math.floor(canvas.height * 0.45);
        const {data, width, height} = context.getImageData(0, top, half, canvas.height - top);
        const sums = {lesion: [0, 0, 0], grey: [0, 0, 0]};
        for (let p = 0; p < width * height; p += 1) {
          const [r, g, b] = data.slice(4 * p, 4 * p + 3);
          const isGrey = r > 50 && Math.abs(r - b) < 8 && Math.abs(r - g) < 8;
          const kind = Math.abs(r - b) > 50 ? 'lesion' : isGrey ? 'grey' : '';
          if (kind) { sums[kind][0] += 1; sums[kind][1] += p % width; sums[kind][2] += Math.floor(p / width); }
        }
        return sums; })()"""
    )
    (lesion, lesion_x, lesion_y), (grey, grey_x, grey_y) = sums["lesion"], sums["grey"]
    assert min(lesion, grey) > 100
    assert lesion_x / lesion < grey_x / grey - 5  # left on the left
    assert lesion_y / lesion < grey_y / grey - 5  # the front above
    assert browser.requests == []
