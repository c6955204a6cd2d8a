"""The MAE module: positions, who attends to whom, and that the encoder is blind where it must be."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from uadbench.methods.parts.mae import MAEModule, MAESettings, uniform_sources
from uadbench.methods.parts.patches import PatchGrid, PatchSettings
from uadbench.methods.parts.vit import Attention, Block, CrossBlock, sincos_positions

SMALL: dict[str, Any] = {
    "enabled": True,
    "encoder_width": 24,
    "encoder_depth": 3,
    "encoder_heads": 3,
    "decoder_width": 32,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "mlp_ratio": 2,
}


@pytest.fixture
def patches() -> PatchGrid:
    return PatchGrid(PatchSettings(size=48, stride=16, grid=16), 96)


def small(channels: int = 8, side: int = 24) -> MAEModule:
    """A small module whose output layer is not zero."""
    module = MAEModule(MAESettings.model_validate(SMALL), channels, side, 6)
    with torch.no_grad():
        for parameter in module.upsample[-1].parameters():
            parameter.normal_()
    return module


def masked_pixels(patches: PatchGrid, side: int) -> torch.Tensor:
    """Which positions of the feature map lie under each patch, [K, 1, side, side]."""
    step = 96 // side
    return patches.masks[:, None, ::step, ::step]


def test_positions_formula() -> None:
    positions = sincos_positions(3, 5, 16)
    for n in range(15):
        for k in range(4):
            omega = 10000.0 ** (-k / 4)
            expected = [
                math.sin(n // 5 * omega),
                math.cos(n // 5 * omega),
                math.sin(n % 5 * omega),
                math.cos(n % 5 * omega),
            ]
            assert positions[n, k::4].tolist() == pytest.approx(expected, abs=1e-6)


def test_eight_decoder_blocks_spread_over_twelve() -> None:
    sources = uniform_sources(12, 8)
    assert sources[0] == 11
    assert sources[-1] == 0
    steps = [a - b for a, b in pairwise(sources)]
    assert set(steps) == {1, 2}
    assert uniform_sources(4, 4) == (3, 2, 1, 0)
    assert uniform_sources(5, 1) == (4,)


def test_paper_module_is_vit_small_with_eight_cross_blocks(paper_sections: dict[str, dict[str, Any]]) -> None:
    with torch.device("meta"):
        module = MAEModule(MAESettings.model_validate(paper_sections["mae"]), 256, 24, 6)
    width = 384
    block = 4 * width**2 + 4 * width + 8 * width**2 + 5 * width + 4 * width  # attention, perceptron, two norms
    assert sum(p.numel() for p in module.encoder.blocks.parameters()) == 12 * block  # 21.3 M: ViT-S
    assert module.encoder.embed.in_features == module.decoder.embed.in_features == 4 * 4 * 256
    assert len(module.encoder.blocks) == 12
    assert all(isinstance(block, Block) and block.attention.heads == 6 for block in module.encoder.blocks)
    assert len(module.decoder.blocks) == 8
    assert all(isinstance(block, CrossBlock) and block.cross.heads == 16 for block in module.decoder.blocks)


def test_decoder_block_attends_to_its_encoder_block() -> None:
    module, features = small(), torch.randn(1, 8, 24, 24)
    seen: list[torch.Tensor] = []
    for block in module.decoder.blocks:
        block.register_forward_pre_hook(lambda _m, args: seen.append(args[1]))
    outputs: list[torch.Tensor] = []
    for block in module.encoder.blocks:
        block.register_forward_hook(lambda _m, _i, output: outputs.append(output))
    module(features, torch.arange(27)[None])
    assert torch.equal(seen[0], outputs[2])
    assert torch.equal(seen[1], outputs[0])


@pytest.mark.parametrize("k", [0, 5, 15])
def test_encoder_sees_the_visible_cells_only(patches: PatchGrid, k: int) -> None:
    module, features = small(), torch.randn(1, 8, 24, 24)
    masked = masked_pixels(patches, 24)[k : k + 1]
    visible = patches.visible_cells[k : k + 1]

    def encode(f: torch.Tensor) -> torch.Tensor:
        return torch.stack(module.encoder(module._cells(f), visible))

    before = encode(features)
    assert before.shape == (3, 1, 27, 24)
    assert torch.equal(before, encode(torch.where(masked, torch.randn_like(features), features)))
    # And it does see each visible cell.
    for cell in visible[0].tolist():
        other = features.clone()
        other[0, :, cell // 6 * 4, cell % 6 * 4] += 1
        assert not torch.equal(before, encode(other))


def test_masked_cells_reach_the_decoder(patches: PatchGrid) -> None:
    module, features = small(), torch.randn(1, 8, 24, 24)
    changed = torch.where(masked_pixels(patches, 24)[:1], torch.randn_like(features), features)
    difference = module(changed, patches.visible_cells[:1]) - module(features, patches.visible_cells[:1])
    assert difference[:, :, 20:, 20:].abs().max() > 1e-6  # beyond the patch: through self-attention


def test_each_image_has_its_own_patch(patches: PatchGrid) -> None:
    module, features, patch = small(), torch.randn(4, 8, 24, 24), torch.tensor([0, 3, 9, 15])
    together = module(features, patches.visible_cells[patch])
    for b, k in enumerate(patch.tolist()):
        alone = module(features[b : b + 1], patches.visible_cells[k : k + 1])
        torch.testing.assert_close(together[b : b + 1], alone, rtol=1e-4, atol=1e-5)


def test_cells_are_the_grid_row_by_row() -> None:
    features = torch.randn(2, 8, 24, 24)
    cells = small()._cells(features)
    for n in range(36):
        top, left = n // 6 * 4, n % 6 * 4
        block = features[:, :, top : top + 4, left : left + 4]
        assert torch.equal(cells[:, n], block.permute(0, 2, 3, 1).flatten(1))


@pytest.mark.parametrize("side", [6, 12, 24, 48])
def test_output_has_the_shape_of_f_whatever_the_stem(side: int, patches: PatchGrid) -> None:
    features = torch.randn(2, 8, side, side)
    assert small(side=side)(features, patches.visible_cells[:2]).shape == features.shape


def test_starts_as_no_change_and_every_parameter_learns(patches: PatchGrid) -> None:
    features, visible = torch.randn(2, 8, 24, 24), patches.visible_cells[:2]
    assert torch.equal(MAEModule(MAESettings.model_validate(SMALL), 8, 24, 6)(features, visible), features)
    module = small()
    module(features, visible).square().mean().backward()
    dead = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


def test_cross_attention_comes_first_and_reads_the_context() -> None:
    block, tokens = CrossBlock(32, 24, 4, 2), torch.randn(1, 5, 32)
    one, other = torch.randn(1, 7, 24), torch.randn(1, 7, 24)
    assert not torch.allclose(block(tokens, one), block(tokens, other))
    crossed = tokens + block.cross(block.norm_cross(tokens), block.norm_context(one))
    torch.testing.assert_close(block(tokens, one), block.block(crossed))


def test_attention_against_plain_softmax() -> None:
    layer, tokens, context = Attention(8, 6, 2), torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    key, value = layer.key_value(context).chunk(2, -1)
    query = layer.query(tokens)
    parts = [slice(0, 4), slice(4, 8)]
    mixed = [(query[..., p] @ key[..., p].transpose(1, 2) / 2).softmax(-1) @ value[..., p] for p in parts]
    torch.testing.assert_close(layer(tokens, context), layer.project(torch.cat(mixed, -1)))


def test_cells_must_fit_the_feature_map() -> None:
    with pytest.raises(ValueError, match="power of two"):
        small(side=18)
