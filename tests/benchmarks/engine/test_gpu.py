"""On a CUDA device: every trainable method steps, resumes, reconstructs, and repeats itself bit by bit.

Made from the registry: a method that is added is tried here too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from uadbench.benchmarks.engine.arithmetic import allow_determinism, arithmetic
from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.reading import reader_of
from uadbench.benchmarks.engine.slices import EpochSampler, ResidentSlices, Slab, SliceSet, slice_set
from uadbench.benchmarks.plan.plan import build_detector, plan_for
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import RunRecord, record_of
from uadbench.benchmarks.speed.memory import count_step_bytes
from uadbench.benchmarks.speed.session import Conditions, measure_all
from uadbench.benchmarks.speed.workload import batch_of, random_volume, workloads
from uadbench.datasets.cohort import Data
from uadbench.methods import Detector, methods
from uadbench.methods.parts.host_number import HostNumber

from cases import TINY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TRAINABLE = {name: cls for name, cls in methods().items() if cls.trainable}
_CUDA = torch.device("cuda")

allow_determinism()  # before anything is computed on the device


def numbers(record: RunRecord) -> dict[str, float]:
    return {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}


@contextmanager
def no_waiting() -> Iterator[None]:
    """Whatever waits for the device is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def phases(detector: Detector) -> list[int]:
    """The phases of a training, where a method has them."""
    return [0, 1] if any(isinstance(part, HostNumber) for part in detector.modules()) else [0]


def enter(detector: Detector, phase: int) -> None:
    for number in [part for part in detector.modules() if isinstance(part, HostNumber)][:1]:
        number.set(phase)


def gradients(detector: Detector, batch_size: int, steps: int) -> list[torch.Tensor]:
    """All gradients of some steps, in both phases, the last loss in front."""
    batch = batch_of(random_volume(batch_size, 96, 0, _CUDA), detector.context)
    found = []
    for phase in phases(detector):
        enter(detector, phase)
        for step in range(steps):
            detector.zero_grad()
            with no_waiting():
                loss = detector.training_step(batch, step)
                loss.backward()
            found += [loss.detach(), *(p.grad.clone() for p in detector.parameters() if p.grad is not None)]
    return found


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_cell_resumes_and_scores_on_the_gpu_as_it_would_have(
    name: str, tiny_data: Data, tiny_preset: Preset, tmp_path: Path, stop_after
) -> None:
    job = jobs_for(select_rows([TRAINABLE[name].info.rows[0].name]), (0,), tiny_data, tiny_preset, 0)[0]
    whole = run_job(job, tmp_path / "whole", "cuda", SilentReporter())
    with pytest.raises(KeyboardInterrupt):
        run_job(job, tmp_path / "stopped", "cuda", stop_after("train", 7))
    assert not record_of(tmp_path / "stopped", job.cell).done
    resumed = run_job(job, tmp_path / "stopped", "cuda", SilentReporter())
    assert numbers(resumed) == numbers(whole)
    assert resumed.history() == whole.history()
    cohort = tiny_data.lesions["tumours"]
    subject = tiny_data.splits.lesion["tumours"].test[0]
    readings = [reader_of(job, whole, device).read(cohort, subject) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(readings[0].reconstruction, readings[1].reconstruction, atol=2e-2)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_paper_size_step_repeats_bit_by_bit_and_never_waits(name: str) -> None:
    preset = load_preset("paper")
    plan = plan_for(preset, TRAINABLE[name], TRAINABLE[name].info.rows[0])
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        with arithmetic(plan.train.model_copy(update={"deterministic": True}), "cuda"):
            found.append(gradients(build_detector(TRAINABLE[name], plan).to(_CUDA), 4, 7 if name == "fanogan" else 2))
    assert len(found[0]) == len(found[1]) > 2
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_recomputing_gives_the_same_gradients_on_the_gpu() -> None:
    preset = load_preset("paper")
    [entry] = select_rows(["maediff"])
    plan = plan_for(preset, entry.method, entry.row)
    found = []
    for recompute in (True, False):
        torch.manual_seed(0)
        train = plan.train.model_copy(update={"checkpoint_activations": recompute, "deterministic": True})
        with arithmetic(train, "cuda"):
            detector = build_detector(entry.method, plan.model_copy(update={"train": train})).to(_CUDA)
            found.append(gradients(detector, 4, 1))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_volumes_on_the_gpu_give_the_batches_of_the_store_and_never_wait(tiny_data: Data) -> None:
    store, slab = tiny_data.healthy.store, Slab(1, 5)
    subjects = store.ids[:4]
    resident = slice_set(store, slab, 1, subjects, "cuda")
    assert isinstance(resident, ResidentSlices)
    keys = list(EpochSampler(subjects, slab.depth, seed=0))
    for sent in (resident, SliceSet(store, slab, 1, "cuda")):
        with no_waiting():
            batch = sent[keys]
        assert all(part.is_cuda for part in batch)
        expected = SliceSet(store, slab, 1)[keys]
        assert all(torch.equal(part.cpu(), known) for part, known in zip(batch, expected, strict=True))


@pytest.mark.parametrize("row", ["ae", "pddpm-s48", "maediff"])
def test_a_compiled_training_in_bfloat16_reaches_the_loss_of_float32(row: str, tiny_data: Data, tmp_path: Path) -> None:
    """By the kernels that Triton makes; the weights are read by a network that is not compiled."""
    more = ("train.epochs=12", "train.validate_every=12", "score.untrained_control=false")
    fast = (*more, "train.precision=bf16-mixed", "train.compile=true")
    losses = []
    for changes, seed in ((more, 0), (more, 1), (more, 2), (more, 3), (fast, 0)):
        preset = load_preset(str(TINY), changes)
        job = jobs_for(select_rows([row]), (0,), tiny_data, preset, seed)[0]
        losses.append(run_job(job, tmp_path, "cuda", SilentReporter()).history()[-1].val_loss)
    assert losses[4] != losses[0]
    assert abs(losses[4] - losses[0]) < np.std(losses[:4], ddof=1)


def test_speed_is_measured_on_the_gpu(tiny_preset: Preset, tmp_path: Path) -> None:
    conditions = Conditions(tiny_preset, "cuda", batch_size=4, steps=2, volumes=True, seed=0)
    [measured] = measure_all(select_rows(["maediff"]), conditions, tmp_path / "a.csv", SilentReporter(), again=False)
    assert measured.device == torch.cuda.get_device_name(0)
    assert measured.note is None
    on_cpu = Conditions(tiny_preset, "cpu", batch_size=4, steps=1, volumes=False, seed=0)
    [same] = measure_all(select_rows(["maediff"]), on_cpu, tmp_path / "b.csv", SilentReporter(), again=False)
    assert measured.step_gflop == pytest.approx(same.step_gflop, rel=0.05)  # attention's gradient is fused differently
    assert measured.step_peak_mib is not None
    assert measured.step_peak_mib > 16 * measured.parameters / 2**20  # weights, gradients and Adam's two moments
    assert measured.tflops is not None
    assert measured.peak_share is None or 0 < measured.peak_share < 1
    assert measured.volumes_per_second is not None


@pytest.mark.parametrize("row", ["ae", "dae", "fanogan", "pddpm-s16", "unet-att", "maediff"])
def test_a_step_takes_the_memory_that_was_counted(row: str, tmp_path: Path) -> None:
    """At the paper preset, but for what convolutions take to themselves; f-AnoGAN's three networks take turns."""
    preset = load_preset("paper")
    conditions = Conditions(preset, "cuda", batch_size=32, steps=1, volumes=False, seed=0)
    [measured] = measure_all(select_rows([row]), conditions, tmp_path / "a.csv", SilentReporter(), again=False)
    counted = count_step_bytes(workloads(select_rows([row]), preset)[0], 32)
    assert counted is not None
    assert measured.step_peak_mib is not None
    assert 0.8 * counted < measured.step_peak_mib * 2**20 < 1.25 * counted + 2**28
