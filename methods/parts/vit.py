"""Vision Transformer blocks (Dosovitskiy et al. 2021) with fixed 2-D positions, and their cross-attending variant.

The cross-attending block is the MAE decoder's of the paper, section 3.3: before the self-attention of a usual block,
all tokens attend to a context, here the visible tokens of one encoder block.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_MAX_PERIOD = 10_000.0


def sincos_positions(rows: int, columns: int, width: int) -> Tensor:
    """Return fixed sinusoidal positions of the cells of a grid, numbered row by row.

    The first half of the components encodes the row, the second the column; each half is sin(n·ω_k), then cos(n·ω_k),
    with ω_k = 10000^(-k / (width/4)).

    Args:
        rows: cells from top to bottom.
        columns: cells from left to right.
        width: components, divisible by 4.

    Returns:
        float32 [rows·columns, width].
    """
    if width % 4:
        raise ValueError(f"2-D sinusoidal positions need a width divisible by 4, not {width}")
    quarter = width // 4
    frequency = _MAX_PERIOD ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = [axis.reshape(-1, 1) * frequency for axis in (row, column)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1).float()


class Attention(nn.Module):
    """Multi-head attention of tokens to a context (or to themselves).

    Args:
        width: components of a token.
        context: components of a context token.
        heads: number of heads.
    """

    def __init__(self, width: int, context: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(context, 2 * width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Map tokens [B, N, width], given a context [B, M, context], to [B, N, width]."""
        query = self._split(self.query(tokens))
        key, value = map(self._split, self.key_value(context).chunk(2, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.project(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """Map [B, N, width] to [B, heads, N, width / heads]."""
        return torch.unflatten(x, 2, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block: self-attention, then a perceptron, each added to its input.

    Args:
        width: components of a token.
        heads: attention heads.
        mlp_ratio: hidden width of the perceptron, as a multiple of `width`.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens [B, N, width] to the same shape."""
        normed = self.norm_attention(tokens)
        tokens = tokens + self.attention(normed, normed)
        return tokens + self.mlp(self.norm_mlp(tokens))  # type: ignore[no-any-return]


class CrossBlock(nn.Module):
    """A transformer block that attends to a context first.

    Args:
        width: components of a token.
        context: components of a context token.
        heads: attention heads.
        mlp_ratio: hidden width of the perceptron, as a multiple of `width`.
    """

    def __init__(self, width: int, context: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm_cross = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(context)
        self.cross = Attention(width, context, heads)
        self.block = Block(width, heads, mlp_ratio)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Map tokens [B, N, width], given a context [B, M, context], to [B, N, width]."""
        tokens = tokens + self.cross(self.norm_cross(tokens), self.norm_context(context))
        return self.block(tokens)  # type: ignore[no-any-return]
