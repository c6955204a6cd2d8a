"""Which slices a training sees: one random slice per volume and epoch, the same whoever asks and whenever.

All chance lies in the sampler, which derives slice and noise seed from (seed, epoch, position); the data set only
reads. So a training that is resumed at an epoch sees what an uninterrupted one would have seen.

A GPU with room for them holds the volumes of a fold itself, and a batch is gathered there: what travels in a step is
three numbers a slice. Else batches are read from the store.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ...datasets.cohort import Volumes
from ...errors import UserError
from ...methods import Batch
from ...methods.parts.seeds import derive_seed
from ...stopwatch import spent

#: Of a GPU's free memory, what volumes may take; the rest is the network's. IXI's folds take 0.9 GB.
_SHARE_OF_MEMORY = 0.25
_BYTES_A_VOXEL = 5  # float32 and the brain mask


@dataclass(frozen=True)
class Slab:
    """The central axial slices that take part, as a range within the prepared volume."""

    start: int
    stop: int

    @classmethod
    def central(cls, depth: int, slices: int) -> Slab:
        """The central `slices` of `depth`; all of them where there are no more."""
        kept = min(depth, slices)
        start = (depth - kept) // 2
        return cls(start, start + kept)

    @property
    def depth(self) -> int:
        """Number of slices."""
        return self.stop - self.start

    def of(self, volume: np.ndarray) -> np.ndarray:
        """Cut a volume [D, H, W] to the slab."""
        return volume[self.start : self.stop]


@dataclass(frozen=True)
class Batching:
    """How the slices of an epoch, one a training volume, are cut into optimiser steps.

    Attributes:
        volumes: training volumes.
        batch_size: slices per step, where there are as many.
        drop_last: leave out the last, incomplete batch; where it is the only one it stays.
        accumulate: parts of a batch that go through the network one after the other.

    Raises:
        UserError: the parts of some batch would not weigh the same.
    """

    volumes: int
    batch_size: int
    drop_last: bool
    accumulate: int = 1

    def __post_init__(self) -> None:
        if self.size % self.accumulate or (self.accumulate > 1 and self.slices % self.size):
            raise UserError(
                f"train.accumulate={self.accumulate} cannot cut the batches of {self.volumes} training volumes "
                f"({self.size} slices per step) into equal parts; choose a divisor of {self.size}, and train.drop_last="
                "true"
            )

    @property
    def size(self) -> int:
        """Slices a step."""
        return min(self.batch_size, self.volumes)

    @property
    def slices(self) -> int:
        """Slices of an epoch that take part."""
        return self.volumes - self.volumes % self.size if self.drop_last else self.volumes

    @property
    def steps(self) -> int:
        """Optimiser steps per epoch; at least one."""
        return -(-self.slices // self.size)

    @property
    def part(self) -> int:
        """Slices that go through the network at once."""
        return self.size // self.accumulate


@dataclass(frozen=True)
class SliceKey:
    """One slice to read and the seed of its noise."""

    subject: str
    index: int
    seed: int


class SliceSet(Dataset[Batch]):
    """Reads batches of slices from a volume store by their keys.

    Args:
        store: where the volumes are; on the CPU they are mapped into memory as they are.
        slab: the slices that take part; neighbours come from within it too.
        context: neighbours on each side that come along.
        device: where the batches are wanted; to a GPU they travel from pinned memory, so that nobody waits.
    """

    def __init__(self, store: Volumes, slab: Slab, context: int, device: str = "cpu") -> None:
        self._store = store
        self._slab = slab
        self._context = context
        self._device = device

    def __getitem__(self, keys: Sequence[SliceKey]) -> Batch:
        with spent("data"):
            offsets = np.arange(-self._context, self._context + 1)
            stacks, masks = [], []
            for key in keys:
                window = (key.index + offsets).clip(0, self._slab.depth - 1)
                stacks.append(self._slab.of(self._store.volume(key.subject))[window])
                masks.append(self._slab.of(self._store.brain_mask(key.subject))[key.index])
            seeds = torch.tensor([key.seed for key in keys], dtype=torch.int64)
            stack, mask = torch.from_numpy(np.stack(stacks)), torch.from_numpy(np.stack(masks))
            return _batch(*(_sent(part, self._device) for part in (stack, mask, seeds)))


class ResidentSlices(Dataset[Batch]):
    """Gathers the same batches on the device itself, from volumes that live there.

    Args:
        store: where the volumes are read, once.
        slab: as above.
        context: as above.
        subjects: all whose slices may be asked for.
        device: where the volumes live.
    """

    def __init__(self, store: Volumes, slab: Slab, context: int, subjects: Sequence[str], device: str) -> None:
        self._places = {subject: place for place, subject in enumerate(dict.fromkeys(subjects))}
        self._depth = slab.depth
        self._device = device
        self._offsets = torch.arange(-context, context + 1, device=device)
        self._volumes = _gathered([slab.of(store.volume(subject)) for subject in self._places], device)
        self._masks = _gathered([slab.of(store.brain_mask(subject)) for subject in self._places], device)

    def __getitem__(self, keys: Sequence[SliceKey]) -> Batch:
        with spent("data"):
            numbers = torch.tensor([(self._places[key.subject], key.index, key.seed) for key in keys])
            place, index, seed = _sent(numbers.t().contiguous(), self._device).unbind(0)
            window = (index[:, None] + self._offsets).clamp(0, self._depth - 1)
            return _batch(self._volumes[place[:, None], window], self._masks[place, index], seed)


def _gathered(volumes: Sequence[np.ndarray], device: str) -> Tensor:
    """Volumes on a device, one after the other, so that there are not all of them in the host's memory at once."""
    first = torch.from_numpy(np.array(volumes[0]))
    found = torch.empty((len(volumes), *first.shape), dtype=first.dtype, device=device)
    for place, volume in enumerate(volumes):
        found[place] = torch.from_numpy(np.array(volume))
    return found


def _batch(stack: Tensor, mask: Tensor, seed: Tensor) -> Batch:
    """A batch of stacks [B, 2k + 1, H, W], masks [B, H, W] and seeds; without neighbours the stack is the image."""
    context = stack.shape[1] // 2
    image = stack[:, context : context + 1].contiguous() if context else stack
    return Batch(image=image, brain_mask=mask[:, None], seed=seed, stack=stack)


def _sent(tensor: Tensor, device: str) -> Tensor:
    """A tensor of the host on a device; nobody waits until it has arrived."""
    return tensor if device == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def slice_set(
    store: Volumes, slab: Slab, context: int, subjects: Sequence[str], device: str
) -> SliceSet | ResidentSlices:
    """What batches of these subjects come from: a GPU with room for their volumes, else the store."""
    if device == "cpu" or not _fits(store, slab, len(set(subjects))):
        return SliceSet(store, slab, context, device)
    return ResidentSlices(store, slab, context, subjects, device)


def _fits(store: Volumes, slab: Slab, volumes: int) -> bool:
    _, height, width = store.shape
    free, _ = torch.cuda.mem_get_info()
    return volumes * slab.depth * height * width * _BYTES_A_VOXEL <= _SHARE_OF_MEMORY * free


class EpochSampler(Sampler[SliceKey]):
    """One random slice of every training volume, in random order; Lightning tells it the epoch.

    Args:
        subjects: the training volumes.
        depth: slices of each.
        seed: of order, slices and noise.
        kept: leave out all but the first so many of an epoch's order; None leaves out none.
    """

    def __init__(self, subjects: Sequence[str], depth: int, seed: int, kept: int | None = None) -> None:
        self._subjects = tuple(subjects)
        self._depth = depth
        self._seed = seed
        self._kept = len(self._subjects) if kept is None else kept
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose slices come next."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._kept

    def __iter__(self) -> Iterator[SliceKey]:
        rng = np.random.default_rng([derive_seed(self._seed, "order"), self._epoch])
        order = rng.permutation(len(self._subjects))
        slices = rng.integers(self._depth, size=len(self._subjects))
        for position in map(int, order[: self._kept]):
            # The position is part of the seed: a scan that stands twice in a published split gets two noises.
            seed = derive_seed(self._seed, "train", self._epoch, position)
            yield SliceKey(self._subjects[position], int(slices[position]), seed)


def validation_keys(subjects: Sequence[str], depth: int, count: int, seed: int) -> list[SliceKey]:
    """Evenly spaced slices of every validation volume, each with a noise that never changes.

    Each volume begins a little deeper than the one before, so that together they see all of the brain even where there
    is one slice per volume.
    """
    kept = min(count, depth)
    keys = []
    for number, subject in enumerate(subjects):
        shift = (number + 0.5) / len(subjects)
        for index in ((np.arange(kept) + shift) * depth / kept).astype(int).tolist():
            keys.append(SliceKey(subject, index, derive_seed(seed, "validation", subject, index)))
    return keys


def training_loader(
    store: Volumes,
    slab: Slab,
    subjects: Sequence[str],
    batching: Batching,
    seed: int,
    context: int,
    device: str = "cpu",
) -> DataLoader[Batch]:
    """Loader of an epoch: `batching.steps` batches on a device, each in as many parts as it says."""
    sampler = EpochSampler(subjects, slab.depth, seed, batching.slices)
    return _loader(slice_set(store, slab, context, subjects, device), Batches(sampler, batching.part))


def validation_loader(
    store: Volumes,
    slab: Slab,
    subjects: Sequence[str],
    count: int,
    batch_size: int,
    seed: int,
    context: int,
    device: str = "cpu",
) -> DataLoader[Batch]:
    """Loader of the fixed validation slices: one batch, where they are no more than two of the training's."""
    keys = validation_keys(subjects, slab.depth, count, seed)
    whole = len(keys) <= 2 * batch_size  # without a gradient a slice takes a fraction of the training's memory
    batches = Batches(_Fixed(keys), len(keys) if whole else batch_size)
    return _loader(slice_set(store, slab, context, subjects, device), batches)


def _loader(slices: SliceSet | ResidentSlices, batches: Batches) -> DataLoader[Batch]:
    """A loader whose data set is asked for whole batches."""
    return DataLoader(slices, batch_size=None, sampler=batches)


class Batches(Sampler[list[SliceKey]]):
    """The keys of another sampler, so many at a time; Lightning tells it the epoch."""

    def __init__(self, keys: EpochSampler | _Fixed, size: int) -> None:
        self._keys = keys
        self._size = size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose slices come next."""
        if isinstance(self._keys, EpochSampler):
            self._keys.set_epoch(epoch)

    def __len__(self) -> int:
        return math.ceil(len(self._keys) / self._size)

    def __iter__(self) -> Iterator[list[SliceKey]]:
        keys = list(self._keys)
        for start in range(0, len(keys), self._size):
            yield keys[start : start + self._size]


class _Fixed(Sampler[SliceKey]):
    def __init__(self, keys: list[SliceKey]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[SliceKey]:
        return iter(self._keys)
