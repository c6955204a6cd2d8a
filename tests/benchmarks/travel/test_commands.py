"""`bench export` on one clone, `bench import` on another, one table."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import Result
from typer.testing import CliRunner

from uadbench.benchmarks.commands.app import app

from cases import TINY

if TYPE_CHECKING:
    from .conftest import Clone, Parcel

Bench = Callable[..., Result]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(app, list(map(str, words)))


def test_two_clones_one_table(bench: Bench, there: Clone, here: Clone) -> None:
    shutil.copytree(there.runs, here.runs)
    (ae,) = here.runs.glob("ae-*")
    shutil.rmtree(ae)  # what was not run here
    exported = bench("export", "ae", "-o", "cells.zip", "--who", "Lab X", "--results", there.results)
    digest = sha256(Path("cells.zip").read_bytes()).hexdigest()
    assert exported.exit_code == 0, exported.stderr
    assert exported.stdout.startswith("cells.zip: 1 cell, ") and f"SHA-256: {digest}\n" in exported.stdout
    assert "without weights" in exported.stdout
    imported = bench("import", "cells.zip", "--sha256", digest, "--results", here.results)
    assert imported.exit_code == 0 and f"cells.zip: 1 cell joined {here.results}." in imported.stdout
    again = bench("import", "cells.zip", "--results", here.results)
    assert again.exit_code == 0 and "0 cells joined" in again.stdout and "1 there already" in again.stdout
    words = ("table", "1", "--data", "tiny", "--preset", TINY, "--format", "markdown", "--results")
    ours, theirs = bench(*words, here.results), bench(*words, there.results)
    assert ours.exit_code == 0, ours.stderr
    lines, plain = ours.stdout.splitlines(), theirs.stdout.splitlines()
    assert [line.replace("AE [1]", "AE") for line in lines if line.startswith("| AE")] == [
        line for line in plain if line.startswith("| AE")
    ]
    assert [line for line in lines if line.startswith("| Thresh")] == [
        line for line in plain if line.startswith("| Thresh")
    ]
    assert "* [1] computed elsewhere, by Lab X: 1 cell, " in ours.stdout and "[1]" not in theirs.stdout


def test_one_changed_byte_is_refused_by_name(bench: Bench, parcel: Parcel, here: Clone) -> None:
    label = parcel.manifest["cells"][0]["label"]
    content = parcel.members[f"runs/{label}/metrics.json"]
    parcel.members[f"runs/{label}/metrics.json"] = content.replace(b"0", b"1", 1)
    parcel.write(Path("cells.zip"))
    answer = bench("import", "cells.zip", "--results", here.results)
    assert answer.exit_code == 1
    said = f"refused: {label}: metrics.json is not the file that was sent, its SHA-256 is another\n"
    assert answer.stderr.endswith(said) and answer.stderr.count("refused") == 1
    assert "2 cells joined" in answer.stdout and "1 refused" in answer.stdout
    assert not (here.runs / label).exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("export", "nothing", "-o", "cells.zip"), "nothing: no cell, parent or row of that name"),
        (("export", "all", "-o", "cells.zip", "--results", "empty"), "all: nothing is finished under empty/runs"),
        (("export", "ae", "-o", "cells.zip", "--who", "a\nb"), "write a name in one line"),
        (("import", "nothing.zip"), "nothing.zip is no file"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: tuple[str, ...], sentence: str, bench: Bench, there: Clone, tmp_path: Path
) -> None:
    results = () if "--results" in words else ("--results", there.results)
    answer = bench(*words, *results)
    assert answer.exit_code == 2 and sentence in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "cells.zip").exists()


def test_what_is_not_finished_stays_at_home(bench: Bench, there: Clone, here: Clone) -> None:
    shutil.copytree(there.runs, here.runs)
    (fold1,) = here.runs.glob("thresh-fold1-*")
    (fold1 / "digests.json").unlink()
    answer = bench("export", "thresh", "-o", "cells.zip", "--results", here.results)
    assert answer.exit_code == 0
    assert f"Left out: {fold1.name}, which is not finished." in answer.stdout and "cells.zip: 1 cell, " in answer.stdout
    answer = bench("export", fold1.name, "-o", "one.zip", "--results", here.results)
    assert answer.exit_code == 2 and f"{fold1.name} is not finished; run it to its end first" in answer.stderr
    shutil.rmtree(fold1)
    (ae,) = here.runs.glob("ae-*")
    (ae / "checkpoints" / "best.ckpt").unlink()
    answer = bench("export", "ae", "--with-weights", "-o", "one.zip", "--results", here.results)
    assert answer.exit_code == 2 and "has no weights to send; leave --with-weights out" in answer.stderr
