"""Networks compiled by PyTorch (`train.compile`): fewer, larger kernels, other rounding.

Compiled is what a network calls as a whole: the blocks of a network that repeats them (equal blocks share their code,
so that compiling takes as long as a few of them), else each part of the method that has weights. Each for the sizes
that it meets, since kernels for any size are slower. In place, so that the names of weights in checkpoints stay as they
are. What surrounds them, seeds, noise and patches, stays as written.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from .recomputed import Recomputing


def compile_parts(method: nn.Module, backend: str = "inductor") -> None:
    """Let whatever can be compiled in a method be compiled when it is first used.

    Args:
        method: its parts are changed in place, their weights are not.
        backend: PyTorch's name of what makes the kernels.
    """
    for part in _parts(method):
        part.compile(backend=backend, dynamic=False)


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """The modules that are compiled, each as a whole; none lies within another."""
    for child in module.children():
        if isinstance(child, Recomputing):
            yield from child.blocks
        elif any(isinstance(part, Recomputing) for part in child.modules()):
            yield from _parts(child)
        elif next(child.parameters(), None) is not None:
            yield child
