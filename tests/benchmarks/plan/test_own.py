"""Methods in a file of the user's: loading, naming, the cell's id, workers, numbers of their own."""

from __future__ import annotations

import hashlib
import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors.base import DEFECT
from uadbench.benchmarks.experiment import raise_failures
from uadbench.benchmarks.plan.cell import Recipe
from uadbench.benchmarks.plan.own import load_detector
from uadbench.benchmarks.plan.plan import brought_sections, plan_for
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import SuiteRow, select_rows
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError

from cases import TINY, run_jobs

HEAD = """
    import os, signal, torch
    from uadbench.methods import Detector, Frozen, MethodInfo, OptimizerSettings, Row

    class Numbers(Frozen):
        level: float = 0.0

    class Section(Frozen):
        fill: Numbers = Numbers(level=0.25)

    def info(name):
        return MethodInfo(name, name, "nobody", None, (Row(name, name),))

    class Flat(Detector):
        info = info("flat")
        Settings = Section
        trainable = False

        def reconstruct(self, volume, scan):
            return torch.full_like(volume, self.settings.fill.level)
"""
KILLED = """
    class Killed(Flat):
        info = info("killed")

        def absorb(self, volumes):
            os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_ONCE = """
    from pathlib import Path
    from uadbench.methods.ae import AE

    class KilledOnce(AE):
        info = info("once")

        def training_step(self, batch, batch_idx):
            if batch.image.is_meta:  # its arithmetic is counted, for the bill
                return super().training_step(batch, batch_idx)
            steps = Path(os.environ["UADBENCH_TEST_STEPS"])
            done = steps.read_text().split() if steps.exists() else []
            steps.write_text(" ".join([*done, str(self.global_step)]))
            if len(done) == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().training_step(batch, batch_idx)
"""
LEAVING = """
    class Leaving(Flat):
        info = info("leaving")

        def reconstruct(self, volume, scan):
            raise KeyboardInterrupt
"""
FAILING = """
    class Failing(Flat):
        info = info("failing")

        def reconstruct(self, volume, scan):
            return {}["no such key"]
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of methods: the given blocks, one after the other."""

    def write_file(*blocks: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text("".join(textwrap.dedent(block) for block in blocks))
        return path

    return write_file


def recipe_of(entry: SuiteRow, preset: Preset) -> Recipe:
    return Recipe.of(entry.method, plan_for(preset, entry.method, entry.row), 0)


def test_a_file_with_one_detector_needs_no_class_name(write: Write) -> None:
    path = write(HEAD)
    assert load_detector(str(path)) is load_detector(f"{path}:Flat")
    assert [entry.row.name for entry in select_rows([str(path)])] == ["flat"]


def test_two_detectors_need_one(write: Write) -> None:
    path = write(HEAD, KILLED)
    with pytest.raises(UserError, match=r"holds Flat and Killed; name one, as in mine.py:Flat"):
        load_detector(str(path))
    assert load_detector(f"{path}:Killed").info.name == "killed"


@pytest.mark.parametrize(
    ("block", "name", "sentence"),
    [
        ("def broken(:\n    pass\n", "", r"invalid syntax \(.*mine.py, line 1\)"),
        ("\n\nimport no_such_module_here\n", "", r"No module named 'no_such_module_here' \(.*mine.py, line 3\)"),
        ("x = 1\ny = x / 0\n", "", r"ZeroDivisionError: division by zero \(.*mine.py, line 2\)"),
        ("import sys\nsys.exit(3)\n", "", r"SystemExit: 3 \(.*mine.py, line 2\)"),
        ("import beside\n", "", "a method is one file"),
        ("Flat = 7\n", "Flat", "Flat is no class"),
        ("class Flat:\n    pass\n", "Flat", "Flat is no Detector"),
        ("x = 1\n", "", "holds no Detector"),
        (HEAD, "Flot", "holds no Flot; it holds Flat"),
        (HEAD + "    Flat.info = 'flat'\n", "Flat", "has no info"),
        (HEAD + "    Flat.info = info('../../evil')\n", "Flat", "the method cannot be called '../../evil': a name has"),
        (
            HEAD + "    Flat.info = MethodInfo('f', '', '', None, (Row('a/b', ''),))\n",
            "Flat",
            "row cannot be called 'a/b'",
        ),
        (HEAD + "    Flat.info = MethodInfo('f', '', '', None, (Row('a+l', ''),))\n", "Flat", r"be called 'a\+l'"),
        (HEAD + "    Flat.Settings = dict\n", "Flat", "has no Settings"),
        (HEAD + "    Flat.trainable = True\n", "Flat", "does not implement training_step"),
        (HEAD + "    del Flat.reconstruct\n", "Flat", "does not implement reconstruct, which every method needs"),
        (HEAD + "    Flat.__qualname__ = 'make.<locals>.Flat'\n", "Flat", "top level"),
    ],
)
def test_what_cannot_be_a_method_is_one_sentence(block: str, name: str, sentence: str, write: Write) -> None:
    write("import torch\n", name="beside.py")
    path = write(block)
    with pytest.raises(UserError, match=sentence) as caught:
        load_detector(f"{path}:{name}" if name else str(path))
    assert "\n" not in str(caught.value)


def test_the_command_line_gives_one_sentence_and_the_traceback_on_request(write: Write) -> None:
    from typer.testing import CliRunner

    from uadbench.benchmarks.commands.app import app

    path = write("x = 1\ny = x / 0\n")
    words = ["run", "--method", str(path)]
    plain = CliRunner().invoke(app, words)
    assert plain.exit_code == 2
    assert len(plain.stderr.splitlines()) == 1 and plain.stderr.startswith("error: ")
    traced = CliRunner().invoke(app, ["--debug", *words])
    assert traced.exit_code == 2
    assert "y = x / 0" in traced.stderr and traced.stderr.endswith(plain.stderr)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_detector(str(tmp_path / "nothing.py"))


def test_a_failed_import_leaves_nothing_behind(write: Write) -> None:
    path = write(HEAD, "    raise RuntimeError\n")
    with pytest.raises(UserError):
        load_detector(str(path))
    write(HEAD)
    assert load_detector(str(path)).info.name == "flat"


def test_the_hash_of_the_file_is_part_of_the_id(write: Write, tiny_preset: Preset) -> None:
    path = write(HEAD)
    (before,) = select_rows([str(path)])
    recipe = recipe_of(before, tiny_preset)
    assert recipe.content()["source"] == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    stamp = path.stat()
    path.write_text(path.read_text().replace("full_like", "zeros_like")[:-1] + " ")
    path.write_text(path.read_text().replace("zeros_like(volume, self.settings.fill.level)", "ones_like (volume)"))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as fast an edit as can be
    (after,) = select_rows([str(path)])
    assert after.method is not before.method
    assert recipe_of(after, tiny_preset).id != recipe.id


def test_registered_methods_keep_their_ids(tiny_preset: Preset) -> None:
    for entry in select_rows(["thresh", "ae", "maediff", "mean-brain"]):
        assert "source" not in recipe_of(entry, tiny_preset).content()


@pytest.mark.parametrize("name", ["ae", "unet", "table1", "mean_brain", "all"])
def test_a_taken_name_is_one_sentence(name: str, write: Write) -> None:
    path = write(HEAD.replace('info("flat")', f'info("{name}")'))
    with pytest.raises(UserError, match=f"the name '{name}' in Flat.info is taken"):
        select_rows([str(path)])


def test_two_files_may_not_make_one_row(write: Write) -> None:
    words = [str(write(HEAD)), str(write(HEAD, name="other.py"))]
    with pytest.raises(UserError, match="two methods make a row 'flat'"):
        select_rows(words)


def test_own_sections_land_in_the_plan_and_can_be_changed(write: Write, tmp_path: Path) -> None:
    (entry,) = select_rows([str(write(HEAD))])
    brought = brought_sections([entry.method])
    assert brought == {"fill": {"level": 0.25}}

    def level(preset: Preset) -> float:
        return float(plan_for(preset, entry.method, entry.row).method["fill"]["level"])

    plain = load_preset(str(TINY))
    changed = load_preset(str(TINY), ["fill.level=0.5"], brought)
    own_preset = tmp_path / "own.toml"
    own_preset.write_text(Path(str(TINY)).read_text() + "\n[fill]\nlevel = 0.75\n")
    assert [level(p) for p in (plain, changed, load_preset(str(own_preset)))] == [0.25, 0.5, 0.75]
    assert recipe_of(entry, plain).id != recipe_of(entry, changed).id
    with pytest.raises(UserError, match="the preset has no number fill.level"):
        load_preset(str(TINY), ["fill.level=0.5"])
    with pytest.raises(UserError, match=r"no number fill.depth; there is fill.level"):
        load_preset(str(TINY), ["fill.depth=1"], brought)


def test_a_change_of_one_number_keeps_the_section_s_others(write: Write) -> None:
    block = HEAD.replace("level: float = 0.0", "level: float; other: int").replace("level=0.25", "level=0.25, other=3")
    (entry,) = select_rows([str(write(block))])
    preset = load_preset(str(TINY), ["fill.level=0.5"], brought_sections([entry.method]))
    assert plan_for(preset, entry.method, entry.row).method["fill"] == {"level": 0.5, "other": 3}


class Heard(SilentReporter):
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.slow
def test_workers_run_the_text_that_was_read_and_outlive_a_killed_one(
    write: Write, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is gone before the workers start.

    One cell kills its process whenever it runs and one the first time, one fails, one would end its process: the rest
    ends well.
    """
    path = write(HEAD, KILLED, KILLED_ONCE, LEAVING, FAILING)
    monkeypatch.setenv("UADBENCH_TEST_STEPS", str(tmp_path / "steps"))
    text = path.read_bytes()
    entries = select_rows([f"{path}:{name}" for name in ("Killed", "KilledOnce", "Leaving", "Failing", "Flat")])
    path.unlink()
    jobs = jobs_for(entries, (0,), tiny_data, tiny_preset, 0)
    reporter = Heard()
    outcomes = {o.spec.row: o for o in run_jobs(jobs, tmp_path / "runs", "cpu", 2, reporter)}
    assert set(outcomes) == {"killed", "once", "leaving", "failing", "flat"}
    killed = outcomes["killed"].problem
    assert "killed (SIGKILL)" in killed and "for the second time" in killed and "--jobs 1" in killed
    assert killed.startswith(outcomes["killed"].spec.label) and "at the training with" in killed, killed
    assert all(word in killed for word in ("train.batch_size=", "train.accumulate=", "train.precision=bf16-mixed"))
    assert "KeyError: 'no such key'" in outcomes["failing"].problem
    assert "Leaving failed: KeyboardInterrupt" in outcomes["leaving"].problem
    assert outcomes["flat"].problem == outcomes["once"].problem == ""
    for name, outcome in outcomes.items():
        assert outcome.record.done == (name in ("flat", "once"))
        assert outcome.record.method_file.read_bytes() == text
    assert "Traceback" in (outcomes["failing"].record.folder / "error.log").read_text()

    again = [line for line in reporter.lines if "it is tried once more from its checkpoint" in line]
    assert len(again) == 2 and all("was killed (SIGKILL)" in line for line in again)
    assert all("one cell at a time now" in line for line in again)
    steps = [int(step) for step in (tmp_path / "steps").read_text().split()]
    # It goes on from the checkpoint of step 8, or of step 4 where the kill came before that was written.
    assert steps[:10] == [*range(10)] and steps[10:] in ([*range(8, 12)], [*range(4, 12)])
    (once,) = (job for job in jobs if job.entry.row.name == "once")
    torch.set_num_threads(1)  # as each of two workers has; another number changes the digits
    (alone,) = run_jobs([once], tmp_path / "alone", "cpu", 1, SilentReporter())
    found, wanted = outcomes["once"].record.metrics, alone.record.metrics
    for name, value in wanted.items():
        if not name.startswith("seconds"):
            assert found[name] == pytest.approx(value, rel=1e-6), name


def test_an_error_in_a_method_of_ours_is_a_defect_of_ours(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uadbench.methods.thresh import Thresh

    def fail(self: Thresh, volume: object, scan: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr(Thresh, "reconstruct", fail)
    jobs = jobs_for(select_rows(["thresh"]), (0,), tiny_data, tiny_preset, 0)
    (outcome,) = run_jobs(jobs, tmp_path, "cpu", 1, SilentReporter())
    assert outcome.end.code == DEFECT and outcome.problem.startswith("a defect of uadbench: KeyError: 'ours'")
    assert "Traceback" in outcome.end.trace and "Traceback" in (outcome.record.folder / "error.log").read_text()
    with pytest.raises(RuntimeError, match=r"1 of 1 cells met a defect.*\n(?s:.*)KeyError: 'ours'"):
        raise_failures([outcome])
