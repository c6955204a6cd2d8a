"""What a shell completes: every row that there is, and no import of PyTorch for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from uadbench.benchmarks.commands.completion import complete_method, complete_preset
from uadbench.benchmarks.plan.preset import preset_names
from uadbench.benchmarks.plan.suite import load_suite, suite_names
from uadbench.methods import rows

BENCH = Path(sys.executable).with_name("bench")


def test_every_row_suite_and_preset_is_offered() -> None:
    suites = {entry.row.name for suite in suite_names() for entry in load_suite(suite).rows}
    own = {name for name, (cls, _) in rows().items() if cls.__module__.startswith("uadbench.")}
    assert set(complete_method("")) == {*own, *suites, *suite_names(), "all"}
    assert complete_method("pddpm-s") == sorted(name for name in own | suites if name.startswith("pddpm-s"))
    assert complete_preset("") == list(preset_names())
    assert complete_preset("pa") == [name for name in preset_names() if name.startswith("pa")]


def test_completion_imports_no_heavy_library() -> None:
    probe = (
        "import sys; from uadbench.benchmarks.commands.completion import complete_method, complete_preset;"
        "complete_method('m'), complete_preset('p');"
        "print([m for m in ('torch', 'lightning', 'pandas', 'numpy') if m in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_shell_gets_its_words_from_the_command() -> None:
    words = {"_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": "bench run --method maed", "COMP_CWORD": "3"}
    answer = subprocess.run([str(BENCH)], env={**os.environ, **words}, capture_output=True, text=True, check=False)
    assert "maediff" in answer.stdout.split(), answer.stderr
