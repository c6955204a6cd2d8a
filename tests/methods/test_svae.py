"""SVAE: neighbours count, far slices do not, and a volume is scored as its stacks are trained."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from uadbench.methods import Batch, Scan
from uadbench.methods.svae import SVAE
from uadbench.methods.vae import VAE

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
Scans = Callable[..., Scan]


def stacks_of(volume: Tensor, context: int) -> Tensor:
    """Every slice between its neighbours, edges repeated: [D, 1, H, W] to [D, 2k + 1, H, W]."""
    padded = np.pad(volume[:, 0].numpy(), ((context, context), (0, 0), (0, 0)), mode="edge")
    return torch.from_numpy(np.stack([padded[i : i + 2 * context + 1] for i in range(len(volume))]))


def with_stacks(batch: Batch, context: int, seed: int) -> Batch:
    """Every second pixel of slices whose neighbours are noisy copies of themselves."""
    generator = torch.Generator().manual_seed(seed)
    image, mask = (x[..., ::2, ::2] for x in (batch.image, batch.brain_mask))
    noise = 0.02 * torch.randn(len(image), 2 * context + 1, 48, 48, generator=generator)
    noise[:, context] = 0
    return Batch(image, mask, batch.seed, image + noise * mask)


@pytest.fixture
def lively(make: Make) -> Any:
    """An untrained SVAE whose slices attend in earnest, as fresh weights hardly do."""
    net = make(SVAE).eval()
    with torch.no_grad():
        for weight in net.attention.parameters():
            weight.mul_(4)
        net.attention.position.mul_(20)
    return net


def test_as_many_parameters_as_the_vae(make: Make) -> None:
    count = {cls: sum(p.numel() for p in make(cls, tiny=False).parameters()) for cls in (VAE, SVAE)}
    assert count[SVAE] == pytest.approx(count[VAE], rel=0.05)


@pytest.mark.parametrize(("context", "depth"), [(1, 1), (2, 1), (2, 3)])
def test_neighbours_matter_and_far_slices_do_not(
    make: Make, blobs: Blobs, scan_of: Scans, context: int, depth: int
) -> None:
    net, batch, middle = make(SVAE, {"svae.context": context, "svae.depth": depth}).eval(), blobs(9, 1), 4
    scan = scan_of(batch)
    with torch.inference_mode():
        before = net.reconstruct(batch.image, scan)[middle]
        for other in range(9):
            volume = batch.image.clone()
            volume[other] = volume[other].flip(-1) + 0.3
            change = (net.reconstruct(volume, scan)[middle] - before).abs().max().item()
            near = abs(other - middle) <= context
            assert (change > 1e-5) if near else (change < 1e-7), f"slice {other}: {change}"


def test_neighbours_are_told_apart_by_their_positions(lively: Any, blobs: Blobs, scan_of: Scans) -> None:
    batch = blobs(5, 2)
    scan, swapped = scan_of(batch), batch.image[[0, 3, 2, 1, 4]]
    with torch.inference_mode():
        change = lively.reconstruct(batch.image, scan)[2] - lively.reconstruct(swapped, scan)[2]
        assert change.abs().max() > 1e-4
        lively.attention.position.zero_()
        change = lively.reconstruct(batch.image, scan)[2] - lively.reconstruct(swapped, scan)[2]
        assert change.abs().max() < 2e-6


def test_without_attention_it_is_a_vae(lively: Any, blobs: Blobs, scan_of: Scans) -> None:
    batch = blobs(5, 6)
    with torch.inference_mode():
        lively.encoder.dense.weight.mul_(100)  # so that slices' codes lie far apart
        lively.attention.position.zero_()
        for block in lively.attention.blocks:
            for last in (block.attention.project, block.mlp[-1]):
                last.weight.zero_()
                last.bias.zero_()
        mean = lively.head(lively.encoder(batch.image))[:, : lively.decoder.dense.in_features]
        got = lively.reconstruct(batch.image, scan_of(batch))
        torch.testing.assert_close(got, lively.decoder(mean), rtol=1e-4, atol=1e-5)
        assert (mean[1:] - mean[:-1]).abs().mean() > 0.05


@pytest.mark.parametrize("context", [0, 1, 3])
def test_a_volume_is_scored_as_its_stacks_are_trained(make: Make, blobs: Blobs, scan_of: Scans, context: int) -> None:
    net, batch = make(SVAE, {"svae.context": context}).eval(), blobs(5, 3)
    assert net.context == context
    with torch.inference_mode():
        expected = net(stacks_of(batch.image, context))
        for batch_size in (1, 2, 64):
            got = net.reconstruct(batch.image, scan_of(batch, seed=batch_size, batch_size=batch_size))
            assert got.shape == batch.image.shape
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        one = net.reconstruct(batch.image[:1], scan_of(batch, batch_size=4))
        torch.testing.assert_close(one, net(batch.image[:1].expand(-1, 2 * context + 1, -1, -1)), rtol=1e-4, atol=1e-5)


def test_the_volume_is_encoded_once(make: Make, blobs: Blobs, scan_of: Scans) -> None:
    net, batch, seen = make(SVAE).eval(), blobs(7, 4), []
    net.encoder.register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
    with torch.inference_mode():
        net.reconstruct(batch.image, scan_of(batch, batch_size=3))
    assert seen == [3, 3, 1]


def test_loss_is_the_vaes_on_the_middle_slice(make: Make, blobs: Blobs) -> None:
    net, batch = make(SVAE, {"image.side": 48}).eval(), with_stacks(blobs(3, 5), 2, 5)
    with torch.no_grad():
        code = net.encode(batch.stack)
        posterior = Normal(code.mean, (0.5 * code.log_variance).exp())
        divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1).mean().item()
        expected = (net(batch.stack) - batch.image).abs().mean().item() + divergence / 48**2
        assert net.validation_step(batch, 0).item() == pytest.approx(expected, rel=1e-5)
        other = batch._replace(seed=batch.seed + 1)
        assert net.validation_step(other, 0).item() == net.validation_step(batch, 1).item()
        assert net.training_step(batch, 0).item() == net.training_step(batch, 1).item()
        assert net.training_step(batch, 0).item() != net.training_step(other, 0).item()


def test_heads_that_do_not_divide_the_width_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"svae.heads \(3\) must divide svae.width \(16\)"):
        make(SVAE, {"svae.heads": 3})


def test_learns_without_collapse(make: Make, blobs: Blobs) -> None:
    net = make(SVAE, {"svae.context": 1, "image.side": 48})
    fixed = with_stacks(blobs(8, 99), 1, 99)
    before = net.eval().validation_step(fixed, 0).item()
    optimizer = torch.optim.Adam(net.train().parameters(), lr=5e-3)
    for step in range(50):
        loss = net.training_step(with_stacks(blobs(8, step), 1, step), step)
        optimizer.zero_grad()
        loss.backward()
        assert step or all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
    with torch.no_grad():
        for step in range(20):  # batch norm's running means lag behind so short a training
            net(with_stacks(blobs(8, step), 1, step).stack)
        net.eval()
        assert net.validation_step(fixed, 0).item() < 0.4 * before
        output, code = net(fixed.stack), net.encode(fixed.stack)
    assert code.divergence().min() > 1
    means, truths = (x.mean(dim=(1, 2, 3)) for x in (output, fixed.image))
    assert torch.corrcoef(torch.stack([means, truths]))[0, 1] > 0.8
