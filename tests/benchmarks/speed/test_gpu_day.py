"""A day with a GPU: steps end in time, what they found is kept, the same command goes on; all of it once in small."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from uadbench.benchmarks.speed import gpu_day
from uadbench.benchmarks.speed.gpu_day import Day, Step, Trial, main, steps_of
from uadbench.benchmarks.speed.measurement import read_measurements

from cases import TINY

GPU = Trial("paper", "cuda", ("maediff",), ("maediff", "table1"), 6, None, ("train.compile=true",), small=False)


def python(text: str) -> tuple[str, ...]:
    return "-c", text, "OUT"


def steps_in(folder: Path) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in json.loads((folder / "gpu-day.json").read_text())["steps"]}


def test_each_step_is_kept_as_it_ends_and_only_what_is_missing_is_done_again(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    count = f"open({str(counter)!r}, 'a').write('x')"
    good = Step("good", python(f"{count}; import sys; open(sys.argv[1], 'w').write('{{\"tflops\": 7}}')"), 30)
    bad = Step("bad", python("raise SystemExit('no such card')"), 30)
    Day(tmp_path).run([good, bad], 60)
    found = steps_in(tmp_path)
    assert (found["good"]["outcome"], found["good"]["found"]) == ("done", {"tflops": 7})
    assert (found["bad"]["outcome"], found["bad"]["tail"].strip()) == ("failed", "no such card")
    mended = Step("bad", python("pass"), 30)
    Day(tmp_path).run([good, mended], 60)
    assert steps_in(tmp_path)["bad"]["outcome"] == "done"
    assert counter.read_text() == "x"  # the good one was not done again


def test_a_step_ends_with_its_children_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_day, "_GRACE", 0.5)
    number = tmp_path / "child"
    child = f"[{sys.executable!r}, '-c', 'import time; time.sleep(60)']"
    hang = (
        "import subprocess, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"p = subprocess.Popen({child}); open({str(number)!r}, 'w').write(str(p.pid)); "
        "print('begun', flush=True); time.sleep(60)"
    )
    started = time.monotonic()
    Day(tmp_path).run([Step("hang", python(hang), 2), Step("next", python("pass"), 30)], 60)
    assert time.monotonic() - started < 30
    found = steps_in(tmp_path)
    assert (found["hang"]["outcome"], found["hang"]["tail"].strip()) == ("stopped", "begun")
    assert found["next"]["outcome"] == "done"
    stat = Path(f"/proc/{number.read_text()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_nothing_is_begun_without_time_and_the_next_call_begins_there(tmp_path: Path) -> None:
    step = Step("late", python("pass"), 30)
    Day(tmp_path).run([step], 1)
    assert not (tmp_path / "gpu-day.json").exists()
    Day(tmp_path).run([step], 30)
    assert steps_in(tmp_path)["late"]["outcome"] == "done"


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "gpu-day.json").write_text('{"steps": [{"name": 1}]}')
    Day(tmp_path).run([Step("one", python("pass"), 30)], 30)
    assert list(steps_in(tmp_path)) == ["one"]


def test_pytest_is_read_by_its_report(tmp_path: Path) -> None:
    tests = tmp_path / "test_two.py"
    tests.write_text("def test_a(): pass\ndef test_b(): assert 1 == 2\n")
    words = ("-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--junitxml", "OUT", str(tests))
    Day(tmp_path).run([Step("tests", words, 60)], 60)
    step = steps_in(tmp_path)["tests"]
    assert step["outcome"] == "failed"
    assert (step["found"]["tests"], step["found"]["skipped"]) == (2, 0)
    assert list(step["found"]["failures"]) == ["test_b"]


def test_the_steps_name_what_they_measure() -> None:
    steps = {step.name: " ".join(step.words) for step in steps_of(GPU)}
    assert next(iter(steps)) == "peak"
    assert "--preset paper --device cuda" in steps["first-preset"] and "--set" not in steps["first-preset"]
    assert "--set train.precision=bf16-mixed" in steps["rows-bf16"] and "table1" in steps["rows-bf16"]
    assert steps["first-compiled-bf16"].endswith("--set train.precision=bf16-mixed --set train.compile=true")
    assert "test_gpu.py" in steps["tests"] and "-m gpu" in steps["tests"]


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="peak"):
        main(tmp_path, only=["nonsense"])


@pytest.mark.slow
def test_in_small(tmp_path: Path) -> None:
    wanted = ["peak", "first-preset", "cell-bf16"]
    main(tmp_path, minutes=5, small=True, preset=str(TINY), only=wanted)
    found = steps_in(tmp_path)
    assert {name: step["outcome"] for name, step in found.items()} == dict.fromkeys(wanted, "done"), found
    assert all(product["tflops"] > 0 for product in found["peak"]["found"]["products"])
    cell = found["cell-bf16"]["found"]
    assert cell["epochs"] == 4 and "train.precision=bf16-mixed" in cell["changes"]
    assert cell["cost"]["total"] > 0 and cell["cost"]["slice_gflop"] > 0
    assert [m.rows for m in read_measurements(tmp_path / "gpu-day.csv")] == ["ae"]
