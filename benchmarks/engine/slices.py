"""Which slices a training sees: one random slice per volume and epoch, the same whoever asks and whenever.

All chance lies in the sampler, which derives slice and noise seed from (seed, epoch, position); the data set only
reads. So a training that is resumed at an epoch sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ...datasets.cohort import Volumes
from ...errors import UserError
from ...methods import Batch
from ...methods.parts.seeds import derive_seed


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
    """Reads slices of a volume store by key; items are `Batch`es of one image without the batch axis.

    Args:
        store: where the volumes are.
        slab: the slices that take part; neighbours come from within it too.
        context: neighbours on each side that come along.
    """

    def __init__(self, store: Volumes, slab: Slab, context: int) -> None:
        self._store = store
        self._slab = slab
        self._context = context

    def __getitem__(self, key: SliceKey) -> Batch:
        volume = self._slab.of(self._store.volume(key.subject))
        mask = self._slab.of(self._store.brain_mask(key.subject))[key.index]
        window = np.arange(key.index - self._context, key.index + self._context + 1)
        stack = torch.from_numpy(np.array(volume[window.clip(0, self._slab.depth - 1)], dtype=np.float32))
        return Batch(
            image=stack[self._context][None],
            brain_mask=torch.from_numpy(np.array(mask, dtype=bool))[None],
            seed=torch.tensor(key.seed, dtype=torch.int64),
            stack=stack,
        )


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
    store: Volumes, slab: Slab, subjects: Sequence[str], batching: Batching, seed: int, context: int
) -> DataLoader[Batch]:
    """Loader of an epoch: `batching.steps` batches, each in as many parts as it says."""
    sampler = EpochSampler(subjects, slab.depth, seed, batching.slices)
    return DataLoader(SliceSet(store, slab, context), batch_size=batching.part, sampler=sampler)


def validation_loader(
    store: Volumes, slab: Slab, subjects: Sequence[str], count: int, batch_size: int, seed: int, context: int
) -> DataLoader[Batch]:
    """Loader of the fixed validation slices: one batch, where they are no more than two of the training's."""
    keys = validation_keys(subjects, slab.depth, count, seed)
    whole = len(keys) <= 2 * batch_size  # without a gradient a slice takes a fraction of the training's memory
    return DataLoader(
        SliceSet(store, slab, context), batch_size=len(keys) if whole else batch_size, sampler=_Fixed(keys)
    )


class _Fixed(Sampler[SliceKey]):
    def __init__(self, keys: list[SliceKey]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[SliceKey]:
        return iter(self._keys)
