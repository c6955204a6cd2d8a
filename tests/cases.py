"""What several tests share beside fixtures: places, and a network all of whose paths count."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

TESTS = Path(__file__).parent
ROOT = TESTS.parent
#: The preset on which a cell runs in seconds.
TINY = TESTS / "tiny.toml"
#: Real scans and facts that are not part of the project; tests that want them skip where they are absent.
SHARED = ROOT.parent / "shared"

_NetT = TypeVar("_NetT", bound=nn.Module)


def awake(net: _NetT) -> _NetT:
    """Fill the zero-initialised layers, so that every path counts."""
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return net
