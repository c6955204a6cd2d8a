"""Layout in memory: chosen by the kind of device, the same numbers up to rounding."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from uadbench.methods.parts import unet
from uadbench.methods.parts.layout import lay_out, layout
from uadbench.methods.parts.unet import UNet, UNetSettings

from cases import awake

SETTINGS = UNetSettings(
    channels=16, multipliers=(1, 2), blocks=1, head_channels=16, attention=True, attention_sides=(24,), stem=2
)


def test_a_cpu_alone_wants_pixel_after_pixel() -> None:
    assert layout(torch.device("cpu")) is torch.channels_last
    assert layout(torch.device("cuda", 1)) is torch.contiguous_format


def test_a_network_that_moves_is_laid_out_for_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's meta device stands for a GPU."""
    net = UNet(SETTINGS, 96)
    weight = net.encoder[0].block.conv_in.weight
    before = weight.detach().clone()
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    assert nn.ModuleList([net]).to("meta")[0].encoder[0].block.conv_in.weight.is_contiguous()
    layer = nn.Conv2d(3, 4, 3)
    kept = layer.weight.detach().clone()
    lay_out(layer)
    assert torch.equal(layer.weight, kept)
    again = UNet(SETTINGS, 96)
    again.encoder[0].block.conv_in.weight.data.copy_(before)
    assert torch.equal(again.to(torch.float64).encoder[0].block.conv_in.weight.float(), before)


def test_the_norm_is_that_of_float64() -> None:
    torch.manual_seed(0)
    norm = unet._Norm(16)
    nn.init.normal_(norm.weight)
    image = (3 * torch.randn(8, 16, 48, 48) + 1).to(memory_format=torch.channels_last)
    expected = F.group_norm(image.double().contiguous(), norm.num_groups, norm.weight.double(), norm.bias.double())
    found = norm(image)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() < 6e-6


def test_both_layouts_give_the_numbers_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients of a network all of whose paths count, within the rounding of sums."""
    torch.manual_seed(0)
    net = awake(UNet(SETTINGS, 96))
    image, t = torch.randn(2, 1, 96, 96), torch.tensor([3, 700])
    found = []
    for form in (torch.channels_last, torch.contiguous_format):
        monkeypatch.setattr(unet, "layout", lambda device, form=form: form)
        monkeypatch.setattr("uadbench.methods.parts.layout.layout", lambda device, form=form: form)
        lay_out(net)
        assert net.encoder[0].block.conv_in.weight.is_contiguous(memory_format=form)
        net.zero_grad()
        estimate = net(image, t)
        estimate.square().mean().backward()
        found.append((estimate.detach(), [weight.grad.clone() for weight in net.parameters()]))
    (one, gradients), (other, others) = found
    assert (one - other).abs().max() < 2e-6 * one.abs().max()
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    assert max(float((a - b).abs().max()) for a, b in zip(gradients, others, strict=True)) < 2e-6 * largest
