"""The report in a browser: it sorts, filters, compares and opens volumes, complains of nothing and asks nobody."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, chromium, page_in

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no chromium here")
_TITLES = "[...document.querySelectorAll('#table1 > tbody')].map(b => b.rows[0].cells[0].textContent)"
_DICES = "[...document.querySelectorAll('#table1 > tbody')].map(b => b.rows[0].cells[1].dataset.value)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page_in(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser: Page, report: Path) -> Iterator[Page]:
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(report)
    yield browser
    assert browser.complaints == []
    assert browser.requests == []


def wait_for(page: Page, question: str) -> None:
    end = time.monotonic() + 20
    while not page.ask(question):
        assert time.monotonic() < end, question
        time.sleep(0.05)


def choose(page: Page, name: str, value: object) -> None:
    page.ask(
        f"(() => {{ const e = document.getElementById('{name}'); e.value = {json.dumps(value)};"
        "e.dispatchEvent(new Event('input')); e.dispatchEvent(new Event('change')); })()"
    )


def test_a_heading_sorts_and_published_rows_stay_with_theirs(page: Page) -> None:
    page.ask("document.querySelectorAll('#table1 thead tr:last-child th button')[1].click()")
    values = [float(value) if value else None for value in page.ask(_DICES)]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=True)
    assert values[len(known) :] == [None] * (len(values) - len(known))
    assert page.ask("document.querySelector('#table1 th[aria-sort]').getAttribute('aria-sort')") == "descending"
    rows = "[...document.querySelectorAll('#table1 > tbody')].map(b => [...b.rows].map(r => r.cells[0].textContent))"
    assert ["MAEDiff", "paper"] in page.ask(rows)
    page.ask("document.querySelectorAll('#table1 thead tr:last-child th button')[1].click()")
    known = [float(value) for value in page.ask(_DICES) if value]
    assert known == sorted(known)


def test_rows_are_filtered_by_name_and_kind(page: Page) -> None:
    shown = "[...document.querySelectorAll('#table1 tr')].filter(r => r.offsetParent && !r.closest('thead'))"
    names = f"{shown}.map(r => r.cells[0].textContent)"
    everything = page.ask(names)
    choose(page, "filter-text", "pddpm (S16)")
    assert page.ask(names) == ["pDDPM (s16)", "paper", "pDDPM (s16), untrained"]
    page.ask("document.getElementById('show-published').click(); document.getElementById('show-controls').click()")
    assert page.ask(names) == ["pDDPM (s16)"]
    choose(page, "filter-text", "")
    assert set(page.ask(names)) == {"AE", "pDDPM (s16)", "MAEDiff"} < set(everything)


def test_two_rows_are_joined_volume_by_volume(page: Page) -> None:
    choose(page, "pair-a", "0")
    choose(page, "pair-b", "2")
    drawn = "document.querySelector('svg[data-plot=\"pair-tumours\"] .pair.{}').getAttribute('d').split('M').length - 1"
    up, down, tie = (page.ask(drawn.format(style)) for style in ("up", "down", "tie"))
    assert up + down + tie == 14
    count = page.ask("document.getElementById('pair-count').textContent")
    assert f"phantom tumours: the right row scores higher on {up} of 14" in count
    names = "[...document.querySelectorAll('svg[data-plot=\"pair-tumours\"] .row')].map(t => t.textContent)"
    assert page.ask(names) == [page.ask(f"document.getElementById('pair-a').options[{n}].text") for n in (0, 2)]


def test_a_script_draws_the_same_pair_as_the_page_came_with(page: Page) -> None:
    def places() -> list[list[float]]:
        drawn = "['up', 'down', 'tie'].map(s => document.querySelector(`svg[data-plot='pair-tumours'] .pair.${s}`))"
        paths = page.ask(f"{drawn}.map(path => path.getAttribute('d'))")
        return [[float(number) for number in re.findall(r"[\d.]+", path)] for path in paths]

    before = places()
    page.ask("document.getElementById('pair-a').dispatchEvent(new Event('change'))")
    for drawn, redrawn in zip(before, places(), strict=True):
        assert redrawn == pytest.approx(drawn, abs=0.2)  # the script knows four digits


def test_a_volume_opens_with_every_rows_numbers(page: Page) -> None:
    choose(page, "list-text", "<script>")
    assert page.ask("document.querySelectorAll('#list-table tbody').length") == 1
    page.ask("document.querySelector('#list-table button.plain').click()")
    assert page.ask("document.getElementById('volume').open")
    title = page.ask("document.getElementById('volume-name').textContent")
    assert title.startswith("<script>")
    assert page.ask("document.title") != "owned"
    assert page.ask("document.querySelectorAll('#volume-body tbody tr').length") == 4
    assert page.ask("document.querySelectorAll('svg[data-plot=\"strip-tumours\"] circle.of-volume').length") == 4
    page.ask("document.querySelector('#volume form button').click()")
    assert not page.ask("document.getElementById('volume').open")


def test_a_dot_opens_its_volume(page: Page) -> None:
    page.ask(
        """(() => {
        const plot = document.querySelector('svg[data-plot="strip-ms"]');
        plot.scrollIntoView();
        const box = plot.getBoundingClientRect(), scale = box.width / plot.viewBox.baseVal.width;
        const dot = plot.querySelector('.volume').getAttribute('d').match(/M([\\d.]+) /)[1];
        const y = Number(plot.parentElement.dataset.centres.split(' ')[0]);
        plot.dispatchEvent(new MouseEvent('click', {clientX: box.left + dot * scale, clientY: box.top + y * scale}));
        })()"""
    )
    assert page.ask("document.getElementById('volume').open")


def test_the_list_is_sorted_turned_and_saved(page: Page) -> None:
    sizes = "[...document.querySelectorAll('#list-table tbody td:nth-child(2)')].map(c => Number(c.textContent))"
    page.ask("document.querySelectorAll('#list-table th button')[1].click()")
    rising = page.ask(sizes)
    assert rising == sorted(rising)
    assert page.ask("document.getElementById('list-where').textContent") == "14 volumes, page 1 of 1"
    page.ask(
        "URL.createObjectURL = blob => { window.kept = blob; return 'blob:none'; };"
        "HTMLAnchorElement.prototype.click = () => {}; document.getElementById('list-csv').click()"
    )
    lines = page.ask("window.kept.text()").split("\r\n")
    assert len(lines) == 1 + 14 * 4
    assert lines[0].startswith('"set","subject","lesion_ml","row","DICE (%)","AUPRC (%)"')


def test_dots_against_lesion_volume_are_those_of_the_row(page: Page) -> None:
    dots = "document.querySelector('svg[data-plot=\"size-tumours\"] .size-dots').getAttribute('d')"
    first = page.ask(dots)
    choose(page, "size-row", "0")
    assert page.ask(dots) != first
    assert len(page.ask(dots).split("M")) == 15


@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.resize(width, 900)
    assert page.ask("document.documentElement.scrollWidth <= window.innerWidth")


def test_without_scripts_tables_and_pictures_are_there(browser: Page, report: Path) -> None:
    browser.open(report, scripts=False)
    browser.tell("Emulation.setScriptExecutionDisabled", value=False)
    assert browser.ask("document.querySelectorAll('#table1 tbody tr').length") > 5
    assert browser.ask("document.querySelectorAll('svg.plot').length") > 8
    assert browser.ask("[...document.querySelectorAll('.controls')].every(c => c.hidden)")


def test_paper_shows_every_note(browser: Page, report: Path) -> None:
    browser.open(report)
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    assert browser.ask("[...document.querySelectorAll('details')].every(one => one.open)")


def test_paper_is_white_whatever_the_screen_is(browser: Page, report: Path) -> None:
    """Headings of tables have buttons, which Chromium does not repeat on the next page: words alone are printed."""
    browser.open(report, dark=True)
    ground = "getComputedStyle(document.body).backgroundColor"
    line = "getComputedStyle(document.querySelector('svg .mean')).stroke"
    dark = browser.ask(line)
    assert browser.ask(ground) == "rgb(20, 23, 26)"
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    browser.tell("Emulation.setEmulatedMedia", media="print", features=[scheme])
    assert browser.ask(ground) == "rgb(255, 255, 255)"
    assert browser.ask(line) != dark
    shown = "[...document.querySelectorAll('{}')].map(e => getComputedStyle(e).display)"
    assert set(browser.ask(shown.format(".on-screen, nav, .controls, #downloads"))) == {"none"}
    assert set(browser.ask(shown.format("#table1 th button"))) == {"contents"}
    browser.tell("Emulation.setEmulatedMedia", media="")


def test_every_heading_says_what_it_heads(page: Page) -> None:
    page.ask("document.querySelector('#list-table button.plain').click()")
    assert page.ask("document.querySelectorAll('th').length") > 50
    assert page.ask("[...document.querySelectorAll('th')].filter(th => !th.scope).map(th => th.outerHTML)") == []
    regions = "[...document.querySelectorAll('.scroll[tabindex]')].filter(e => !e.getAttribute('aria-label'))"
    assert page.ask(f"{regions}.map(e => e.outerHTML.slice(0, 200))") == []
    pictures = "[...document.querySelectorAll('[role=img], img')].filter(e => !e.ariaLabel && !e.alt).length"
    assert page.ask(pictures) == 0
