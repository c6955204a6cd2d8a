"""Before anything is trained: each kind of mistake is one sentence, honest methods pass, and no trace is left."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from uadbench.benchmarks.contract.checks import ContractError
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset
from uadbench.benchmarks.plan.suite import SuiteRow, select_rows
from uadbench.benchmarks.preflight import preflight
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError
from uadbench.methods import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan, card_of


class Section(Frozen):
    optimizer: OptimizerSettings


class Honest(Detector):
    """One weight: the brain as a multiple of itself."""

    info = MethodInfo("honest", "Honest", "nobody", None, (Row("honest", "Honest"),))
    Settings = Section

    def __init__(self, settings: Section) -> None:
        super().__init__(settings)
        self.weight = nn.Parameter(torch.tensor(0.5))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return (self.weight * batch.image - batch.image).abs().mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.training_step(batch, batch_idx)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        return torch.cat([self.weight * part for part in volume.split(scan.batch_size)])


def job_of(cls: type[Detector], data: Data, preset: Preset) -> Job:
    (job,) = jobs_for((SuiteRow(cls.info.rows[0], card_of(cls)),), (0,), data, preset, 0)
    return job


@pytest.fixture
def check(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> Callable[[type[Detector]], None]:
    def run_check(cls: type[Detector]) -> None:
        preflight([job_of(cls, tiny_data, tiny_preset)], tmp_path, "cpu", SilentReporter())

    return run_check


def test_an_honest_method_passes(check: Callable[[type[Detector]], None]) -> None:
    check(Honest)


STEP, VALIDATION, READ = "training_step", "validation_step", "reconstruct"
LOSS = "needed"


def nosy(self: Honest, volume: Tensor, scan: Scan) -> Tensor:
    return volume * (1 - scan.lesion_mask.float())  # type: ignore[attr-defined]


def noisy(self: Honest, volume: Tensor, scan: Scan) -> Tensor:
    return volume + torch.rand_like(volume)


def mixing(self: Honest, volume: Tensor, scan: Scan) -> Tensor:
    return torch.cat([part - part.mean() for part in volume.split(scan.batch_size)])


def in_place(self: Honest, volume: Tensor, scan: Scan) -> Tensor:
    return volume.mul_(0.5)


def failing(self: Honest, volume: Tensor, scan: Scan) -> Tensor:
    return volume @ torch.zeros(3, 5)


def random_loss(self: Honest, batch: Batch, batch_idx: int) -> Tensor:
    return torch.rand(())


def needy(self: Honest, volume: Tensor, scan: Scan, lesions: Tensor) -> Tensor:
    return volume


BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "no scalar": (
        {STEP: lambda s, b, i: (s.weight * b.image).flatten()},
        rf"{STEP} returned a tensor of shape .*{LOSS}",
    ),
    "a dictionary": ({STEP: lambda s, b, i: {"loss": s.weight}}, rf"{STEP} returned a dict .*{LOSS}"),
    "nothing": ({STEP: lambda s, b, i: None}, rf"{STEP} returned a NoneType .*{LOSS}"),
    "NaN": ({STEP: lambda s, b, i: s.weight * torch.nan}, rf"{STEP} returned a loss that is no number \(nan\)"),
    "no gradient": ({STEP: lambda s, b, i: b.image.mean()}, "without a gradient"),
    "someone else's gradient": (
        {STEP: lambda s, b, i: torch.ones((), requires_grad=True) * 2},
        "no parameter of the detector gets a gradient",
    ),
    "NaN gradient": ({STEP: lambda s, b, i: (s.weight * 0).sqrt()}, "a gradient is no number"),
    "validation no scalar": ({VALIDATION: lambda s, b, i: b.image}, rf"{VALIDATION} returned a tensor of shape"),
    "validation NaN": ({VALIDATION: lambda s, b, i: s.weight * torch.inf}, rf"{VALIDATION} returned a loss .* \(inf\)"),
    "validation by luck": ({VALIDATION: random_loss}, "for the same batch; derive its noise from batch.seed"),
    "another shape": ({READ: lambda s, v, c: v[:, 0]}, rf"{READ} returned a tensor of shape \(2, 96, 96\)"),
    "no tensor": ({READ: lambda s, v, c: v.numpy()}, rf"{READ} returned a ndarray"),
    "NaN image": ({READ: lambda s, v, c: v / 0}, rf"{READ} returned values that are no numbers"),
    "noise without a seed": ({READ: noisy}, "two results for the same scan, .* derive all noise from scan.seed"),
    "slices mixed": ({READ: mixing}, "depends on scan.batch_size"),
    "in place": ({READ: in_place}, "changes the volume it is given"),
    "a label of the scan": ({READ: nosy}, "asks for `lesion_mask`, but a Scan tells brain_mask, .* never a label"),
    "a label as argument": (
        {READ: needy},
        r"\(volume, scan, lesions\) must take \(volume, scan\) and require nothing else",
    ),
    "an error": ({READ: failing}, r"Broken.reconstruct failed: RuntimeError: .* \(.*test_preflight.py, line \d+\)"),
    "score of another shape": ({"anomaly_score": lambda s, v, r, c: v[:1]}, "anomaly_score returned a tensor of shape"),
    "no optimiser": ({"make_optimizer": lambda s, o: None}, "make_optimizer returned a NoneType"),
    "manual": ({"automatic_optimization": property(lambda s: False)}, "turns automatic optimisation off"),
    "no step": ({STEP: Detector.training_step}, "Broken does not implement training_step"),
    "no reconstruct": ({READ: Detector.reconstruct}, "Broken does not implement reconstruct"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_method_is_one_sentence(case: str, check: Callable[[type[Detector]], None]) -> None:
    parts, sentence = BROKEN[case]
    with pytest.raises(UserError, match=sentence) as caught:
        check(type("Broken", (Honest,), {"__module__": __name__, **parts}))
    assert "\n" not in str(caught.value)


def test_labels_from_the_disk_are_caught_even_where_the_method_hides_it(
    check: Callable[[type[Detector]], None], tiny_data: Data
) -> None:
    store = tiny_data.lesions["ms"].store

    class Cheat(Honest):
        def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
            try:
                lesions = np.load(store.folder / "lesion_masks.npy")
            except OSError:
                return volume * self.weight
            return volume * (1 - float(lesions.mean()))

    with pytest.raises(UserError, match="Cheat.reconstruct read a lesion mask"):
        check(Cheat)


def test_labels_are_hidden_in_training_and_scoring_too(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    """A method that waits for the preflight to be over is caught by the engine."""
    store = tiny_data.lesions["ms"].store

    class Later(Honest):
        def on_train_epoch_start(self) -> None:
            store.lesion_mask("ms-0")

    class Last(Honest):
        def anomaly_score(self, volume: Tensor, reconstruction: Tensor, scan: Scan) -> Tensor:
            store.lesion_mask("ms-0")
            return volume

    for number, cls in enumerate((Later, Last)):
        with pytest.raises(UserError, match=f"{cls.__name__}.* read a lesion mask"):
            run_job(job_of(cls, tiny_data, tiny_preset), tmp_path / str(number), "cpu", SilentReporter())


def test_a_constructor_that_fails_names_its_line(check: Callable[[type[Detector]], None]) -> None:
    class Unmade(Honest):
        def __init__(self, settings: Section) -> None:
            super().__init__(settings)
            raise RuntimeError("no such layer")

    with pytest.raises(ContractError, match=r"constructor failed: RuntimeError: no such layer \(.*preflight.py, line"):
        check(Unmade)


def test_finished_cells_are_not_checked(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    jobs = jobs_for(select_rows(["thresh"]), (0,), tiny_data, tiny_preset, 0)
    run_job(jobs[0], tmp_path, "cpu", SilentReporter())
    said: list[int] = []

    class Counting(SilentReporter):
        def bar(self, title: str, total: int, done: int = 0):  # type: ignore[no-untyped-def]
            said.append(total)
            return super().bar(title, total, done)

    preflight(jobs, tmp_path, "cpu", Counting())
    preflight(jobs, tmp_path / "elsewhere", "cpu", Counting())
    assert said == [0, 1]


def test_no_trace_is_left(tiny_data: Data, tiny_preset: Preset, tmp_path: Path) -> None:
    """The generators are where they were, and a cell's numbers are bitwise those without the check."""
    jobs = jobs_for(select_rows(["pddpm-s48"]), (0,), tiny_data, tiny_preset, 0)
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    expected = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    preflight(jobs, tmp_path, "cpu", SilentReporter())
    found = torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    assert torch.equal(expected[0], found[0]) and np.array_equal(expected[1], found[1]) and expected[2] == found[2]

    checked = run_job(jobs[0], tmp_path / "checked", "cpu", SilentReporter())
    plain = run_job(jobs[0], tmp_path / "plain", "cpu", SilentReporter())
    for name, value in plain.metrics.items():
        if not name.startswith("seconds"):
            assert checked.metrics[name] == value, name


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for a busy core count as work, and say nothing about the check."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_it_is_quick(tiny_data: Data, tiny_preset: Preset, tmp_path: Path, one_thread: None) -> None:
    jobs = jobs_for(select_rows(["maediff"]), (0,), tiny_data, tiny_preset, 0)
    started = time.process_time()
    preflight(jobs, tmp_path, "cpu", SilentReporter())
    assert time.process_time() - started < 4
