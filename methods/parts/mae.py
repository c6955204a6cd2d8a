"""The masked-autoencoder module of MAEDiff (paper, section 3.3 and Figure 2).

It acts on f, the output of the U-Net's encoder. f is cut into the grid cells of the image. The encoder, a small ViT,
sees the visible cells only; the decoder sees all cells and, before each self-attention, attends to what one encoder
block made of the visible ones, the first decoder block to the deepest. The decoder's tokens, brought back to the
shape of f by transposed convolutions, are added to f. No timestep enters.

What the paper leaves open. The sum goes on to the middle block (section 3.3). f is also what the decoder's first stage
gets over its skip connection, and neither text nor Figure 2 says whether that is f or the sum. Here it is f, as the
U-Net's encoder made it: the module lies between encoder and middle block, and the skips leave before it.

Start: the last layer of the way back is zero, so the module begins as no change at all and the U-Net around it begins
as the plain one (the same device that the U-Net uses for its own residual branches).
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ..base import Frozen
from .recomputed import Recomputing
from .vit import Block, CrossBlock, sincos_positions


class MAESettings(Frozen):
    """The MAE module (preset section `mae`; paper, section 4.3).

    Attributes:
        enabled: whether the network has the module (Table 2 takes it away).
        encoder_width: d1, components of an encoder token.
        encoder_depth: blocks of the encoder.
        encoder_heads: attention heads of the encoder.
        decoder_width: d2, components of a decoder token.
        decoder_depth: blocks of the decoder.
        decoder_heads: attention heads of the decoder.
        mlp_ratio: hidden width of the perceptrons, as a multiple of the token's.
    """

    enabled: bool
    encoder_width: int = Field(ge=4, le=8192, multiple_of=4)
    encoder_depth: int = Field(ge=1, le=64)
    encoder_heads: int = Field(ge=1, le=1024)
    decoder_width: int = Field(ge=4, le=8192, multiple_of=4)
    decoder_depth: int = Field(ge=1, le=64)
    decoder_heads: int = Field(ge=1, le=1024)
    mlp_ratio: int = Field(ge=1, le=64)

    @model_validator(mode="after")
    def _divided(self) -> Self:
        for part in ("encoder", "decoder"):
            width, heads = getattr(self, f"{part}_width"), getattr(self, f"{part}_heads")
            if width % heads:
                raise ValueError(f"mae.{part}_heads ({heads}) must divide mae.{part}_width ({width})")
        return self


class MAEEncoder(Recomputing):
    """Encodes the visible cells.

    Args:
        settings: width, depth and heads.
        cell: numbers in a cell of f.
        grid: cells per side.
    """

    positions: Tensor

    def __init__(self, settings: MAESettings, cell: int, grid: int) -> None:
        super().__init__()
        width = settings.encoder_width
        self.embed = nn.Linear(cell, width)
        self.register_buffer("positions", sincos_positions(grid, grid, width), persistent=False)
        self.blocks = nn.ModuleList(
            Block(width, settings.encoder_heads, settings.mlp_ratio) for _ in range(settings.encoder_depth)
        )

    def forward(self, cells: Tensor, visible: Tensor) -> list[Tensor]:
        """Return the output of every block, first to last.

        Args:
            cells: all cells of f, [B, N, cell]; only the visible ones are read.
            visible: which cells are visible, int64 [B, V].

        Returns:
            One tensor [B, V, encoder_width] a block.
        """
        seen = cells.gather(1, visible[:, :, None].expand(-1, -1, cells.shape[2]))
        tokens = self.embed(seen) + self.positions[visible]
        outputs = []
        for block in self.blocks:
            tokens = self.run(block, tokens)
            outputs.append(tokens)
        return outputs


class MAEDecoder(Recomputing):
    """Rethinks all cells in the light of the visible ones.

    Args:
        settings: widths, depths and heads.
        cell: numbers in a cell of f.
        grid: cells per side.
    """

    positions: Tensor

    def __init__(self, settings: MAESettings, cell: int, grid: int) -> None:
        super().__init__()
        width = settings.decoder_width
        self.sources = uniform_sources(settings.encoder_depth, settings.decoder_depth)
        self.embed = nn.Linear(cell, width)
        self.register_buffer("positions", sincos_positions(grid, grid, width), persistent=False)
        self.blocks = nn.ModuleList(
            CrossBlock(width, settings.encoder_width, settings.decoder_heads, settings.mlp_ratio)
            for _ in range(settings.decoder_depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, cells: Tensor, encoded: list[Tensor]) -> Tensor:
        """Map all cells [B, N, cell], given the encoder blocks' outputs, to tokens [B, N, decoder_width]."""
        tokens = self.embed(cells) + self.positions
        for block, source in zip(self.blocks, self.sources, strict=True):
            tokens = self.run(block, tokens, encoded[source])
        return self.norm(tokens)  # type: ignore[no-any-return]


class MAEModule(nn.Module):
    """Adds to the encoder's features what the visible cells tell about all cells.

    Args:
        settings: the two transformers.
        channels: channels of f.
        side: height and width of f.
        grid: cells per side; `side / grid` must be a power of two, for the transposed convolutions.
    """

    def __init__(self, settings: MAESettings, channels: int, side: int, grid: int) -> None:
        super().__init__()
        cell_side = side // grid
        if side % grid or cell_side & (cell_side - 1):
            raise ValueError(
                f"{grid}×{grid} grid cells need a feature map of {grid} times a power of two per side, not {side}: "
                "choose patch.grid, unet.stem and unet.multipliers to match"
            )
        self.grid, self.cell_side = grid, cell_side
        numbers = channels * cell_side**2
        self.encoder = MAEEncoder(settings, numbers, grid)
        self.decoder = MAEDecoder(settings, numbers, grid)
        self.upsample = _upsampling(settings.decoder_width, channels, cell_side)

    def forward(self, features: Tensor, visible: Tensor) -> Tensor:
        """Return f plus the module's output.

        Args:
            features: f, [B, C, h, w].
            visible: the visible cells of each image, int64 [B, V].
        """
        cells = self._cells(features)
        tokens = self.decoder(cells, self.encoder(cells, visible))
        return features + self.upsample(tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid)))  # type: ignore[no-any-return]

    def _cells(self, features: Tensor) -> Tensor:
        """Cut [B, C, h, w] into cells, row by row: [B, N, cell_side·cell_side·C]."""
        side = (self.grid, self.cell_side)
        cut = torch.unflatten(torch.unflatten(features, 3, side), 2, side)
        return cut.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def uniform_sources(encoder_depth: int, decoder_depth: int) -> tuple[int, ...]:
    """Return which encoder block each decoder block attends to, both counted from 0.

    Spread evenly and U-shaped: the first decoder block looks at the deepest encoder block, the last at the first.
    """
    last = max(1, decoder_depth - 1)
    return tuple(round((encoder_depth - 1) * (1 - block / last)) for block in range(decoder_depth))


def _upsampling(width: int, channels: int, factor: int) -> nn.Sequential:
    """Return transposed convolutions that enlarge by a power of two, the last one zero; a 1×1 convolution for 1."""
    doublings = factor.bit_length() - 1
    if doublings == 0:
        layers: list[nn.Module] = [nn.Conv2d(width, channels, 1)]
    else:
        layers = [nn.ConvTranspose2d(width, channels, 2, stride=2)]
        for _ in range(doublings - 1):
            layers += [nn.GELU(), nn.ConvTranspose2d(channels, channels, 2, stride=2)]
    for parameter in layers[-1].parameters():
        nn.init.zeros_(parameter)
    return nn.Sequential(*layers)
