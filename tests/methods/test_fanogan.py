"""f-AnoGAN: gradient penalty, whose turn it is, what stays frozen, both phases resume, and that it learns."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from uadbench.methods import Batch, Scan
from uadbench.methods.fanogan import FAnoGAN
from uadbench.methods.parts.gan import (
    GanSettings,
    PooledConv2d,
    ResidualEncoder,
    ResidualGenerator,
    evaluating,
    gradient_penalty,
    layer_norm,
    untouched,
)

Make = Callable[..., Any]
Blobs = Callable[[int, int], Batch]
NETWORKS = ("generator", "critic", "encoder")


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def taught(net: FAnoGAN) -> set[str]:
    """The networks that received a gradient."""
    return {name for name in NETWORKS if any(p.grad is not None for p in getattr(net, name).parameters())}


def encoding(net: FAnoGAN) -> FAnoGAN:
    """The same detector in its second phase."""
    net.encoding.set(1)
    return net


# --- the gradient penalty against critics whose slope is known


def test_penalty_of_a_linear_critic() -> None:
    weights = torch.randn(1, 1, 6, 6, requires_grad=True)
    penalty = gradient_penalty(
        lambda x: (x * weights).sum((1, 2, 3)), torch.rand(5, 1, 6, 6), torch.rand(5, 1, 6, 6), torch.rand(5)
    )
    norm = np.linalg.norm(weights.detach().numpy())
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-5)
    penalty.backward()  # d(|w| - 1)^2 / dw = 2 (|w| - 1) w / |w|
    expected = 2 * (norm - 1) * weights.detach() / norm
    torch.testing.assert_close(weights.grad, expected, rtol=1e-4, atol=1e-6)


def test_penalty_of_a_quadratic_critic_is_taken_between_the_images() -> None:
    scale = torch.tensor(0.7, requires_grad=True)
    real, fake, blend = torch.rand(4, 1, 3, 3), torch.rand(4, 1, 3, 3), torch.tensor([0.0, 0.25, 0.5, 1.0])
    penalty = gradient_penalty(lambda x: scale * x.square().sum((1, 2, 3)), real, fake, blend)
    between = [(b * r + (1 - b) * f).ravel() for b, r, f in zip(blend.numpy(), real.numpy(), fake.numpy(), strict=True)]
    lengths = np.array([np.linalg.norm(2 * point) for point in between])  # the slope of s|x|^2 is 2 s x
    assert penalty.item() == pytest.approx(np.mean((0.7 * lengths - 1) ** 2), rel=1e-5)
    penalty.backward()
    assert scale.grad is not None
    assert scale.grad.item() == pytest.approx(np.mean(2 * (0.7 * lengths - 1) * lengths), rel=1e-5)


def test_penalty_of_a_flat_critic_is_one_and_its_gradient_a_number() -> None:
    weight = torch.zeros(1, requires_grad=True)
    penalty = gradient_penalty(lambda x: (weight * x).sum((1, 2, 3)), *torch.rand(2, 3, 1, 4, 4), torch.rand(3))
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5)
    assert weight.grad is not None and weight.grad.isfinite().all()


def test_penalty_is_float32_under_autocast(make: Make, blobs: Blobs) -> None:
    critic, images = make(FAnoGAN).critic, blobs(4, 0).image
    exact = gradient_penalty(critic, images, images.flip(0), torch.full((4,), 0.3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(images).dtype == torch.bfloat16
        mixed = gradient_penalty(critic, images, images.flip(0), torch.full((4,), 0.3))
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, exact, rtol=0, atol=0)


# --- the networks


def test_published_shapes(make: Make) -> None:
    net = make(FAnoGAN, tiny=False)
    shapes = []
    for block in (*net.generator.layers, *net.critic.features):
        block.register_forward_hook(lambda _m, _i, output: shapes.append(tuple(output.shape[1:])))
    image = net.generator(torch.randn(1, 128))
    assert net.critic(image).shape == (1, 1)
    up = [(512, 6, 6), (512, 12, 12), (256, 24, 24), (128, 48, 48), (64, 96, 96)]
    down = [(64, 96, 96), (128, 48, 48), (256, 24, 24), (512, 12, 12), (512, 6, 6)]
    assert [shape for shape in dict.fromkeys(shapes) if len(shape) == 3 and shape[0] > 1] == list(
        dict.fromkeys(up + down)
    )
    assert image.shape == (1, 1, 96, 96) and image.abs().max() < 1
    assert net.encoder(image).shape == (1, 128)
    kinds = {name: {type(m) for m in getattr(net, name).modules()} for name in NETWORKS}
    assert nn.BatchNorm2d in kinds["generator"] & kinds["encoder"] and nn.BatchNorm2d not in kinds["critic"]


def test_codes_end_in_tanh_as_published_or_are_not_bounded(make: Make, blobs: Blobs) -> None:
    bounded = make(FAnoGAN).eval()
    free = make(FAnoGAN, {"fanogan.code_activation": "none"}).eval()
    for net in (bounded, free):
        with torch.no_grad():
            net.encoder.dense.weight.mul_(50)
    free.load_state_dict(bounded.state_dict())
    signed = 2 * blobs(4, 0).image - 1
    codes = free.encode(signed)
    assert codes.abs().max() > 1
    torch.testing.assert_close(bounded.encode(signed), torch.tanh(codes))
    image = (bounded.generator(torch.tanh(codes)) + 1) / 2  # what a slice is rebuilt from
    torch.testing.assert_close(bounded(blobs(4, 0).image), image)


def test_layer_norm_is_over_channels_and_pixels() -> None:
    x = torch.randn(3, 4, 5, 5) * 3 + 2
    expected = F.layer_norm(x, x.shape[1:])
    torch.testing.assert_close(layer_norm(4)(x), expected, rtol=1e-4, atol=1e-5)


def test_critic_judges_every_image_alone(make: Make, blobs: Blobs) -> None:
    critic, images = make(FAnoGAN).critic, blobs(4, 1).image
    changed = torch.cat([images[:3], torch.rand(1, 1, 96, 96)])
    before, after = critic(images), critic(changed)
    torch.testing.assert_close(before[:3], after[:3], rtol=1e-5, atol=1e-6)
    assert (before[3] - after[3]).abs() > 1e-4


def test_shortcuts_commute_with_resampling() -> None:
    shape = GanSettings(channels=(3, 5), latent=4, shrink=1)
    up, down = ResidualGenerator(shape, 4).layers[2], ResidualEncoder(shape, 4, 1, layer_norm).features[2]
    x = torch.randn(2, 5, 2, 2)
    torch.testing.assert_close(up.shortcut(x), up.shortcut[0](x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    y = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(down.shortcut(y), F.avg_pool2d(down.shortcut[1](y), 2))


def test_pooled_convolution_is_a_convolution_and_a_mean() -> None:
    layer, x = PooledConv2d(2, 3, 3, padding=1), torch.randn(2, 2, 6, 8)
    slow = F.avg_pool2d(F.conv2d(x, layer.weight, layer.bias, padding=1), 2)
    torch.testing.assert_close(layer(x), slow, rtol=1e-4, atol=1e-6)


def test_a_side_that_cannot_be_halved_is_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="divisible by 16, not 90"):
        make(FAnoGAN, {"image.side": 90})


# --- whose turn it is, and who stays as he is


def test_five_critic_steps_then_one_of_the_generator(make: Make, blobs: Blobs) -> None:
    net, turns = make(FAnoGAN), []
    for step in range(12):
        net.zero_grad()
        net.training_step(blobs(2, step), step).backward()
        turns.append(taught(net))
    assert turns == ([{"critic"}] * 5 + [{"generator"}]) * 2
    assert net.steps.value == int(net.steps.saved) == 12


@pytest.mark.parametrize(
    ("phase", "steps", "learner"), [(False, 0, "critic"), (False, 5, "generator"), (True, 0, "encoder")]
)
def test_a_step_moves_one_network_and_no_buffer_of_another(
    make: Make, blobs: Blobs, phase: bool, steps: int, learner: str
) -> None:
    net = make(FAnoGAN)
    optimizer = net.make_optimizer(net.settings.optimizer)
    for step in range(6):  # so that Adam has a momentum for everybody
        net.training_step(blobs(4, step), step).backward()
        encoding(net).training_step(blobs(4, step), step).backward()
        optimizer.step()
        net.encoding.set(0)
    net.encoding.set(phase)
    net.steps.set(steps)
    before = {name: state(getattr(net, name)) for name in NETWORKS}
    optimizer.zero_grad()
    net.training_step(blobs(4, 50), 0).backward()
    optimizer.step()
    assert taught(net) == {learner}
    assert {name for name in NETWORKS if not same(before[name], state(getattr(net, name)))} == {learner}
    assert all(p.requires_grad for p in net.parameters()) and all(m.training for m in net.modules())


def test_untouched_gives_batch_statistics_without_remembering_them() -> None:
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    x = torch.randn(8, 2, 3, 3, requires_grad=True)
    before = state(net)
    result = untouched(net, x)
    assert same(before, state(net))
    torch.testing.assert_close(result, net(x))
    assert not same(before, state(net))
    result.square().sum().backward()
    assert x.grad is not None and all(p.grad is None for p in net.parameters())


def test_evaluating_is_undone_by_an_exception() -> None:
    net = nn.BatchNorm2d(1)
    with pytest.raises(ZeroDivisionError), evaluating(net):
        assert not net.training
        _ = 1 / 0
    assert net.training


def test_critic_loss_by_hand(make: Make, blobs: Blobs) -> None:
    net, batch = make(FAnoGAN, {"fanogan.penalty": 0.0}), blobs(4, 3)
    real = 2 * batch.image - 1
    fake = net.generator(net._codes(batch))
    expected = net.critic(fake).mean() - net.critic(real).mean()
    torch.testing.assert_close(net.training_step(batch, 0), expected)
    with_penalty = make(FAnoGAN)
    with_penalty.load_state_dict(net.state_dict() | {"steps.saved": torch.tensor(0)})
    extra = with_penalty.training_step(batch, 0) - expected
    assert extra.item() >= 0
    assert extra.item() != pytest.approx(0, abs=1e-3)


def test_encoder_loss_by_hand(make: Make, blobs: Blobs) -> None:
    batch, kappas = blobs(4, 4), (0.0, 1.0, 3.0)
    nets = [encoding(make(FAnoGAN, {"fanogan.kappa": kappa})).eval() for kappa in kappas]
    for net in nets[1:]:
        net.load_state_dict(nets[0].state_dict())
    image, one, three = (net.validation_step(batch, 0).item() for net in nets)
    net = nets[0]
    error = (2 * (net(batch.image) - batch.image)).detach().numpy()
    assert image == pytest.approx(np.mean(error**2), rel=1e-5)
    features = [net.critic.features(2 * x - 1).detach().numpy() for x in (net(batch.image), batch.image)]
    assert one - image == pytest.approx(np.mean((features[0] - features[1]) ** 2), rel=1e-4)
    assert three - image == pytest.approx(3 * (one - image), rel=1e-4)


def test_encoder_learns_under_a_generator_in_evaluation(make: Make, blobs: Blobs) -> None:
    batch, net = blobs(4, 4), make(FAnoGAN, {"fanogan.kappa": 0.0})
    net.generator(torch.randn(8, 16))  # so that running and batch statistics differ
    real = 2 * batch.image - 1
    codes = net.encoder(real).tanh()
    expected = (net.generator.eval()(codes) - real).square().mean()
    net.train()
    torch.testing.assert_close(encoding(net).training_step(batch, 0), expected)


def test_validation_repeats_itself(make: Make, blobs: Blobs) -> None:
    net, batch = make(FAnoGAN).eval(), blobs(4, 5)
    for detector in (net, encoding(net)):
        losses = {detector.validation_step(batch, 0).item() for _ in range(3)}
        assert len(losses) == 1 and np.isfinite(losses.pop())


# --- the phases, and that both resume


class Blobby(torch.utils.data.Dataset[Batch]):
    """Eight images and their seeds, as the benchmark's loader gives them."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return len(self.batch.image)

    def __getitem__(self, index: int) -> Batch:
        return Batch(*(part[index] for part in self.batch))


class Watch(L.Callback):
    """Saves a checkpoint after each epoch, as the benchmark does, and notes the phase."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.selectable: list[bool] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.selectable.append(bool(pl_module.selectable))
        trainer.save_checkpoint(self.folder / f"{trainer.current_epoch}.ckpt")


@pytest.mark.filterwarnings("ignore")
def test_both_phases_resume_bitwise(make: Make, blobs: Blobs, tmp_path: Path) -> None:
    # Four steps per epoch, three a cycle of critic and generator: a phase ends in the middle of a cycle.
    loader = torch.utils.data.DataLoader(Blobby(blobs(8, 6)), batch_size=2)

    def fit(folder: Path, resume: Path | None) -> tuple[FAnoGAN, Watch]:
        torch.manual_seed(1 if resume is None else 2)
        net, watch = make(FAnoGAN, {"fanogan.gan_share": 0.5, "fanogan.critic_steps": 2}), Watch(folder)
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=4,
            callbacks=[watch],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(net, loader, loader, ckpt_path=resume, weights_only=False)
        return net, watch

    straight, watch = fit(tmp_path / "straight", None)
    assert watch.selectable == [False, False, True, True]
    assert straight.steps.value == 2 * 4
    for epoch in range(3):  # within the GAN's phase, at its end, within the encoder's
        resumed, _ = fit(tmp_path / str(epoch), tmp_path / "straight" / f"{epoch}.ckpt")
        assert same(straight.state_dict(), resumed.state_dict())
    first_of_encoder = torch.load(tmp_path / "straight" / "1.ckpt", weights_only=False)["state_dict"]
    last = straight.state_dict()
    frozen = [name for name in last if name.startswith(("generator.", "critic."))]
    assert frozen and all(torch.equal(first_of_encoder[name], last[name]) for name in frozen)


def test_without_a_trainer_it_is_the_gans_turn(make: Make) -> None:
    assert not make(FAnoGAN).selectable
    assert encoding(make(FAnoGAN)).selectable


def test_adam_has_the_published_numbers(make: Make) -> None:
    net = make(FAnoGAN, tiny=False)
    gan, encoder = net.make_optimizer(net.settings.optimizer).param_groups
    assert (gan["lr"], encoder["lr"]) == (1e-4, 5e-5)
    assert gan["betas"] == encoder["betas"] == (0.0, 0.9)
    assert len(gan["params"]) + len(encoder["params"]) == len(list(net.parameters()))


# --- that it learns


def test_learns_and_reconstructs(make: Make, blobs: Blobs, scan_of: Callable[..., Scan]) -> None:
    rates = {"optimizer.learning_rate": 2e-3, "fanogan.encoder_learning_rate": 2e-3, "fanogan.critic_steps": 2}
    small = {"gan.channels": [16, 16], "gan.shrink": 8}
    net, fixed, batches = make(FAnoGAN, rates | small), blobs(8, 99), [blobs(8, seed) for seed in range(10)]
    optimizer = net.make_optimizer(net.settings.optimizer)

    def error() -> float:
        with torch.no_grad():
            return (net.eval()(fixed.image) - fixed.image).abs().mean().item()

    before = error()
    for step in range(200):
        net.train().encoding.set(step >= 130)
        optimizer.zero_grad()
        net.training_step(batches[step % 10], step).backward()
        optimizer.step()
    assert error() < 0.3 * before
    with torch.inference_mode():
        whole = net.reconstruct(fixed.image, scan_of(fixed, batch_size=16))
        parts = net.reconstruct(fixed.image, scan_of(fixed, batch_size=3))
        again = net.reconstruct(fixed.image, scan_of(fixed, seed=8, batch_size=16))
    assert whole.shape == fixed.image.shape and whole.dtype == torch.float32
    assert whole.min() >= 0 and whole.max() <= 1
    torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-5)
    assert torch.equal(whole, again)
    # Individual images, not one for all: each is nearer to its own original than to another's.
    own, others = ((whole - fixed.image.roll(shift, 0)).abs().mean().item() for shift in (0, 1))
    assert own < 0.85 * others
