"""Memory and arithmetic of a training step, counted without running it.

The step (loss, gradients, the optimiser with its moments) is played on PyTorch's meta device, where tensors have a
shape, a type and a layout but no values. Every operation reports the tensors that it makes, and Python tells when each
is no longer held by anybody: by the graph of gradients, by what an activation checkpoint keeps, by weights, gradients
and the optimiser. The most bytes alive at once are the step's memory. (Hooks on saved tensors would tell less: they do
not see what a checkpoint keeps, nor gradients, nor moments.)

What an allocator rounds up, and what libraries take for themselves (convolution workspaces, the CUDA context), is not
counted; `bench speed` on a GPU measures it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..engine.job import Job
from ..records.cost import Arithmetic
from .counting import FlopCounter, count_cost
from .timing import Stepper
from .workload import Workload, batch_of, random_volume


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are alive, those made before it began included once they are used.

    Attributes:
        now: bytes alive at this moment.
        most: the most there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.most = 0
        self._alive: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and count what it was given and what it made."""
        result = _laid_out(func, args, func(*args, **(kwargs or {})))
        for leaf in tree_leaves((args, kwargs, result)):
            if isinstance(leaf, torch.Tensor):
                self._see(leaf.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._alive:
            return
        size = storage.nbytes()
        self._alive[key] = weakref.finalize(storage, self._forget, key, size)
        self.now += size
        self.most = max(self.most, self.now)

    def _forget(self, key: int, size: int) -> None:
        del self._alive[key]
        self.now -= size


def _laid_out(func: Callable[..., Any], arguments: tuple[Any, ...], result: Any) -> Any:
    """Give a convolution on the meta device the layout that it has elsewhere, channels last where a factor is so.

    The meta device forgets it, and with it the copies that a norm makes of such a layout.
    """
    aten = torch.ops.aten
    if func is aten.convolution.default and result.is_meta and any(map(_is_channels_last, arguments[:2])):
        return result.contiguous(memory_format=torch.channels_last)
    if func is aten.convolution_backward.default and any(map(_is_channels_last, arguments[:3])):
        image, *others = result
        return (image if image is None else image.contiguous(memory_format=torch.channels_last), *others)
    return result


def _is_channels_last(tensor: torch.Tensor) -> bool:
    return tensor.is_meta and tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def _fused_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attention by the fused kernel, as CPU and GPU run it; the meta device itself would write out all its scores."""
    attended: torch.Tensor = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]
    return attended


def count_step_bytes(workload: Workload, batch_size: int) -> int | None:
    """The most bytes alive at once in a training step; None for a method without one, or that looks at values.

    Args:
        workload: the method and its numbers, `train.checkpoint_activations` and `train.accumulate` among them.
        batch_size: slices of a step.

    Raises:
        UserError: the method has no optimiser settings.
    """
    if not workload.method.trainable:
        return None
    fused = patch.object(F, "scaled_dot_product_attention", _fused_attention)
    live = LiveBytes()
    with torch.random.fork_rng(devices=[]), live, fused:
        try:
            step = _step_without_values(workload, batch_size, workload.plan.train.precision)
            step.prepare()
            step(0)
        except _LOOKED_AT_VALUES:
            return None
    return live.most


def count_step(workload: Workload, batch_size: int) -> float | None:
    """FLOPs of a training step; None for a method without one, or that looks at values.

    Args:
        workload: the method and its numbers.
        batch_size: slices of a step.
    """
    if not workload.method.trainable:
        return None
    with torch.random.fork_rng(devices=[]), FlopCounter() as counter:
        try:
            _step_without_values(workload, batch_size, "32-true")(0)  # the meta device casts nothing by itself
        except _LOOKED_AT_VALUES:
            return None
    return float(counter.get_total_flops())


#: What the meta device answers to a look at values, and to NumPy.
_LOOKED_AT_VALUES = (RuntimeError, TypeError)


def _step_without_values(workload: Workload, batch_size: int, precision: str) -> Stepper:
    """A training step on the meta device, whose tensors have shapes and no values; as written, not compiled."""
    workload = workload.uncompiled()
    meta = torch.device("meta")
    with meta:
        detector = workload.detector().to(meta).train()
    batch = batch_of(random_volume(batch_size, workload.side, 0, meta), detector.context)
    return Stepper(detector, precision, batch, workload.plan.train.accumulate)


def count_job(job: Job) -> Arithmetic | None:
    """What a cell's bill says of its arithmetic; None where it cannot be counted, which costs the cell nothing."""
    work = Workload(job.entry.method, job.plan, (job.entry.row,))
    try:
        step = count_step(work, job.plan.train.batch_size)
        return Arithmetic(count_cost(work).slice_flop / 1e9, None if step is None else step / 1e9)
    except Exception:  # noqa: BLE001  (a method of the user's own, on slices that are no brains)
        return None
