"""The networks of a Wasserstein GAN in residual blocks, and its gradient penalty.

Shapes as in Schlegl et al. (2019), whose networks are those of Gulrajani et al. (2017), "Improved training of
Wasserstein GANs": pre-activated residual blocks that halve the image by mean pooling or double it by nearest-neighbour
upsampling; batch norm in the generator, layer norm in the critic, because the gradient penalty is a statement about
single images and batch norm would couple them. All networks speak of images in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Annotated, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ..base import Frozen
from .full_precision import full_precision

Norm = Callable[[int], nn.Module]
_LayerT = TypeVar("_LayerT", nn.Conv2d, nn.Linear)


class GanSettings(Frozen):
    """The shape of generator, critic and encoder (preset section `gan`).

    Attributes:
        channels: channels at each resolution, finest first: one residual block between two neighbours.
        latent: numbers in a code.
        shrink: the networks work on images smaller by this factor, shrunk by mean pooling and enlarged bilinearly; 1
            is none.
    """

    channels: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(min_length=2, max_length=10)
    latent: int = Field(ge=1, le=65_536)
    shrink: int = Field(ge=1, le=1024)


def layer_norm(channels: int) -> nn.Module:
    """Normalise each image over all its channels and pixels, with one gain and offset a channel."""
    return nn.GroupNorm(1, channels)


def batch_norm(channels: int) -> nn.Module:
    """Normalise each channel over the batch; over running statistics in evaluation."""
    return nn.BatchNorm2d(channels)


class PooledConv2d(nn.Conv2d):
    """A padded 3×3 convolution followed by 2×2 mean pooling, computed as one strided 4×4 convolution.

    The same numbers for less than half the work.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H/2, W/2]."""
        return F.conv2d(image, _spread(self.weight), self.bias, stride=2, padding=1)


def _spread(kernel: Tensor) -> Tensor:
    """The 4×4 kernel that does at once what a 3×3 kernel and a mean over 2×2 pixels do one after the other."""
    return F.avg_pool2d(F.pad(kernel, (1, 1, 1, 1)), 2, stride=1)


class ResidualBlock(nn.Module):
    """Two normalised, activated 3×3 convolutions beside a 1×1 shortcut; doubles or halves the image.

    Args:
        inputs: channels in.
        outputs: channels out.
        norm: makes the normalisation of so many channels.
        resample: "up" doubles height and width, "down" halves them.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, resample: Literal["up", "down"]) -> None:
        super().__init__()
        upwards = resample == "up"
        # The wider resolution sees the fewer channels, on the way up as on the way down.
        middle = outputs if upwards else inputs
        self.branch = nn.Sequential(
            norm(inputs),
            nn.ReLU(),
            nn.Upsample(scale_factor=2) if upwards else nn.Identity(),
            _he(nn.Conv2d(inputs, middle, 3, padding=1, bias=False)),
            norm(middle),
            nn.ReLU(),
            _he((nn.Conv2d if upwards else PooledConv2d)(middle, outputs, 3, padding=1)),
        )
        # A 1×1 convolution commutes with both resamplings: it stands where the image is small.
        shortcut = _glorot(nn.Conv2d(inputs, outputs, 1))
        self.shortcut = nn.Sequential(
            *((shortcut, nn.Upsample(scale_factor=2)) if upwards else (nn.AvgPool2d(2), shortcut))
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, 2H, 2W] or [B, outputs, H/2, W/2]."""
        return self.shortcut(image) + self.branch(image)  # type: ignore[no-any-return]


class ResidualEncoder(nn.Module):
    """Maps images to numbers: the critic with layer norm and one output, the encoder with batch norm and a code.

    Attributes:
        features: all but the last layer; [B, 1, H, W] to [B, C, h, w].
        dense: the last layer.

    Args:
        settings: the shape.
        side: height and width of an image.
        outputs: numbers per image.
        norm: makes the normalisation of so many channels.
    """

    def __init__(self, settings: GanSettings, side: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        small = _smallest_side(settings, side)
        self.features = nn.Sequential(
            nn.AvgPool2d(settings.shrink),
            _glorot(nn.Conv2d(1, settings.channels[0], 3, padding=1)),
            *(ResidualBlock(inputs, outputs, norm, "down") for inputs, outputs in pairwise(settings.channels)),
        )
        self.dense = _glorot(nn.Linear(settings.channels[-1] * small**2, outputs))

    def forward(self, image: Tensor) -> Tensor:
        """Map [B, 1, H, W] to [B, outputs]."""
        return self.dense(self.features(image).flatten(1))  # type: ignore[no-any-return]


class ResidualGenerator(nn.Module):
    """Maps codes to images in [-1, 1]: the critic's mirror image, with batch norm.

    Args:
        settings: the shape.
        side: height and width of an image.
    """

    def __init__(self, settings: GanSettings, side: int) -> None:
        super().__init__()
        small = _smallest_side(settings, side)
        coarse, fine = settings.channels[-1], settings.channels[0]
        self.layers = nn.Sequential(
            _glorot(nn.Linear(settings.latent, coarse * small**2)),
            nn.Unflatten(1, (coarse, small, small)),
            *(
                ResidualBlock(inputs, outputs, batch_norm, "up")
                for inputs, outputs in pairwise(reversed(settings.channels))
            ),
            batch_norm(fine),
            nn.ReLU(),
            _glorot(nn.Conv2d(fine, 1, 3, padding=1)),
            nn.Tanh(),
            nn.Upsample(scale_factor=settings.shrink, mode="bilinear"),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Map [B, latent] to [B, 1, H, W]."""
        return self.layers(code)  # type: ignore[no-any-return]


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, blend: Tensor) -> Tensor:
    """How far the critic's slope is from one between real and generated images (Gulrajani et al. 2017, Eq. 3).

    Computed in float32 whatever the precision of the training: the critic runs without autocast, because the square of
    a slope near one, differentiated once more, does not survive eight bits of mantissa.

    Args:
        critic: maps images to numbers; each number must depend on its own image only.
        real: float [B, 1, H, W].
        fake: generated images of the same shape.
        blend: share of the real image in each mixture, float [B].

    Returns:
        The mean of (‖∇ critic‖₂ - 1)², a scalar through which the critic's weights can be differentiated.
    """
    with full_precision(real):
        start, end = fake.detach().float(), real.detach().float()
        mixed = torch.lerp(start, end, blend.float().view(-1, 1, 1, 1)).requires_grad_()
        # On a GPU the graph of this gradient would be made in a thread of its own, whose numbering of the graph's nodes
        # depends on what the process has done before, and with it the order in which a weight's gradients are added.
        with torch.autograd.set_multithreading_enabled(False):
            (slopes,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        # The tiny number keeps the second derivative finite where a slope vanishes.
        return ((slopes.square().flatten(1).sum(1) + 1e-12).sqrt() - 1).square().mean()


def untouched(module: nn.Module, argument: Tensor) -> Tensor:
    """Run a module as a mere function: no gradient reaches its weights, and its buffers stay as they are.

    Args:
        module: in training mode batch norm uses the batch's own statistics, without remembering them.
        argument: what the module maps; gradients do flow to it.
    """
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    return functional_call(module, weights | buffers, (argument,))  # type: ignore[no-any-return]


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and back into its own mode whatever happens."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _smallest_side(settings: GanSettings, side: int) -> int:
    factor: int = settings.shrink * 2 ** (len(settings.channels) - 1)
    if side % factor:
        raise ValueError(
            f"a GAN with channels {settings.channels} and shrink {settings.shrink} needs image.side divisible by "
            f"{factor}, not {side}"
        )
    return side // factor


def _he(layer: nn.Conv2d) -> nn.Conv2d:
    """Initialise a layer that follows a ReLU (He et al. 2015)."""
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _glorot(layer: _LayerT) -> _LayerT:
    """Initialise a layer that follows no ReLU (Glorot and Bengio 2010)."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
