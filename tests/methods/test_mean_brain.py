"""Mean brain: the mean, saved and loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from uadbench.methods import Scan
from uadbench.methods.mean_brain import MeanBrain

Make = Callable[..., Any]


def scan(volume: torch.Tensor) -> Scan:
    return Scan(torch.ones_like(volume, dtype=torch.bool), 0, 4)


def test_reconstructs_the_mean_and_survives_a_checkpoint(make: Make, tmp_path: Path) -> None:
    volumes = torch.rand(7, 5, 1, 12, 10)
    net = make(MeanBrain)
    net.absorb(iter(volumes))
    expected = np.mean(volumes.numpy().astype(np.float64), axis=0).astype(np.float32)
    np.testing.assert_allclose(net.reconstruct(volumes[0], scan(volumes[0])).numpy(), expected, rtol=1e-6)
    torch.save(net.state_dict(), tmp_path / "mean.pt")
    fresh = make(MeanBrain)
    fresh.load_state_dict(torch.load(tmp_path / "mean.pt", weights_only=True))
    np.testing.assert_allclose(fresh.reconstruct(volumes[1], scan(volumes[1])).numpy(), expected, rtol=1e-6)


def test_is_an_untrained_control() -> None:
    assert MeanBrain.info.control
    assert not MeanBrain.trainable
    assert [row.name for row in MeanBrain.info.rows] == ["mean-brain"]


def test_no_volume_is_an_error(make: Make) -> None:
    with pytest.raises(ValueError, match="at least one"):
        make(MeanBrain).absorb([])


def test_another_shape_is_an_error(make: Make) -> None:
    net = make(MeanBrain)
    net.absorb([torch.rand(5, 1, 8, 8)])
    with pytest.raises(ValueError, match=r"\(5, 1, 8, 8\)"):
        net.reconstruct(torch.rand(4, 1, 8, 8), scan(torch.rand(4, 1, 8, 8)))
