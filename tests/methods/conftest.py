"""Settings and images that the tests of the methods share."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch

from uadbench.benchmarks.plan.preset import load_preset
from uadbench.methods import Batch, Detector, Scan

PAPER: dict[str, dict[str, Any]] = load_preset("paper").sections

TINY: dict[str, Any] = {
    "unet.channels": 16,
    "unet.blocks": 1,
    "unet.head_channels": 16,
    "unet.attention_sides": [12, 6],
    "unet.stem": 4,
    "diffusion.t_test": 300,
    "mae.encoder_width": 24,
    "mae.encoder_depth": 3,
    "mae.encoder_heads": 3,
    "mae.decoder_width": 32,
    "mae.decoder_depth": 2,
    "mae.decoder_heads": 4,
    "autoencoder.filters": [8, 16, 32],
    "autoencoder.latent": 16,
    "resnet.channels": 4,
    "resnet.blocks": [1, 1, 1],
    "resnet.expansion": 2,
    "resnet.decoder_channels": 16,
    "cddpm.latent": 12,
    "cddpm.t_test_factors": [0.5, 1.0],
    "gan.channels": [8, 16, 16],
    "gan.latent": 16,
    "gan.shrink": 4,
    "svae.width": 16,
    "skip_unet.channels": 8,
}

Make = Callable[..., Detector]


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)


@pytest.fixture
def paper_sections() -> dict[str, dict[str, Any]]:
    """The paper's numbers, by preset section."""
    return deepcopy(PAPER)


@pytest.fixture
def make() -> Make:
    """Make a detector of a class: the paper's numbers, made tiny unless told otherwise, with dotted overrides."""

    def make_detector(cls: type[Detector], overrides: dict[str, Any] | None = None, *, tiny: bool = True) -> Detector:
        sections = deepcopy(PAPER)
        for key, value in {**(TINY if tiny else {}), **(overrides or {})}.items():
            section, name = key.split(".")
            sections[section][name] = value
        chosen = {name: sections[name] for name in cls.Settings.model_fields}
        return cls(cls.Settings.model_validate(chosen))

    return make_detector


@pytest.fixture
def blobs() -> Callable[[int, int], Batch]:
    """Make a batch of smooth round heads with one bright spot each: `blobs(count, seed)`."""

    def make_blobs(count: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        axis = torch.linspace(-1, 1, 96)
        y, x = axis[:, None], axis[None, :]
        images, masks = [], []
        for _ in range(count):
            cy, cx, radius, level = (torch.rand(4, generator=generator) - 0.5).tolist()
            head = (x**2 + y**2) < (0.7 + 0.2 * radius) ** 2
            spot = torch.exp(-((x - 0.5 * cx) ** 2 + (y - 0.5 * cy) ** 2) / 0.02)
            images.append(head * (0.4 + 0.3 * level + 0.3 * spot))
            masks.append(head)
        seeds = torch.randint(2**62, (count,), generator=generator)
        image = torch.stack(images)[:, None]
        return Batch(image, torch.stack(masks)[:, None], seeds, image)

    return make_blobs


@pytest.fixture
def scan_of() -> Callable[..., Scan]:
    """Make what a method may know of a volume: `scan_of(batch, seed=..., batch_size=...)`."""

    def make_scan(batch: Batch, seed: int = 7, batch_size: int = 16) -> Scan:
        return Scan(brain_mask=batch.brain_mask, seed=seed, batch_size=batch_size)

    return make_scan
