"""What made training quicker, each remedy beside what stood there before, by turns in one run.

    python tests/trials/training_trial.py --threads 1

Prints, for each, the median of both in milliseconds, their ratio, and the largest difference of what they compute (0 is
bitwise the same). Milliseconds depend on the machine and on who else uses it; ratios less so. Networks are the demo
preset's MAEDiff, but for the checkpoint, which is the paper preset's, of 1.6 GB. About five minutes on one core.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from uadbench.benchmarks.engine.slices import Slab, SliceKey, SliceSet
from uadbench.benchmarks.plan.plan import build_detector, plan_for
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import select_rows
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.records.record_files import Epoch
from uadbench.benchmarks.records.snapshots import BestWeights, Snapshot, SnapshotWriter
from uadbench.benchmarks.speed.workload import batch_of, random_volume, scan_of
from uadbench.methods import Batch, Detector
from uadbench.methods.parts import simplex, unet
from uadbench.methods.parts.optimizer import fused_adam

LAST = torch.channels_last
CPU = torch.device("cpu")


def detector_of(preset: str) -> Detector:
    """MAEDiff under a preset."""
    [entry] = select_rows(["maediff"])
    torch.manual_seed(0)
    return build_detector(entry.method, plan_for(load_preset(preset), entry.method, entry.row))


def compare(name: str, before: Callable[[], Tensor], after: Callable[[], Tensor], turns: int) -> None:
    """Run both by turns and print a line."""
    seconds: tuple[list[float], list[float]] = ([], [])
    results = [torch.zeros(()), torch.zeros(())]
    for turn in range(2 * turns + 2):
        which = turn % 2
        started = time.perf_counter()
        results[which] = (before, after)[which]()
        if turn > 1:  # the first of each warms up
            seconds[which].append(time.perf_counter() - started)
    one, two = (1000 * statistics.median(kind) for kind in seconds)
    apart = float((results[0].double() - results[1].double()).abs().max())
    print(f"| {name} | {one:.3g} | {two:.3g} | {one / two:.2f} | {apart:.1e} |", flush=True)


# ------------------------------------------------------------------------------------------ what stood there before


def swapped(picks: Tensor) -> Tensor:
    """The shuffle swap by swap, for all images at once."""
    picks, size = picks.t().contiguous(), picks.shape[1]
    table = torch.arange(size)[:, None].repeat(1, picks.shape[1])
    for place in range(size - 1, -1, -1):
        pick = picks[place : place + 1]
        chosen, last = table.gather(0, pick), table[place : place + 1].clone()
        table.scatter_(0, pick, last)
        table[place : place + 1] = chosen
    return table.t()


def norm_in_plain_layout(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """Group norm channel after channel, between two copies."""
    return nn.GroupNorm.forward(norm, x.contiguous()).contiguous(memory_format=LAST)


def collated(store: PhantomStore, keys: list[SliceKey]) -> Batch:
    """A batch put together slice by slice, its image twice."""
    items = []
    for key in keys:
        stack = torch.from_numpy(np.array(store.volume(key.subject)[[key.index]]))
        mask = torch.from_numpy(np.array(store.brain_mask(key.subject)[key.index]))
        items.append(Batch(stack[0][None], mask[None], torch.tensor(key.seed), stack))
    return Batch(*default_collate(items))


class PhantomStore:
    """As many volumes as a batch has slices."""

    shape = (50, 96, 96)

    def __init__(self) -> None:
        self._volumes = np.random.default_rng(0).random((32, *self.shape), dtype=np.float32)
        self._masks = self._volumes > 0.5

    def volume(self, subject: str) -> np.ndarray:
        """Noise."""
        return self._volumes[int(subject)]

    def brain_mask(self, subject: str) -> np.ndarray:
        """Half of it."""
        return self._masks[int(subject)]


def attended(heads: Tensor, apart: bool) -> Tensor:
    """Gradient of attention, its heads taken apart at once or one by one."""
    heads = heads.detach().requires_grad_()
    query, key, value = heads.unbind(0) if apart else (heads[0], heads[1], heads[2])
    F.scaled_dot_product_attention(query, key, value).square().sum().backward()
    assert heads.grad is not None
    return heads.grad


class Step:
    """A step of training: loss, gradients, optimiser; before or after all remedies together.

    Args:
        before: whether as it was.
    """

    def __init__(self, before: bool) -> None:
        self.before = before
        self.detector = detector_of("demo").train()
        weights = self.detector.parameters()
        self.optimizer = torch.optim.Adam(weights, lr=1e-3) if before else fused_adam(weights, lr=1e-3)
        self.batch = batch_of(random_volume(8, 96, 0, CPU), 0)

    def __call__(self) -> Tensor:
        """The loss."""
        with ExitStack() as patches:
            if self.before:
                patches.enter_context(patch.object(simplex, "shuffled", swapped))
                patches.enter_context(patch.object(unet._Norm, "forward", norm_in_plain_layout))
            loss = self.detector.training_step(self.batch, 0)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss.detach()


# ------------------------------------------------------------------------------------------------------ comparisons


def compare_steps() -> None:
    """The step and its parts, and a volume."""
    for count in (1, 8, 32):
        picks = (torch.rand(count, 256) * torch.arange(1, 257)).long()
        compare(f"shuffles of {count} images", lambda p=picks: swapped(p), lambda p=picks: simplex.shuffled(p), 15)
        noise, seeds = detector_of("demo").noise, torch.arange(count)

        def looped(noise: nn.Module = noise, seeds: Tensor = seeds) -> Tensor:
            with patch.object(simplex, "shuffled", swapped):
                return noise(seeds)

        compare(f"{count} noise images", looped, lambda n=noise, s=seeds: n(s), 15)
    heads = torch.randn(3, 8, 4, 24 * 24, 32)
    compare("attention's gradient, 24×24", lambda: attended(heads, False), lambda: attended(heads, True), 7)
    network = detector_of("demo")
    weights = [nn.Parameter(weight.detach().clone()) for weight in network.parameters()]
    others = [nn.Parameter(weight.detach().clone()) for weight in weights]
    for one, other in zip(weights, others, strict=True):
        one.grad = other.grad = torch.randn_like(one)

    def stepped(optimizer: torch.optim.Optimizer, first: Tensor) -> Tensor:
        optimizer.step()
        return first.detach()

    plain, fused = torch.optim.Adam(weights, lr=1e-3), fused_adam(others, lr=1e-3)
    compare("Adam", lambda: stepped(plain, weights[0]), lambda: stepped(fused, others[0]), 15)
    compare("a whole step", Step(before=True), Step(before=False), 7)
    volume = random_volume(12, 96, 0, CPU)

    def reconstructed(before: bool) -> Tensor:
        changed = patch.object(unet._Norm, "forward", norm_in_plain_layout) if before else contextlib.nullcontext()
        with torch.inference_mode(), changed:
            return network.reconstruct(volume, scan_of(volume, 64))

    compare("a volume (norm)", lambda: reconstructed(True), lambda: reconstructed(False), 3)


def compare_layouts() -> None:
    """A step of AE, whose batch norm and convolutions are the same in both layouts."""
    [entry] = select_rows(["ae"])
    batch = batch_of(random_volume(8, 96, 0, CPU), 0)
    networks = []
    for form in (torch.contiguous_format, LAST):
        torch.manual_seed(0)
        network = build_detector(entry.method, plan_for(load_preset("demo"), entry.method, entry.row)).train()
        networks.append(network.to(memory_format=form))

    def stepped(network: Detector) -> Tensor:
        network.zero_grad()
        loss = network.training_step(batch, 0)
        loss.backward()
        return loss.detach()

    compare("AE, loss and gradients", lambda: stepped(networks[0]), lambda: stepped(networks[1]), 9)


def compare_batches() -> None:
    """A batch of 32 slices without neighbours."""
    store = PhantomStore()
    slices = SliceSet(store, Slab(0, 50), context=0)
    keys = [SliceKey(str(number), 7, number) for number in range(32)]
    compare("a batch of 32", lambda: collated(store, keys).image, lambda: slices[keys].image, 25)


def compare_checkpoints(preset: str, turns: int) -> None:
    """What a training waits for a pair of checkpoints: both files, or a copy of what they hold."""
    network = detector_of(preset)
    optimizer = fused_adam(network.parameters(), lr=1e-3)
    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    line = Epoch(epoch=0, step=1, train_loss=1.0, val_loss=1.0, learning_rate=1e-3)
    with tempfile.TemporaryDirectory() as folder:
        record = RunRecord(Path(folder))
        last = {"state_dict": network.state_dict(), "optimizer_states": [optimizer.state_dict()]}

        def snapshot() -> Snapshot:
            return Snapshot(last, (line,), BestWeights.of(network, line))

        def foreground() -> Tensor:
            snapshot().write(record)
            return torch.zeros(())

        def background() -> Tensor:
            writer.put(snapshot().copied())
            return torch.zeros(())

        with SnapshotWriter(lambda one: one.write(record)) as writer:
            compare(f"a pair of checkpoints, {preset} preset", foreground, background, turns)


def main() -> None:
    """Compare all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{torch.__version__}, {options.threads} thread(s); ms\n\n| what | before | now | ratio | apart |")
    print("|---|---|---|---|---|")
    compare_steps()
    compare_layouts()
    compare_batches()
    compare_checkpoints("demo", 5)
    compare_checkpoints("paper", 2)


if __name__ == "__main__":
    main()
