"""Memory of a training step, counted: against sums by hand, against saved tensors, and what the paper's card has."""

from __future__ import annotations

import pytest
import torch

from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import load_suite, select_rows
from uadbench.benchmarks.speed.memory import LiveBytes, count_step_bytes
from uadbench.benchmarks.speed.workload import Workload, batch_of, random_volume, workloads

GIB = 2**30


def work_of(row: str, *changes: str) -> Workload:
    return workloads(select_rows([row]), load_preset("paper", changes))[0]


def without_recomputing(work: Workload) -> Workload:
    train = work.plan.train.model_copy(update={"checkpoint_activations": False})
    return Workload(work.method, work.plan.model_copy(update={"train": train}), work.rows)


def test_live_bytes_by_hand() -> None:
    with LiveBytes() as live:
        one = torch.empty(1000)  # 4000 bytes
        two = one + 1  # 4000 more
        assert (live.now, live.most) == (8000, 8000)
        view = two[:10]  # no memory of its own
        del two
        assert live.now == 8000
        del view
        assert (live.now, live.most) == (4000, 8000)
        small = one.sum()
        assert (live.now, live.most) == (4004, 8000)
        del small, one
    assert live.now == 0


def test_a_linear_layer_by_hand() -> None:
    """Weights, input, output, the gradient of the output and those of the weights."""
    layer, x = torch.nn.Linear(100, 50), torch.rand(10, 100)
    with LiveBytes() as live:
        layer(x).backward(torch.ones(10, 50))
    weights, given, output = 4 * (100 * 50 + 50), 4 * 10 * 100, 4 * 10 * 50
    assert live.most >= 2 * weights + given + output
    assert live.most <= 2 * weights + given + 3 * output


def test_counts_what_the_graph_of_a_real_step_saves() -> None:
    """Hooks on saved tensors of a step on the CPU see most of what is counted; the rest is named."""
    work = without_recomputing(work_of("pddpm-s16", "unet.channels=32", "unet.head_channels=32"))
    detector = work.detector().train()
    known = {weight.untyped_storage().data_ptr() for weight in detector.parameters()}
    saved: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            saved[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = detector.training_step(batch_of(random_volume(2, 96, 0, torch.device("cpu")), 0), 0)
    graph = sum(storage.nbytes() for storage in saved.values())
    loss.backward()
    weights = 4 * sum(weight.numel() for weight in detector.parameters())
    counted = count_step_bytes(work, 2)
    assert counted is not None
    # weights and Adam's two moments are there from the beginning; gradients appear as the graph goes
    assert graph + 3 * weights < counted < 1.25 * graph + 5 * weights


def test_counting_changes_nothing(tiny_preset: Preset) -> None:
    [work] = workloads(select_rows(["pddpm-s16"]), tiny_preset)
    state = torch.get_rng_state()
    attention = torch.nn.functional.scaled_dot_product_attention
    count_step_bytes(work, 2)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.nn.functional.scaled_dot_product_attention is attention


def test_every_row_of_the_papers_tables_fits_the_papers_card() -> None:
    """Under 20 GiB at batch 32 in float32, of the RTX 3090's 24 GB; without recomputing some would not."""
    preset = load_preset("paper")
    entries = [entry for suite in ("table1", "table2") for entry in load_suite(suite).rows]
    works = workloads(entries, preset)
    for work in works:
        assert (work.plan.train.batch_size, work.plan.train.precision) == (32, "32-true")
        counted = count_step_bytes(work, 32)
        assert (counted is None) == (not work.method.trainable)
        assert counted is None or counted < 20 * GIB, work.name
    maediff = next(work for work in works if "maediff" in work.name)
    assert (count_step_bytes(without_recomputing(maediff), 32) or 0) > 20 * GIB


def test_attention_does_not_write_out_its_scores() -> None:
    """At 48×48 those of 32 images and 4 heads would take 2.5 GiB a layer: the fused kernel keeps none of them."""
    plain, attending = (count_step_bytes(work_of(row), 32) for row in ("pddpm-s16", "unet-att"))
    assert plain is not None and attending is not None
    assert attending - plain < 32 * 4 * 2304**2 * 4 / 2


def test_parts_of_a_batch_take_less() -> None:
    sizes = [count_step_bytes(without_recomputing(work_of("pddpm-s16", f"train.accumulate={n}")), 32) for n in (1, 4)]
    assert sizes[0] is not None and sizes[1] is not None
    weights = 16 * 37_513_857  # weights, gradients, two moments
    assert (sizes[1] - weights) == pytest.approx((sizes[0] - weights) / 4, rel=0.15)
