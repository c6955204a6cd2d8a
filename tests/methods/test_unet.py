"""The U-Net: the published size, its halves, and what attention and stem do."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from uadbench.methods.parts.unet import SpatialAttention, UNet, UNetSettings, timestep_embedding

from cases import awake

LEAN: dict[str, Any] = {
    "channels": 16,
    "multipliers": [1, 2, 2],
    "blocks": 1,
    "head_channels": 8,
    "attention": False,
    "attention_sides": [6],
    "stem": 2,
}


def lean(side: int = 24, **changes: Any) -> UNet:
    return UNet(UNetSettings.model_validate({**LEAN, **changes}), side)


@pytest.mark.parametrize(("attention", "parameters", "flops"), [(False, 37.51e6, 149.1e9), (True, 41.21e6, 200.1e9)])
def test_size_of_the_published_network(
    paper_sections: dict[str, dict[str, Any]], attention: bool, parameters: float, flops: float
) -> None:
    settings = UNetSettings.model_validate({**paper_sections["unet"], "attention": attention})
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        net = UNet(settings, 96)
        estimate = net(torch.empty(1, 1, 96, 96), torch.empty(1))
    assert estimate.shape == (1, 1, 96, 96)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(parameters, rel=0.005)
    assert counter.get_total_flops() == pytest.approx(flops, rel=0.005)


def test_forward_is_decode_of_encode() -> None:
    net, x, t = awake(lean()), torch.randn(2, 1, 24, 24), torch.tensor([3, 700])
    encoded = net.encode(x, t)
    assert encoded.features.shape == (2, net.feature_channels, net.feature_side, net.feature_side) == (2, 32, 3, 3)
    torch.testing.assert_close(net(x, t), net.decode(encoded, encoded.features))
    assert not torch.allclose(net(x, t), net.decode(encoded, encoded.features + 1))


def test_starts_as_zero_and_every_parameter_learns() -> None:
    net, x, t = lean(attention=True), torch.randn(2, 1, 24, 24), torch.tensor([3, 700])
    assert not net(x, t).any()
    awake(net)(x, t).square().mean().backward()
    dead = [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    # A convolution's bias before a group norm with one channel a group is the only thing that could cancel.
    assert not dead


def test_timestep_changes_the_estimate() -> None:
    net, x = awake(lean()), torch.randn(1, 1, 24, 24)
    assert not torch.allclose(net(x, torch.tensor([1])), net(x, torch.tensor([900])))


def test_images_do_not_mix() -> None:
    net, x, t = awake(lean(attention=True)), torch.randn(3, 1, 24, 24), torch.tensor([5, 50, 500])
    alone = torch.cat([net(x[b : b + 1], t[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(net(x, t), alone, rtol=1e-4, atol=1e-5)


def test_attention_is_where_it_is_asked_for() -> None:
    def attentions(net: UNet) -> list[int]:
        sides: list[int] = []
        for module in net.modules():
            if isinstance(module, SpatialAttention):
                module.register_forward_hook(lambda _m, _i, output: sides.append(output.shape[-1]))
        net(torch.randn(1, 1, 24, 24), torch.tensor([1]))
        return sides

    assert attentions(lean()) == [3]
    assert attentions(lean(attention=True)) == [6, 3, 6, 6]  # encoder, middle, decoder (one block more)


def test_spatial_attention_against_plain_softmax() -> None:
    layer, x = SpatialAttention(16, 8), torch.randn(2, 16, 3, 5)
    with torch.no_grad():
        layer.project.weight.normal_()
        tokens = layer.norm(x).flatten(2).transpose(1, 2)
        q, k, v = layer.qkv(tokens).chunk(3, dim=-1)
        heads = []
        for h in range(2):
            part = slice(8 * h, 8 * h + 8)
            weights = (q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5).softmax(-1)
            heads.append(weights @ v[..., part])
        expected = x + layer.project(torch.cat(heads, -1)).transpose(1, 2).reshape(x.shape)
        torch.testing.assert_close(layer(x), expected)


def test_timestep_embedding_formula() -> None:
    embedding = timestep_embedding(torch.tensor([0, 17]), 8)
    angles = 17 * 10000.0 ** (-torch.arange(4) / 4)
    torch.testing.assert_close(embedding[0], torch.tensor([1.0] * 4 + [0.0] * 4))
    torch.testing.assert_close(embedding[1], torch.cat([angles.cos(), angles.sin()]))


def test_impossible_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by 8, not 28"):
        lean(side=28)
    with pytest.raises(ValueError, match=r"\[5\]"):
        lean(attention=True, attention_sides=[5])
    with pytest.raises(ValidationError, match="head_channels"):
        lean(head_channels=7)
    with pytest.raises(ValidationError, match="empty"):
        lean(attention=True, attention_sides=[])
