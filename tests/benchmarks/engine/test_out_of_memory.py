"""Out of memory: one sentence at every stage, the other cells go on, scoring halves its batch, nothing is lost."""

from __future__ import annotations

import builtins
import errno
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from uadbench.benchmarks import preflight
from uadbench.benchmarks.commands import app as cli
from uadbench.benchmarks.contract.checks import ContractError, check_detector
from uadbench.benchmarks.engine import evaluate
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.memory import Halving, scoring_stage, training_stage
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.executors import attempt
from uadbench.benchmarks.figures import reconstructions
from uadbench.benchmarks.figures.drawing import axes_grid
from uadbench.benchmarks.plan.plan import Plan
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.speed import session
from uadbench.benchmarks.speed.measurement import Measurement
from uadbench.datasets.cohort import Data
from uadbench.methods import Batch, Detector, Scan
from uadbench.methods.ae import AE
from uadbench.metrics.scores.mahalanobis import Mahalanobis
from uadbench.out_of_memory import MemoryShortageError

from cases import TINY, run_jobs, untold

#: As PyTorch 2.13 words it on a GPU.
GPU = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.69 GiB of which 10.00 MiB is "
    "free. Including non-PyTorch memory, this process has 23.00 GiB memory in use. Of the allocated memory 21.00 GiB "
    "is allocated by PyTorch, and 1.00 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory "
    "is large try setting PYTORCH_ALLOC_CONF=expandable_segments:True to avoid fragmentation."
)
CPU = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


class Heard(SilentReporter):
    """A reporter that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def fail(error: Exception) -> Callable[..., None]:
    def raise_it(*words: object, **more: object) -> None:
        raise error

    return raise_it


# ----------------------------------------------------------------------------------------------------------- sentence


def plan_of(row: str, data: Data) -> Plan:
    (job,) = jobs_for(select_rows([row]), (0,), data, load_preset(str(TINY)), 0)
    return job.plan


def test_the_sentence_proposes_what_is_not_in_force(tiny_data: Data) -> None:
    changes = ["train.batch_size=32", "train.precision=bf16-mixed"]
    (job,) = jobs_for(select_rows(["maediff"]), (0,), tiny_data, load_preset(str(TINY), changes), 0)
    method, plan = job.entry.method, job.plan
    told = training_stage("cell", "the training", method, plan).sentence(GPU)
    assert told == (
        "cell: the training ran out of memory with train.batch_size=32 (OutOfMemoryError: CUDA out of memory. Tried to "
        "allocate 2.00 GiB. GPU 0 has a total capacity of 23.69 GiB of which 10.00 MiB is free); less is needed with "
        "--set train.checkpoint_activations=true, --set train.accumulate=2 (micro-batches) or one cell at a time "
        "(--jobs 1)"
    )
    saving = plan.train.model_copy(update={"batch_size": 9, "accumulate": 3, "checkpoint_activations": True})
    told = training_stage("cell", "the training", method, plan.model_copy(update={"train": saving})).sentence(
        MemoryError()
    )
    assert told == (
        "cell: the training ran out of memory with train.batch_size=9 in parts of 3 (MemoryError); less is needed with "
        "--set train.accumulate=9 (micro-batches) or one cell at a time (--jobs 1)"
    )
    told = training_stage("cell", "the training", AE, plan_of("ae", tiny_data)).sentence(MemoryError())
    assert told.endswith(  # nothing there can be computed twice, and batch norm takes no parts
        "less is needed with --set train.batch_size=2 (another experiment), --set train.precision=bf16-mixed (trained "
        "anew) or one cell at a time (--jobs 1)"
    )
    halving = Halving()
    assert "--set score.batch_size=32, one cell" in scoring_stage("c", "it", job.plan, halving).sentence(GPU).replace(
        " or ", ", "
    )


# ------------------------------------------------------------------------------------------------- at every stage

TRAINING = ("train.batch_size=4", "train.batch_size=2 (another experiment)", "train.precision=bf16", "--jobs 1")
SCORING = ("score.batch_size=64 ", "score.batch_size=32", "--jobs 1", "train.precision=bf16-mixed")
HALVED = ("score.batch_size=1, halved from 64", "--jobs 1", "train.precision=bf16-mixed")
STAGES: dict[str, tuple[object, str, str, Exception, tuple[str, ...]]] = {
    "untrained": (AE, "reconstruct", "the untrained control", GPU, HALVED),
    "absorb": (AE, "absorb", "the training", MemoryError(), TRAINING),
    "training": (AE, "training_step", "the training", GPU, TRAINING),
    "validation": (AE, "validation_step", "the training", CPU, TRAINING),
    "optimiser": (torch.optim.Adam, "step", "the training", CPU, TRAINING),
    "weights": (evaluate, "load_weights", "loading the weights", CPU, SCORING),
    "learning": (Mahalanobis, "learn", "learning the score", MemoryError("Unable to allocate 7 TiB"), SCORING),
    "thresholds": (evaluate, "find_thresholds", "the search for thresholds", MemoryError(), SCORING),
    "healthy": (evaluate, "score_healthy", "the scoring", CPU, SCORING),
    "lesions": (evaluate, "score_lesions", "the scoring", GPU, SCORING),
    "figure": (reconstructions, "reconstruction_figure", "drawing the figure", MemoryError(), SCORING),
    "elsewhere": (AE, "__init__", "its start", MemoryError(), TRAINING),
}


@pytest.mark.parametrize("case", STAGES)
def test_a_cell_that_runs_out_of_memory_says_so_and_the_others_go_on(
    case: str, tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, stage, error, words = STAGES[case]
    control = "true" if case == "untrained" else "false"
    preset = load_preset(str(TINY), [f"score.untrained_control={control}", "train.epochs=2"])
    row = "ae+mahalanobis" if case == "learning" else "ae"
    jobs = jobs_for(select_rows([row, "thresh"]), (0,), tiny_data, preset, 0)
    jobs[0].cell.id  # noqa: B018  (computed before the class is broken)
    with monkeypatch.context() as broken:
        if case in ("healthy", "lesions", "figure", "weights", "thresholds"):
            broken.setattr(owner, name, _first_call(fail(error), getattr(owner, name)))
        else:
            broken.setattr(owner, name, fail(error))
        first, second = run_jobs(jobs, tmp_path, "cpu", 1, SilentReporter())
    assert first.problem.startswith(f"{jobs[0].cell.label}: {stage} ran out of memory with "), first.problem
    assert all(word in first.problem for word in words), first.problem
    assert type(error).__name__ in first.problem and "\n" not in first.problem
    assert first.problem.endswith("what was finished is kept: the same command goes on")
    assert second.problem == "" and second.record.done and not first.record.done


def _first_call(broken: Callable[..., object], whole: Callable[..., object]) -> Callable[..., object]:
    """Breaks once, so that the cell that comes after finds it whole."""
    ways = iter([broken])

    def call(*words: object, **more: object) -> object:
        return next(ways, whole)(*words, **more)

    return call


def test_nothing_that_was_finished_is_lost(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory runs out in a late epoch, then at the weights' loading; the third run has the numbers of an easy one."""
    jobs = jobs_for(select_rows(["ae"]), (0,), tiny_data, tiny_preset, 0)
    whole = AE.training_step

    def late(self: AE, batch: Batch, batch_idx: int) -> Tensor:
        if self.trainer.current_epoch == 3:
            raise GPU
        return whole(self, batch, batch_idx)

    with monkeypatch.context() as broken:
        broken.setattr(AE, "training_step", late)
        (first,) = run_jobs(jobs, tmp_path / "hard", "cpu", 1, SilentReporter())
    assert "the training ran out of memory" in first.problem
    begun = torch.load(first.record.last_checkpoint, weights_only=True)["epoch"] + 1
    assert 0 < begun <= 3
    with monkeypatch.context() as broken:
        broken.setattr("uadbench.benchmarks.records.checkpoint.torch.load", fail(CPU))
        (second,) = run_jobs(jobs, tmp_path / "hard", "cpu", 1, SilentReporter())
    assert "ran out of memory" in second.problem
    assert not list(second.record.folder.rglob("*.broken"))  # a file that there was no memory for is whole
    trained = []
    monkeypatch.setattr(AE, "training_step", lambda s, b, i: trained.append(s.trainer.current_epoch) or whole(s, b, i))
    (third,) = run_jobs(jobs, tmp_path / "hard", "cpu", 1, SilentReporter())
    assert third.record.done and min(trained) == begun
    (easy,) = run_jobs(jobs, tmp_path / "easy", "cpu", 1, SilentReporter())
    for name, value in easy.record.metrics.items():
        if not name.startswith("seconds"):
            assert third.record.metrics[name] == value, name


def test_a_failed_cell_keeps_no_memory(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next cell begins when nothing of the failed one is alive, neither its network nor what the step had made."""
    alive: list[weakref.ref[object]] = []
    left: list[int] = []

    def step(self: AE, batch: Batch, batch_idx: int) -> Tensor:
        activations = batch.image * 2
        alive.extend([weakref.ref(self), weakref.ref(activations)])
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(AE, "training_step", step)
    whole = attempt.run_job

    def watched(job: Job, *words: object) -> object:
        left.append(sum(one() is not None for one in alive))
        return whole(job, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(attempt, "run_job", watched)
    emptied: list[None] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(None))
    gc.disable()  # what is freed is freed on purpose
    try:
        jobs = jobs_for(select_rows(["ae", "thresh"]), (0,), tiny_data, tiny_preset, 0)
        outcomes = list(run_jobs(jobs, tmp_path, "cpu", 1, SilentReporter()))
    finally:
        gc.enable()
    assert "ran out of memory" in outcomes[0].problem and len(alive) == 2
    assert left == [0, 0]
    assert emptied


# ---------------------------------------------------------------------------------------------------------- halving


def small_memory(monkeypatch: pytest.MonkeyPatch, cls: type[Detector], most: int) -> list[int]:
    """Let a method's reconstruction run out of memory with more images at once; the sizes that were tried."""
    tried: list[int] = []
    whole = cls.reconstruct

    def reconstruct(self: Detector, volume: Tensor, scan: Scan) -> Tensor:
        if volume.is_meta:  # its arithmetic is counted, for the bill
            return whole(self, volume, scan)
        tried.append(scan.batch_size)
        if scan.batch_size > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, volume, scan)

    monkeypatch.setattr(cls, "reconstruct", reconstruct)
    return tried


@pytest.mark.parametrize("row", ["ae", "pddpm-s48+mahalanobis"])
def test_scoring_goes_on_with_half_the_batch_and_the_same_numbers(
    row: str, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_for(select_rows([row]), (0,), tiny_data, tiny_preset, 0)
    (whole,) = run_jobs(jobs, tmp_path / "whole", "cpu", 1, SilentReporter())
    assert whole.problem == ""
    tried, heard = small_memory(monkeypatch, jobs[0].entry.method, 2), Heard()
    (halved,) = run_jobs(jobs, tmp_path / "halved", "cpu", 1, heard)
    assert halved.problem == "" and halved.record.done
    assert tried[:6] == [64, 32, 16, 8, 4, 2] and set(tried[6:]) == {2}  # one search a cell, control included
    (said,) = [line for line in heard.lines if "out of memory" in line]
    assert said == (
        f"  {jobs[0].cell.label}: ran out of memory with score.batch_size=64; it goes on with 2, which changes no "
        "number"
    )
    for name, value in whole.record.metrics.items():
        if not name.startswith("seconds"):
            assert halved.record.metrics[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_a_failed_try_is_gone_before_the_next() -> None:
    alive: list[weakref.ref[Tensor]] = []

    def work(size: int) -> int:
        assert all(one() is None for one in alive)
        activations = torch.zeros(size)
        alive.append(weakref.ref(activations))
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return size

    assert Halving().run(16, work) == 2 and len(alive) == 4


def test_what_is_no_lack_of_memory_is_not_tried_again() -> None:
    tried: list[int] = []

    def work(size: int) -> int:
        tried.append(size)
        raise RuntimeError("shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        Halving().run(16, work)
    assert tried == [16]


# ----------------------------------------------------------------------------------- before the run, and the command


def test_a_method_that_breaks_nothing_but_the_memory_passes_the_check_before_the_run(
    tiny_data: Data, tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_for(select_rows(["ae", "thresh"]), (0,), tiny_data, tiny_preset, 0)
    seen: list[str] = []
    whole = preflight.check_reconstruction

    def check(detector: Detector, volume: Tensor, scan: Scan) -> Tensor:
        seen.append(type(detector).__name__)
        return whole(detector, volume, scan)

    monkeypatch.setattr(preflight, "check_reconstruction", check)
    for name in ("__init__", "absorb", "training_step", "reconstruct"):
        heard = Heard()
        with monkeypatch.context() as broken:
            broken.setattr(AE, name, fail(GPU))
            preflight.preflight(jobs, tmp_path, "cpu", heard)
        (told,) = heard.lines
        assert f"warning: {jobs[0].cell.label}: the check of its method ran out of memory with 2 slices (AE" in told
        assert "CUDA out of memory" in told and "train.precision=bf16-mixed" in told and "run unchecked" in told
        assert seen[-1] == "Thresh"
        seen.clear()
    with (
        monkeypatch.context() as broken,
        pytest.raises(MemoryShortageError, match=r"AE.training_step failed: OutOfMem"),
    ):
        broken.setattr(AE, "training_step", fail(GPU))
        check_detector(AE, str(TINY))
    with monkeypatch.context() as broken, pytest.raises(ContractError, match="shapes"):
        broken.setattr(AE, "training_step", fail(RuntimeError("shapes cannot be multiplied")))
        preflight.preflight(jobs, tmp_path, "cpu", heard)


@pytest.fixture
def bench_run(tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    monkeypatch.setattr("uadbench.benchmarks.opening.open_data", lambda *words, **more: tiny_data)
    monkeypatch.setattr("uadbench.benchmarks.experiment.telling", untold)
    words = ["run", "--method", "ae", "--method", "thresh", "--preset", str(TINY), "--folds", "0", "--jobs", "1"]
    return lambda *more: CliRunner().invoke(cli.app, [*words, "--results", str(tmp_path / "results"), *more])


def test_a_command_with_too_little_memory_ends_with_2_and_without_a_traceback(
    bench_run: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check, estimate and training of one method run out of memory; the other is estimated, run and scored."""
    monkeypatch.setattr(AE, "training_step", fail(GPU))
    answer = bench_run()
    told = answer.stderr
    assert answer.exit_code == 2, told
    assert "Traceback" not in told
    assert "the check of its method ran out of memory" in told
    assert "AE: 1 × a time that could not be measured" in told
    assert "the training step of the estimate ran out of memory with train.batch_size=4 (OutOfMemoryError" in told
    assert "Thresh: 1 × " in told and " without what could not be measured, one cell at a time" in told
    assert "AE, fold 0: failed: ae-fold0-" in told and "the training ran out of memory with train.batch_size=4" in told
    assert "error: 1 of 2 cells failed, the others are done; the first: ae-fold0-" in told


def test_an_estimate_halves_its_batch_too(bench_run: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    small_memory(monkeypatch, AE, 2)
    answer = bench_run()
    assert answer.exit_code == 0, answer.stderr
    assert "could not be measured" not in answer.stderr
    assert answer.stderr.count("it goes on with 2, which changes no number") == 1
    monkeypatch.setattr(AE, "reconstruct", fail(CPU))
    answer = bench_run("--set", "train.epochs=2")
    assert answer.exit_code == 2
    assert (
        "the reconstruction of the estimate ran out of memory with score.batch_size=1, halved from 64" in answer.stderr
    )


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), CPU])
def test_any_command_says_it_in_a_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uadbench.benchmarks.commands.listing.listing", fail(error))
    answer = CliRunner().invoke(cli.app, ["list", "methods"])
    assert answer.exit_code == 2
    assert f"error: out of memory ({type(error).__name__}" in answer.stderr and "Traceback" not in answer.stderr


def test_a_library_that_finds_no_memory_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def no_room(name: str, *words: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError("libfreetype.so: failed to map segment from shared object: Cannot allocate memory")
        return whole(name, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", no_room)
    with pytest.raises(ImportError, match="Cannot allocate memory"):
        axes_grid(["a name"], 1, right=0)


def test_a_method_that_is_too_large_to_be_timed_is_a_note(
    tiny_preset: Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions = session.Conditions(tiny_preset, "cpu", batch_size=4, steps=1, volumes=False, seed=0)

    def measure(name: str) -> tuple[Measurement, ...]:
        return session.measure_all(select_rows(["ae"]), conditions, tmp_path / name, SilentReporter(), again=False)

    for error in (CPU, GPU, MemoryError()):
        monkeypatch.setattr(session, "time_steps", fail(error))
        (measured,) = measure(f"{type(error).__name__}.csv")
        assert measured.note == "the memory does not hold 4 slices per step, or the volume"
    monkeypatch.setattr(session, "time_steps", fail(RuntimeError("shapes cannot be multiplied")))
    with pytest.raises(RuntimeError, match="shapes"):
        measure("other.csv")


@pytest.fixture
def small_gpu() -> Iterator[None]:
    """A real GPU of which this process may have 400 MiB."""
    torch.cuda.init()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(400 * 2**20 / total)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_full_gpu_fails_one_cell_and_not_the_next(small_gpu: None, tiny_data: Data, tmp_path: Path) -> None:
    """Training does not fit; scoring of the other cell fits after real failures, with 4 images of 50 MiB each."""
    jobs = [
        *jobs_for(select_rows(["anoddpm"]), (0,), tiny_data, load_preset(str(TINY), ["unet.channels=256"]), 0),
        *jobs_for(select_rows(["ae"]), (0,), tiny_data, load_preset(str(TINY)), 0),
    ]
    whole, heard = AE.reconstruct, Heard()

    def hungry(self: AE, volume: Tensor, scan: Scan) -> Tensor:
        eaten = torch.empty(scan.batch_size, 50 * 2**20, dtype=torch.uint8, device=volume.device)
        return whole(self, volume, scan) + 0 * eaten[0, 0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AE, "reconstruct", hungry)
        first, second = run_jobs(jobs, tmp_path, "cuda", 1, heard)
    assert "ran out of memory" in first.problem and "CUDA out of memory" in first.problem
    assert second.problem == "" and second.record.done
    assert any("it goes on with 4, which changes no number" in line for line in heard.lines)
