"""Packages join by the entry-point group `uadbench.methods`; a broken one costs a warning and nothing else."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from uadbench.benchmarks.plan.cell import Recipe
from uadbench.benchmarks.plan.plan import plan_for
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.methods import methods, registry
from uadbench.methods.registry import PluginWarning

METHOD = """
    import torch
    from uadbench.methods import Detector, Frozen, MethodInfo, Row, register

    class Nothing(Frozen):
        pass

    {decorator}
    class {cls}(Detector):
        info = MethodInfo("{name}", "{cls}", "nobody", None, (Row("{row}", "{cls}"),))
        Settings = Nothing
        trainable = False

        def reconstruct(self, volume, scan):
            return torch.zeros_like(volume)
"""
BENCH = Path(sys.executable).with_name("bench")


def distribution(site: Path, package: str, entry: str, text: str, group: str = "uadbench.methods") -> None:
    """What pip leaves behind: a module and a dist-info folder."""
    module = package.replace("-", "_")
    (site / f"{module}.py").write_text(textwrap.dedent(text))
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[{group}]\nmine = {entry}\n")


def method(cls: str, row: str, decorator: str = "") -> str:
    return METHOD.format(cls=cls, name=row.replace("-", "_"), row=row, decorator=decorator)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Four packages: a class, a module that registers, one that cannot be imported, one that takes a known name."""
    distribution(tmp_path, "plug-class", "plug_class:One", method("One", "plug-one"))
    distribution(tmp_path, "plug-module", "plug_module", method("Two", "plug-two", "@register"))
    distribution(tmp_path, "plug-broken", "plug_broken", "import no_such_library")
    distribution(tmp_path, "plug-greedy", "plug_greedy:Three", method("Three", "thresh"))
    distribution(tmp_path, "plug-path", "plug_path:Four", method("Four", "../../evil"))
    return tmp_path


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The packages on this process's path, and the registry as it was afterwards."""
    monkeypatch.syspath_prepend(site)
    importlib.invalidate_caches()
    with registry.REGISTRY.isolated():
        yield site
    for name in ("plug_class", "plug_module", "plug_broken", "plug_greedy", "plug_path"):
        sys.modules.pop(name, None)


def test_plugins_are_methods_and_carry_their_version(installed: Path, tiny_preset: Preset) -> None:
    with pytest.warns(PluginWarning) as warned:
        found = methods()
    assert {"plug_one", "plug_two", "thresh", "ae"} <= set(found)
    words = sorted(str(warning.message) for warning in warned)
    assert len(words) == 3
    assert "plug-broken 1.2" in words[0] and "No module named 'no_such_library'" in words[0]
    assert "plug-greedy 1.2" in words[1] and "two methods are called 'thresh'" in words[1]
    assert "plug-path 1.2" in words[2] and "the method cannot be called '../../evil'" in words[2]
    assert found["thresh"].__module__ == "uadbench.methods.thresh"
    for row, source in (("plug-one", "plug-class 1.2"), ("plug-two", "plug-module 1.2")):
        (entry,) = select_rows([row])
        recipe = Recipe.of(entry.method, plan_for(tiny_preset, entry.method, entry.row), 0)
        assert recipe.content()["source"] == source


def test_a_plugin_that_was_imported_before_is_credited_too(installed: Path) -> None:
    importlib.import_module("plug_module")  # as a worker does, which unpickles the class first
    with pytest.warns(PluginWarning):
        cls = methods()["plug_two"]
    assert registry.distribution_of(cls) == "plug-module 1.2"


def test_the_command_line_shows_one_sentence_a_broken_plugin(site: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
    command = [str(BENCH), "list", "methods"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "plug-one" in answer.stdout and "plug-two" in answer.stdout and "maediff" in answer.stdout
    lines = answer.stderr.strip().splitlines()
    assert len(lines) == 3 and all(line.startswith("warning: the methods of the package plug-") for line in lines)


def test_a_broken_score_package_is_one_sentence_too(tmp_path: Path) -> None:
    distribution(tmp_path, "plug-score", "plug_score", "raise SystemExit('no licence')", "uadbench.scores")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    command = [str(BENCH), "list", "scores"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "mahalanobis" in answer.stdout
    [line] = answer.stderr.strip().splitlines()
    assert line.startswith("warning: the scores of the package plug-score 1.2")
    assert "no licence" in line
