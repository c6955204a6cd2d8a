"""VAE: the AE's network with a distribution of codes; it learns, does not collapse, and repeats exactly."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from uadbench.methods import Batch, Scan
from uadbench.methods.ae import AE
from uadbench.methods.vae import VAE

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]


def halved(batch: Batch) -> Batch:
    """Every second pixel, for speed."""
    return Batch(*(x[..., ::2, ::2] if x.dim() > 1 else x for x in batch))


def train(net: Any, blobs: Blobs, steps: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for step in range(steps):
        loss = net.training_step(halved(blobs(8, step)), step)
        optimizer.zero_grad()
        loss.backward()
        assert step or all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
    with torch.no_grad():
        for step in range(20):  # batch norm's running means lag behind so short a training
            net(halved(blobs(8, step)).image)
    net.eval()


def test_architecture_is_the_aes_with_twice_the_numbers_out(make: Make) -> None:
    ae, vae = make(AE, tiny=False).state_dict(), make(VAE, tiny=False).state_dict()
    assert list(ae) == list(vae)
    different = {name for name in ae if ae[name].shape != vae[name].shape}
    assert different == {"encoder.dense.weight", "encoder.dense.bias"}
    assert len(vae["encoder.dense.bias"]) == 2 * 128


def test_training_decodes_samples_and_validation_means(make: Make, blobs: Blobs) -> None:
    net, batch = make(VAE).eval(), blobs(4, 1)
    with torch.no_grad():
        numbers = net.encoder(batch.image)
        mean, scale = numbers[:, :16], (0.5 * numbers[:, 16:]).exp()
        divergence = kl_divergence(Normal(mean, scale), Normal(0.0, 1.0)).sum(dim=1).mean().item()
        expected = (net.decoder(mean) - batch.image).abs().mean().item() + divergence / 96**2
        losses = [net.validation_step(batch, 0).item() for _ in range(2)]
        assert losses == [pytest.approx(expected, rel=1e-6)] * 2
        other = batch._replace(seed=batch.seed + 1)
        assert net.validation_step(other, 0).item() == losses[0]
        assert net.training_step(batch, 0).item() == net.training_step(batch, 1).item()
        assert net.training_step(batch, 0).item() != net.training_step(other, 0).item()


def test_the_divergence_is_weighed(make: Make, blobs: Blobs) -> None:
    batch = blobs(4, 1)
    nets = {weight: make(VAE, {"vae.kl_weight": weight}).eval() for weight in (0.0, 1.0, 3.0)}
    for net in nets.values():
        net.load_state_dict(nets[0.0].state_dict())
    with torch.no_grad():
        loss = {weight: net.validation_step(batch, 0).item() for weight, net in nets.items()}
    assert loss[1.0] > loss[0.0] + 1e-7
    assert loss[3.0] - loss[0.0] == pytest.approx(3 * (loss[1.0] - loss[0.0]), rel=1e-2)


def test_learns_without_collapse_and_reconstructs(make: Make, blobs: Blobs, scan_of: Callable[..., Scan]) -> None:
    net, fixed = make(VAE, {"image.side": 48}), halved(blobs(8, 99))
    before = net.eval().validation_step(fixed, 0).item()
    train(net.train(), blobs, 50)
    assert net.validation_step(fixed, 0).item() < 0.4 * before
    with torch.inference_mode():
        whole = net.reconstruct(fixed.image, scan_of(fixed, seed=1, batch_size=16))
        parts = net.reconstruct(fixed.image, scan_of(fixed, seed=2, batch_size=3))
        divergence = net.encode(fixed.image).divergence()
    assert whole.shape == fixed.image.shape
    assert whole.dtype == torch.float32
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    # A collapsed posterior has no divergence and one reconstruction for all.
    assert divergence.min() > 1
    means, truths = (x.mean(dim=(1, 2, 3)) for x in (whole, fixed.image))
    assert torch.corrcoef(torch.stack([means, truths]))[0, 1] > 0.9
    pairs = ~torch.eye(8, dtype=torch.bool)
    apart, truth = ((x[:, None] - x[None]).abs().mean(dim=(2, 3, 4))[pairs] for x in (whole, fixed.image))
    assert torch.corrcoef(torch.stack([apart, truth]))[0, 1] > 0.6
