"""cDDPM: what the latent does, the encoder and its masked pretraining by hand, and the two phases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from uadbench.methods import Batch, Scan
from uadbench.methods.anoddpm import AnoDDPM
from uadbench.methods.cddpm import CDDPM
from uadbench.methods.parts.residual import Bottleneck, ResidualEncoder, ResidualEncoderSettings
from uadbench.methods.parts.seeds import derive_seed, mix

from cases import awake

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
ScanOf = Callable[..., Scan]

LEAN = ResidualEncoderSettings(channels=4, blocks=(1, 2), expansion=2, decoder_channels=8)


def numbers(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def changed(net: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """The parts of a network whose numbers moved."""
    return {name.split(".")[0] for name, value in net.state_dict().items() if not torch.equal(value, before[name])}


class Slices(L.LightningDataModule):
    """Two batches an epoch, always the same."""

    def __init__(self, batches: list[Batch]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader[Batch]:
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


def fit(
    net: CDDPM, batches: list[Batch], epochs: int, folder: Path, *, stop: int = 0, resume: Path | None = None
) -> Path:
    """Train for `epochs` epochs, or halt after `stop` of them; return a checkpoint."""

    class Halt(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            trainer.should_stop = trainer.current_epoch + 1 == stop

    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[Halt()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(net, datamodule=Slices(batches), ckpt_path=resume)
    path = folder / "last.ckpt"
    trainer.save_checkpoint(path)
    return path


def test_the_estimate_depends_on_the_clean_slice_through_the_latent(make: Make) -> None:
    """The noised slice is fixed; only what the encoder sees changes."""
    net = awake(make(CDDPM)).eval()
    noised, clean, t = torch.rand(2, 1, 96, 96), torch.rand(2, 1, 96, 96), torch.tensor([20, 200])
    one = net.unet(noised, t, net.condition(clean))
    assert not torch.allclose(one, net.unet(noised, t, net.condition(0.5 * clean)), atol=1e-4)
    assert torch.equal(one, net.unet(noised, t, net.condition(clean)))


def test_the_condition_is_concatenated_to_the_timestep_embedding(make: Make) -> None:
    """Scale and shift are the timestep's, as without condition, plus a linear map of the activated condition."""
    net, plain = awake(make(CDDPM)).eval().unet, awake(make(AnoDDPM)).eval().unet
    width = 4 * net.settings.channels
    theirs = {}
    for name, value in net.state_dict().items():
        theirs[name] = value[:, :width] if name.endswith("modulation.weight") else value
    plain.load_state_dict(theirs)
    x, t, condition = torch.rand(2, 1, 96, 96), torch.tensor([3, 700]), torch.randn(2, width)
    assert not torch.allclose(net(x, t, condition), plain(x, t), atol=1e-3)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("modulation.weight"):
                weight[:, width:] = 0
    torch.testing.assert_close(net(x, t, condition), plain(x, t))
    embedding = net.encode(x, t, condition).embedding
    assert torch.equal(embedding[:, :width], plain.encode(x, t).embedding)
    torch.testing.assert_close(embedding[:, width:], condition * torch.sigmoid(condition))


def test_the_papers_encoder_has_the_convolutions_of_resnet_50(paper_sections: dict[str, dict[str, Any]]) -> None:
    with torch.device("meta"):
        net = ResidualEncoder(ResidualEncoderSettings.model_validate(paper_sections["resnet"]), 512)
    weights = sum(m.weight.numel() for m in net.modules() if isinstance(m, nn.Conv2d))
    # ResNet-50's parameters, less the classifier's, batch norm's and those of two of the three input channels.
    assert weights == 25_557_032 - 2_049_000 - 53_120 - 2 * 64 * 49
    assert (net.widths, net.stride) == ((256, 512, 1024, 2048), 32)
    assert net.dense.weight.shape == (512, 2048)


def test_a_bottleneck_by_hand() -> None:
    block, x = awake(Bottleneck(8, 4, 16, stride=2)).eval(), torch.randn(2, 8, 6, 6)
    h = x
    for norm, conv, stride in ((0, 2, 1), (3, 5, 2), (6, 8, 1)):
        layer = block.branch[norm]
        grouped = h.reshape(2, layer.num_groups, -1)
        spread = (grouped.var(2, unbiased=False, keepdim=True) + 1e-5).sqrt()
        scaled = ((grouped - grouped.mean(2, keepdim=True)) / spread).reshape(h.shape)
        scaled = scaled * layer.weight[:, None, None] + layer.bias[:, None, None]
        active = scaled * torch.sigmoid(scaled)
        weight = block.branch[conv].weight
        h = torch.conv2d(active, weight, stride=stride, padding=weight.shape[-1] // 2)
    expected = torch.conv2d(x, block.shortcut.weight, stride=2) + h
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_the_latent_knows_how_bright_a_slice_is() -> None:
    """Group norm erases brightness; the plain shortcuts carry it: the latent's length follows that of the image."""
    net = ResidualEncoder(LEAN, 6)
    with torch.no_grad():
        net.dense.bias.zero_()
        net.stem[0].bias.zero_()
        image = torch.rand(1, 1, 32, 32)
        torch.testing.assert_close(net(3 * image), 3 * net(image))  # before training the branches are silent
        awake(net).eval()
        assert not torch.allclose(net(3 * image), net(image), rtol=0.2)


def test_images_do_not_mix_in_the_encoder() -> None:
    net, images = awake(ResidualEncoder(LEAN, 6)).eval().train(), torch.rand(4, 1, 32, 32)
    alone = torch.cat([net(image[None]) for image in images])
    torch.testing.assert_close(net(images), alone, rtol=1e-4, atol=1e-6)


def test_equally_many_cells_are_hidden_and_each_as_often(make: Make) -> None:
    pretrainer = make(CDDPM).pretrainer
    hidden = pretrainer.hidden_cells(torch.arange(2000))
    assert hidden.shape == (2000, 1, 6, 6)
    assert set(hidden.sum((1, 2, 3)).tolist()) == {36 - 13}  # 35 % of 36 cells, rounded, stay visible
    assert (hidden.double().mean(0) - 23 / 36).abs().max() < 0.05
    order = torch.tensor([7, 3, 1999])
    assert torch.equal(pretrainer.hidden_cells(order), hidden[order])


def test_the_pretraining_loss_counts_hidden_pixels_only(make: Make, blobs: Blobs) -> None:
    net, batch = make(CDDPM), blobs(3, 0)
    hidden, answer = net.pretrainer.hidden_cells(batch.seed), torch.rand(3, 1, 96, 96)
    net.pretrainer.rebuild = lambda *_: answer
    squares = []
    for b in range(3):
        for i, j in hidden[b, 0].nonzero().tolist():
            cell = (slice(16 * i, 16 * i + 16), slice(16 * j, 16 * j + 16))
            squares.append((answer[b, 0][cell] - batch.image[b, 0][cell]).square())
    net.pretraining.set(1)
    expected = torch.stack(squares).mean()
    assert net.training_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-5)
    assert net.validation_step(batch, 0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_hidden_pixels_do_not_reach_the_rebuilt_image(make: Make) -> None:
    net, image = awake(make(CDDPM)).eval(), torch.rand(2, 1, 96, 96)
    hidden = net.pretrainer.hidden_cells(torch.tensor([1, 2]))
    pixels = torch.kron(hidden[:, 0].float(), torch.ones(16, 16)).bool()[:, None]
    other = torch.where(pixels, torch.rand_like(image), image)
    one = net.pretrainer.rebuild(net.encoder, image, hidden)
    assert one.shape == image.shape
    assert torch.equal(one, net.pretrainer.rebuild(net.encoder, other, hidden))
    visible = torch.where(pixels, image, 1 - image)
    assert not torch.allclose(one, net.pretrainer.rebuild(net.encoder, visible, hidden))


def test_pretraining_trains_the_encoder_and_leaves_the_u_net(make: Make, blobs: Blobs, tmp_path: Path) -> None:
    net = make(CDDPM, {"cddpm.pretrain_share": 0.5})
    before = numbers(net)
    fit(net, [blobs(4, 0), blobs(4, 1)], 4, tmp_path, stop=2)
    assert changed(net, before) == {"encoder", "pretrainer", "pretraining"}
    assert not net.selectable


def test_the_joint_training_trains_the_encoder_along(make: Make, blobs: Blobs, tmp_path: Path) -> None:
    net = make(CDDPM, {"cddpm.pretrain_share": 0.0})
    before = numbers(net)
    fit(net, [blobs(4, 0), blobs(4, 1)], 2, tmp_path)
    assert changed(net, before) == {"encoder", "project", "unet"}
    assert net.selectable


def test_the_phases_resume(make: Make, blobs: Blobs, tmp_path: Path) -> None:
    """Halted in the pretraining, and at its end: the weights are those of an uninterrupted training."""
    batches = [blobs(2, 0), blobs(2, 1)]

    def fresh() -> Any:
        torch.manual_seed(3)
        return make(CDDPM, {"cddpm.pretrain_share": 0.5, "optimizer.learning_rate": 1e-3})

    whole = fresh()
    fit(whole, batches, 4, tmp_path)
    for stop in (1, 2):
        path = fit(fresh(), batches, 4, tmp_path, stop=stop)
        assert torch.load(path, weights_only=True)["state_dict"]["pretraining.saved"]
        resumed = fresh()
        fit(resumed, batches, 4, tmp_path, resume=path)
        assert changed(resumed, numbers(whole)) == set()
        assert resumed.selectable


def test_without_a_trainer_a_step_is_one_of_the_joint_training(make: Make, blobs: Blobs) -> None:
    net, batch = awake(make(CDDPM)).eval(), blobs(6, 0)
    seen: list[Tensor] = []
    net.encoder.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    loss = net.training_step(batch, 0)
    assert torch.equal(seen[0], batch.image)  # the encoder sees no noise
    t = 1 + ((mix(batch.seed, 1) >> 32 & (2**32 - 1)) * 1000 >> 32)
    noised = net.diffusion.schedule.q_sample(2 * batch.image - 1, t, net.noise(mix(batch.seed, 3)))
    expected = ((net.unet(noised, t, net.condition(batch.image)) + 1) / 2 - batch.image).abs().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_inference_averages_the_noise_levels(make: Make, blobs: Blobs, scan_of: ScanOf) -> None:
    net, batch = awake(make(CDDPM, {"cddpm.t_test_factors": [0.5, 1.0, 1.5]})).eval(), blobs(3, 1)  # t_test is 300
    with torch.inference_mode():
        result = net.reconstruct(batch.image, scan_of(batch, seed=11, batch_size=2))
        seeds = torch.tensor([derive_seed(11, i) for i in range(3)])
        estimates = []
        for level, step in enumerate((150, 300, 450)):
            alpha_bar = torch.prod(1 - torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)[:step]).float()
            clean = 2 * batch.image - 1
            noised = alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * net.noise(mix(seeds, level))
            estimates.append((net.unet(noised, torch.full((3,), step), net.condition(batch.image)) + 1) / 2)
    torch.testing.assert_close(result, torch.stack(estimates).mean(0), rtol=1e-4, atol=1e-5)


def test_reconstruction_is_its_scans_alone(make: Make, blobs: Blobs, scan_of: ScanOf) -> None:
    net, batch = awake(make(CDDPM)).eval(), blobs(5, 1)
    with torch.inference_mode():
        one = net.reconstruct(batch.image, scan_of(batch, batch_size=5))
        assert torch.equal(one, net.reconstruct(batch.image, scan_of(batch, batch_size=5)))
        smaller = net.reconstruct(batch.image, scan_of(batch, batch_size=2))
        other = net.reconstruct(batch.image, scan_of(batch, seed=8, batch_size=5))
        torch.manual_seed(1)
        loss = net.validation_step(batch, 0)
        torch.manual_seed(2)
        assert torch.equal(loss, net.validation_step(batch, 0))
    assert one.shape == batch.image.shape
    assert one.dtype == torch.float32
    torch.testing.assert_close(one, smaller, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one, other)


def test_learns(make: Make, blobs: Blobs) -> None:
    net, fixed = make(CDDPM, {"diffusion.t_train_max": 300}), blobs(4, 99)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for phase, bound in ((True, 0.5), (False, 0.7)):
        net.pretraining.set(phase)
        before = net.validation_step(fixed, 0).item()
        for step in range(15):
            optimizer.zero_grad()
            net.training_step(blobs(4, step), step).backward()
            optimizer.step()
        assert net.validation_step(fixed, 0).item() < bound * before


def test_impossible_numbers_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match=r"\[300, 1200\]"):
        make(CDDPM, {"cddpm.t_test_factors": [1.0, 4.0]})
    with pytest.raises(ValueError, match="divisible by 64, not 96"):
        make(CDDPM, {"resnet.blocks": [1, 1, 1, 1, 1]})
    with pytest.raises(ValueError, match="hides 36 of 36"):
        make(CDDPM, {"cddpm.mask_ratio": 0.99})
    with pytest.raises(ValueError, match="decoder_channels"):
        make(CDDPM, {"resnet.decoder_channels": 12})
