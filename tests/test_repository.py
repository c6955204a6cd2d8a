"""What surrounds the code: the citation, the image, the workflow. Docker is not needed: what they name is looked at."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cases import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def yaml_of(name: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed here")
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def instructions(word: str) -> list[str]:
    """The arguments of a Dockerfile's instructions of one kind, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return re.findall(rf"^{word} (.*)$", text, flags=re.MULTILINE)


def test_the_citation_is_of_this_version():
    """The fields that CFF 1.2 asks for, and those that pyproject.toml says, too."""
    citation = yaml_of("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["message"] and citation["title"]
    assert str(citation["version"]) == PROJECT["project"]["version"]
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["keywords"] == PROJECT["project"]["keywords"]
    assert [one["name"] for one in citation["authors"]] == [one["name"] for one in PROJECT["project"]["authors"]]
    assert all({"type", "title", "authors"} <= set(one) for one in citation["references"])


def copied() -> list[str]:
    return [source for line in instructions("COPY") for source in line.split()[:-1]]


def test_the_image_is_built_from_files_that_are_there_and_not_ignored():
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for source in copied():
        assert (ROOT / source).exists(), source
        parts = [str(part) for part in (Path(source), *Path(source).parents) if part != Path()]
        is_ignored = False
        for pattern in ignored:
            if any(fnmatch.fnmatch(part, pattern.removeprefix("!")) for part in parts):
                is_ignored = not pattern.startswith("!")
        assert not is_ignored, source


def test_what_the_image_copies_is_all_that_the_package_is_built_from(tmp_path):
    for source in copied():
        target = tmp_path / "source" / source
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, target)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*pip, str(tmp_path), "."], cwd=tmp_path / "source", check=True)
    (wheel,) = tmp_path.glob("*.whl")
    folders = {name.rpartition("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {package.replace(".", "/") for package in PROJECT["tool"]["setuptools"]["packages"]} <= folders


def test_the_image_installs_as_the_makefile_does():
    """The same lines but for the environment's folder, and the package itself instead of a link to the checkout."""
    make = re.findall(r"^\t\$\(BIN\)/(pip install .*--constraint.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(make) == 2
    expected = [line.replace("--editable '.[dev]'", ".") for line in make]
    assert [line for line in instructions("RUN") if line.startswith("pip ")] == expected


def test_the_image_takes_its_base_as_an_argument_and_runs_bench_as_nobody_special():
    assert instructions("ARG")[0] == "BASE=python:3.11-slim" and instructions("FROM") == ["${BASE}"]
    assert instructions("ENTRYPOINT") == ['["bench"]'] and "bench" in PROJECT["project"]["scripts"]
    (user,) = instructions("USER")
    assert user.isdigit() and int(user) > 0 and f"--uid {user} " in "".join(instructions("RUN"))
    assert DOCKERFILE.index("USER") > DOCKERFILE.index("pip install")


def test_the_workflow_runs_what_ci_runs():
    workflow = yaml_of(".github/workflows/ci.yml")
    assert {"push", "pull_request"} == set(workflow[True])  # YAML 1.1 reads the word "on" so
    steps = workflow["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": "bash .ci/run"} and os.access(ROOT / ".ci" / "run", os.X_OK)
    versions = [step["with"]["python-version"] for step in steps if "setup-python" in step.get("uses", "")]
    assert versions == [PROJECT["project"]["requires-python"].removeprefix(">=")]
    assert workflow["permissions"] == {"contents": "read"}


def test_no_file_names_a_registry():
    for name in ("Dockerfile", ".github/workflows/ci.yml", "CITATION.cff", "SECURITY.md", "constraints.txt"):
        assert "://" not in (ROOT / name).read_text(encoding="utf-8"), name
