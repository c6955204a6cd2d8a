"""pDDPM-IQA: its loss and score by hand, its reversal undone, and pDDPM left as it was."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import Tensor

from uadbench.methods import Batch, Detector, Scan, rows
from uadbench.methods.pddpm import PDDPM
from uadbench.methods.pddpm_iqa import PDDPMIQA

from cases import awake

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
ScanOf = Callable[..., Scan]
REVERSED = {"iqa.reverse": True}


def quality(x: np.ndarray, y: np.ndarray, alpha: float = 0.84) -> np.ndarray:
    """α·clip(1 - SSIM, 0, 1)/2 + (1 - α)·|x - y| with a 5×5 window of σ 1.5, in double precision."""
    offsets = np.arange(-2, 3)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * 1.5**2))
    blur = lambda image: ndimage.correlate(image, weights / weights.sum(), mode="constant")  # noqa: E731
    x, y = x.astype(np.float64), y.astype(np.float64)
    mx, my = blur(x), blur(y)
    cov, var = blur(x * y) - mx * my, blur(x * x) - mx**2 + blur(y * y) - my**2
    ssim = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (var + 9e-4))
    return alpha * np.clip(1 - ssim, 0, 1) / 2 + (1 - alpha) * np.abs(x - y)


def watch(net: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Record what the network is shown, and answer with a dimmed copy of it."""
    calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def estimate(noised: Tensor, t: Tensor, patch: Tensor) -> Tensor:
        calls.append((noised, t, patch))
        return 0.7 * noised + 0.1

    net.estimate = estimate
    return calls


@pytest.mark.parametrize("reverse", [False, True])
def test_the_loss_is_the_quality_of_the_slice_with_the_patch_pasted_in(make: Make, blobs: Blobs, reverse: bool) -> None:
    net, batch = make(PDDPMIQA, {"iqa.reverse": reverse}), blobs(6, 0)
    calls = watch(net)
    loss = net.training_step(batch, 0)
    assert net.validation_step(batch, 0) == loss
    shown, _, patch = calls[0]
    clean = np.where(batch.brain_mask & torch.tensor(reverse), 1 - batch.image, batch.image)[:, 0]
    expected = []
    for b in range(6):
        inside = net.patches.masks[patch[b]].numpy()
        seen = shown[b, 0].numpy()
        np.testing.assert_array_equal(seen[~inside], 2 * clean[b][~inside] - 1)  # the diffusion lives in [-1, 1]
        estimate = (0.7 * seen + 0.1 + 1) / 2  # and qualities are compared in [0, 1]
        expected.append(quality(np.where(inside, estimate, clean[b]), clean[b]).mean())
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_score_is_the_quality_of_every_slice(make: Make, blobs: Blobs, scan_of: ScanOf, reverse: bool) -> None:
    net, batch, other = make(PDDPMIQA, {"iqa.reverse": reverse}), blobs(3, 1), blobs(3, 2)
    score = net.anomaly_score(batch.image, other.image, scan_of(batch))
    turned = batch.brain_mask.numpy() & reverse
    x, y = (np.where(turned, 1 - image.numpy(), image.numpy())[:, 0] for image in (batch.image, other.image))
    expected = np.stack([quality(x[i], y[i]) for i in range(3)])[:, None]
    assert score.shape == batch.image.shape
    np.testing.assert_allclose(score.numpy(), expected, atol=2e-4)  # single precision's share of a flat window
    assert not net.anomaly_score(batch.image, batch.image, scan_of(batch)).any()


def test_reversal_changes_the_score_but_not_the_l1(make: Make, blobs: Blobs, scan_of: ScanOf) -> None:
    plain, turned, batch = make(PDDPMIQA), make(PDDPMIQA, REVERSED), blobs(3, 1)
    scan, darker = scan_of(batch), 0.8 * batch.image
    assert not torch.allclose(
        plain.anomaly_score(batch.image, darker, scan), turned.anomaly_score(batch.image, darker, scan)
    )
    inner = [turned.transform(image, batch.brain_mask) for image in (batch.image, darker)]
    torch.testing.assert_close((inner[0] - inner[1]).abs(), (batch.image - darker).abs())
    torch.testing.assert_close(turned.transform(inner[0], batch.brain_mask), batch.image)
    assert torch.equal(inner[0][~batch.brain_mask], batch.image[~batch.brain_mask])


def test_reversal_raises_the_ratio_of_normal_to_bright_abnormal_tissue(make: Make) -> None:
    """What it is for: with normal tissue at 0.45 and a lesion at 0.85, the ratio rises from 1.9 to 3.7."""
    net, mask = make(PDDPMIQA, REVERSED), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    normal, lesion = (net.transform(torch.full((1, 1, 2, 2), level), mask).mean().item() for level in (0.45, 0.85))
    assert (0.85 / 0.45, normal / lesion) == (pytest.approx(1.889, abs=1e-3), pytest.approx(3.667, abs=1e-3))


@pytest.mark.parametrize("overrides", [{}, REVERSED])
def test_reconstruction_has_the_volumes_own_scale(
    make: Make, blobs: Blobs, scan_of: ScanOf, overrides: dict[str, Any]
) -> None:
    """A network that gives back the clean image it is shown must give back the volume, reversed within or not."""
    net, batch = make(PDDPMIQA, overrides), blobs(3, 1)
    net.diffusion.schedule.q_sample = lambda x0, t, noise: x0
    net.estimate = lambda noised, t, patch: noised
    torch.testing.assert_close(net.reconstruct(batch.image, scan_of(batch)), batch.image)


def test_reconstruction_and_score_are_their_scans_alone(make: Make, blobs: Blobs, scan_of: ScanOf) -> None:
    net, batch = awake(make(PDDPMIQA, {"patch.stride": 48, **REVERSED})).eval(), blobs(2, 1)
    with torch.inference_mode():
        one = net.reconstruct(batch.image, scan_of(batch, batch_size=8))
        again = net.reconstruct(batch.image, scan_of(batch, batch_size=8))
        smaller = net.reconstruct(batch.image, scan_of(batch, batch_size=3))
        other = net.reconstruct(batch.image, scan_of(batch, seed=8, batch_size=8))
        score = net.anomaly_score(batch.image, one, scan_of(batch))
    assert (one.shape, one.dtype) == (batch.image.shape, torch.float32)
    assert score.isfinite().all()
    assert torch.equal(one, again)
    torch.testing.assert_close(one, smaller, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one, other)


def test_without_ssim_and_reversal_it_is_pddpm_up_to_the_patchs_share(make: Make, blobs: Blobs) -> None:
    plain = awake(make(PDDPM, {"patch.stride": 48})).eval()
    fused = make(PDDPMIQA, {"patch.stride": 48, "iqa.ssim_weight": 0.0}).eval()
    fused.load_state_dict(plain.state_dict())  # strict: the same keys and shapes
    batch = blobs(4, 0)
    share = 48**2 / 96**2  # pDDPM's mean is over the patch, this one's over the slice
    assert fused.training_step(batch, 0).item() == pytest.approx(share * plain.training_step(batch, 0).item(), rel=1e-5)


def test_learns(make: Make, blobs: Blobs) -> None:
    net, fixed = make(PDDPMIQA, {"diffusion.t_train_max": 300}), blobs(2, 99)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(80):
        losses.append(net.training_step(fixed, 0))
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
    # A step of Adam may spoil the last loss; which one depends on how many threads add up.
    assert min(losses[-10:]) < 0.75 * losses[0]


def test_identity_and_settings(make: Make) -> None:
    cls, row = rows()["pddpm-iqa"]
    assert (cls, row.title, row.settings) == (PDDPMIQA, "pDDPM-IQA", {"patch.stride": 48})
    assert "arXiv:2408.08228" in cls.info.citation
    assert "T2" in cls.info.note
    assert cls.anomaly_score is not Detector.anomaly_score
    with pytest.raises(ValidationError, match="must be odd"):
        make(PDDPMIQA, {"iqa.window": 4})
