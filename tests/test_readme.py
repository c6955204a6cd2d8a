"""README's generated tables are what the commands print today."""

from __future__ import annotations

import re

import pytest

from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.speed.catalogue import methods_markdown
from uadbench.benchmarks.speed.measurement import as_markdown, read_measurements

from cases import ROOT

METHODS, SPEED = "methods/README.md", "results/speed/README.md"


def between(file: str, start: str, end: str) -> str:
    """What a README holds between two comments, without the blank lines around it."""
    readme = (ROOT / file).read_text(encoding="utf-8")
    assert readme.count(f"<!-- {start} -->") == readme.count(f"<!-- {end} -->") == 1, (
        f"{file} needs <!-- {start} --> once"
    )
    return readme.split(f"<!-- {start} -->")[1].split(f"<!-- {end} -->")[0].strip()


def test_methods_are_those_of_the_registry() -> None:
    command = "bench list methods --markdown"
    expected = methods_markdown(load_preset("paper"))
    assert between(METHODS, f"methods: {command}", "end methods") == expected, (
        f"run `{command}` and put its output into {METHODS}"
    )


@pytest.mark.parametrize(("name", "precision"), [("paper-h200", "32-true"), ("paper-h200-bf16", "bf16-mixed")])
def test_speed_on_a_gpu_is_what_was_measured(name: str, precision: str) -> None:
    file = f"results/speed/{name}.csv"
    measured = read_measurements(ROOT / file)
    assert between(SPEED, f"speed: {file}", f"end {file}") == as_markdown(measured), (
        f"README does not show {file}: measure again, with --markdown, and put the output there"
    )
    for m in measured:
        assert (m.batch_size, m.precision) == (32, precision)
        assert m.note == "nothing to train" or (m.step_peak_mib or 0) < 20 * 1024, m.rows


def test_speed_is_what_was_measured() -> None:
    """Every row of README's table of methods was built, counted and made a step on the CPU, and README says so."""
    file = "results/speed/paper-cpu.csv"
    measured = read_measurements(ROOT / file)
    assert between(SPEED, f"speed: {file}", "end speed") == as_markdown(measured), (
        f"README does not show {file}: run the command above its table again with --markdown and put its output there"
    )
    assert {m.batch_size for m in measured} == {2}
    for m in measured:
        assert m.note == "nothing to train" or m.step_seconds is not None, m.rows
    listed = {
        name
        for line in between(METHODS, "methods: bench list methods --markdown", "end methods").splitlines()[2:]
        for name in line.split("|")[1].strip().replace("`", "").split(", ")
    }
    assert {name for m in measured for name in m.rows.split(", ")} == listed


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_links_lead_somewhere() -> None:
    for file in ROOT.glob("**/*.md"):
        if any(part.startswith(".") for part in file.relative_to(ROOT).parts):
            continue
        for link in re.findall(r"\]\(([^)#\s]+)\)", file.read_text(encoding="utf-8")):
            assert link.startswith("http") or (file.parent / link).exists(), f"{file.relative_to(ROOT)} links to {link}"
