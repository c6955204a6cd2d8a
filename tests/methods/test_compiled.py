"""Which parts of a method are compiled; what compiling does to a training is in the engine's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from uadbench.methods import Detector, methods
from uadbench.methods.parts.compiled import compile_parts

Make = Callable[..., Any]


@pytest.mark.parametrize("name", sorted(name for name, cls in methods().items() if cls.trainable and cls.compilable))
def test_what_is_compiled_holds_the_weights(make: Make, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for those of a network that calls itself block by block: first and last layer, time, positions."""
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: compiled.append(self))
    with torch.device("meta"):
        detector: Detector = make(methods()[name])
    compile_parts(detector)
    inside = {id(weight) for part in compiled for weight in part.parameters()}
    share = sum(id(weight) in inside for weight in detector.parameters()) / sum(1 for _ in detector.parameters())
    assert share > 0.85
    assert len({id(part) for part in compiled}) == len(compiled)
    assert not any(one is not other and one in set(other.modules()) for one in compiled for other in compiled)
