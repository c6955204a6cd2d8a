"""The contract of a method, checked on a few slices: what every Detector must do, whoever wrote it.

`bench run` checks each method so before anything is trained (see `preflight`), the tests of this package check every
registered row, and a method's own test needs one line:

    from uadbench.benchmarks.contract import check_detector

    def test_contract():
        check_detector(MyDetector)

A breach is a `ContractError` of one sentence; an error in the method's code names the line.
"""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...errors import DataError, UserError
from ...methods import Batch, Detector, OptimizerSettings, Scan
from ...out_of_memory import MemoryShortageError, is_out_of_memory
from ...own_files import explain, file_of
from ...stopping import raise_stop
from ..plan.own import checked_class
from ..plan.plan import Plan, brought_sections, build_detector, plan_for
from ..plan.preset import load_preset
from .labels import labels_hidden
from .trainer import fit, make_trainer

#: Largest difference between two reconstructions that should be the same; kernels of other batch sizes round otherwise.
TOLERANCE = 1e-4
_SLICES = 3


class ContractError(UserError):
    """A method breaks the contract of `uadbench.methods.Detector`."""


def check_detector(cls: type[Detector], preset: str = "demo", changes: Sequence[str] = ()) -> None:
    """Check a method on small invented heads: train two steps, save, reload, reconstruct.

    Args:
        cls: the method; every row of its `info` is checked.
        preset: name of a preset, or path of a .toml file.
        changes: `section.key=value`, as after `--set`; smaller numbers make a quicker test.

    Raises:
        UserError: the preset does not fit the method, or the method breaks the contract.
    """
    for plan in _plans(cls, preset, changes):
        with quiet():
            _check_life(cls, plan)


def make_detector(cls: type[Detector], preset: str = "demo", changes: Sequence[str] = ()) -> Detector:
    """Make an untrained detector with the numbers of a preset, as the method's first row has them.

    Raises:
        UserError: the preset does not fit the method, or its constructor fails.
    """
    return _make(cls, _plans(cls, preset, changes)[0])


def _plans(cls: type[Detector], preset: str, changes: Sequence[str]) -> list[Plan]:
    checked_class(cls, cls.__module__)
    numbers = load_preset(preset, changes, brought_sections([cls]))
    return [plan_for(numbers, cls, row) for row in cls.info.rows]


def _make(cls: type[Detector], plan: Plan) -> Detector:
    with running(cls, "the constructor"):
        return build_detector(cls, plan)


def _check_life(cls: type[Detector], plan: Plan) -> None:
    """A method's life in small: steps without a trainer, two with one, a checkpoint, a fresh detector."""
    side = plan.preparation.settings.shape[-1]
    first = _make(cls, plan)
    heads = invented_heads(_SLICES, side, first.context)
    if cls.trainable:
        check_training(first, heads)
    trained, fresh = _make(cls, plan), _make(cls, plan)
    with running(cls, "absorb"):
        trained.absorb([heads.image])
    if cls.trainable:
        _train(trained, heads)
    _reload(trained, fresh)
    scan = Scan(brain_mask=heads.brain_mask, seed=11, batch_size=_SLICES)
    kept = check_reconstruction(trained, heads.image, scan)
    if _apart(kept, _reconstruct(fresh, heads.image, scan)) > TOLERANCE:
        raise ContractError(
            f"{cls.__name__} reconstructs otherwise after its weights were saved and loaded: what it learns must be "
            "parameters or buffers"
        )


def check_training(detector: Detector, batch: Batch) -> None:
    """Check one optimiser step and the validation of a batch; the detector has learnt from it afterwards.

    Raises:
        ContractError: a loss is no finite scalar, nothing gets a gradient, or the validation loss is not repeatable.
        LabelError: a lesion mask was read.
    """
    name = type(detector).__name__
    _check_signature(detector, "training_step", "batch, batch_idx")
    _check_signature(detector, "validation_step", "batch, batch_idx")
    if not detector.automatic_optimization:
        raise ContractError(f"{name} turns automatic optimisation off; the engine steps its one optimiser")
    optimizer = _optimizer(detector.train())
    with running(type(detector), "training_step"):
        loss = _loss(detector.training_step(batch, 0), f"{name}.training_step")
        if not loss.requires_grad:
            raise ContractError(f"{name}.training_step returned a loss without a gradient, so that nothing is learnt")
        torch.autograd.backward(loss)
    gradients = [weight.grad for weight in detector.parameters() if weight.grad is not None]
    if not gradients:
        raise ContractError(f"{name}.training_step: no parameter of the detector gets a gradient from its loss")
    if not all(torch.isfinite(gradient).all() for gradient in gradients):
        raise ContractError(f"{name}.training_step: a gradient is no number (NaN or infinite)")
    with running(type(detector), "make_optimizer"):
        optimizer.step()
    detector.zero_grad()
    _check_validation(detector.eval(), batch)


def _check_validation(detector: Detector, batch: Batch) -> None:
    who = f"{type(detector).__name__}.validation_step"
    with torch.inference_mode(), running(type(detector), "validation_step"):
        first, second = (_loss(detector.validation_step(batch, 0), who) for _ in range(2))
    if not torch.isclose(first, second, rtol=TOLERANCE, atol=0):
        raise ContractError(
            f"{who} gave {first.item():.6g}, then {second.item():.6g} for the same batch; derive its noise from "
            "batch.seed, or the luckiest epoch is picked"
        )


def check_reconstruction(detector: Detector, volume: Tensor, scan: Scan) -> Tensor:
    """Check the reconstruction and the anomaly map of a volume, and return the reconstruction.

    Raises:
        ContractError: another shape, NaN, not the same twice, or not the same for another batch size.
        LabelError: a lesion mask was read.
    """
    cls = type(detector)
    who = f"{cls.__name__}.reconstruct"
    _check_signature(detector, "reconstruct", "volume, scan")
    _check_signature(detector, "anomaly_score", "volume, reconstruction, scan")
    detector.eval()
    first = _reconstruct(detector, volume, scan)
    apart = _apart(first, _reconstruct(detector, volume, replace(scan, batch_size=1)))
    if apart > TOLERANCE:
        _check_same_twice(detector, volume, scan, first)
        raise ContractError(
            f"{who} depends on scan.batch_size: with 1 instead of {scan.batch_size} the result is {apart:.2g} apart; "
            "slices must not mix, and their noise must come from (scan.seed, slice)"
        )
    with torch.inference_mode(), running(cls, "anomaly_score"):
        raw = detector.anomaly_score(volume.clone(), first.clone(), scan)
    _volume(raw, volume, f"{cls.__name__}.anomaly_score")
    return first


def _check_same_twice(detector: Detector, volume: Tensor, scan: Scan, first: Tensor) -> None:
    apart = _apart(first, _reconstruct(detector, volume, scan))
    if apart > TOLERANCE:
        raise ContractError(
            f"{type(detector).__name__}.reconstruct gave two results for the same scan, {apart:.2g} apart; "
            "derive all noise from scan.seed"
        )


def _reconstruct(detector: Detector, volume: Tensor, scan: Scan) -> Tensor:
    who = f"{type(detector).__name__}.reconstruct"
    given = volume.clone()
    with torch.inference_mode(), running(type(detector), "reconstruct"):
        result = _volume(detector.eval().reconstruct(given, scan), volume, who)
    if not torch.equal(given, volume):
        raise ContractError(f"{who} changes the volume it is given; work on a copy")
    return result


@contextmanager
def running(cls: type[Detector], part: str) -> Iterator[None]:
    """Run a part of a method: labels are hidden, and what goes wrong in its code becomes one sentence.

    Raises:
        ContractError: the code failed; the sentence names the line of the file that holds the class.
        MemoryShortageError: memory ran out, which is no breach.
        LabelError: a lesion mask was read.
    """
    who = f"{cls.__name__}: {part}" if " " in part else f"{cls.__name__}.{part}"
    try:
        with labels_hidden(who):
            yield
    except (UserError, DataError):
        raise
    except BaseException as error:
        raise_stop(error)  # SystemExit and the like are the method's failure, as every error is
        if is_out_of_memory(error):
            raise MemoryShortageError(_blame(error, cls, who)) from error
        raise ContractError(_blame(error, cls, who)) from error


def _blame(error: BaseException, cls: type[Detector], who: str) -> str:
    words = explain(error, file_of(cls))
    if isinstance(error, AttributeError) and isinstance(error.obj, Scan | Batch):
        told = "brain_mask, seed and batch_size" if isinstance(error.obj, Scan) else "image, brain_mask, seed and stack"
        kind = type(error.obj).__name__
        return f"{who} asks for `{error.name}`, but a {kind} tells {told} and never a label: {words}"
    return f"{who} failed: {words}"


def _check_signature(detector: Detector, part: str, wanted: str) -> None:
    """See that a part can be called as the engine calls it: nobody hands it a mask, a path or a label."""
    signature = inspect.signature(getattr(detector, part))
    try:
        signature.bind(*wanted.split(", "))
    except TypeError as error:
        raise ContractError(
            f"{type(detector).__name__}.{part}({', '.join(signature.parameters)}) must take ({wanted}) and require "
            "nothing else; a method is handed no label"
        ) from error


def _optimizer(detector: Detector) -> torch.optim.Optimizer:
    name = type(detector).__name__
    settings = getattr(detector.settings, "optimizer", None)
    if not isinstance(settings, OptimizerSettings):
        raise ContractError(f"{name}.Settings needs a field `optimizer: OptimizerSettings`")
    if not list(detector.parameters()):
        raise ContractError(f"{name} has no parameters to train; a method without any sets `trainable = False`")
    with running(type(detector), "make_optimizer"):
        optimizer = detector.make_optimizer(settings)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ContractError(f"{name}.make_optimizer returned {_kind(optimizer)}, not a torch optimiser")
    return optimizer


def _loss(loss: object, who: str) -> Tensor:
    if not isinstance(loss, Tensor) or loss.ndim:
        raise ContractError(f"{who} returned {_kind(loss)} where the loss, a scalar tensor, is needed")
    if not torch.isfinite(loss):
        raise ContractError(f"{who} returned a loss that is no number ({loss.item()})")
    return loss


def _volume(result: object, volume: Tensor, who: str) -> Tensor:
    if not isinstance(result, Tensor) or result.shape != volume.shape:
        raise ContractError(f"{who} returned {_kind(result)} for a volume of shape {tuple(volume.shape)}")
    if not torch.isfinite(result).all():
        raise ContractError(f"{who} returned values that are no numbers (NaN or infinite)")
    return result.float()


def _kind(thing: object) -> str:
    return f"a tensor of shape {tuple(thing.shape)}" if isinstance(thing, Tensor) else f"a {type(thing).__name__}"


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _train(detector: Detector, heads: Batch) -> None:
    """Two steps of Lightning's loop with a validation after them, as `training.train` does it."""
    clip = detector.settings.optimizer.gradient_clip if hasattr(detector.settings, "optimizer") else 0
    trainer = make_trainer(
        "cpu",
        max_epochs=2,  # of one step: a method may have a phase of its own in each half
        gradient_clip_val=clip or None,
    )
    with running(type(detector), "the training"):
        batches = DataLoader(_Single(heads), batch_size=None)
        fit(trainer, detector, batches, batches)


class _Single(Dataset[Batch]):
    """A data set of one batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Batch:
        return self._batch


def _reload(trained: Detector, fresh: Detector) -> None:
    """Carry the weights over as a checkpoint does."""
    checkpoint = io.BytesIO()
    torch.save(trained.state_dict(), checkpoint)
    checkpoint.seek(0)
    with running(type(fresh), "load_state_dict"):
        fresh.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's remarks about small trainings, and about logging without a trainer, off the screen."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            yield
        finally:
            logger.setLevel(level)


def invented_heads(count: int, side: int, context: int) -> Batch:
    """A few neighbouring slices of a smooth round head with a bright spot: a batch, and a volume of `count` slices."""
    axis = torch.linspace(-1, 1, side)
    y, x = axis[:, None], axis[None, :]
    radius = x.square() + y.square()
    images, masks = [], []
    for number in range(count):
        mask = radius < 0.8 - 0.1 * number
        spot = torch.exp(-((x - 0.2 * number).square() + (y + 0.3).square()) / 0.02)
        images.append(mask * (0.35 + 0.1 * torch.cos(9 * x) + 0.4 * spot))
        masks.append(mask)
    image = torch.stack(images)[:, None]
    window = torch.arange(count)[:, None] + torch.arange(-context, context + 1)
    stack = image[window.clamp(0, count - 1), 0]
    return Batch(image, torch.stack(masks)[:, None], torch.arange(1, count + 1), stack)
