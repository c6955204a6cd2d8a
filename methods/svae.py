"""SVAE: the VAE with the context of neighbouring slices (Behrendt et al., MIDL short papers 2022).

The short paper lets the slices of a scan inform each other, by a recurrent network or by transformer-based
self-attention, together with a VAE that has about as many parameters as the slice-wise one. This much its abstract
says; how many slices take part, where they meet and how large the parts are we could not find out, and we know of no
published code. Chosen here, the self-attention variant on Baur's VAE:

* The encoder, shared by all slices, turns each of the 2k + 1 slices around a slice into a vector. A learned position
  tells the neighbours apart by their distance, and transformer blocks let them exchange what they hold.
* Mean and log-variance of the code are read off the middle slice's vector. The blocks only add to it: without them the
  network is the VAE. A slice further away than k cannot matter, however many blocks there are.
* Only the middle slice is decoded. Every slice then is trained as it is scored, between k neighbours on each side; the
  outer slices of a stack would be trained on a one-sided context that scoring never shows. The loss stays the VAE's.

A volume is encoded once, slice by slice, and its windows are cut from the vectors: beyond the volume's ends the
outermost slice stands in, as in training.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from .base import Batch, Detector, Frozen, MethodInfo, OptimizerSettings, Row, Scan
from .parts.autoencoder import AutoencoderSettings, ConvDecoder, ConvEncoder
from .parts.patches import ImageSettings
from .parts.variational import GaussianCode, VariationalSettings, bound_loss
from .parts.vit import Block
from .registry import register

_POSITION_STD = 0.02  # of learned positions at the start, as in ViT


class SliceAttentionSettings(Frozen):
    """How neighbouring slices meet (preset section `svae`).

    Attributes:
        context: k, neighbours on each side.
        width: numbers that stand for a slice while it attends.
        depth: transformer blocks.
        heads: attention heads; a divisor of the width.
        mlp_ratio: hidden width of a block's perceptron, as a multiple of `width`.
    """

    context: int = Field(ge=0, le=100)
    width: int = Field(ge=1, le=8192)
    depth: int = Field(ge=1, le=64)
    heads: int = Field(ge=1, le=1024)
    mlp_ratio: int = Field(ge=1, le=64)

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"svae.heads ({self.heads}) must divide svae.width ({self.width})")
        return self


class SVAESettings(Frozen):
    """One field a preset section."""

    image: ImageSettings
    optimizer: OptimizerSettings
    autoencoder: AutoencoderSettings
    vae: VariationalSettings
    svae: SliceAttentionSettings


class SliceAttention(nn.Module):
    """Lets the slices of a window attend to each other and returns the middle one.

    Args:
        settings: sizes.
    """

    def __init__(self, settings: SliceAttentionSettings) -> None:
        super().__init__()
        self.middle = settings.context
        self.position = nn.Parameter(_POSITION_STD * torch.randn(2 * settings.context + 1, settings.width))
        self.blocks = nn.Sequential(
            *(Block(settings.width, settings.heads, settings.mlp_ratio) for _ in range(settings.depth))
        )

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows [B, 2k + 1, width] to their middle slices [B, width]."""
        return self.blocks(windows + self.position)[:, self.middle]  # type: ignore[no-any-return]


@register
class SVAE(Detector):
    """Variational autoencoder of a slice among its neighbours.

    Args:
        settings: image, optimiser, network, weight of the divergence, attention between slices.
    """

    info = MethodInfo(
        name="svae",
        title="SVAE",
        citation=(
            "F. Behrendt, M. Bengs, D. Bhattacharya, J. Krüger, R. Opfer, A. Schlaefer. Capturing inter-slice "
            "dependencies of 3D brain MRI-scans for unsupervised anomaly detection. Medical Imaging with Deep Learning "
            "(short papers), 2022."
        ),
        year=2022,
        rows=(Row("svae", "SVAE"),),
        paper="Behrendt et al. 2022",
        note=(
            "How many slices inform each other, and the sizes of the attention, are not known from the short paper's "
            "abstract: chosen here, on Baur's VAE, at about its number of parameters."
        ),
    )
    Settings = SVAESettings

    def __init__(self, settings: SVAESettings) -> None:
        super().__init__(settings)
        side, latent, width = settings.image.side, settings.autoencoder.latent, settings.svae.width
        self.kl_weight = settings.vae.kl_weight
        self.encoder = ConvEncoder(settings.autoencoder, side, width)
        self.attention = SliceAttention(settings.svae)
        self.head = nn.Linear(width, 2 * latent)
        self.decoder = ConvDecoder(settings.autoencoder, side)
        self._context = settings.svae.context

    @property
    def context(self) -> int:
        """Neighbouring slices on each side."""
        return self._context

    def encode(self, stack: Tensor) -> GaussianCode:
        """Map stacks [B, 2k + 1, H, W] to the middle slices' distributions of codes."""
        features = self.encoder(stack.flatten(0, 1)[:, None])
        return self._code(features.unflatten(0, stack.shape[:2]))

    def forward(self, stack: Tensor) -> Tensor:
        """Map stacks [B, 2k + 1, H, W] to the reconstructions of their middle slices, float32 [B, 1, H, W]."""
        return self.decoder(self.encode(stack).mean).float()  # type: ignore[no-any-return]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the variational loss of one sampled code an image."""
        code = self.encode(batch.stack)
        return bound_loss(self.decoder(code.sample(batch.seed)), batch.image, code, self.kl_weight)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the variational loss of the mean codes."""
        code = self.encode(batch.stack)
        return bound_loss(self.decoder(code.mean), batch.image, code, self.kl_weight)

    def reconstruct(self, volume: Tensor, scan: Scan) -> Tensor:
        """Reconstruct every slice among its neighbours, [D, 1, H, W] to the same shape."""
        features = torch.cat([self.encoder(slices) for slices in torch.split(volume, scan.batch_size)])
        windows = torch.split(features[self._windows(len(volume), volume.device)], scan.batch_size)
        return torch.cat([self.decoder(self._code(part).mean).float() for part in windows])

    def _code(self, windows: Tensor) -> GaussianCode:
        """Map windows of encoded slices [B, 2k + 1, width] to the middle slices' distributions of codes."""
        return GaussianCode.of(self.head(self.attention(windows)))

    def _windows(self, depth: int, device: torch.device) -> Tensor:
        """Return which slices stand around each, int64 [D, 2k + 1]."""
        offsets = torch.arange(-self._context, self._context + 1, device=device)
        return (torch.arange(depth, device=device)[:, None] + offsets).clamp(0, depth - 1)
