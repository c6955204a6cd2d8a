"""Parameters and floating-point operations of a method, counted, not timed.

Convention. A multiply-add is two FLOPs; convolutions, matrix products and attention count, everything else (norms,
activations, resampling, Fourier transforms, noise) does not: the convention of PyTorch's `FlopCounterMode`, under which
the U-Net of the paper takes 149.1 GFLOP for a 96×96 image. Three figures a method, all of its reconstruction, which
every method has:

* GFLOP per slice: what `reconstruct` does for one slice of a volume;
* passes per slice: how many images go through the network for it, 16 for pDDPM at stride 16. It is read off the
  convolution that sees most images; without convolution layers it is 1;
* GFLOP per pass: the first divided by the second.

Parameters are all of the detector's, those included that only its training uses (an adversarial critic).

Counting runs on PyTorch's meta device, where tensors have shapes and no values: no memory, no time, no GPU. A method
whose control flow looks at values cannot run there and is counted on the CPU, on random slices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from .workload import Workload, random_volume, scan_of

#: Slices of the volume that `reconstruct` is counted on; more would only repeat them.
_DEPTH = 2
_SEED = 0
_Shape = tuple[int, ...]  # of a tensor [B, heads, length, width]; the counter hands over shapes in place of tensors
_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Cost:
    """What a method costs, whatever the machine.

    Attributes:
        parameters: numbers that training may change.
        slice_flop: FLOPs to reconstruct one slice of a volume.
        passes: images that go through the network for one slice; 0 where there is nothing to compute.
    """

    parameters: int
    slice_flop: float
    passes: float

    @property
    def pass_flop(self) -> float:
        """FLOPs of one image through the network."""
        return self.slice_flop / self.passes if self.passes else 0.0


class FlopCounter(FlopCounterMode):
    """PyTorch's counter, which also knows the fused attention of the CPU and does not tell modules apart.

    The hooks that tell modules apart cannot be used with gradients inside a training step (a gradient penalty).
    """

    def __init__(self) -> None:
        aten = torch.ops.aten
        fused = {
            aten._scaled_dot_product_flash_attention_for_cpu: _attention,
            aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
        }
        super().__init__(display=False, custom_mapping=fused)
        self.mod_tracker = _NoModules()  # type: ignore[assignment]


class _NoModules:
    """Stands in for the tracker of modules: everything happens in one place."""

    parents = frozenset({"Global"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def count_cost(workload: Workload) -> Cost:
    """Count a method's parameters and FLOPs."""
    workload = workload.uncompiled()
    try:
        return _count(workload, torch.device("meta"))
    except (RuntimeError, TypeError):  # what the meta device answers to a look at values, and to NumPy
        return _count(workload, torch.device("cpu"))


def _count(workload: Workload, device: torch.device) -> Cost:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_SEED)
        with device:
            detector = workload.detector().to(device).eval()
        volume = random_volume(_DEPTH, workload.side, _SEED, device)
        if not detector.trainable:
            detector.absorb([volume])
        with FlopCounter() as counter, _image_counter(detector) as images:
            detector.reconstruct(volume, scan_of(volume, workload.plan.score.batch_size))
    flop = counter.get_total_flops()
    passes = max(images.values(), default=_DEPTH) if flop else 0
    return Cost(sum(parameter.numel() for parameter in detector.parameters()), flop / _DEPTH, passes / _DEPTH)


@contextmanager
def _image_counter(module: nn.Module) -> Iterator[Counter[nn.Module]]:
    """Count the images that each convolution of a module sees."""
    images: Counter[nn.Module] = Counter()

    def see(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        images[layer] += len(output)

    hooks = [layer.register_forward_hook(see) for layer in module.modules() if isinstance(layer, _CONVOLUTIONS)]
    try:
        yield images
    finally:
        for hook in hooks:
            hook.remove()


def _attention(query: _Shape, key: _Shape, value: _Shape, *rest: object, **options: object) -> int:
    """FLOPs of attention: scores and their product with the values."""
    return _product(query, key, query[3] + value[3])


def _attention_backward(
    gradient: _Shape, query: _Shape, key: _Shape, value: _Shape, *rest: object, **options: object
) -> int:
    """FLOPs of attention's gradient: the scores again, and the gradients of scores, queries, keys and values."""
    return _product(query, key, 3 * query[3] + 2 * value[3])


def _product(query: _Shape, key: _Shape, width: int) -> int:
    batch, heads, length, _ = query
    return 2 * batch * heads * length * key[2] * width
