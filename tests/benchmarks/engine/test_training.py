"""The training loop: parts of a batch make the whole batch's gradient, and the best weights are found wherever."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import Job, jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.engine.training import train
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.cost import cost_of
from uadbench.benchmarks.records.record import RunRecord, record_of
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError
from uadbench.methods import Detector, OptimizerSettings, methods
from uadbench.stopping import WARNING, Stop, signals_stop

from cases import TINY

BATCH_NORM = {"ae", "vae", "svae", "fanogan"}
IN_PARTS = sorted(name for name, cls in methods().items() if cls.trainable and name not in BATCH_NORM)
ONE_STEP = ["train.epochs=1", "train.validate_every=1", "train.batch_size=6"]
PLAIN = ["optimizer.gradient_clip=0.0", "optimizer.warmup_steps=0", 'optimizer.decay="none"']


def job_of(row: str, data: Data, *changes: str) -> Job:
    return jobs_for(select_rows([row]), (0,), data, load_preset(str(TINY), changes), 0)[0]


def row_of(method: str) -> str:
    return methods()[method].info.rows[0].name


def taught(job: Job, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Tensor], float]:
    """What plain gradient descent adds to the weights, the sum of the gradients; and the mean loss on the way."""

    def descent(self: Detector, settings: OptimizerSettings) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)

    monkeypatch.setattr(job.entry.method, "make_optimizer", descent)
    detector, fold = job.detector(), job.data.splits.folds[0]
    with torch.no_grad():
        for parameter in detector.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)  # behind layers that begin as zero nothing would have a gradient
    start = {name: value.detach().clone() for name, value in detector.named_parameters()}
    record = record_of(folder, job.cell)
    record.begin(job.config(), {})
    parts = (fold.train, fold.val)
    train(
        detector,
        job.data.healthy.store,
        job.slab,
        parts,
        job.plan.train,
        record,
        seed=0,
        device="cpu",
        reporter=SilentReporter(),
    )
    added = {name: value.detach() - start[name] for name, value in detector.named_parameters()}
    return added, record.history()[-1].train_loss


@pytest.mark.parametrize("method", IN_PARTS)
def test_parts_of_a_batch_make_the_gradient_of_the_whole(
    method: str, tiny_data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six slices at once, or two at a time: noise and patches belong to the image."""
    row = row_of(method)
    in_parts = job_of(row, tiny_data, *ONE_STEP, *PLAIN, "train.accumulate=3")
    whole, loss = taught(job_of(row, tiny_data, *ONE_STEP, *PLAIN), tmp_path / "whole", monkeypatch)
    parts, loss_in_parts = taught(in_parts, tmp_path / "parts", monkeypatch)
    largest = max(change.abs().max().item() for change in whole.values())
    apart = max((whole[name] - parts[name]).abs().max().item() for name in whole)
    assert largest > 1e-3
    assert loss_in_parts == pytest.approx(loss, rel=1e-4)
    # DAE sums the gradients of standardised filters over all pixels, which leaves more to the order of the additions
    assert apart < (5e-6 if method == "dae" else 1e-6) * max(1.0, largest)
    assert sum(bool(change.any()) for change in whole.values()) > 0.6 * len(whole)


@pytest.mark.parametrize("method", sorted(BATCH_NORM))
def test_batch_norm_refuses_parts(method: str, tiny_data: Data) -> None:
    with pytest.raises(UserError, match=r"train.accumulate=2.*batch norm"):
        job_of(row_of(method), tiny_data, "train.accumulate=2").detector()


def test_recomputing_is_refused_where_there_is_nothing_to_recompute(tiny_data: Data) -> None:
    with pytest.raises(UserError, match=r"AE has no network .* train.checkpoint_activations"):
        job_of("ae", tiny_data, "train.checkpoint_activations=true").detector()


def test_recomputing_and_writing_less_often_change_no_number_and_no_id(tiny_data: Data, tmp_path: Path) -> None:
    plain = job_of("maediff", tiny_data)
    other = job_of("maediff", tiny_data, "train.checkpoint_activations=true", "train.checkpoint_minutes=60")
    assert plain.cell.id == other.cell.id
    assert plain.cell.id != job_of("maediff", tiny_data, "train.accumulate=2").cell.id
    assert plain.cell.id != job_of("maediff", tiny_data, "train.drop_last=true").cell.id
    one, two = (run_job(job, tmp_path / name, "cpu", SilentReporter()) for job, name in ((plain, "a"), (other, "b")))
    assert _numbers(one) == _numbers(two)
    assert one.history() == two.history()


def test_the_best_epoch_between_two_checkpoints_is_kept(tiny_data: Data, tmp_path: Path) -> None:
    """Validated every epoch and written once: the best weights are those of the best epoch, not of the last."""
    changes = ["train.validate_every=1", "train.epochs=12", "optimizer.learning_rate=0.3", *PLAIN]
    often = run_job(job_of("ae", tiny_data, *changes), tmp_path / "a", "cpu", SilentReporter())
    once = run_job(
        job_of("ae", tiny_data, *changes, "train.checkpoint_minutes=60"), tmp_path / "b", "cpu", SilentReporter()
    )
    losses = [line.val_loss for line in once.history()]
    best = torch.load(once.best_checkpoint, weights_only=True)
    assert len(losses) == 12
    assert best["val_loss"] == min(losses) == losses[best["epoch"]]
    assert best["epoch"] < 11, "the last epoch is the best: the test says nothing"
    assert _numbers(often) == _numbers(once)


def test_a_stop_between_two_checkpoints_repeats_epochs_and_finds_the_same(
    tiny_data: Data, tmp_path: Path, stop_after, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that says a minute more each time it is asked: once at the start, once a validation, twice a writing."""
    changes = ["train.validate_every=1", "optimizer.learning_rate=0.03"]
    job = job_of("ae", tiny_data, *changes, "train.checkpoint_minutes=3")
    whole = run_job(job_of("ae", tiny_data, *changes), tmp_path / "whole", "cpu", SilentReporter())
    clock = itertools.count(0, 60)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("uadbench.benchmarks.engine.training.monotonic", lambda: float(next(clock)))
        run_job(job, tmp_path / "stopped", "cpu", stop_after("train", 9))  # of twelve: in the fifth epoch
    stopped = record_of(tmp_path / "stopped", job.cell)
    assert len(stopped.history()) == 3
    again = run_job(job, tmp_path / "stopped", "cpu", SilentReporter())
    assert again.history() == whole.history()
    assert _numbers(again) == _numbers(whole)


def test_a_queues_warning_brings_the_epoch_to_its_end_and_writes_it_down(tiny_data: Data, tmp_path: Path) -> None:
    """Nothing is written for an hour but for the warning's sake, and what goes on from there has the same numbers."""
    changes = ["train.validate_every=1", "optimizer.learning_rate=0.03", "train.checkpoint_minutes=60"]
    job = job_of("ae", tiny_data, *changes)
    whole = run_job(job, tmp_path / "whole", "cpu", SilentReporter())
    with signals_stop(), pytest.raises(Stop, match="SIGUSR2"):
        run_job(job, tmp_path / "warned", "cpu", WarnAfter("train", 5))  # of twelve: in the third epoch
    warned = record_of(tmp_path / "warned", job.cell)
    assert torch.load(warned.last_checkpoint, weights_only=True)["epoch"] == 2
    assert warned.history() == whole.history()[:3]
    again = run_job(job, tmp_path / "warned", "cpu", SilentReporter())
    assert again.history() == whole.history()
    assert _numbers(again) == _numbers(whole)


class WarnAfter(SilentReporter):
    """Sends a queue's warning after so many steps of the bar whose title begins with a word."""

    def __init__(self, word: str, steps: int) -> None:
        self._word, self._left, self._is_active = word, steps, False

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[WarnAfter]:  # type: ignore[override]
        self._is_active = title.startswith(self._word)
        yield self

    def advance(self, steps: int = 1) -> None:
        self._left -= self._is_active
        if self._is_active and self._left == 0:
            signal.raise_signal(WARNING)

    def note(self, text: str) -> None: ...


def _numbers(record: RunRecord) -> dict[str, float]:
    return {key: value for key, value in record.metrics.items() if not key.startswith("seconds")}


def test_a_bill_of_the_training_names_its_stages(tiny_data: Data, tmp_path: Path) -> None:
    started = time.perf_counter()
    job = job_of("maediff", tiny_data, "score.untrained_control=false")
    cost = cost_of(run_job(job, tmp_path, "cpu", SilentReporter()))
    whole = time.perf_counter() - started
    assert cost is not None
    assert {"data", "noise", "step", "validation", "checkpoint"} <= set(cost.seconds)
    assert 0 < cost.seconds["data"] < cost.seconds["step"] < cost.total < whole
