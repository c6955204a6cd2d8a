"""mDDPM: its masks against brute force and numpy.fft, and where they enter."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from uadbench.methods import Batch, Scan
from uadbench.methods.mddpm import MDDPM
from uadbench.methods.parts.masking import MaskingSettings, filtered, masked, rectangles
from uadbench.methods.parts.seeds import Stream, uniform
from uadbench.methods.pddpm import PDDPM

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
ScanOf = Callable[..., Scan]

SETTINGS = MaskingSettings(kind="cutmix", rectangles=5, extent=0.18, margin=5, band_min=2, band_max=10)


def waves(height: int, width: int, row: int, column: int) -> Tensor:
    """A plane wave of `row` and `column` cycles a slice."""
    y, x = torch.arange(height)[:, None] / height, torch.arange(width)[None, :] / width
    return torch.cos(2 * torch.pi * (row * y + column * x) + 0.3)[None, None]


@pytest.mark.parametrize(
    ("row", "column"), [(0, 0), (3, 0), (0, 3), (-3, 2), (2, -3), (4, 0), (1, 4), (-4, -4), (20, 1)]
)
def test_a_masked_frequency_vanishes_and_another_stays(row: int, column: int) -> None:
    wave, b = waves(96, 80, row, column), torch.tensor([4])
    inside = max(abs(row), abs(column)) < 4
    low, high = (filtered(wave, b, torch.tensor([keep])) for keep in (True, False))
    kept, gone = (low, high) if inside else (high, low)
    torch.testing.assert_close(kept, wave, rtol=0, atol=1e-5)
    torch.testing.assert_close(gone, torch.zeros_like(wave), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(96, 96), (15, 21)])
@pytest.mark.parametrize("keep_low", [True, False])
def test_the_filter_is_numpys(shape: tuple[int, int], keep_low: bool) -> None:
    """Against the full complex transform with the spectrum shifted, where the square is one around the middle."""
    image = torch.rand(1, 1, *shape)
    spectrum = np.fft.fftshift(np.fft.fft2(image[0, 0].double().numpy()))
    square = np.zeros(shape, dtype=bool)
    square[shape[0] // 2 - 4 : shape[0] // 2 + 5, shape[1] // 2 - 4 : shape[1] // 2 + 5] = True
    expected = np.fft.ifft2(np.fft.ifftshift(spectrum * (square if keep_low else ~square)))
    assert np.abs(expected.imag).max() < 1e-12  # the mask is symmetric: nothing is thrown away
    result = filtered(image, torch.tensor([5]), torch.tensor([keep_low]))
    np.testing.assert_allclose(result[0, 0].numpy(), expected.real, atol=1e-6)


def test_every_slice_has_its_own_filter() -> None:
    images, b, low = torch.rand(4, 1, 32, 32), torch.tensor([2, 5, 5, 9]), torch.tensor([True, False, True, False])
    together = filtered(images, b, low)
    for i in range(4):
        torch.testing.assert_close(together[i : i + 1], filtered(images[i : i + 1], b[i : i + 1], low[i : i + 1]))


def test_rectangles_by_brute_force() -> None:
    """Draw them pixel by pixel from the same uniform numbers."""
    count, side = 60, 96
    brain = torch.zeros(count, 1, side, side, dtype=torch.bool)
    brain[:, :, 10:83, 20:71] = True  # 73 rows: sides of 6 to 13 pixels
    number, boxes = torch.rand(count), torch.rand(count, 5, 4)
    expected = np.zeros((count, side, side), dtype=bool)
    for i in range(count):
        for h, w, y, x in boxes[i, : int(number[i] * 6)].tolist():
            height, width = 6 + int(h * 8), 6 + int(w * 8)
            top, left = 15 + int(y * (82 - 5 - 13 - 15 + 1)), 25 + int(x * (70 - 5 - 13 - 25 + 1))
            expected[i, top : top + height, left : left + width] = True
    result = rectangles(brain, number, boxes, SETTINGS)
    np.testing.assert_array_equal(result[:, 0].numpy(), expected)
    rows, columns = expected.any((0, 2)).nonzero()[0], expected.any((0, 1)).nonzero()[0]
    assert (rows.min() >= 15, rows.max() <= 77, columns.min() >= 25, columns.max() <= 65) == (True,) * 4


def test_how_much_is_masked() -> None:
    """One rectangle only: its area is that of two independent uniform sides, and half of the slices have none."""
    seeds, brain = torch.arange(1000), torch.ones(1000, 1, 96, 96, dtype=torch.bool)
    one = SETTINGS.model_copy(update={"rectangles": 1, "kind": "image"})
    area = (masked(torch.ones(1000, 1, 96, 96), brain, seeds, one) == 0).sum((1, 2, 3)).double()
    assert (area > 0).double().mean() == pytest.approx(0.5, abs=0.05)
    sides = np.arange(8, 18)  # floor(0.18 · 96) = 17
    assert area[area > 0].mean() == pytest.approx(sides.mean() ** 2, rel=0.05)
    assert set(area[area > 0].int().tolist()) <= {h * w for h in sides for w in sides}


@pytest.mark.parametrize("kind", ["image", "frequency", "cutmix"])
def test_each_kind_changes_what_it_should(blobs: Blobs, kind: Any) -> None:
    batch = blobs(40, 0)
    result = masked(batch.image, batch.brain_mask, batch.seed, SETTINGS.model_copy(update={"kind": kind}))
    draws = uniform(batch.seed, Stream.MASK, 23)
    inside = rectangles(batch.brain_mask, draws[:, 0], draws[:, 3:].view(40, 5, 4), SETTINGS) & batch.brain_mask
    half_width = 2 + (draws[:, 1] * 9).long()
    frequency = filtered(batch.image, half_width, draws[:, 2] < 0.5)
    changed = batch.brain_mask if kind == "frequency" else inside
    assert changed.any()
    assert torch.equal(result[~changed], batch.image[~changed])
    expected = torch.zeros_like(batch.image) if kind == "image" else frequency
    torch.testing.assert_close(result[changed], expected[changed])
    assert result.is_floating_point()
    assert set(half_width.tolist()) <= set(range(2, 11))
    assert 5 < (draws[:, 2] < 0.5).sum() < 35  # both high and low pass


def test_an_empty_or_tiny_brain_is_no_problem() -> None:
    image = torch.rand(2, 1, 96, 96)
    brain = torch.zeros(2, 1, 96, 96, dtype=torch.bool)
    brain[1, 0, 40:48, 40:46] = True
    image = image * brain
    result = masked(image, brain, torch.tensor([3, 4]), SETTINGS)
    assert torch.equal(result[0], image[0])
    assert result.isfinite().all()
    assert not result[~brain].any()


def test_the_network_sees_masks_and_must_return_the_slice(make: Make, blobs: Blobs) -> None:
    net, batch = make(MDDPM), blobs(12, 0)
    calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def estimate(noised: Tensor, t: Tensor, patch: Tensor) -> Tensor:
        calls.append((noised, t, patch))
        return torch.zeros_like(noised)

    net.estimate = estimate
    training, validation = net.training_step(batch, 0), net.validation_step(batch, 0)
    spoiled = masked(batch.image, batch.brain_mask, batch.seed, SETTINGS)
    corner = net.patches.masks[calls[0][2]].unsqueeze(1)
    assert torch.equal(calls[0][0][~corner], 2 * spoiled[~corner] - 1)
    assert not torch.equal(spoiled[~corner], batch.image[~corner])
    assert torch.equal(calls[1][0][~corner], 2 * batch.image[~corner] - 1)  # none in validation
    target = torch.stack([(0.5 - batch.image[b][corner[b]]).abs().mean() for b in range(12)]).mean()
    assert training.item() == pytest.approx(target.item(), rel=1e-5)  # 0 in [-1, 1] is 0.5: |0.5 - x0| in the patch
    assert torch.equal(training, validation)
    alpha_bar = net.diffusion.schedule.alpha_bar[calls[0][1]][:, None, None, None].sqrt()
    difference = (calls[0][0] - calls[1][0]) / alpha_bar  # the noise is the same
    torch.testing.assert_close(difference[corner], 2 * (spoiled - batch.image)[corner], rtol=1e-3, atol=2e-3)


def test_masks_belong_to_the_image_not_to_the_batch(blobs: Blobs) -> None:
    batch, order = blobs(8, 0), torch.tensor([5, 2, 7])
    whole = masked(batch.image, batch.brain_mask, batch.seed, SETTINGS)
    part = masked(batch.image[order], batch.brain_mask[order], batch.seed[order], SETTINGS)
    torch.testing.assert_close(whole[order], part)
    other = masked(batch.image, batch.brain_mask, batch.seed + 1, SETTINGS)
    assert not torch.equal(whole, other)


def test_a_test_slice_is_not_masked(make: Make, blobs: Blobs, scan_of: ScanOf) -> None:
    """With the same weights it reconstructs and validates as pDDPM (s48)."""
    net, batch = make(MDDPM, {"patch.stride": 48}), blobs(3, 1)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    plain = make(PDDPM, {"patch.stride": 48})
    plain.load_state_dict(net.state_dict())
    with torch.inference_mode():
        one = net.reconstruct(batch.image, scan_of(batch, batch_size=48))
        assert torch.equal(one, plain.reconstruct(batch.image, scan_of(batch, batch_size=48)))
        assert torch.equal(net.validation_step(batch, 0), plain.validation_step(batch, 0))
        assert not torch.equal(net.training_step(batch, 0), plain.training_step(batch, 0))
        torch.testing.assert_close(one, net.reconstruct(batch.image, scan_of(batch, batch_size=5)))


def test_learns(make: Make, blobs: Blobs) -> None:
    net, fixed = make(MDDPM, {"diffusion.t_train_max": 300}), blobs(4, 99)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    before = net.validation_step(fixed, 0).item()
    for step in range(15):
        optimizer.zero_grad()
        net.training_step(blobs(4, step), step).backward()
        optimizer.step()
    assert net.validation_step(fixed, 0).item() < 0.7 * before


def test_row_and_settings() -> None:
    (row,) = MDDPM.info.rows
    assert (row.name, row.settings) == ("mddpm", {"patch.stride": 48})
    with pytest.raises(ValidationError, match="band_min"):
        MaskingSettings(kind="image", rectangles=1, extent=0.1, margin=0, band_min=3, band_max=2)
