"""AE: Baur's shapes, and that it learns."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from uadbench.methods import Batch, Detector, Scan
from uadbench.methods.ae import AE
from uadbench.methods.svae import SVAE
from uadbench.methods.vae import VAE

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
PARTS = ("encoder", "decoder")


def test_published_architecture(make: Make) -> None:
    net = make(AE, tiny=False)
    shapes = []
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.register_forward_hook(lambda _m, _i, output: shapes.append(tuple(output.shape[1:])))
    assert net(torch.rand(2, 1, 96, 96)).shape == (2, 1, 96, 96)
    encoder = [(32, 48, 48), (64, 24, 24), (128, 12, 12), (16, 12, 12), (128,)]
    decoder = [(2304,), (128, 12, 12), (128, 24, 24), (64, 48, 48), (32, 96, 96), (1, 96, 96)]
    assert shapes == encoder + decoder
    kernels = [m.kernel_size for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert kernels == [(5, 5)] * 3 + [(1, 1)] * 2 + [(5, 5)] * 3 + [(1, 1)]


@pytest.mark.parametrize("cls", [AE, VAE, SVAE])
def test_published_norms_and_activations(make: Make, cls: type[Detector]) -> None:
    """The published decoder is a norm and a ReLU, then three times transposed convolution, norm and leaky ReLU.

    `build_unified_encoder` and `build_unified_decoder` of the authors' `models/customlayers.py`, written down as names.
    """
    net = make(cls, tiny=False)
    leaves = {part: [m for m in getattr(net, part).modules() if not list(m.children())] for part in PARTS}
    names = {part: [type(module).__name__ for module in leaves[part]] for part in PARTS}
    assert names["encoder"] == ["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3 + ["Conv2d", "Linear"]
    begins = ["Linear", "Unflatten", "Conv2d", "BatchNorm2d", "ReLU"]
    assert names["decoder"] == [*begins, *["ConvTranspose2d", "BatchNorm2d", "LeakyReLU"] * 3, "Conv2d"]
    slopes = {m.negative_slope for part in PARTS for m in leaves[part] if isinstance(m, nn.LeakyReLU)}
    assert slopes == {0.3}  # Keras' default


def test_learns_and_reconstructs(make: Make, blobs: Blobs, scan_of: Callable[..., Scan]) -> None:
    net, fixed = make(AE), blobs(8, 99)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    before = net.validation_step(fixed, 0).item()
    for step in range(50):
        loss = net.training_step(blobs(8, step), step)
        optimizer.zero_grad()
        loss.backward()
        assert step or all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
    net.eval()
    assert net.validation_step(fixed, 0).item() < 0.4 * before
    with torch.inference_mode():
        whole = net.reconstruct(fixed.image, scan_of(fixed, batch_size=16))
        parts = net.reconstruct(fixed.image, scan_of(fixed, batch_size=3))
    assert whole.shape == fixed.image.shape
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    assert (whole - fixed.image).abs().mean().item() == pytest.approx(net.validation_step(fixed, 0).item(), rel=1e-5)


def test_a_side_that_cannot_be_halved_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="divisible by 8, not 90"):
        make(AE, {"image.side": 90})
