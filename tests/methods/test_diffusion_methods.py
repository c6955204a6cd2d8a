"""AnoDDPM, pDDPM and MAEDiff: Algorithms 1 and 2 by hand, and what the rows share."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from uadbench.methods import Batch, Detector, Scan
from uadbench.methods.anoddpm import AnoDDPM
from uadbench.methods.maediff import MAEDiff
from uadbench.methods.parts.patch_diffusion import PatchDiffusion
from uadbench.methods.parts.seeds import derive_seed
from uadbench.methods.pddpm import PDDPM

from cases import awake

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
ScanOf = Callable[..., Scan]
CLASSES = [AnoDDPM, PDDPM, MAEDiff]


def watch(net: PatchDiffusion) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Record what the network is shown in the diffusion's [-1, 1], and answer with that plus a patch's number."""
    calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def estimate(noised: Tensor, t: Tensor, patch: Tensor) -> Tensor:
        calls.append((noised, t, patch))
        return noised + patch[:, None, None, None]

    net.estimate = estimate  # type: ignore[method-assign]
    return calls


def test_training_follows_algorithm_1(make: Make, blobs: Blobs) -> None:
    net, batch = make(PDDPM), blobs(12, 0)
    calls = watch(net)
    loss = net.training_step(batch, 0)
    ((shown, t, patch),) = calls
    assert t.min() >= 1
    assert t.max() <= 1000
    expected = []
    for b in range(12):
        mask = net.patches.masks[patch[b]][None]
        clean = 2 * batch.image[b] - 1
        assert torch.equal(shown[b][~mask], clean[~mask])  # the rest stays clean, in the same range
        assert not torch.isclose(shown[b][mask], clean[mask]).all()  # the patch does not
        answer = (shown[b] + patch[b] + 1) / 2
        expected.append((answer - batch.image[b]).abs()[mask].mean())  # in units of the image
    assert loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_training_noise_is_q_sample_of_simplex(make: Make, blobs: Blobs) -> None:
    net, batch = make(AnoDDPM), blobs(6, 0)
    calls = watch(net)
    net.training_step(batch, 0)
    ((shown, t, _),) = calls
    noises = []
    for b in range(6):
        alpha_bar = torch.prod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)[: t[b]])
        noise = (shown[b] - alpha_bar.sqrt() * (2 * batch.image[b] - 1)) / (1 - alpha_bar).sqrt()
        assert noise[0, 0, 0].abs() < 1e-2  # simplex noise is zero at the origin
        assert 0.3 < noise.std() < 1.0
        noises.append(noise.flatten())
    correlation = torch.corrcoef(torch.stack(noises)) - torch.eye(6)
    assert correlation.abs().max() < 0.9  # every image has noise of its own


def test_choices_belong_to_the_image_not_to_the_batch(make: Make, blobs: Blobs) -> None:
    net, batch = make(PDDPM), blobs(8, 0)
    calls = watch(net)
    net.training_step(batch, 0)
    order = torch.tensor([5, 2, 7])
    net.training_step(Batch(batch.image[order], batch.brain_mask[order], batch.seed[order], batch.stack[order]), 1)
    (shown, t, patch), (shown_again, t_again, patch_again) = calls
    assert torch.equal(t[order], t_again)
    assert torch.equal(patch[order], patch_again)
    torch.testing.assert_close(shown[order], shown_again)


def test_choices_cover_the_range(make: Make, blobs: Blobs) -> None:
    net, batch = make(PDDPM, {"diffusion.t_train_max": 5, "diffusion.t_test": 5}), blobs(1, 0)
    calls = watch(net)
    many = 400
    image, mask = (part.expand(many, *part.shape[1:]) for part in batch[:2])
    net.training_step(Batch(image, mask, torch.arange(many), image), 0)
    assert set(calls[0][1].tolist()) == {1, 2, 3, 4, 5}
    assert set(calls[0][2].tolist()) == set(range(16))


@pytest.mark.parametrize(("cls", "count"), [(AnoDDPM, 1), (PDDPM, 16)])
def test_inference_follows_algorithm_2(
    make: Make, blobs: Blobs, scan_of: ScanOf, cls: type[Detector], count: int
) -> None:
    net, batch = make(cls), blobs(3, 1)
    calls = watch(net)
    result = net.reconstruct(batch.image, scan_of(batch, seed=11, batch_size=5))
    steps = torch.full((3,), 300)
    noise = net.noise(torch.tensor([derive_seed(11, i) for i in range(3)]))
    clean = 2 * batch.image - 1
    noised = net.diffusion.schedule.q_sample(clean, steps, noise)
    total, times = torch.zeros(3, 1, 96, 96), torch.zeros(96, 96)
    for k in range(count):
        mask = net.patches.masks[k]
        total += (torch.where(mask, noised, clean) + k + 1) / 2 * mask
        times += mask
    torch.testing.assert_close(result, total / times)
    assert sum(len(shown) for shown, _, _ in calls) == 3 * count
    assert all(len(shown) <= 5 and (t == 300).all() for shown, t, _ in calls)


@pytest.mark.parametrize("cls", CLASSES)
def test_reconstruction_is_its_scans_alone(make: Make, blobs: Blobs, scan_of: ScanOf, cls: type[Detector]) -> None:
    net, batch = awake(make(cls)).eval(), blobs(3, 1)
    with torch.inference_mode():
        one = net.reconstruct(batch.image, scan_of(batch, batch_size=48))
        again = net.reconstruct(batch.image, scan_of(batch, batch_size=48))
        smaller = net.reconstruct(batch.image, scan_of(batch, batch_size=7))
        other = net.reconstruct(batch.image, scan_of(batch, seed=8, batch_size=48))
    assert one.shape == batch.image.shape
    assert one.dtype == torch.float32
    assert one.isfinite().all()
    assert torch.equal(one, again)
    torch.testing.assert_close(one, smaller, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("cls", CLASSES)
def test_learns(make: Make, blobs: Blobs, cls: type[Detector]) -> None:
    net, fixed = make(cls, {"diffusion.t_train_max": 300}), blobs(8, 99)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    before = net.validation_step(fixed, 0).item()
    for step in range(20):
        loss = net.training_step(blobs(8, step), step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = net.eval().validation_step(fixed, 0).item()
    assert after < 0.6 * before


def test_validation_is_repeatable(make: Make, blobs: Blobs) -> None:
    net, batch = awake(make(MAEDiff)).eval(), blobs(4, 0)
    torch.manual_seed(1)
    one = net.validation_step(batch, 0)
    torch.manual_seed(2)
    assert torch.equal(one, net.validation_step(batch, 0))


@pytest.mark.parametrize("attention", [False, True])
def test_maediff_without_mae_is_pddpm(make: Make, blobs: Blobs, scan_of: ScanOf, attention: bool) -> None:
    overrides = {"unet.attention": attention}
    plain = awake(make(PDDPM, overrides)).eval()
    stripped = make(MAEDiff, {**overrides, "mae.enabled": False}).eval()
    stripped.load_state_dict(plain.state_dict())  # strict: the same keys and shapes
    batch = blobs(2, 0)
    with torch.inference_mode():
        assert torch.equal(
            plain.reconstruct(batch.image, scan_of(batch)), stripped.reconstruct(batch.image, scan_of(batch))
        )


@pytest.mark.parametrize("attention", [False, True])
def test_maediff_starts_as_the_network_without_mae(make: Make, attention: bool) -> None:
    full = make(MAEDiff, {"unet.attention": attention})
    plain = make(PDDPM, {"unet.attention": attention})
    plain.load_state_dict({key: value for key, value in full.state_dict().items() if not key.startswith("mae.")})
    for net in (full, plain):
        torch.manual_seed(3)
        awake(net.unet).eval()  # the same numbers in both; the MAE stays as it starts
    x, t, patch = torch.rand(2, 1, 96, 96), torch.tensor([10, 600]), torch.tensor([1, 14])
    torch.testing.assert_close(full.estimate(x, t, patch), plain.estimate(x, t, patch))


def test_mae_encoder_sees_27_cells_and_no_clean_pixel_under_the_patch(make: Make) -> None:
    """Images that differ only under the patch, noised to the same x_t there, are one and the same to the network."""
    net = awake(make(MAEDiff, {"unet.attention": True})).eval()
    seen: list[list[Tensor]] = []
    net.mae.encoder.register_forward_hook(lambda _m, _i, outputs: seen.append(outputs))
    patch, t = torch.tensor([0, 6, 15]), torch.tensor([20, 300, 900])
    mask = net.patches.masks[patch][:, None]
    clean = torch.rand(3, 1, 96, 96)
    other = torch.where(mask, torch.rand_like(clean), clean)
    noise = net.noise(torch.tensor([1, 2, 3]))
    noised = net.diffusion.schedule.q_sample(clean, t, noise)
    for image in (clean, other):
        net.estimate(torch.where(mask, noised, image), t, patch)
    assert all(output.shape[:2] == (3, 27) for output in seen[0])
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_rows_and_table_2(make: Make) -> None:
    assert [row.settings for row in PDDPM.info.rows] == [{"patch.stride": 48}, {"patch.stride": 16}]
    (row,) = MAEDiff.info.rows
    assert row.settings == {"patch.stride": 16, "unet.attention": True, "mae.enabled": True}
    counts = {}
    for attention in (False, True):
        for mae in (False, True):
            with torch.device("meta"):
                net = make(MAEDiff, {"unet.attention": attention, "mae.enabled": mae})
            counts[attention, mae] = sum(p.numel() for p in net.parameters())
    assert counts[False, False] < counts[True, False]
    assert counts[True, True] - counts[True, False] == counts[False, True] - counts[False, False] > 0


def test_state_dict_round_trip(make: Make, blobs: Blobs, scan_of: ScanOf) -> None:
    one, two, batch = awake(make(MAEDiff)).eval(), make(MAEDiff).eval(), blobs(1, 0)
    two.load_state_dict(one.state_dict())
    with torch.inference_mode():
        assert torch.equal(one.reconstruct(batch.image, scan_of(batch)), two.reconstruct(batch.image, scan_of(batch)))


@pytest.mark.parametrize("cls", CLASSES)
def test_noise_is_one_a_slice_or_one_a_volume(make: Make, blobs: Blobs, scan_of: ScanOf, cls: type[Detector]) -> None:
    """Slices that look the same are noised alike only where the volume shares its noise."""
    batch = blobs(1, 1)
    volume = batch.image.expand(3, -1, -1, -1)
    for share, alike in (("slice", False), ("volume", True)):
        net = make(cls, {"noise.share": share})
        calls = watch(net)
        net.reconstruct(volume, scan_of(batch))
        shown = torch.cat([images[patch == 0] for images, _, patch in calls])
        assert torch.equal(shown[0], shown[1]) is alike
        assert torch.equal(shown[0], shown[2]) is alike
