"""One command hashes a record once; the next one looks again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from trials.simulated_study import Shape, Study
from typer.testing import CliRunner

from uadbench import load_results
from uadbench.benchmarks.commands.app import app
from uadbench.benchmarks.records import record as record_module
from uadbench.benchmarks.records.looked_at import looked_at
from uadbench.benchmarks.records.record import RecordWarning
from uadbench.benchmarks.records.record_files import file_digest


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("study")
    list(Study(results / "runs", Shape(rows=3, folds=2, volumes=(6, 8, 5), bins=16)).write())
    return results


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[Path]:
    """How often each file was hashed for `RunRecord.problem`."""
    counts: Counter[Path] = Counter()

    def counting(path: Path) -> str:
        counts[path] += 1
        return file_digest(path)

    monkeypatch.setattr(record_module, "file_digest", counting)
    return counts


@pytest.mark.parametrize(
    "words",
    [
        ("compare", "maediff", "pddpm-s16"),
        ("compare", "maediff", "pddpm-s16", "--metric", "hd95", "--metric", "dice"),
        ("table", "1", "--ci", "--detection", "--cost"),
        ("report", "1"),
        ("reproduce", "table1", "--preset", "demo"),
    ],
)
def test_a_command_hashes_a_file_once(
    study: Path, tmp_path: Path, hashed: Counter[Path], words: tuple[str, ...]
) -> None:
    out = ("-o", str(tmp_path / "report.html")) if words[0] == "report" else ()
    answer = CliRunner().invoke(app, [*words, *out, "--results", str(study)], env={"COLUMNS": "80"})
    assert answer.exit_code == 0, answer.stderr
    assert sum(path.name == "scores.csv" for path in hashed) == 6
    assert set(hashed.values()) == {1}


def test_what_was_looked_at_stays_and_a_new_look_sees_a_change(study: Path) -> None:
    records = looked_at(load_results(study).records)
    before = load_results(study).looked_at()
    assert len(before.volumes()) == len(load_results(study).volumes())
    scores = records[0].folder / "scores.csv"
    content = scores.read_bytes()
    try:
        scores.write_bytes(content.replace(b"0.", b"1.", 1))
        assert records[0].problem().startswith("is not whole: scores.csv was changed")
        assert before.records[0].problem() == ""
        with pytest.warns(RecordWarning, match=r"scores\.csv was changed"):
            assert load_results(study).looked_at().volumes()["id"].nunique() == 5
        assert looked_at(before.records) == before.records, "what was looked at is not wrapped again"
    finally:
        scores.write_bytes(content)
