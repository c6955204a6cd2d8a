"""Which slices a training sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uadbench.benchmarks.engine import slices
from uadbench.benchmarks.engine.slices import (
    Batching,
    EpochSampler,
    ResidentSlices,
    Slab,
    SliceKey,
    SliceSet,
    slice_set,
    training_loader,
    validation_keys,
    validation_loader,
)
from uadbench.datasets.cohort import Data
from uadbench.errors import UserError


def test_the_slab_is_central() -> None:
    assert Slab.central(50, 12) == Slab(19, 31)
    assert Slab.central(50, 50) == Slab(0, 50)
    assert Slab.central(6, 50).depth == 6
    np.testing.assert_array_equal(Slab(1, 3).of(np.arange(5)), [1, 2])


def test_every_volume_gives_one_slice_an_epoch() -> None:
    sampler = EpochSampler([f"s{i}" for i in range(20)], depth=12, seed=3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        assert sorted(key.subject for key in keys) == sorted(f"s{i}" for i in range(20))
        assert all(0 <= key.index < 12 for key in keys)
        assert len({key.seed for key in keys}) == 20


def test_an_epoch_is_the_same_whenever_it_is_asked_for() -> None:
    one, two = (EpochSampler(["a", "b", "c"], depth=50, seed=0) for _ in range(2))
    for epoch in range(5):
        one.set_epoch(epoch)
        last = list(one)
    two.set_epoch(4)
    assert list(two) == last
    two.set_epoch(3)
    assert list(two) != last
    other = EpochSampler(["a", "b", "c"], depth=50, seed=1)
    other.set_epoch(4)
    assert list(other) != last


def test_every_slice_is_drawn_about_equally_often() -> None:
    sampler = EpochSampler([f"s{i}" for i in range(40)], depth=10, seed=0)
    counts = np.zeros(10)
    for epoch in range(200):
        sampler.set_epoch(epoch)
        for key in sampler:
            counts[key.index] += 1
    expected = 40 * 200 / 10
    assert ((counts - expected) ** 2 / expected).sum() < 27.9  # chi-square with 9 degrees of freedom, p = 0.001


def test_a_scan_that_stands_twice_gets_two_noises() -> None:
    sampler = EpochSampler(["a", "a"], depth=50, seed=0)
    assert len({key.seed for key in sampler}) == 2


def test_validation_slices_are_spread_and_fixed() -> None:
    keys = validation_keys(["a", "b"], depth=12, count=4, seed=0)
    assert [key.index for key in keys] == [0, 3, 6, 9, 2, 5, 8, 11]  # a quarter, then three quarters into each third
    assert keys == validation_keys(["a", "b"], depth=12, count=4, seed=0)
    assert [key.index for key in validation_keys(["a"], depth=12, count=4, seed=0)] == [1, 4, 7, 10]
    assert len(validation_keys(["a"], depth=3, count=10, seed=0)) == 3


def test_one_validation_slice_a_volume_sees_the_whole_brain() -> None:
    """IXI: 44 volumes of 50 slices, a tenth of the training at most."""
    keys = validation_keys([f"s{i}" for i in range(44)], depth=50, count=1, seed=0)
    indices = [key.index for key in keys]
    assert len(keys) == len(set(indices)) == 44
    assert (min(indices), max(indices)) == (0, 49)
    training = 11 * 32 * 3  # a slice forward, and twice as much for its gradient
    assert len(keys) < training / 10


@pytest.mark.parametrize(
    ("volumes", "batch_size", "drop_last", "steps", "slices"),
    [
        (358, 32, True, 11, 352),
        (358, 32, False, 12, 358),
        (64, 32, True, 2, 64),
        (20, 32, True, 1, 20),
        (1, 8, True, 1, 1),
    ],
)
def test_whole_batches_alone_and_never_none(
    volumes: int, batch_size: int, drop_last: bool, steps: int, slices: int
) -> None:
    """IXI's folds have 358 training scans: the published code makes 11 steps per epoch of them."""
    batching = Batching(volumes, batch_size, drop_last)
    assert (batching.steps, batching.slices) == (steps, slices)


def test_what_is_left_out_is_another_one_each_epoch(tiny_data: Data) -> None:
    store = tiny_data.healthy.store
    sampler = EpochSampler(store.ids[:5], 4, seed=0, kept=4)
    left = []
    for epoch in range(60):
        sampler.set_epoch(epoch)
        seen = [key.subject for key in sampler]
        assert len(sampler) == len(seen) == len(set(seen)) == 4
        left += set(store.ids[:5]) - set(seen)
    assert set(left) == set(store.ids[:5])


def test_parts_of_a_batch_weigh_the_same_or_are_refused() -> None:
    assert Batching(358, 32, drop_last=True, accumulate=4).part == 8
    with pytest.raises(UserError, match="train.drop_last=true"):
        Batching(358, 32, drop_last=False, accumulate=4)  # 6 slices would be left
    with pytest.raises(UserError, match="6 slices per step"):
        Batching(6, 32, drop_last=True, accumulate=4)


def test_batches_hold_what_the_store_holds(tiny_data: Data) -> None:
    store = tiny_data.healthy.store
    slab = Slab(1, 5)
    for batching, sizes in (
        (Batching(4, 3, drop_last=False), [3, 1]),
        (Batching(4, 3, drop_last=True), [3]),
        (Batching(4, 4, drop_last=True, accumulate=2), [2, 2]),
    ):
        loader = training_loader(store, slab, store.ids[:4], batching, seed=0, context=0)
        assert [len(batch.image) for batch in loader] == sizes
    keys = validation_keys(store.ids[:2], slab.depth, 2, seed=0)
    batches = list(validation_loader(store, slab, store.ids[:2], 2, 4, seed=0, context=0))
    assert len(batches) == 1
    for image, mask, key in zip(batches[0].image, batches[0].brain_mask, keys, strict=True):
        np.testing.assert_array_equal(image[0].numpy(), store.volume(key.subject)[1 + key.index])
        np.testing.assert_array_equal(mask[0].numpy(), store.brain_mask(key.subject)[1 + key.index])


def test_neighbours_come_along_and_stop_at_the_slab(tiny_data: Data) -> None:
    store = tiny_data.healthy.store
    volume = store.volume(store.ids[0])
    indices = [0, 1, 3]
    for items in (
        SliceSet(store, Slab(1, 5), context=2),
        ResidentSlices(store, Slab(1, 5), 2, store.ids[:2], "cpu"),
    ):
        batch = items[[SliceKey(store.ids[0], index, 0) for index in indices]]
        expected = [[1, 1, 1, 2, 3], [1, 1, 2, 3, 4], [2, 3, 4, 4, 4]]
        np.testing.assert_array_equal(batch.stack.numpy(), volume[expected])
        np.testing.assert_array_equal(batch.image[:, 0].numpy(), volume[[1 + index for index in indices]])


@pytest.mark.parametrize("context", [0, 1])
def test_volumes_on_the_device_give_bitwise_the_batches_of_the_store(tiny_data: Data, context: int) -> None:
    store, slab = tiny_data.healthy.store, Slab(1, 5)
    subjects = (*store.ids[:4], store.ids[0])  # a published split may name a scan twice
    sampler = EpochSampler(subjects, slab.depth, seed=0)
    read, resident = SliceSet(store, slab, context), ResidentSlices(store, slab, context, subjects, "cpu")
    for epoch in range(3):
        sampler.set_epoch(epoch)
        keys = list(sampler)
        one, other = read[keys], resident[keys]
        for first, second in zip(one, other, strict=True):
            assert first.dtype == second.dtype and torch.equal(first, second)
            assert first.is_contiguous() and second.is_contiguous()
        np.testing.assert_array_equal(one.image[:, 0], [store.volume(key.subject)[1 + key.index] for key in keys])
        np.testing.assert_array_equal(one.brain_mask[:, 0], [store.brain_mask(k.subject)[1 + k.index] for k in keys])
        assert one.seed.tolist() == [key.seed for key in keys]


def test_without_neighbours_the_stack_is_no_second_image(tiny_data: Data) -> None:
    store, slab = tiny_data.healthy.store, Slab(1, 5)
    for batch in training_loader(store, slab, store.ids[:4], Batching(4, 3, drop_last=False), seed=0, context=0):
        assert batch.stack.data_ptr() == batch.image.data_ptr() and batch.stack.shape == batch.image.shape


def test_volumes_live_on_a_gpu_that_has_room_for_them(tiny_data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    store, slab = tiny_data.healthy.store, Slab(1, 5)
    needed = 3 * 4 * 96 * 96 * 5  # three volumes of four slices, float32 and a byte a voxel
    monkeypatch.setattr(slices, "ResidentSlices", lambda *words: "resident")
    for free, resident in ((4 * needed, True), (4 * needed - 4, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda free=free: (free, 10 * free))
        found = slice_set(store, slab, 0, (*store.ids[:3], store.ids[0]), "cuda")
        assert (found == "resident") is resident
    assert isinstance(slice_set(store, slab, 0, store.ids[:3], "cpu"), SliceSet)  # mapped into memory already
