"""The wheel: nothing but `uadbench/`, everything it needs, and a `bench` that works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cases import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(folder),
        ".",
    ]
    source = folder / "source"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=False, capture_output=True)
    subprocess.run(build, cwd=source if source.is_dir() else ROOT, check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_only_uadbench(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "uadbench",
        next(n for n in names if "dist-info" in n).split("/")[0],
    }
    assert not [name for name in names if "test" in name.lower() and "dist-info" not in name]


def test_presets_suites_and_paper_tables_travel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern, target in (
        ("benchmarks/plan/presets", "*.toml", "uadbench/benchmarks/plan/presets"),
        ("benchmarks/plan/suites", "*.toml", "uadbench/benchmarks/plan/suites"),
        ("benchmarks/contract/templates", "*.txt", "uadbench/benchmarks/contract/templates"),
        ("results/paper", "*.csv", "uadbench/results/paper"),
    ):
        files = list((ROOT / folder).glob(pattern))
        assert files
        assert {f"{target}/{file.name}" for file in files} <= names
    assert "uadbench/py.typed" in names


def test_bench_works_from_the_wheel_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    probe = f"""
import sys
sys.path.insert(0, {str(site)!r})
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
sys.argv = ["bench", "list", "presets"]
import uadbench.benchmarks.commands.app as cli
assert cli.__file__.startswith({str(site)!r}), cli.__file__
cli.main()
"""
    environment = {**os.environ, "COLUMNS": "200"}
    answer = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert answer.returncode == 0, answer.stderr
    assert all(name in answer.stdout for name in ("demo", "quick", "paper"))


@pytest.mark.parametrize("editable", [True, False])
def test_whoever_starts_python_in_the_checkout_gets_what_is_installed(
    wheel: Path, tmp_path: Path, *, editable: bool
) -> None:
    """Python looks in the folder that it is started in first; no folder of the checkout has the package's name."""
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    plain = "import sys; sys.meta_path = [one for one in sys.meta_path if 'editable' not in repr(one).lower()]; "
    script = ("" if editable else plain) + "import uadbench.benchmarks; print(uadbench.benchmarks.__file__)"
    environment = dict(os.environ) if editable else {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", script]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    place = ROOT / "benchmarks" if editable else site / "uadbench" / "benchmarks"
    assert Path(answer.stdout.strip()).parent == place
